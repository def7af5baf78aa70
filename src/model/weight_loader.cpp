// Decides for each tensor of a file in which form a model holds it, and gives it its place.
#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <ggml.h>

#include <map>
#include <optional>

#include "base/text.h"
#include "model/linear_choice.h"
#include "model/tensor_rules.h"
#include "model/weight_filler.h"
#include "model/weight_storage.h"
#include "model/weights.h"

namespace heed {
namespace {

// ggml's graph allocator leaves tensors alone that have data. Of models that are only measured
// nothing is ever read.
void* const kNoData = reinterpret_cast<void*>(uintptr_t{64});

}  // namespace

class WeightLoader {
 public:
  WeightLoader(const GgufFile& file, const Hyperparameters& hyper, const ModelOptions& options,
               bool with_data)
      : file_(file),
        hyper_(hyper),
        options_(options),
        with_data_(with_data),
        filler_(file, options) {
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
    if (!with_data_) return weights;
    HEED_TRY(place_groups());
    HEED_TRY(place_repacked_contexts());
    HEED_TRY(filler_.fill());
    return weights;
  }

 private:
  Status place_all() {
    HEED_TRY(place_embeddings_and_head());
    HEED_ASSIGN(weights_->output_norm, place("output_norm.weight", false));
    HEED_ASSIGN(weights_->head_bias, place("output.bias", false));
    weights_->layers.resize(static_cast<size_t>(hyper_.layers));
    for (int i = 0; i < hyper_.layers; ++i) {
      for (const LayerTensorSpec& spec : layer_tensor_specs()) {
        HEED_ASSIGN(weights_->layers[i].tensors[static_cast<int>(spec.tensor)],
                    place(cat("blk.", i, ".", spec.name), spec.out != Size::kNone));
      }
    }
    return place_rope_factors();
  }

  Status place_embeddings_and_head() {
    const GgufTensor& table = *file_.find_tensor("token_embd.weight");  // check_tensors requires it
    HEED_ASSIGN(weights_->embeddings, place(table, false));
    const uint64_t mapped = storage_->mapped;  // nothing else is placed yet
    if (!hyper_.tied_head) {
      HEED_ASSIGN(weights_->head, place("output.weight", true));
    } else if (packed_type(table) || decoder(table) || extra_type(table) != nullptr) {
      // A rearranged matrix cannot be looked up by row: the lookup reads the few rows of a prompt
      // from the file.
      HEED_ASSIGN(weights_->head, place(table, true));
    } else {
      weights_->head = weights_->embeddings;
      return Status::ok();
    }
    storage_->looked_up = mapped;
    if (with_data_) file_.looked_up(file_.data(table), table.bytes);
    return Status::ok();
  }

  Status place_rope_factors() {
    const GgufTensor* source = file_.find_tensor("rope_freqs.weight");
    if (source == nullptr) return Status::ok();
    weights_->rope_factors.resize(static_cast<size_t>(source->elements()));
    HEED_TRY(filler_.widen_now(weights_->rope_factors.data(), *source));
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
    return place(*source, matrix);
  }

  Result<ggml_tensor*> place(const GgufTensor& source, bool matrix) {
    if (matrix) {
      if (const auto type = packed_type(source)) return place_packed(source, *type);
      if (const auto rows = decoder(source)) return place_decoded(source, *rows);
      if (const auto type = extra_type(source)) return place_repacked(source, type);
    }
    const bool vector = source.dims == 1 || source.ne[1] == 1;
    if ((vector || storage_->dequantised) && source.type != GGML_TYPE_F32) {
      return place_dequantised(source);
    }
    ggml_tensor* tensor = header(source, source.type);
    // ggml only reads weights.
    if (with_data_) tensor->data = const_cast<uint8_t*>(file_.data(source));
    storage_->mapped += source.bytes;
    storage_->any_plain |= matrix;
    return tensor;
  }

  // Name and shape, with nothing behind them.
  static ggml_tensor* header(const GgufTensor& source, ggml_type type, ggml_context* context) {
    ggml_tensor* tensor = ggml_new_tensor_2d(context, type, source.ne[0], source.ne[1]);
    ggml_set_name(tensor, std::string(source.name).c_str());
    tensor->data = kNoData;
    return tensor;
  }
  ggml_tensor* header(const GgufTensor& source, ggml_type type) {
    return header(source, type, storage_->tensors.get());
  }

  Result<ggml_tensor*> place_dequantised(const GgufTensor& source) {
    ggml_tensor* tensor = header(source, GGML_TYPE_F32);
    const uint64_t bytes = static_cast<uint64_t>(source.elements()) * sizeof(float);
    storage_->owned += bytes;
    if (!with_data_) return tensor;
    AlignedMemory memory = allocate_aligned(bytes);
    if (!memory) {
      return error(Code::kResourceExhausted, "no memory for ", bytes, " bytes of tensor '",
                   source.name, "' as fp32");
    }
    tensor->data = memory.get();
    filler_.widen(reinterpret_cast<float*>(memory.get()), source);
    storage_->memory.push_back(std::move(memory));
    return tensor;
  }

  // ggml sees the shape only.
  Result<ggml_tensor*> place_packed(const GgufTensor& source, WeightType type) {
    ggml_tensor* tensor = header(source, source.type);
    Result<PackedWeight> weight =
        PackedWeight::shape(type, source.ne[1], source.ne[0], precision());
    if (!weight.is_ok()) {
      return weight.status().with_context(cat("tensor '", source.name, "'"));
    }
    storage_->owned += static_cast<uint64_t>(weight->bytes());
    PackedWeight& placed = storage_->packed.emplace(tensor, std::move(*weight)).first->second;
    if (with_data_) {
      packed_.push_back(&placed);
      filler_.pack(placed, source);
    }
    return tensor;
  }

  // In the file's own bytes.
  Result<ggml_tensor*> place_decoded(const GgufTensor& source, const RowDecoder& rows) {
    ggml_tensor* tensor = header(source, source.type);
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
    ggml_tensor* tensor = header(source, source.type, at->second);
    if (with_data_) tensor->data = nullptr;  // place_repacked_contexts finds it a place
    filler_.rearrange(tensor, source);
    storage_->owned += source.bytes;
    storage_->any_repacked = true;
    return tensor;
  }

  Status place_groups() {
    if (packed_.empty()) return Status::ok();
    HEED_ASSIGN(storage_->memory.emplace_back(), place_together(packed_));
    return Status::ok();
  }

  Status place_repacked_contexts() {
    for (const auto& [type, context] : repack_contexts_) {
      GgmlBuffer buffer(ggml_backend_alloc_ctx_tensors_from_buft(context, type));
      if (!buffer) {
        return error(Code::kResourceExhausted, "no memory for the weights that ",
                     ggml_backend_buft_name(type), " rearranges");
      }
      ggml_backend_buffer_set_usage(buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
      storage_->buffers.push_back(std::move(buffer));
    }
    return Status::ok();
  }

  const GgufFile& file_;
  const Hyperparameters& hyper_;
  const ModelOptions& options_;
  const bool with_data_;
  WeightFiller filler_;
  std::optional<Repacking> repacking_;
  std::map<ggml_backend_buffer_type_t, ggml_context*> repack_contexts_;
  std::vector<PackedWeight*> packed_;  // to lie side by side
  ModelWeights* weights_ = nullptr;
  ModelWeights::Storage* storage_ = nullptr;
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
