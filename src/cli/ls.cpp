// heed ls: models on this machine and those that heed could pull.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/parse.h"
#include "cli/terminal.h"
#include "model/pull.h"

namespace heed::cli {
namespace {

class LsVerb final : public Verb {
 public:
  const char* name() const override { return "ls"; }
  const char* summary() const override { return "List models: here, and known by name"; }
  const char* examples() const override {
    return "  heed ls\n"
           "  heed ls --installed -o json\n";
  }

  void options(CLI::App& app) override {
    add_flag(app, "--installed", installed_, "Only those on this machine");
    add(app, "-o,--output", output_, "Form of the result")
        ->check(one_of({"text", "json", "names"}))
        ->capture_default_str();
  }

  int run() override {
    const Result<std::vector<StoredModel>> models = list_models();
    if (!models.is_ok()) return fail(models.status());
    std::vector<StoredModel> shown;
    for (const StoredModel& m : *models) {
      if (m.installed || !installed_) shown.push_back(m);
    }
    if (output_ == "json") {
      print_as_json(shown);
    } else if (output_ == "names") {
      for (const StoredModel& m : shown) fmt::print("{}\n", printable(m.name));
    } else {
      print_as_text(shown);
    }
    return kDone;
  }

 private:
  static void print_as_json(const std::vector<StoredModel>& models) {
    auto rows = nlohmann::ordered_json::array();
    for (const StoredModel& m : models) {
      rows.push_back({{"name", m.name},
                      {"installed", m.installed},
                      {"bytes", m.bytes},
                      {"path", m.path},
                      {"catalogued", m.catalogued},
                      {"about", m.about},
                      {"licence", m.licence}});
    }
    print_json({{"models", std::move(rows)}});
  }

  static void print_as_text(const std::vector<StoredModel>& models) {
    size_t width = 4;
    for (const StoredModel& m : models) width = std::max(width, printable(m.name).size());
    for (const StoredModel& m : models) {
      const std::string size = m.installed   ? bytes_text(m.bytes)
                               : m.bytes > 0 ? bytes_text(m.bytes) + " of it"
                                             : "not here";
      fmt::print("{:<{}}  {:>16}  {}\n", printable(m.name), width, size, printable(m.about));
    }
  }

  std::string output_ = "text";
  bool installed_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_ls() { return std::make_unique<LsVerb>(); }

}  // namespace heed::cli
