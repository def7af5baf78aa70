// A verb of the command line: `heed run`, `heed pull`, ... One file each.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace heed::cli {

// Exit codes; an interrupted run ends with 128 + the signal's number.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

class Verb {
 public:
  virtual ~Verb() = default;
  virtual const char* name() const = 0;
  virtual const char* alias() const { return ""; }  // a second name, or none
  virtual const char* summary() const = 0;          // one line
  virtual const char* examples() const = 0;         // shown under --help
  // Binds the options to members; called once, before run().
  virtual void options(CLI::App& app) = 0;
  virtual int run() = 0;
};

std::unique_ptr<Verb> make_run();
std::unique_ptr<Verb> make_embed();
std::unique_ptr<Verb> make_chat();
std::unique_ptr<Verb> make_pull();
std::unique_ptr<Verb> make_ls();
std::unique_ptr<Verb> make_rm();
std::unique_ptr<Verb> make_show();
std::unique_ptr<Verb> make_bench();
std::unique_ptr<Verb> make_kl();
std::unique_ptr<Verb> make_perplexity();
std::unique_ptr<Verb> make_mechanisms();
std::unique_ptr<Verb> make_explain();
std::unique_ptr<Verb> make_doctor();
std::unique_ptr<Verb> make_completion();
std::unique_ptr<Verb> make_man();

// In the order of the help.
std::vector<std::unique_ptr<Verb>> all_verbs();

// The whole command behind the program's name.
int main_with(const std::vector<std::string>& arguments);

}  // namespace heed::cli
