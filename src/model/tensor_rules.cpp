#include "model/tensor_rules.h"

#include <ggml-cpu.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.h"

namespace heed {
namespace {

std::string layer_name(int layer, const char* name) { return cat("blk.", layer, ".", name); }

bool in_set(TensorSet set, LayerTensor tensor) {
  return (set >> static_cast<int>(tensor) & 1) != 0;
}

const LayerTensorSpec& spec_of(LayerTensor tensor) {
  return layer_tensor_specs()[static_cast<size_t>(tensor)];
}

// Outputs of a matrix, or the length of a vector.
int64_t outputs_of(const Hyperparameters& h, LayerTensor tensor, int layer) {
  const LayerTensorSpec& spec = spec_of(tensor);
  return h.size(spec.out == Size::kNone ? spec.in : spec.out, layer);
}

// The fused tensor of the file of which `tensor` is a part, or null.
const FusedTensor* fused_with(const GgufFile& file, const Hyperparameters& h, int layer,
                              LayerTensor tensor) {
  for (const FusedTensor& fused : h.arch->fused) {
    const auto end = fused.parts.begin() + fused.count;
    if (std::find(fused.parts.begin(), end, tensor) != end &&
        file.find_tensor(layer_name(layer, fused.name)) != nullptr) {
      return &fused;
    }
  }
  return nullptr;
}

// Outputs [first, first + count) of a matrix or vector, which lie behind one another in the file.
GgufTensor outputs_between(const GgufTensor& whole, int64_t first, int64_t count) {
  GgufTensor part = whole;
  const bool matrix = whole.ne[1] > 1;  // a vector may say that it has two dimensions
  const size_t bytes = ggml_row_size(whole.type, matrix ? whole.ne[0] : 1);
  part.ne[matrix ? 1 : 0] = count;
  part.offset += static_cast<uint64_t>(first) * bytes;
  part.bytes = static_cast<uint64_t>(count) * bytes;
  return part;
}

// Sizes of a tensor from the inside out; those that a tensor lacks are 1.
using Shape = std::array<int64_t, GGML_MAX_DIMS>;

std::string shape_text(const Shape& ne) {
  std::string text = std::to_string(ne[0]);
  const auto last = std::find_if(ne.rbegin(), ne.rend(), [](int64_t n) { return n != 1; });
  for (auto at = ne.begin() + 1; at < last.base(); ++at) text += cat(" x ", *at);
  return text;
}

Shape shape_of(const Hyperparameters& h, const LayerTensorSpec& spec, int layer) {
  Shape ne{1, 1, 1, 1};
  size_t dims = 0;
  for (const Size size : {spec.in, spec.out, spec.count}) {
    if (size != Size::kNone) ne[dims++] = h.size(size, layer);
  }
  return ne;
}

// A vector is widened to fp32 at load; a matrix of a type that heed does not pack goes into ggml's
// products, which need a dot, and the reference decodes any.
Status check_type(const GgufTensor& tensor, bool matrix) {
  const bool plain =
      tensor.type == GGML_TYPE_F32 || tensor.type == GGML_TYPE_F16 || tensor.type == GGML_TYPE_BF16;
  if (plain) return Status::ok();
  const bool usable = matrix && ggml_is_quantized(tensor.type) &&
                      ggml_get_type_traits(tensor.type)->to_float != nullptr &&
                      ggml_get_type_traits_cpu(tensor.type)->vec_dot != nullptr;
  if (usable) return Status::ok();
  return error(Code::kUnsupported, "tensor '", tensor.name, "' has type ",
               ggml_type_name(tensor.type), ", which heed cannot use for a ",
               matrix ? "matrix; quantise the model again, for example to Q4_K_M or Q8_0"
                      : "vector; convert the model again with F32 vectors");
}

Status check_shape(const GgufTensor& tensor, const Shape& ne, bool matrix) {
  if (!std::equal(ne.begin(), ne.end(), tensor.ne)) {
    return error(Code::kCorrupt, "tensor '", tensor.name, "' has shape ", tensor.shape(),
                 ", the hyper-parameters say ", shape_text(ne),
                 "; the file contradicts itself, pull or convert it again");
  }
  return check_type(tensor, matrix);
}

Status check_matrix(const GgufTensor& tensor, int64_t in, int64_t out) {
  return check_shape(tensor, {in, out, 1, 1}, true);
}

Status check_vector(const GgufTensor& tensor, int64_t n) {
  return check_shape(tensor, {n, 1, 1, 1}, false);
}

Result<const GgufTensor*> require(const GgufFile& file, const std::string& name) {
  const GgufTensor* tensor = file.find_tensor(name);
  if (tensor == nullptr)
    return error(Code::kCorrupt, "tensor '", name,
                 "' is missing; the file is incomplete, pull or convert it again");
  return tensor;
}

// llama.cpp makes one entry per token of the list, or per `vocab_size` where there is no list: a
// wrong number there would cost gigabytes.
Status check_vocabulary_size(const GgufFile& file, const Hyperparameters& h) {
  const GgufKey* tokens = file.find("tokenizer.ggml.tokens");
  if (tokens != nullptr && tokens->is_array) {
    if (tokens->count == static_cast<uint64_t>(h.vocab)) return Status::ok();
    return error(Code::kCorrupt, "key 'tokenizer.ggml.tokens' has ", tokens->count,
                 " entries, tensor 'token_embd.weight' has ", h.vocab, " rows");
  }
  const std::string key = cat(h.arch->name, ".vocab_size");
  HEED_ASSIGN(const int64_t size, file.integer(key, h.vocab));
  if (size == h.vocab) return Status::ok();
  return error(Code::kCorrupt, "key '", key, "' is ", size, ", tensor 'token_embd.weight' has ",
               h.vocab, " rows");
}

Status check_encoder_input(const GgufFile& file, const Hyperparameters& h) {
  for (const char* name : {kEmbeddingsNorm, kEmbeddingsNormBias}) {
    HEED_ASSIGN(const GgufTensor* vector, require(file, name));
    HEED_TRY(check_vector(*vector, h.embd));
  }
  if (const GgufTensor* types = file.find_tensor(kTokenTypes)) {
    HEED_TRY(check_matrix(*types, h.embd, types->ne[1]));
  }
  if (!h.arch->learned_positions) return Status::ok();
  HEED_ASSIGN(const GgufTensor* positions, require(file, kPositionTable));
  return check_matrix(*positions, h.embd, h.context);
}

Status check_globals(const GgufFile& file, Hyperparameters& h) {
  HEED_ASSIGN(const GgufTensor* embd, require(file, "token_embd.weight"));
  if (embd->ne[1] < 1 || embd->ne[1] > limits::kVocab) {
    return error(Code::kOutOfRange, "tensor 'token_embd.weight' has ", embd->ne[1],
                 " rows (the vocabulary), must be 1 to ", limits::kVocab);
  }
  h.vocab = static_cast<int>(embd->ne[1]);
  HEED_TRY(check_matrix(*embd, h.embd, h.vocab));
  if (h.arch->encoder) {
    HEED_TRY(check_encoder_input(file, h));
    return check_vocabulary_size(file, h);
  }
  HEED_ASSIGN(const GgufTensor* norm, require(file, "output_norm.weight"));
  HEED_TRY(check_vector(*norm, h.embd));
  const GgufTensor* head = file.find_tensor("output.weight");
  h.tied_head = head == nullptr;
  if (head != nullptr) HEED_TRY(check_matrix(*head, h.embd, h.vocab));
  if (const GgufTensor* bias = file.find_tensor("output.bias")) {
    HEED_TRY(check_vector(*bias, h.vocab));
  }
  for (const char* name : kRopeTensors) {
    const GgufTensor* factors = file.find_tensor(name);
    if (factors != nullptr) HEED_TRY(check_vector(*factors, h.n_rot / 2));
  }
  return check_vocabulary_size(file, h);
}

Status check_fused(const GgufFile& file, const Hyperparameters& h, int layer) {
  for (const FusedTensor& fused : h.arch->fused) {
    const GgufTensor* tensor = file.find_tensor(layer_name(layer, fused.name));
    if (tensor == nullptr) continue;
    int64_t outputs = 0;
    for (size_t i = 0; i < fused.count; ++i) outputs += outputs_of(h, fused.parts[i], layer);
    const LayerTensorSpec& first = spec_of(fused.parts[0]);
    HEED_TRY(first.out == Size::kNone ? check_vector(*tensor, outputs)
                                      : check_matrix(*tensor, h.size(first.in, layer), outputs));
  }
  return Status::ok();
}

Status check_layer(const GgufFile& file, const Hyperparameters& h, int layer) {
  HEED_TRY(check_fused(file, h, layer));
  for (const LayerTensorSpec& spec : layer_tensor_specs()) {
    const std::optional<GgufTensor> tensor = layer_tensor(file, h, layer, spec.tensor);
    if (!tensor) {
      if (!in_set(h.required(layer), spec.tensor)) continue;
      return error(Code::kCorrupt, "tensor '", layer_name(layer, spec.name),
                   "' is missing; the file is incomplete, pull or convert it again");
    }
    HEED_TRY(check_shape(*tensor, shape_of(h, spec, layer), spec.out != Size::kNone));
  }
  return Status::ok();
}

// "blk.N.NAME" with N a layer of the model and NAME a tensor that the architecture applies: what
// lies beside a fused tensor that holds the same is not.
bool is_layer_tensor(const GgufFile& file, std::string_view name, const Hyperparameters& h) {
  if (!name.starts_with("blk.")) return false;
  name.remove_prefix(4);
  int layer = -1;
  const auto [end, fault] = std::from_chars(name.data(), name.data() + name.size(), layer);
  if (fault != std::errc() || layer < 0 || layer >= h.layers) return false;
  const auto digits = static_cast<size_t>(end - name.data());
  if (name.substr(0, digits) != std::to_string(layer)) return false;  // "01" is no name of layer 1
  name.remove_prefix(digits);
  if (!name.starts_with('.')) return false;
  name.remove_prefix(1);
  for (const FusedTensor& fused : h.arch->fused) {
    if (name == fused.name) return true;
  }
  for (const LayerTensorSpec& spec : layer_tensor_specs()) {
    if (name == spec.name) {
      return in_set(h.required(layer) | h.optional(layer), spec.tensor) &&
             fused_with(file, h, layer, spec.tensor) == nullptr;
    }
  }
  return false;
}

bool is_rope_tensor(std::string_view name, const Architecture& arch) {
  if (name == kRopeTensors[0]) return arch.rope_factors;
  return arch.context_factors && (name == kRopeTensors[1] || name == kRopeTensors[2]);
}

// Behind an encoder's rows a classifier may stand, which takes no part in them: rank() of
// llama.cpp, which heed refuses where it is asked for.
bool is_encoder_tensor(std::string_view name, const Architecture& arch) {
  constexpr std::string_view kClassifier[] = {"cls.weight", "cls.bias", "cls.output.weight",
                                              "cls.output.bias"};
  return name == kEmbeddingsNorm || name == kEmbeddingsNormBias || name == kTokenTypes ||
         (arch.learned_positions && name == kPositionTable) ||
         std::find(std::begin(kClassifier), std::end(kClassifier), name) != std::end(kClassifier);
}

// Of all layers together.
bool is_global_tensor(std::string_view name, const Architecture& arch) {
  if (name == "token_embd.weight") return true;
  if (arch.encoder) return is_encoder_tensor(name, arch);
  return name == "output_norm.weight" || name == "output.weight" ||
         (name == "output.bias" && arch.output_bias) || is_rope_tensor(name, arch);
}

Status check_known(const GgufFile& file, const Hyperparameters& h) {
  for (const GgufTensor& tensor : file.tensors()) {
    const std::string_view name = tensor.name;
    if (!is_global_tensor(name, *h.arch) && !is_layer_tensor(file, name, h)) {
      return error(Code::kUnsupported, "tensor '", name, "' is not part of the architecture ",
                   h.arch->name, " as heed computes it; run this model with llama.cpp");
    }
  }
  return Status::ok();
}

}  // namespace

std::optional<GgufTensor> layer_tensor(const GgufFile& file, const Hyperparameters& hyper,
                                       int layer, LayerTensor tensor) {
  const FusedTensor* fused = fused_with(file, hyper, layer, tensor);
  if (fused == nullptr) {
    const GgufTensor* own = file.find_tensor(layer_name(layer, spec_of(tensor).name));
    return own != nullptr ? std::optional(*own) : std::nullopt;
  }
  int64_t first = 0;
  for (const LayerTensor part : fused->parts) {
    if (part == tensor) break;
    first += outputs_of(hyper, part, layer);
  }
  return outputs_between(*file.find_tensor(layer_name(layer, fused->name)), first,
                         outputs_of(hyper, tensor, layer));
}

Status check_tensors(const GgufFile& file, Hyperparameters& hyper) {
  HEED_TRY(check_known(file, hyper));
  HEED_TRY(check_globals(file, hyper));
  for (int i = 0; i < hyper.layers; ++i) HEED_TRY(check_layer(file, hyper, i));
  return Status::ok();
}

}  // namespace heed
