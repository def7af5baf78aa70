#include "model/adapter.h"

#include <ggml.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/nearest.h"
#include "base/text.h"
#include "model/gguf_parser.h"
#include "model/tensor_rules.h"
#include "model/weights.h"

namespace heed {
namespace {

constexpr int64_t kBlock = kernels::kBlockInputs;

int64_t padded(int64_t n) { return (n + kBlock - 1) / kBlock * kBlock; }

// Outputs [first, first + outputs) of a tensor of the model's file, as the graph multiplies them.
struct Part {
  int target = 0;
  int64_t first = 0, outputs = 0;
};

// The layer of "blk.N.NAME", or -1.
int layer_of(std::string_view name, int layers) {
  if (!name.starts_with("blk.")) return -1;
  name.remove_prefix(4);
  int layer = -1;
  const auto [end, fault] = std::from_chars(name.data(), name.data() + name.size(), layer);
  const bool good = fault == std::errc() && end != name.data() + name.size() && *end == '.';
  return good && layer >= 0 && layer < layers ? layer : -1;
}

class TargetRules {
 public:
  TargetRules(const GgufFile& file, const Hyperparameters& hyper) : file_(file), hyper_(hyper) {}

  Result<std::vector<Part>> parts_of(const LoraPair& pair) const {
    HEED_ASSIGN(const GgufTensor* whole, tensor(pair.target));
    if (whole->ne[0] != pair.inputs() || whole->ne[1] != pair.outputs()) {
      return error(Code::kCorrupt, "'", pair.target, "': factors of ", pair.a->shape(), " and ",
                   pair.b->shape(), " belong to a matrix of ", pair.inputs(), " x ", pair.outputs(),
                   ", the model's has ", whole->shape(),
                   "; the adapter was made for another model");
    }
    const int64_t all = pair.b->ne[1];
    if (pair.is_table()) return std::vector{Part{table_target(hyper_.layers), 0, all}};
    if (pair.target == kHeadName) return std::vector{Part{head_target(hyper_.layers), 0, all}};
    return layer_parts(*whole);
  }

 private:
  // The head of a model that has no tensor of its own for it is the table.
  Result<const GgufTensor*> tensor(std::string_view name) const {
    if (const GgufTensor* found = file_.find_tensor(name)) return found;
    if (name == kHeadName && hyper_.tied_head) return file_.find_tensor(kTableName);
    std::vector<std::string_view> names;
    for (const GgufTensor& t : file_.tensors()) names.push_back(t.name);
    const std::string near = nearest_name(name, names);
    return error(Code::kUnsupported, "'", printable(name), "' is no tensor of the model",
                 near.empty() ? std::string() : cat("; the nearest is '", near, "'"),
                 "; the adapter was made for another model");
  }

  Result<std::vector<Part>> layer_parts(const GgufTensor& whole) const {
    std::vector<Part> parts;
    const int layer = layer_of(whole.name, hyper_.layers);
    const auto row = static_cast<uint64_t>(ggml_row_size(whole.type, whole.ne[0]));
    for (const LayerTensorSpec& spec : layer_tensor_specs()) {
      if (layer < 0 || spec.out == Size::kNone || spec.count != Size::kNone) continue;
      const auto part = layer_tensor(file_, hyper_, layer, spec.tensor);
      if (!part || part->name != whole.name || part->ne[2] != 1) continue;
      parts.push_back({target_of(layer, spec.tensor),
                       static_cast<int64_t>((part->offset - whole.offset) / row), part->ne[1]});
    }
    if (!parts.empty()) return parts;
    return error(Code::kUnsupported, "'", printable(whole.name), "' of ", whole.shape(),
                 " is no plain matrix: heed adapts those of attention and feed-forward, the table "
                 "of embeddings and the head; merge this adapter into its model");
  }

  const GgufFile& file_;
  const Hyperparameters& hyper_;
};

}  // namespace

// Lays factors out for the products: rows padded with zeros to whole blocks, F16 as it is, the
// rest as F32.
class AdapterMaker {
 public:
  AdapterMaker(LoraAdapter& adapter, bool with_data) : adapter_(adapter), with_data_(with_data) {}

  Status add(const AdapterFile& file, const LoraPair& pair, const std::vector<Part>& parts) {
    const PackedWeight* a = nullptr;
    const float* table = nullptr;
    if (pair.is_table()) {
      HEED_ASSIGN(table, place_table(*pair.a));
    } else {
      HEED_ASSIGN(a, place(*pair.a, 0, pair.a->ne[1]));
    }
    for (const Part& part : parts) {
      LoraAdapter::Factors& to = adapter_.targets_[static_cast<size_t>(part.target)];
      HEED_ASSIGN(to.b, place(*pair.b, part.first, part.outputs));
      to.a = a;
      to.table = table;
      to.rank = pair.rank();
      to.inputs = pair.inputs();
      to.outputs = pair.is_table() ? pair.outputs() : part.outputs;
      to.scale = file.scale_of(pair);
    }
    return Status::ok();
  }

  Status fill() {
    if (!with_data_) return Status::ok();
    std::vector<PackedWeight*> all;
    for (PackedWeight& weight : adapter_.packed_) all.push_back(&weight);
    if (!all.empty()) {
      HEED_ASSIGN(adapter_.memory_, place_together(all));
    }
    for (const Pending& p : pending_) HEED_TRY(fill(p));
    return Status::ok();
  }

 private:
  // Rows [first, ...) of a tensor.
  struct Pending {
    PackedWeight* weight;
    const GgufTensor* source;
    int64_t first;
  };

  static uint64_t row_bytes(const GgufTensor& source) {
    return ggml_row_size(source.type, source.ne[0]);
  }
  static const uint8_t* row(const GgufTensor& source, int64_t r) {
    return GgufFile::data(source) + static_cast<uint64_t>(r) * row_bytes(source);
  }
  static void widen(const GgufTensor& source, int64_t r, float* out) {
    if (source.type == GGML_TYPE_F32) {
      std::memcpy(out, row(source, r), row_bytes(source));
    } else {
      ggml_get_type_traits(source.type)->to_float(row(source, r), out, source.ne[0]);
    }
  }

  Result<const PackedWeight*> place(const GgufTensor& source, int64_t first, int64_t outputs) {
    const WeightType type = source.type == GGML_TYPE_F16 ? WeightType::kF16 : WeightType::kF32;
    Result<PackedWeight> weight = PackedWeight::shape(type, outputs, padded(source.ne[0]));
    if (!weight.is_ok()) return weight.status().with_context(cat("tensor '", source.name, "'"));
    adapter_.bytes_ += static_cast<uint64_t>(weight->bytes());
    adapter_.packed_.push_back(std::move(*weight));
    PackedWeight* const placed = &adapter_.packed_.back();
    pending_.push_back({placed, &source, first});
    return placed;
  }

  Result<const float*> place_table(const GgufTensor& source) {
    const auto n = static_cast<size_t>(source.ne[0] * source.ne[1]);
    adapter_.bytes_ += n * sizeof(float);
    std::vector<float>& table = adapter_.tables_.emplace_back();
    if (!with_data_) return static_cast<const float*>(nullptr);
    table.resize(n);
    for (int64_t r = 0; r < source.ne[1]; ++r) widen(source, r, table.data() + r * source.ne[0]);
    HEED_TRY(check_finite(source.name, table.data(), static_cast<int64_t>(n)));
    return static_cast<const float*>(table.data());
  }

  Status fill(const Pending& p) {
    PackedWeight& weight = *p.weight;
    const bool halves = weight.type() == WeightType::kF16;
    const auto stride = static_cast<size_t>(file_row_bytes(weight.type(), weight.inputs()));
    plain_.resize(static_cast<size_t>(p.source->ne[0]));
    rows_.assign(stride * static_cast<size_t>(weight.outputs()), 0);
    for (int64_t o = 0; o < weight.outputs(); ++o) {
      widen(*p.source, p.first + o, plain_.data());
      HEED_TRY(check_finite(p.source->name, plain_.data(), p.source->ne[0]));
      const void* const from = halves ? static_cast<const void*>(row(*p.source, p.first + o))
                                      : static_cast<const void*>(plain_.data());
      std::memcpy(rows_.data() + static_cast<size_t>(o) * stride, from,
                  halves ? row_bytes(*p.source) : plain_.size() * sizeof(float));
    }
    weight.fill(rows_.data(), 0, weight.groups());
    return Status::ok();
  }

  LoraAdapter& adapter_;
  const bool with_data_;
  std::vector<Pending> pending_;
  std::vector<float> plain_;   // one row
  std::vector<uint8_t> rows_;  // of one factor, padded
};

Result<std::shared_ptr<const LoraAdapter>> LoraAdapter::make(const GgufFile& adapter,
                                                             const GgufFile& model,
                                                             const Hyperparameters& hyper,
                                                             std::string sha256, bool with_data) {
  HEED_ASSIGN(AdapterFile file, AdapterFile::read(adapter));
  if (file.info.architecture != hyper.arch->name) {
    return error(Code::kUnsupported, "is an adapter for models of architecture '",
                 printable(file.info.architecture), "', the model is '", hyper.arch->name,
                 "'; take the model that it was trained with");
  }
  const std::shared_ptr<LoraAdapter> made(new LoraAdapter);
  made->targets_.resize(static_cast<size_t>(target_count(hyper.layers)));
  AdapterMaker maker(*made, with_data);
  const TargetRules rules(model, hyper);
  for (const LoraPair& pair : file.pairs) {
    HEED_ASSIGN(const std::vector<Part> parts, rules.parts_of(pair));
    HEED_TRY(maker.add(file, pair, parts));
  }
  HEED_TRY(maker.fill());
  made->info_ = std::move(file.info);
  made->sha256_ = std::move(sha256);
  return std::shared_ptr<const LoraAdapter>(made);
}

const ggml_tensor* target_tensor(const ModelWeights& weights, int target) {
  const int layers = static_cast<int>(weights.layers.size());
  if (target == head_target(layers)) return weights.head;
  if (target == table_target(layers)) return weights.embeddings;
  return weights.layers[static_cast<size_t>(target / kLayerTensors)]
      .tensors[static_cast<size_t>(target % kLayerTensors)];
}

}  // namespace heed
