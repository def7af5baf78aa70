// What `heed explain` tells: a policy on a model, before a weight is read.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "heed/engine.h"
#include "heed/policy.h"

namespace heed::cli {

// Layers in which the same heads do the same.
struct ExplainRow {
  std::vector<int> layers, heads;
  int window = 0;
  std::string prefill, correct;  // "" : none
  std::optional<Work> density;   // absent: unknown before the run
};

struct ExplainedModel {
  ModelInfo info;
  int64_t tokens = 0;  // of the prompt
  std::vector<ExplainRow> rows;
  EngineOptions engine;  // formats settled
  MemoryPlan memory;
};

struct Explanation {
  Policy policy;
  int chunk = 0;
  std::optional<uint64_t> hash, kv_hash;  // absent: a file cannot be read
  std::optional<ExplainedModel> model;
  std::vector<Finding> findings;
};

// `path` empty: of the policy alone. `tokens` 0: the model's context.
// Errors: the file cannot be read, more tokens than its context.
Result<Explanation> explain(const Policy& policy, const std::string& path, int64_t tokens,
                            const EngineOptions& engine);

void print_explanation(const Explanation& explanation);
nlohmann::ordered_json explanation_json(const Explanation& explanation);

}  // namespace heed::cli
