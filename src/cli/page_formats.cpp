#include "cli/page_formats.h"

#include "cli/parse.h"

namespace heed::cli {

void PageFormats::bind(CLI::App& app) {
  add(app, "--cache-type-k", k_,
      "Format of heed's keys (-ctk); default: the model's, see docs/numerics.md")
      ->check(one_of({"f32", "f16", "bf16"}));
  add(app, "--cache-type-v", v_, "Format of heed's values (-ctv)")
      ->check(one_of({"f32", "f16", "bf16"}));
}

Status PageFormats::settle(EngineOptions& engine) const {
  if (!k_.empty()) {
    HEED_ASSIGN(engine.k, parse_format(k_));
  }
  if (!v_.empty()) {
    HEED_ASSIGN(engine.v, parse_format(v_));
  }
  return Status::ok();
}

std::string PageFormats::policy_text() const {
  std::string text;
  if (!k_.empty()) text = "k:" + k_;
  if (!v_.empty()) text += (text.empty() ? "v:" : ",v:") + v_;
  return text;
}

}  // namespace heed::cli
