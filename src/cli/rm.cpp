// heed rm NAME: delete a pulled model.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/parse.h"
#include "cli/terminal.h"
#include "model/pull.h"

namespace heed::cli {
namespace {

class RmVerb final : public Verb {
 public:
  const char* name() const override { return "rm"; }
  const char* summary() const override {
    return "Delete pulled models and what interrupted downloads left";
  }
  const char* examples() const override { return "  heed rm gemma3:270m\n"; }

  void options(CLI::App& app) override {
    app.add_option("NAME", names_, "Short names")->required();
    add(app, "-o,--output", output_, "Form of the result")
        ->check(one_of({"text", "json"}))
        ->capture_default_str();
  }

  int run() override {
    auto rows = nlohmann::ordered_json::array();
    int code = kDone;
    for (const std::string& name : names_) {
      const Result<uint64_t> freed = remove_model(name);
      if (!freed.is_ok()) {
        code = fail(freed.status());
        continue;
      }
      rows.push_back({{"name", name}, {"bytes", *freed}});
      if (output_ == "text") fmt::print("{}: {} freed\n", printable(name), bytes_text(*freed));
    }
    if (output_ == "json") print_json({{"removed", std::move(rows)}});
    return code;
  }

 private:
  std::vector<std::string> names_;
  std::string output_ = "text";
};

}  // namespace

std::unique_ptr<Verb> make_rm() { return std::make_unique<RmVerb>(); }

}  // namespace heed::cli
