// Policies from where people keep them: presets, JSON files, the command line, the environment.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "heed/policy.h"

namespace heed {

// {"prefill": "flexprefill:gamma=0.95", "correct": {"name": "delta_attention", "gamma": 64},
//  "kv": {"k": "bf16"}, "overrides": {"L0-3": {"prefill": "dense"}}}
// `name` is that of the file, for messages.
Result<Policy> policy_of_json(std::string_view json, const std::string& name);

// What a person typed: the text of a policy, a preset's name, or a file's.
Result<Policy> load_policy(const std::string& typed);

// What one place says: a whole policy as in load_policy(), and stages by themselves.
struct PolicyWords {
  std::string policy;
  std::vector<std::pair<Stage, std::string>> stages;  // "flexprefill:gamma=0.9"
};
// Stages of the command line come before those of the environment, and both before those of a file
// or a preset.
Result<Policy> settle_policy(const PolicyWords& command_line, const PolicyWords& environment);

}  // namespace heed
