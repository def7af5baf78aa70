// heed mechanisms: what policies may name, from the registry.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/mechanism_json.h"
#include "cli/mechanism_text.h"
#include "cli/parse.h"
#include "cli/terminal.h"

namespace heed::cli {
namespace {

class MechanismsVerb final : public Verb {
 public:
  const char* name() const override { return "mechanisms"; }
  const char* summary() const override {
    return "List what a policy may name, or tell one in full";
  }
  const char* examples() const override {
    return "  heed mechanisms\n"
           "  heed mechanisms dense\n"
           "  heed mechanisms -o json\n"
           "  heed mechanisms -o schema > policy.schema.json\n";
  }

  void options(CLI::App& app) override {
    std::string names;
    for (const Mechanism* m : mechanisms()) names += cat(names.empty() ? "" : "|", m->name);
    // The registry refuses what it does not know; these are for completion.
    app.add_option("NAME", name_, "A mechanism, by name or alias")
        ->check(CLI::Validator(names).name(kWords));
    add(app, "-o,--output", output_, "Form of the result; schema: of policy files")
        ->check(one_of({"text", "json", "markdown", "schema"}))
        ->capture_default_str();
  }

  int run() override {
    if (!name_.empty() && (output_ == "markdown" || output_ == "schema")) {
      return usage_error(name(), cat("-o ", output_, " is of all; leave NAME out"));
    }
    if (output_ == "markdown") {
      fmt::print("{}", mechanisms_markdown());
    } else if (output_ == "schema") {
      print_json(policy_schema());
    } else if (name_.empty()) {
      list();
    } else {
      const Result<const Mechanism*> found = find_mechanism(name_);
      if (!found.is_ok()) return fail(found.status());
      if (output_ == "json") {
        print_json(mechanism_json(**found));
      } else {
        fmt::print("{}", mechanism_text(**found));
      }
    }
    return kDone;
  }

 private:
  void list() const {
    if (output_ != "json") {
      fmt::print("{}", mechanism_table());
      return;
    }
    auto rows = nlohmann::ordered_json::array();
    for (const Mechanism* m : mechanisms()) rows.push_back(mechanism_json(*m));
    print_json({{"mechanisms", std::move(rows)}});
  }

  std::string name_, output_ = "text";
};

}  // namespace

std::unique_ptr<Verb> make_mechanisms() { return std::make_unique<MechanismsVerb>(); }

}  // namespace heed::cli
