#include "cli/policy_options.h"

#include <cstdlib>

#include "base/text.h"
#include "cli/parse.h"

namespace heed::cli {
namespace {

// The names of a stage for --help and completion; the policy's own parser checks what is typed,
// because parameters may follow.
CLI::Validator names_of(Stage stage) {
  std::string names;
  for (const Mechanism* m : mechanisms()) {
    if (m->stage == stage) names += cat(names.empty() ? "" : "|", m->name);
  }
  return CLI::Validator(names).name(kWords);
}

bool has_stage(Stage stage) {
  for (const Mechanism* m : mechanisms()) {
    if (m->stage == stage) return true;
  }
  return false;
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

void add_stage(PolicyWords& words, Stage stage, const std::string& spec) {
  if (!spec.empty()) words.stages.emplace_back(stage, spec);
}

}  // namespace

void PolicyOptions::bind(CLI::App& app) {
  // settle() reads the variables: a stage of the command line comes before a policy of the
  // environment, which CLI11 cannot tell apart.
  app.add_option("--policy", words_.policy,
                 "STAGE=NAME[:key=value,...];..., a JSON file or a preset; heed mechanisms lists "
                 "the names (Env:HEED_POLICY)")
      ->type_name("POLICY");
  if (has_stage(Stage::kPrefill)) {
    app.add_option("--prefill,--prefill-attn", prefill_,
                   "Which keys the prompt's rows read: NAME[:key=value,...] (Env:HEED_PREFILL)")
        ->check(names_of(Stage::kPrefill));
  }
  if (has_stage(Stage::kCorrect)) {
    app.add_option("--correct", correct_,
                   "What is done about the keys that --prefill skips (Env:HEED_CORRECT)")
        ->check(names_of(Stage::kCorrect));
  }
}

Result<Policy> PolicyOptions::settle(const PageFormats& formats,
                                     const std::string& argument) const {
  PolicyWords typed = words_, environment;
  if (!argument.empty() && !typed.policy.empty()) {
    return error(Code::kInvalidArgument, "'", argument,
                 "' and --policy are both policies; give one");
  }
  if (!argument.empty()) typed.policy = argument;
  add_stage(typed, Stage::kPrefill, prefill_);
  add_stage(typed, Stage::kCorrect, correct_);
  add_stage(typed, Stage::kKv, formats.policy_text());
  environment.policy = variable("HEED_POLICY");
  add_stage(environment, Stage::kPrefill, variable("HEED_PREFILL"));
  if (has_stage(Stage::kCorrect)) {
    add_stage(environment, Stage::kCorrect, variable("HEED_CORRECT"));
  }
  return settle_policy(typed, environment);
}

}  // namespace heed::cli
