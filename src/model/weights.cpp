#include "model/weights.h"

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <ggml.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <thread>
#include <unordered_map>

#include "base/aligned.h"
#include "base/text.h"
#include "model/linear_choice.h"
#include "model/tensor_rules.h"

namespace heed {
namespace {

// ggml's graph allocator leaves tensors alone that have data. Of models that are only measured
// nothing is ever read.
void* const kNoData = reinterpret_cast<void*>(uintptr_t{64});

}  // namespace

struct ModelWeights::Storage {
  GgmlContext tensors;                // of everything but repacked weights
  std::vector<GgmlContext> repacked;  // one per buffer type
  std::vector<GgmlBuffer> buffers;
  std::vector<AlignedMemory> memory;
  std::unordered_map<const ggml_tensor*, PackedWeight> packed;
  uint64_t mapped = 0;
  uint64_t looked_up = 0;
  uint64_t owned = 0;
  bool any_plain = false;
  bool any_repacked = false;
  bool dequantised = false;
  Linear own = Linear::kHeed;  // which of heed's products
};

ModelWeights::ModelWeights() : storage_(std::make_unique<Storage>()) {}
ModelWeights::~ModelWeights() = default;
uint64_t ModelWeights::mapped_bytes() const { return storage_->mapped; }
uint64_t ModelWeights::looked_up_bytes() const { return storage_->looked_up; }
uint64_t ModelWeights::owned_bytes() const { return storage_->owned; }

const PackedWeight* ModelWeights::packed(const ggml_tensor* weight) const {
  const auto at = storage_->packed.find(weight);
  return at == storage_->packed.end() ? nullptr : &at->second;
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
  for (const auto& [tensor, weight] : storage_->packed) most = std::max(most, weight.inputs());
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

class WeightLoader {
 public:
  WeightLoader(const GgufFile& file, const Hyperparameters& hyper, const ModelOptions& options,
               bool with_data)
      : file_(file), hyper_(hyper), options_(options), with_data_(with_data) {
    if (options.weights == Weights::kAsStored) repacking_.emplace();
  }

  Result<std::unique_ptr<ModelWeights>> load() {
    std::unique_ptr<ModelWeights> weights(new ModelWeights);
    weights_ = weights.get();
    storage_ = weights->storage_.get();
    storage_->dequantised = options_.weights == Weights::kF32;
    storage_->own = options_.linear;
    storage_->tensors = tensor_headers(file_.tensors().size() + 2);
    if (!storage_->tensors) return error(Code::kResourceExhausted, "no memory for tensor headers");
    HEED_TRY(place_all());
    HEED_TRY(fill_packed());
    HEED_TRY(fill_repacked());
    HEED_TRY(fill_dequantised());
    return weights;
  }

 private:
  struct Pending {
    ggml_tensor* tensor;
    const GgufTensor* source;
  };

  Status place_all() {
    HEED_ASSIGN(weights_->embeddings, place("token_embd.weight", false));
    const uint64_t embeddings = storage_->mapped;  // nothing else is placed yet
    HEED_ASSIGN(weights_->output_norm, place("output_norm.weight", false));
    HEED_ASSIGN(weights_->head_bias, place("output.bias", false));
    if (!hyper_.tied_head) {
      HEED_ASSIGN(weights_->head, place("output.weight", true));
    } else if (const GgufTensor& tied = *file_.find_tensor("token_embd.weight");
               packed_type(tied) || decoder(tied) || extra_type(tied) != nullptr) {
      // A rearranged matrix cannot be looked up by row: the lookup reads the few rows of a prompt
      // from the file.
      HEED_ASSIGN(weights_->head, place("token_embd.weight", true));
    } else {
      weights_->head = weights_->embeddings;
    }
    if (weights_->head != weights_->embeddings) storage_->looked_up = embeddings;
    weights_->layers.resize(static_cast<size_t>(hyper_.layers));
    for (int i = 0; i < hyper_.layers; ++i) {
      for (const LayerTensorSpec& spec : layer_tensor_specs()) {
        HEED_ASSIGN(weights_->layers[i].tensors[static_cast<int>(spec.tensor)],
                    place(cat("blk.", i, ".", spec.name), spec.out != Size::kNone));
      }
    }
    return place_rope_factors();
  }

  Status place_rope_factors() {
    const GgufTensor* source = file_.find_tensor("rope_freqs.weight");
    if (source == nullptr) return Status::ok();
    weights_->rope_factors.resize(static_cast<size_t>(source->elements()));
    widen(*source, weights_->rope_factors.data(), 0, 1);
    HEED_TRY(not_cancelled());
    for (const float factor : weights_->rope_factors) {
      if (!(factor > 0 && factor < 1e30f)) {
        return error(Code::kCorrupt, "tensor 'rope_freqs.weight' holds ", factor,
                     ", frequencies can only be divided by finite positive numbers");
      }
    }
    return Status::ok();
  }

  bool heed_multiplies() const {
    return options_.linear != Linear::kGgml && options_.weights == Weights::kAsStored;
  }

  Precision precision() const {
    return options_.linear == Linear::kAccurate ? Precision::kAccurate : Precision::kUsual;
  }

  // What decodes this tensor while heed multiplies with it. One row of x does not pay for that:
  // ggml's own products of such types are 5 to 25 times sooner there, so it takes being asked.
  std::optional<RowDecoder> decoder(const GgufTensor& tensor) const {
    const bool wanted = heed_multiplies() && precision() == Precision::kAccurate;
    return wanted ? row_decoder(tensor.type) : std::nullopt;
  }

  // The type under which heed multiplies with this tensor.
  std::optional<WeightType> packed_type(const GgufTensor& tensor) const {
    if (!heed_multiplies()) return {};
    const auto type = packed_weight_type(tensor.type);
    // Rows of floats may have any length in a file.
    if (type && tensor.ne[0] % file_block_inputs(*type) != 0) return {};
    return type;
  }

  ggml_backend_buffer_type_t extra_type(const GgufTensor& tensor) const {
    return repacking_ && repack_wanted(tensor.type) ? repacking_->type_of(tensor) : nullptr;
  }

  // The tensor of that name, or null when the file has none.
  Result<ggml_tensor*> place(const std::string& name, bool matrix) {
    const GgufTensor* source = file_.find_tensor(name);
    if (source == nullptr) return static_cast<ggml_tensor*>(nullptr);
    if (matrix) {
      if (const auto type = packed_type(*source)) return place_packed(*source, *type);
      if (const auto rows = decoder(*source)) return place_decoded(*source, *rows);
      if (const auto type = extra_type(*source)) return place_repacked(*source, type);
    }
    const bool vector = source->dims == 1 || source->ne[1] == 1;
    if ((vector || storage_->dequantised) && source->type != GGML_TYPE_F32) {
      return place_dequantised(*source);
    }
    ggml_tensor* tensor =
        ggml_new_tensor_2d(storage_->tensors.get(), source->type, source->ne[0], source->ne[1]);
    ggml_set_name(tensor, name.c_str());
    // ggml only reads weights.
    tensor->data = with_data_ ? const_cast<uint8_t*>(file_.data(*source)) : kNoData;
    storage_->mapped += source->bytes;
    storage_->any_plain |= matrix;
    return tensor;
  }

  Result<ggml_tensor*> place_dequantised(const GgufTensor& source) {
    ggml_tensor* tensor =
        ggml_new_tensor_2d(storage_->tensors.get(), GGML_TYPE_F32, source.ne[0], source.ne[1]);
    ggml_set_name(tensor, std::string(source.name).c_str());
    storage_->owned += static_cast<uint64_t>(source.elements()) * sizeof(float);
    tensor->data = kNoData;
    if (!with_data_) return tensor;
    AlignedMemory memory = allocate_aligned(static_cast<size_t>(source.elements()) * sizeof(float));
    if (!memory) {
      return error(Code::kResourceExhausted, "no memory for ", source.elements() * 4,
                   " bytes of tensor '", source.name, "' as fp32");
    }
    tensor->data = memory.get();
    storage_->memory.push_back(std::move(memory));
    dequantised_.push_back({tensor, &source});
    return tensor;
  }

  // ggml sees the shape only.
  Result<ggml_tensor*> place_packed(const GgufTensor& source, WeightType type) {
    ggml_tensor* tensor =
        ggml_new_tensor_2d(storage_->tensors.get(), source.type, source.ne[0], source.ne[1]);
    ggml_set_name(tensor, std::string(source.name).c_str());
    tensor->data = kNoData;
    Result<PackedWeight> weight =
        PackedWeight::shape(type, source.ne[1], source.ne[0], precision());
    if (!weight.is_ok()) {
      return weight.status().with_context(cat("tensor '", source.name, "'"));
    }
    storage_->owned += static_cast<uint64_t>(weight->bytes());
    storage_->packed.emplace(tensor, std::move(*weight));
    if (with_data_) packed_.push_back({tensor, &source});
    return tensor;
  }

  // In the file's own bytes.
  Result<ggml_tensor*> place_decoded(const GgufTensor& source, const RowDecoder& rows) {
    ggml_tensor* tensor =
        ggml_new_tensor_2d(storage_->tensors.get(), source.type, source.ne[0], source.ne[1]);
    ggml_set_name(tensor, std::string(source.name).c_str());
    tensor->data = kNoData;
    Result<PackedWeight> weight = PackedWeight::decoded(
        rows, with_data_ ? file_.data(source) : nullptr, source.ne[1], source.ne[0]);
    if (!weight.is_ok()) {
      return weight.status().with_context(cat("tensor '", source.name, "'"));
    }
    storage_->mapped += source.bytes;
    storage_->packed.emplace(tensor, std::move(*weight));
    return tensor;
  }

  Result<ggml_tensor*> place_repacked(const GgufTensor& source, ggml_backend_buffer_type_t type) {
    auto [at, added] = repack_contexts_.try_emplace(type, nullptr);
    if (added) {
      storage_->repacked.push_back(tensor_headers(file_.tensors().size() + 2));
      at->second = storage_->repacked.back().get();
      if (at->second == nullptr) return error(Code::kResourceExhausted, "no memory for tensors");
    }
    ggml_tensor* tensor = ggml_new_tensor_2d(at->second, source.type, source.ne[0], source.ne[1]);
    ggml_set_name(tensor, std::string(source.name).c_str());
    if (!with_data_) tensor->data = kNoData;
    repacked_.push_back({tensor, &source});
    storage_->owned += source.bytes;
    storage_->any_repacked = true;
    return tensor;
  }

  Status fill_repacked() {
    if (!with_data_) return Status::ok();
    for (const auto& [type, context] : repack_contexts_) {
      GgmlBuffer buffer(ggml_backend_alloc_ctx_tensors_from_buft(context, type));
      if (!buffer) {
        return error(Code::kResourceExhausted, "no memory for the weights that ",
                     ggml_backend_buft_name(type), " rearranges");
      }
      ggml_backend_buffer_set_usage(buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
      storage_->buffers.push_back(std::move(buffer));
    }
    for (const Pending& item : repacked_) {
      HEED_TRY(checkpoint(*item.source));
      ggml_backend_tensor_set(item.tensor, file_.data(*item.source), 0, item.source->bytes);
      file_.release(file_.data(*item.source), item.source->bytes);
    }
    return Status::ok();
  }

  Status place_groups() {
    if (packed_.empty()) return Status::ok();
    std::vector<PackedWeight*> all;
    for (const Pending& item : packed_) all.push_back(&storage_->packed.at(item.tensor));
    HEED_ASSIGN(storage_->memory.emplace_back(), place_together(all));
    return Status::ok();
  }

  Status fill_packed() {
    HEED_TRY(place_groups());
    for (const Pending& item : packed_) {
      HEED_TRY(checkpoint(*item.source));
      PackedWeight& weight = storage_->packed.at(item.tensor);
      const int64_t groups = weight.groups();
      in_parts(item.source->bytes, [&](int64_t part, int64_t parts) {
        fill_groups(weight, *item.source, groups * part / parts, groups * (part + 1) / parts);
      });
      HEED_TRY(not_cancelled());  // else nothing was left out
    }
    return Status::ok();
  }

  // Slice after slice, so that the file's pages and the copy are not resident together.
  void fill_groups(PackedWeight& weight, const GgufTensor& source, int64_t begin, int64_t end) {
    const uint8_t* rows = file_.data(source);
    const auto row_bytes = static_cast<int64_t>(ggml_row_size(source.type, source.ne[0]));
    const int64_t group_bytes = row_bytes * kernels::kGroupOutputs;
    const int64_t step = std::max<int64_t>(1, (int64_t{4} << 20) / group_bytes);
    for (int64_t g = begin; g < end && !cancelled(); g += step) {
      const int64_t stop = std::min(end, g + step);
      weight.fill(rows, g, stop);
      const int64_t last = std::min(stop * kernels::kGroupOutputs, weight.outputs());
      file_.release(rows + g * group_bytes,
                    static_cast<size_t>(last * row_bytes - g * group_bytes));
    }
  }

  // fn(part, parts) by the threads of the model; small tensors by this one.
  template <class Fn>
  void in_parts(uint64_t bytes, const Fn& fn) const {
    const int parts = bytes > (1 << 20) ? std::max(1, options_.threads) : 1;
    std::vector<std::jthread> helpers;  // they join when the system has no thread for a later one
    helpers.reserve(static_cast<size_t>(parts - 1));
    for (int t = 1; t < parts; ++t) helpers.emplace_back([&fn, t, parts] { fn(t, parts); });
    fn(0, parts);
  }

  Status fill_dequantised() {
    if (!with_data_) return Status::ok();
    for (const Pending& item : dequantised_) {
      HEED_TRY(checkpoint(*item.source));
      const int64_t rows = item.source->ne[1];
      in_parts(item.source->bytes, [&](int64_t part, int64_t parts) {
        widen(*item.source, static_cast<float*>(item.tensor->data), rows * part / parts,
              rows * (part + 1) / parts);
      });
      HEED_TRY(not_cancelled());
    }
    return Status::ok();
  }

  // Rows [begin, end) of a tensor to fp32, fewer when the load is cancelled.
  void widen(const GgufTensor& source, float* out, int64_t begin, int64_t end) const {
    const uint8_t* data = file_.data(source);
    const size_t row_bytes = ggml_row_size(source.type, source.ne[0]);
    for (int64_t row = begin; row < end && !cancelled(); ++row) {
      const uint8_t* from = data + static_cast<size_t>(row) * row_bytes;
      float* to = out + row * source.ne[0];
      if (source.type == GGML_TYPE_F32) {
        std::memcpy(to, from, row_bytes);
      } else {
        ggml_get_type_traits(source.type)->to_float(from, to, source.ne[0]);
      }
    }
  }

  bool cancelled() const { return options_.cancel != nullptr && options_.cancel->cancelled(); }
  Status not_cancelled() const {
    return cancelled() ? error(Code::kCancelled, "loading was cancelled") : Status::ok();
  }

  Status checkpoint(const GgufTensor& next) {
    HEED_TRY(not_cancelled());
    HEED_TRY(file_.unchanged());
    done_ += next.bytes;
    if (options_.progress) {
      options_.progress(static_cast<double>(done_) / static_cast<double>(file_.size()));
    }
    return Status::ok();
  }

  const GgufFile& file_;
  const Hyperparameters& hyper_;
  const ModelOptions& options_;
  const bool with_data_;
  std::optional<Repacking> repacking_;
  std::map<ggml_backend_buffer_type_t, ggml_context*> repack_contexts_;
  std::vector<Pending> packed_, repacked_, dequantised_;
  ModelWeights* weights_ = nullptr;
  ModelWeights::Storage* storage_ = nullptr;
  uint64_t done_ = 0;
};

Result<std::unique_ptr<ModelWeights>> ModelWeights::load(const GgufFile& file,
                                                         const Hyperparameters& hyper,
                                                         const ModelOptions& options) {
  return WeightLoader(file, hyper, options, true).load();
}

Result<std::unique_ptr<ModelWeights>> ModelWeights::shapes_only(const GgufFile& file,
                                                                const Hyperparameters& hyper,
                                                                const ModelOptions& options) {
  return WeightLoader(file, hyper, options, false).load();
}

}  // namespace heed
