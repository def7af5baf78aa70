#include "model/weight_uses.h"

#include <ggml.h>

#include <cctype>

#include "base/guard.h"
#include "base/text.h"
#include "linear/unit.h"
#include "model/library_log.h"
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

  void add(const ggml_tensor* tensor, const std::string& kernel) {
    if (tensor == nullptr) return;
    const GgufTensor& source = *file_.find_tensor(ggml_get_name(tensor));
    const PackedWeight* packed = weights_.packed(tensor);
    uses_.push_back(use_of(source, kernel));
    uses_.back().resident_bytes =
        packed != nullptr ? static_cast<uint64_t>(packed->bytes()) : ggml_nbytes(tensor);
  }

  void add_used(const ggml_tensor* tensor) {
    if (tensor != nullptr) add(tensor, tensor->ne[1] == 1 ? "vector" : product_kernel(tensor));
  }

  // The table stays in the file; only the rows of the tokens that come are read.
  void add_embeddings() {
    add(weights_.embeddings, "row lookup");
    uses_.back().resident_bytes = 0;
  }

  void add_head() {
    if (weights_.head != weights_.embeddings) return add_used(weights_.head);
    add(weights_.head, product_kernel(weights_.head));
  }

  void add_rotation() {
    const GgufTensor* source = file_.find_tensor("rope_freqs.weight");
    if (source == nullptr) return;
    uses_.push_back(use_of(*source, "rotation"));
    uses_.back().resident_bytes = weights_.rope_factors.size() * sizeof(float);
  }

  std::vector<WeightUse> take() { return std::move(uses_); }

 private:
  static WeightUse use_of(const GgufTensor& source, const std::string& kernel) {
    WeightUse use;
    use.name = source.name;
    use.type = type_name(source.type);
    use.inputs = source.ne[0];
    use.outputs = source.ne[1];
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
  HEED_ASSIGN(const auto file, GgufFile::open(path));
  Result<Hyperparameters> hyper = Hyperparameters::read(*file);
  if (!hyper.is_ok()) return hyper.status().with_context(path);
  HEED_ASSIGN(const auto weights, ModelWeights::shapes_only(*file, *hyper, options));
  UseList uses(*file, *weights, isa);
  uses.add_embeddings();
  for (const LayerWeights& layer : weights->layers) {
    for (const ggml_tensor* tensor : layer.tensors) uses.add_used(tensor);
  }
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
