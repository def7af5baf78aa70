#include "model/weight_uses.h"

#include <ggml.h>

#include <cctype>

#include "base/guard.h"
#include "base/text.h"
#include "linear/unit.h"
#include "model/library_log.h"
#include "model/split_set.h"
#include "model/tensor_rules.h"
#include "model/weights.h"

namespace heed {
namespace {

std::string type_name(ggml_type type) {
  std::string name = ggml_type_name(type);
  for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

class UseList {
 public:
  UseList(const GgufFile& file, const ModelWeights& weights, Isa isa)
      : file_(file), weights_(weights), isa_(isa) {}

  void add(const ggml_tensor* tensor, const GgufTensor& source, const std::string& kernel) {
    uses_.push_back(use_of(source, kernel));
    uint64_t packed = 0;
    for (const PackedWeight& weight : weights_.packed_all(tensor)) {
      packed += static_cast<uint64_t>(weight.bytes());
    }
    uses_.back().resident_bytes = packed > 0 ? packed : ggml_nbytes(tensor);
  }

  void add_used(const ggml_tensor* tensor, const GgufTensor& source) {
    add(tensor, source, tensor->ne[1] == 1 ? "vector" : product_kernel(tensor));
  }
  void add_used(const ggml_tensor* tensor) {
    if (tensor != nullptr) add_used(tensor, source_of(tensor));
  }

  void add_used_vectors(const ggml_tensor* tensor) {
    if (tensor != nullptr) add(tensor, source_of(tensor), "vector");
  }

  // Parts of a fused tensor are there one by one.
  void add_layer(const Hyperparameters& hyper, int layer) {
    for (const LayerTensorSpec& spec : layer_tensor_specs()) {
      const ggml_tensor* tensor = weights_.layers[static_cast<size_t>(layer)][spec.tensor];
      if (tensor == nullptr) continue;
      const GgufTensor source = *layer_tensor(file_, hyper, layer, spec.tensor);
      if (spec.out == Size::kNone) {
        add_vectors(tensor, source);
      } else {
        add_used(tensor, source);
      }
    }
  }

  // One vector, or one per expert.
  void add_vectors(const ggml_tensor* tensor, const GgufTensor& source) {
    add(tensor, source, "vector");
    uses_.back().outputs = 1;
    uses_.back().experts = tensor->ne[1];
  }

  // The table stays in the file; only the rows of the tokens that come are read.
  void add_lookup(const ggml_tensor* table) {
    if (table == nullptr) return;
    add(table, source_of(table), "row lookup");
    uses_.back().resident_bytes = 0;
  }

  void add_head() {
    if (weights_.head != weights_.embeddings) return add_used(weights_.head);
    add(weights_.head, source_of(weights_.head), product_kernel(weights_.head));
  }

  void add_rotation() {
    for (const char* name : kRopeTensors) {
      const GgufTensor* source = file_.find_tensor(name);
      if (source == nullptr) continue;
      uses_.push_back(use_of(*source, "rotation"));
      uses_.back().resident_bytes = static_cast<uint64_t>(source->elements()) * sizeof(float);
    }
  }

  std::vector<WeightUse> take() { return std::move(uses_); }

 private:
  const GgufTensor& source_of(const ggml_tensor* tensor) const {
    return *file_.find_tensor(ggml_get_name(tensor));
  }

  static WeightUse use_of(const GgufTensor& source, const std::string& kernel) {
    WeightUse use;
    use.name = source.name;
    use.type = type_name(source.type);
    use.inputs = source.ne[0];
    use.outputs = source.ne[1];
    use.experts = source.ne[2];
    use.file_bytes = source.bytes;
    use.kernel = kernel;
    return use;
  }

  std::string product_kernel(const ggml_tensor* tensor) const {
    if (const PackedWeight* packed = weights_.packed(tensor)) {
      const char* const how = packed->decoder() != nullptr ? ", decoded" : "";
      return cat("heed ", product_unit_name(product_unit(isa_, *packed)), how);
    }
    return weights_.repacked(tensor) ? "ggml repack" : "ggml plain";
  }

  const GgufFile& file_;
  const ModelWeights& weights_;
  const Isa isa_;
  std::vector<WeightUse> uses_;
};

Result<ModelWeightUses> read_uses(const std::string& path, const ModelOptions& options) {
  HEED_ASSIGN(const Isa isa, choose_isa());
  HEED_ASSIGN(const auto file, open_model_file(path));
  Result<Hyperparameters> hyper = Hyperparameters::read(*file);
  if (!hyper.is_ok()) return hyper.status().with_context(path);
  HEED_ASSIGN(const auto weights, ModelWeights::shapes_only(*file, *hyper, options));
  UseList uses(*file, *weights, isa);
  uses.add_lookup(weights->embeddings);
  uses.add_lookup(weights->positions);
  uses.add_used_vectors(weights->token_types);
  uses.add_used(weights->embeddings_norm);
  uses.add_used(weights->embeddings_norm_bias);
  for (int i = 0; i < hyper->layers; ++i) uses.add_layer(*hyper, i);
  uses.add_used(weights->output_norm);
  uses.add_head();
  uses.add_used(weights->head_bias);
  uses.add_rotation();
  return ModelWeightUses{weights->linear_kind(), uses.take()};
}

}  // namespace

Result<ModelWeightUses> list_weight_uses(const std::string& path, const ModelOptions& options) {
  route_library_logs();
  return guarded("reading the model's header", [&] { return read_uses(path, options); });
}

}  // namespace heed
