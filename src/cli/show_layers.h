// What `heed show` tells of a model's layers and of the memory that they ask for.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "heed/engine.h"
#include "model/hyperparameters.h"
#include "session/kv_cost.h"

namespace heed::cli {

// Layers that are alike.
struct LayerClass {
  std::vector<int> layers;
  LayerHyper hyper;
  std::string rotation;
};

struct KvOfFormat {
  Format format = Format::kF32;
  KvCost cost;
};

struct LayerFacts {
  std::vector<LayerClass> classes;
  int64_t tokens = 0;              // of the prompt that was asked for, else of the context
  std::vector<KvOfFormat> kv;      // f32, f16, bf16
  std::optional<MemoryPlan> plan;  // of that prompt, where one was asked for
};

// `prompt` 0: none is asked for. Errors: more tokens than the model's context.
Result<LayerFacts> layer_facts(const std::string& path, int64_t prompt,
                               const ModelOptions& options);

void print_layer_facts(const LayerFacts& facts);
// Adds "layer_classes", "kv" and, where a prompt was asked for, "memory".
void add_layer_facts(const LayerFacts& facts, nlohmann::ordered_json& out);

}  // namespace heed::cli
