// Adapters and control vectors for tiny models, with random factors.
#pragma once

#include <ggml.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/random.h"
#include "tiny_gguf.h"

namespace heed::tiny {

struct AdapterSpec {
  uint64_t rank = 4;
  float alpha = 8;
  double gain = 0.5;  // of a delta against the products it is added to, about
  uint64_t seed = 1;
  ggml_type type = GGML_TYPE_F32;
  // Of the model's matrices.
  std::function<bool(const std::string&)> takes = [](const std::string&) { return true; };
};

inline Tensor factor(const std::string& name, uint64_t width, uint64_t rows, double deviation,
                     uint64_t seed, ggml_type type) {
  std::vector<float> values(width * rows);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(deviation * random_normal(seed, i));
  }
  Tensor t{name, {width, rows}, static_cast<uint32_t>(type), {}};
  t.data.resize(ggml_row_size(type, static_cast<int64_t>(width)) * rows);
  if (type == GGML_TYPE_F32) {
    std::memcpy(t.data.data(), values.data(), t.data.size());
  } else {
    ggml_quantize_chunk(type, values.data(), t.data.data(), 0, static_cast<int64_t>(rows),
                        static_cast<int64_t>(width), nullptr);
  }
  return t;
}

inline void add_pair(File& file, const std::string& target, uint64_t in, uint64_t out,
                     const AdapterSpec& spec) {
  const uint64_t seed = spec.seed * 7919 + file.tensors.size();
  const auto rank = static_cast<double>(spec.rank);
  const double b = spec.gain / std::sqrt(rank) * rank / static_cast<double>(spec.alpha);
  if (target == "token_embd.weight") {  // in: the width, out: the vocabulary
    file.tensors.push_back(factor(target + ".lora_a", spec.rank, out, 1, seed, spec.type));
    file.tensors.push_back(factor(target + ".lora_b", spec.rank, in, b, seed + 1, spec.type));
    return;
  }
  const double a = 1 / std::sqrt(static_cast<double>(in));
  file.tensors.push_back(factor(target + ".lora_a", in, spec.rank, a, seed, spec.type));
  file.tensors.push_back(factor(target + ".lora_b", spec.rank, out, b, seed + 1, spec.type));
}

inline File adapter_keys(const std::string& arch, float alpha) {
  File file;
  file.keys = {text_key("general.architecture", arch), text_key("general.type", "adapter"),
               text_key("adapter.type", "lora"), f32_key("adapter.lora.alpha", alpha)};
  return file;
}

// The names of what a model multiplies with one plain matrix each, and of its table.
inline std::vector<std::string> matrices_of(const File& model) {
  std::vector<std::string> names;
  for (const Tensor& t : model.tensors) {
    if (t.ne.size() == 2 && t.name.ends_with(".weight")) names.push_back(t.name);
  }
  return names;
}

inline File make_adapter(const Spec& model, const AdapterSpec& spec) {
  File file = adapter_keys(model.arch, spec.alpha);
  const File base = make_file(model);
  for (const Tensor& t : base.tensors) {
    const bool matrix = t.ne.size() == 2 && t.name.ends_with(".weight");
    if (matrix && spec.takes(t.name)) add_pair(file, t.name, t.ne[0], t.ne[1], spec);
  }
  return file;
}

// Directions [layers - 1, embd] from layer 1.
inline std::vector<float> directions(const Spec& model, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>((model.layers - 1) * model.embd));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(0.5 * random_normal(seed, i));
  }
  return values;
}

inline File make_control(const Spec& model, const std::vector<float>& values) {
  File file;
  file.keys = {text_key("general.architecture", "controlvector"),
               text_key("controlvector.model_hint", model.arch),
               u32_key("controlvector.layer_count", static_cast<uint32_t>(model.layers - 1))};
  const auto width = static_cast<size_t>(model.embd) * sizeof(float);
  for (int layer = 1; layer < model.layers; ++layer) {
    Tensor t{"direction." + std::to_string(layer),
             {static_cast<uint64_t>(model.embd)},
             kTensorF32,
             std::vector<uint8_t>(width)};
    std::memcpy(t.data.data(), values.data() + (layer - 1) * model.embd, width);
    file.tensors.push_back(std::move(t));
  }
  return file;
}

}  // namespace heed::tiny
