// What a policy comes to on a model and in a run, by rules over the capabilities of rows: a new
// mechanism needs none of its own.
#pragma once

#include <vector>

#include "heed/policy.h"

namespace heed {

struct RuleContext {
  const Policy& policy;
  const ModelShape* model;  // nullptr: not known
  PolicyRun run;
};

struct Rule {
  const char* name;
  const char* about;  // one line, for the page
  Verdict verdict;
  void (*apply)(const RuleContext& context, const Rule& rule, std::vector<Finding>& findings);
};
std::span<const Rule> rules();

}  // namespace heed
