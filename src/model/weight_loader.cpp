// Decides for each tensor of a file in which form a model holds it, and gives it its place.
#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <ggml.h>

#include <deque>
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

enum class Role : uint8_t {
  kTable,    // rows are looked up
  kVectors,  // of fp32: one, or one per expert
  kMatrix,   // multiplied with: one, or one per expert
};

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
    storage_->tensors = tensor_headers(most_tensors());
    if (!storage_->tensors) return error(Code::kResourceExhausted, "no memory for tensor headers");
    HEED_TRY(place_all());
    if (!with_data_) return weights;
    HEED_TRY(place_groups());
    HEED_TRY(place_repacked_contexts());
    HEED_TRY(filler_.fill());
    return weights;
  }

 private:
  // A tied head is there twice, a fused tensor as its parts.
  size_t most_tensors() const {
    size_t parts = 0;
    for (const FusedTensor& fused : hyper_.arch->fused) parts += fused.count;
    return file_.tensors().size() + 2 + parts * static_cast<size_t>(hyper_.layers);
  }

  Status place_all() {
    HEED_TRY(place_embeddings_and_head());
    HEED_ASSIGN(weights_->output_norm, place("output_norm.weight", Role::kVectors));
    HEED_ASSIGN(weights_->head_bias, place("output.bias", Role::kVectors));
    weights_->layers.resize(static_cast<size_t>(hyper_.layers));
    for (int i = 0; i < hyper_.layers; ++i) {
      for (const LayerTensorSpec& spec : layer_tensor_specs()) {
        const Role role = spec.out == Size::kNone ? Role::kVectors : Role::kMatrix;
        const auto source = layer_tensor(file_, hyper_, i, spec.tensor);
        if (!source) continue;
        HEED_ASSIGN(weights_->layers[i].tensors[static_cast<int>(spec.tensor)],
                    place(layer_sources_.emplace_back(*source), role));
      }
    }
    HEED_TRY(read_factors(kRopeTensors[0], weights_->rope_factors));
    HEED_TRY(read_factors(kRopeTensors[1], weights_->rope_factors_long));
    return read_factors(kRopeTensors[2], weights_->rope_factors_short);
  }

  Status place_embeddings_and_head() {
    const GgufTensor& table = *file_.find_tensor("token_embd.weight");  // check_tensors requires it
    HEED_ASSIGN(weights_->embeddings, place(table, Role::kTable));
    const uint64_t mapped = storage_->mapped;  // nothing else is placed yet
    if (hyper_.arch->encoder) {
      HEED_TRY(place_encoder_input());
    } else if (!hyper_.tied_head) {
      HEED_ASSIGN(weights_->head, place("output.weight", Role::kMatrix));
    } else if (packed_type(table) || decoder(table) || extra_type(table) != nullptr) {
      // A rearranged matrix cannot be looked up by row: the lookup reads the few rows of a prompt
      // from the file.
      HEED_ASSIGN(weights_->head, place(table, Role::kMatrix));
    } else {
      weights_->head = weights_->embeddings;
      return Status::ok();
    }
    storage_->looked_up = mapped;
    if (with_data_) file_.looked_up(file_.data(table), table.bytes);
    return Status::ok();
  }

  Status place_encoder_input() {
    HEED_ASSIGN(weights_->positions, place(kPositionTable, Role::kTable));
    HEED_ASSIGN(weights_->token_types, place(kTokenTypes, Role::kVectors));
    HEED_ASSIGN(weights_->embeddings_norm, place(kEmbeddingsNorm, Role::kVectors));
    HEED_ASSIGN(weights_->embeddings_norm_bias, place(kEmbeddingsNormBias, Role::kVectors));
    return Status::ok();
  }

  Status read_factors(const char* name, std::vector<float>& factors) {
    const GgufTensor* source = file_.find_tensor(name);
    if (source == nullptr) return Status::ok();
    factors.resize(static_cast<size_t>(source->elements()));
    HEED_TRY(filler_.widen_now(factors.data(), *source));
    for (const float factor : factors) {
      if (!(factor > 0 && factor < 1e30f)) {
        return error(Code::kCorrupt, "tensor '", name, "' holds ", factor,
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
    const bool wanted = repacking_ && repack_wanted(tensor.type) && tensor.ne[2] == 1;
    return wanted ? repacking_->type_of(tensor) : nullptr;
  }

  // The tensor of that name, or null when the file has none.
  Result<ggml_tensor*> place(const std::string& name, Role role) {
    const GgufTensor* source = file_.find_tensor(name);
    if (source == nullptr) return static_cast<ggml_tensor*>(nullptr);
    return place(*source, role);
  }

  Result<ggml_tensor*> place(const GgufTensor& source, Role role) {
    if (role == Role::kMatrix) {
      if (const auto type = packed_type(source)) return place_packed(source, *type);
      if (const auto rows = decoder(source)) return place_decoded(source, *rows);
      if (const auto type = extra_type(source)) return place_repacked(source, type);
    }
    const bool vectors = role == Role::kVectors || source.ne[1] == 1;
    if ((vectors || storage_->dequantised) && source.type != GGML_TYPE_F32) {
      return place_dequantised(source);
    }
    ggml_tensor* tensor = header(source, source.type);
    // ggml only reads weights.
    if (with_data_) tensor->data = const_cast<uint8_t*>(file_.data(source));
    storage_->mapped += source.bytes;
    storage_->any_plain |= role == Role::kMatrix;
    return tensor;
  }

  // Name and shape, with nothing behind them.
  static ggml_tensor* header(const GgufTensor& source, ggml_type type, ggml_context* context) {
    ggml_tensor* tensor =
        ggml_new_tensor_3d(context, type, source.ne[0], source.ne[1], source.ne[2]);
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
    std::vector<PackedWeight>& experts = storage_->packed[tensor];
    for (int64_t e = 0; e < source.ne[2]; ++e) {
      Result<PackedWeight> weight =
          PackedWeight::shape(type, source.ne[1], source.ne[0], precision());
      if (!weight.is_ok()) {
        return weight.status().with_context(cat("tensor '", source.name, "'"));
      }
      storage_->owned += static_cast<uint64_t>(weight->bytes());
      experts.push_back(std::move(*weight));
    }
    if (!with_data_) return tensor;
    for (PackedWeight& weight : experts) packed_.push_back(&weight);
    filler_.pack(experts, source);
    return tensor;
  }

  // In the file's own bytes.
  Result<ggml_tensor*> place_decoded(const GgufTensor& source, const RowDecoder& rows) {
    ggml_tensor* tensor = header(source, source.type);
    const uint64_t bytes = source.bytes / static_cast<uint64_t>(source.ne[2]);  // of an expert
    for (int64_t e = 0; e < source.ne[2]; ++e) {
      const uint8_t* const data =
          with_data_ ? file_.data(source) + static_cast<uint64_t>(e) * bytes : nullptr;
      Result<PackedWeight> weight = PackedWeight::decoded(rows, data, source.ne[1], source.ne[0]);
      if (!weight.is_ok()) {
        return weight.status().with_context(cat("tensor '", source.name, "'"));
      }
      storage_->packed[tensor].push_back(std::move(*weight));
    }
    storage_->mapped += source.bytes;
    return tensor;
  }

  Result<ggml_tensor*> place_repacked(const GgufTensor& source, ggml_backend_buffer_type_t type) {
    auto [at, added] = repack_contexts_.try_emplace(type, nullptr);
    if (added) {
      storage_->repacked.push_back(tensor_headers(most_tensors()));
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
  std::deque<GgufTensor> layer_sources_;  // the filler points to them
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
