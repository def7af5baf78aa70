// What is laid over a model's weights for one sequence and never merged into them: LoRA adapters
// (arXiv:2106.09685), y = W x + scale * alpha / rank * B (A x), and control vectors, which are
// added to the residual behind layers. Sequences of one step may have different ones; those without
// keep their bits.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "heed/engine.h"

namespace heed {

// What an adapter's file says.
struct AdapterInfo {
  std::string path;
  std::string architecture;  // of the model that it belongs to
  std::string name;          // general.name, may be empty
  uint64_t file_bytes = 0;
  uint64_t parameters = 0;
  double alpha = 0;  // 0: the factors are not scaled
  int64_t least_rank = 0, most_rank = 0;
  std::vector<std::string> targets;  // tensors of the model, "blk.0.attn_q.weight"
};

// Whether the file says of itself that it is an adapter, of whatever kind. Errors: no GGUF.
Result<bool> is_adapter_file(const std::string& path);

// From the header alone. Errors: no adapter, not LoRA, a factor without its other half, ranks that
// differ.
Result<AdapterInfo> inspect_adapter(const std::string& path);

class LoraAdapter;  // factors in memory of their own

// Errors: those of inspect_adapter, another architecture, a target that the model does not have or
// that heed does not adapt, a shape that does not fit it, a number that is not finite.
Result<std::shared_ptr<const LoraAdapter>> load_lora(const Model& model, const std::string& path);

struct ScaledFile {
  std::string path;
  float scale = 1;

  bool operator==(const ScaledFile&) const = default;
};

// Layers of a model behind which a control vector is added, from 1: the first layer is never
// steered, as in llama.cpp.
struct LayerRange {
  int first = 1;
  int last = 0;  // included; 0: the model's last
};

class ControlVector;  // directions by layer

// The sum of the files' directions (tensors direction.N of layer N), each times its scale; what
// lies outside the range is left out. Errors: directions of another width, of no layer, not finite.
Result<std::shared_ptr<const ControlVector>> load_control_vector(const Model& model,
                                                                 std::span<const ScaledFile> files,
                                                                 LayerRange range = {});

// What it adds behind the layers from 1 on, [layers - 1, embd]: zeros outside its range.
std::vector<float> control_values(const ControlVector& control);

struct ScaledLora {
  std::shared_ptr<const LoraAdapter> adapter;
  float scale = 1;
};

struct Adaptation {
  static constexpr size_t kMostLoras = 16;

  std::vector<ScaledLora> loras;  // added in this order
  std::shared_ptr<const ControlVector> control;
};

// What the sequence's tokens go through from now on; null: the model alone. Keys and values depend
// on it, so the sequence must be empty. Forks have it too. Errors: the sequence holds tokens; made
// for another model; no memory.
Status set_adaptation(Engine& engine, SeqId seq, std::shared_ptr<const Adaptation> adaptation);
// Null: none, or no such sequence.
std::shared_ptr<const Adaptation> adaptation_of(const Engine& engine, SeqId seq);

// SHA-256 of the files, scales and layers: equal where keys and values of equal tokens are. Empty
// where nothing is laid over the model.
std::string adaptation_text(const Adaptation& adaptation);

}  // namespace heed
