// heed completion: a script for the user's shell, made from the same tables as --help.
#include "cli/completion.h"

#include <cstdio>

#include "cli/parse.h"
#include "cli/terminal.h"

namespace heed::cli {
namespace {

class CompletionVerb final : public Verb {
 public:
  const char* name() const override { return "completion"; }
  const char* summary() const override { return "Print a script that completes for a shell"; }
  const char* examples() const override {
    return "  source <(heed completion bash)                  # in ~/.bashrc\n"
           "  source <(heed completion zsh)                   # in ~/.zshrc, behind compinit\n"
           "  heed completion fish > ~/.config/fish/completions/heed.fish\n";
  }

  void options(CLI::App& app) override {
    app.add_option("SHELL", shell_, "The shell")
        ->required()
        ->check(one_of({"bash", "zsh", "fish"}));
  }

  int run() override {
    const std::vector<VerbRow> table = option_table();
    const std::string script = shell_ == "bash"  ? bash_completion(table)
                               : shell_ == "zsh" ? zsh_completion(table)
                                                 : fish_completion(table);
    std::fwrite(script.data(), 1, script.size(), stdout);
    return kDone;
  }

 private:
  std::string shell_;
};

}  // namespace

std::string joined(const std::vector<std::string>& words, std::string_view between) {
  std::string out;
  for (const std::string& word : words) {
    if (!out.empty()) out += between;
    out += word;
  }
  return out;
}

std::string single_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

std::unique_ptr<Verb> make_completion() { return std::make_unique<CompletionVerb>(); }

}  // namespace heed::cli
