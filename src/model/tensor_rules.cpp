#include "model/tensor_rules.h"

#include <ggml-cpu.h>

#include <charconv>

#include "base/text.h"

namespace heed {
namespace {

std::string layer_name(int layer, const char* name) { return cat("blk.", layer, ".", name); }

bool in_set(TensorSet set, LayerTensor tensor) {
  return (set >> static_cast<int>(tensor) & 1) != 0;
}

std::string shape_text(int64_t in, int64_t out) {
  return out == 1 ? std::to_string(in) : cat(in, " x ", out);
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

Status check_shape(const GgufTensor& tensor, int64_t in, int64_t out) {
  const bool same =
      tensor.ne[0] == in && tensor.ne[1] == out && tensor.ne[2] == 1 && tensor.ne[3] == 1;
  if (!same) {
    return error(Code::kCorrupt, "tensor '", tensor.name, "' has shape ", tensor.shape(),
                 ", the hyper-parameters say ", shape_text(in, out),
                 "; the file contradicts itself, pull or convert it again");
  }
  return check_type(tensor, out != 1 || tensor.dims > 1);
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

Status check_globals(const GgufFile& file, Hyperparameters& h) {
  HEED_ASSIGN(const GgufTensor* embd, require(file, "token_embd.weight"));
  if (embd->ne[1] < 1 || embd->ne[1] > limits::kVocab) {
    return error(Code::kOutOfRange, "tensor 'token_embd.weight' has ", embd->ne[1],
                 " rows (the vocabulary), must be 1 to ", limits::kVocab);
  }
  h.vocab = static_cast<int>(embd->ne[1]);
  HEED_TRY(check_shape(*embd, h.embd, h.vocab));
  HEED_ASSIGN(const GgufTensor* norm, require(file, "output_norm.weight"));
  HEED_TRY(check_shape(*norm, h.embd, 1));
  const GgufTensor* head = file.find_tensor("output.weight");
  h.tied_head = head == nullptr;
  if (head != nullptr) HEED_TRY(check_shape(*head, h.embd, h.vocab));
  if (const GgufTensor* bias = file.find_tensor("output.bias")) {
    HEED_TRY(check_shape(*bias, h.vocab, 1));
  }
  if (const GgufTensor* factors = file.find_tensor("rope_freqs.weight")) {
    HEED_TRY(check_shape(*factors, h.n_rot / 2, 1));
  }
  return check_vocabulary_size(file, h);
}

Status check_layer(const GgufFile& file, const Hyperparameters& h, int layer) {
  for (const LayerTensorSpec& spec : layer_tensor_specs()) {
    const GgufTensor* tensor = layer_tensor(file, layer, spec.tensor);
    if (tensor == nullptr) {
      if (!in_set(h.arch->required, spec.tensor)) continue;
      return error(Code::kCorrupt, "tensor '", layer_name(layer, spec.name),
                   "' is missing; the file is incomplete, pull or convert it again");
    }
    HEED_TRY(check_shape(*tensor, h.size(spec.in, layer), h.size(spec.out, layer)));
  }
  return Status::ok();
}

// "blk.N.NAME" with N a layer of the model and NAME a tensor that the architecture applies.
bool is_layer_tensor(std::string_view name, const Hyperparameters& h) {
  if (!name.starts_with("blk.")) return false;
  name.remove_prefix(4);
  int layer = -1;
  const auto [end, fault] = std::from_chars(name.data(), name.data() + name.size(), layer);
  if (fault != std::errc() || layer < 0 || layer >= h.layers) return false;
  name.remove_prefix(static_cast<size_t>(end - name.data()));
  if (!name.starts_with('.')) return false;
  name.remove_prefix(1);
  for (const LayerTensorSpec& spec : layer_tensor_specs()) {
    if (name == spec.name) return in_set(h.arch->required | h.arch->optional, spec.tensor);
  }
  return false;
}

Status check_known(const GgufFile& file, const Hyperparameters& h) {
  for (const GgufTensor& tensor : file.tensors()) {
    const std::string_view name = tensor.name;
    const bool known = name == "token_embd.weight" || name == "output_norm.weight" ||
                       name == "output.weight" || (name == "output.bias" && h.arch->output_bias) ||
                       (name == "rope_freqs.weight" && h.arch->rope_factors) ||
                       is_layer_tensor(name, h);
    if (!known) {
      return error(Code::kUnsupported, "tensor '", name, "' is not part of the architecture ",
                   h.arch->name, " as heed computes it; run this model with llama.cpp");
    }
  }
  return Status::ok();
}

}  // namespace

const GgufTensor* layer_tensor(const GgufFile& file, int layer, LayerTensor tensor) {
  const LayerTensorSpec& spec = layer_tensor_specs()[static_cast<int>(tensor)];
  return file.find_tensor(layer_name(layer, spec.name));
}

Status check_tensors(const GgufFile& file, Hyperparameters& hyper) {
  HEED_TRY(check_known(file, hyper));
  HEED_TRY(check_globals(file, hyper));
  for (int i = 0; i < hyper.layers; ++i) HEED_TRY(check_layer(file, hyper, i));
  return Status::ok();
}

}  // namespace heed
