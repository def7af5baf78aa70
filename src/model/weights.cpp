#include "model/weights.h"

#include <ggml.h>

#include <algorithm>

#include "base/text.h"
#include "model/weight_storage.h"

namespace heed {

ModelWeights::ModelWeights() : storage_(std::make_unique<Storage>()) {}
ModelWeights::~ModelWeights() = default;
uint64_t ModelWeights::mapped_bytes() const { return storage_->mapped; }
uint64_t ModelWeights::looked_up_bytes() const { return storage_->looked_up; }
uint64_t ModelWeights::owned_bytes() const { return storage_->owned; }

std::span<const PackedWeight> ModelWeights::packed_all(const ggml_tensor* weight) const {
  const auto at = storage_->packed.find(weight);
  if (at == storage_->packed.end()) return {};
  return at->second;
}

const PackedWeight* ModelWeights::packed(const ggml_tensor* weight) const {
  const std::span<const PackedWeight> all = packed_all(weight);
  return all.empty() ? nullptr : &all.front();
}

bool ModelWeights::repacked(const ggml_tensor* weight) const {
  for (const GgmlContext& context : storage_->repacked) {
    ggml_tensor* at = ggml_get_first_tensor(context.get());
    for (; at != nullptr; at = ggml_get_next_tensor(context.get(), at)) {
      if (at == weight) return true;
    }
  }
  return false;
}

int64_t ModelWeights::most_inputs() const {
  int64_t most = 0;
  for (const auto& [tensor, all] : storage_->packed) {
    most = std::max(most, all.front().inputs());
  }
  return most;
}

std::string ModelWeights::linear_kind() const {
  if (storage_->dequantised) return "ggml f32";
  const char* const heed = storage_->packed.empty() ? nullptr : linear_name(storage_->own);
  if (heed != nullptr && !storage_->any_plain && !storage_->any_repacked) return heed;
  const char* rest = !storage_->any_repacked ? "ggml plain"
                     : storage_->any_plain   ? "ggml plain+repack"
                                             : "ggml repack";
  return heed != nullptr ? cat(heed, " + ", rest) : rest;
}

}  // namespace heed
