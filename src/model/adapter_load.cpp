// Adapters and control vectors from their files to memory of their own.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "base/guard.h"
#include "base/text.h"
#include "model/adapter.h"
#include "model/gguf_parser.h"
#include "model/library_log.h"
#include "model/mapped_file.h"
#include "model/model_impl.h"
#include "model/sha256.h"

namespace heed {
namespace {

// A file's bytes in memory of their own: what is hashed is what is read.
struct HashedFile {
  std::unique_ptr<MappedFile> bytes;
  std::unique_ptr<GgufFile> gguf;
  std::string sha256;
};

Result<HashedFile> open_hashed(const std::string& path) {
  HashedFile file;
  HEED_ASSIGN(file.bytes, MappedFile::open(path, FileAccess::kRead));
  HEED_ASSIGN(file.gguf, GgufFile::from_bytes(file.bytes->bytes(), path));
  Sha256 hash;
  hash.update(file.bytes->bytes().data(), file.bytes->bytes().size());
  file.sha256 = hash.finish();
  return file;
}

// N of "direction.N", or 0.
int direction_layer(std::string_view name) {
  constexpr std::string_view kPrefix = "direction.";
  if (!name.starts_with(kPrefix)) return 0;
  name.remove_prefix(kPrefix.size());
  int layer = 0;
  const auto [end, fault] = std::from_chars(name.data(), name.data() + name.size(), layer);
  return fault == std::errc() && end == name.data() + name.size() && layer > 0 ? layer : 0;
}

Status check_direction(const GgufTensor& tensor, int embd, size_t layers) {
  const int layer = direction_layer(tensor.name);
  if (layer == 0 || static_cast<size_t>(layer) >= layers) {
    return error(Code::kUnsupported, "tensor '", printable(tensor.name),
                 "' is no direction of a control vector for this model (direction.N, N from 1 to ",
                 layers - 1, ")");
  }
  if (tensor.type != GGML_TYPE_F32) {
    return error(Code::kUnsupported, "tensor '", tensor.name, "' has type ",
                 ggml_type_name(tensor.type), ", directions are F32");
  }
  if (tensor.elements() == tensor.ne[0] && tensor.ne[0] == embd) return Status::ok();
  return error(Code::kCorrupt, "tensor '", tensor.name, "' has shape ", tensor.shape(),
               ", the model's residual is ", embd,
               " wide; the control vector was made for another "
               "model");
}

// Directions of layers outside the range are checked and left out.
Status add_directions(const GgufFile& file, float scale, ControlVector& to) {
  if (file.tensors().empty()) return Status(Code::kCorrupt, "holds no tensors direction.N");
  for (const GgufTensor& tensor : file.tensors()) {
    HEED_TRY(check_direction(tensor, to.embd, to.directions.size()));
    const auto* const values = reinterpret_cast<const float*>(GgufFile::data(tensor));
    std::vector<float> direction(static_cast<size_t>(to.embd));
    std::memcpy(direction.data(), values, direction.size() * sizeof(float));
    HEED_TRY(check_finite(tensor.name, direction.data(), to.embd));
    const int layer = direction_layer(tensor.name);
    if (layer < to.range.first || layer > to.range.last) continue;
    std::vector<float>& sum = to.directions[static_cast<size_t>(layer)];
    sum.resize(direction.size());
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += scale * direction[i];
  }
  return Status::ok();
}

// Behind the last layer nothing is added; llama.cpp's range may name it.
Result<LayerRange> resolved(LayerRange range, int layers) {
  const int last = layers - 1;
  const int asked = range.last == 0 ? last : range.last;
  if (range.first >= 1 && range.first <= asked && asked <= layers) {
    return LayerRange{range.first, std::min(asked, last)};
  }
  return error(Code::kOutOfRange, "layers ", range.first, " to ", asked,
               " of a control vector: must be 1 to ", last, ", the first not above the last");
}

Status check_scale(const std::string& path, float scale) {
  if (std::isfinite(scale)) return Status::ok();
  return error(Code::kInvalidArgument, path, ": scale ", scale, " must be finite");
}

Result<std::shared_ptr<const ControlVector>> sum_of(const Hyperparameters& hyper,
                                                    std::span<const ScaledFile> files,
                                                    LayerRange range) {
  auto made = std::make_shared<ControlVector>();
  made->embd = hyper.embd;
  HEED_ASSIGN(made->range, resolved(range, hyper.layers));
  made->directions.resize(static_cast<size_t>(hyper.layers));
  for (const ScaledFile& source : files) {
    HEED_TRY(check_scale(source.path, source.scale));
    HEED_ASSIGN(const HashedFile file, open_hashed(source.path));
    HEED_TRY(add_directions(*file.gguf, source.scale, *made).with_context(source.path));
    made->sources.push_back({file.sha256, source.scale});
  }
  return std::shared_ptr<const ControlVector>(std::move(made));
}

}  // namespace

Result<std::shared_ptr<const LoraAdapter>> load_lora(const Model& model, const std::string& path) {
  return guarded("loading the adapter", [&]() -> Result<std::shared_ptr<const LoraAdapter>> {
    HEED_ASSIGN(HashedFile file, open_hashed(path));
    auto made = LoraAdapter::make(*file.gguf, *model.impl().file, *model.impl().hyper,
                                  std::move(file.sha256), true);
    if (!made.is_ok()) return made.status().with_context(path);
    return made;
  });
}

Result<std::shared_ptr<const ControlVector>> load_control_vector(const Model& model,
                                                                 std::span<const ScaledFile> files,
                                                                 LayerRange range) {
  return guarded("loading the control vector",
                 [&] { return sum_of(*model.impl().hyper, files, range); });
}

std::vector<float> control_values(const ControlVector& control) {
  std::vector<float> values;
  for (size_t layer = 1; layer < control.directions.size(); ++layer) {
    std::vector<float> row = control.directions[layer];
    row.resize(static_cast<size_t>(control.embd));
    values.insert(values.end(), row.begin(), row.end());
  }
  return values;
}

std::string adaptation_text(const Adaptation& adaptation) {
  // As few digits as give the same number back.
  const auto number = [](float value) {
    char digits[32];
    return std::string(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
  };
  std::string text;
  for (const ScaledLora& lora : adaptation.loras) {
    if (lora.scale != 0) {
      text += cat("lora ", lora.adapter->sha256(), " ", number(lora.scale), "\n");
    }
  }
  if (const ControlVector* control = adaptation.control.get()) {
    for (const ControlVector::Source& source : control->sources) {
      text += cat("control ", source.sha256, " ", number(source.scale), "\n");
    }
    text += cat("control layers ", control->range.first, " to ", control->range.last, "\n");
  }
  return text;
}

}  // namespace heed
