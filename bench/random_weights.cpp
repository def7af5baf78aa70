// bench_random_weights TOKENIZER.gguf OUT.gguf 1b|8b [LAYERS [ARCHITECTURE]]: a file in Q4_K_M with
// random weights in the shape of a model of 1 or 8 billion parameters, with 2 of its layers by
// default and the vocabulary of TOKENIZER.gguf (49,152 entries of SmolLM2's where the shape's own
// model has 128,256). llama.cpp's type mix gives Q6_K to the values and ffn_down of half of the
// layers, in the whole model and in 2 or 4 layers alike, so layers cost what they cost in the whole
// model. ARCHITECTURE is `llama` by default or any other: its tensors are those of its description
// in src/model/architecture.cpp, its experts (as many and as large as a published model has) and
// its latent attention those of the tables below, at the width of the shape; gpt-oss is written in
// MXFP4. Speed only: what it answers means nothing, and heed measures no KL on it.
#include <ggml.h>
#include <gguf.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/random.h"
#include "model/hyperparameters.h"
#include "quantise_file.h"

namespace {

struct Shape {
  const char* name;
  int embd, ff, heads, kv_heads, head_size;
  bool tied;  // the head reads the embeddings
};
constexpr Shape kShapes[] = {{"1b", 2048, 8192, 32, 8, 64, true},
                             {"8b", 4096, 14336, 32, 8, 128, false}};
constexpr int kMaxLayers = 128;
constexpr int kTrainedContext = 131072;
constexpr int kEncoderContext = 2048;
constexpr int kTokenTypes = 2;

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Gguf = std::unique_ptr<gguf_context, Free<gguf_free>>;
using Tensors = std::unique_ptr<ggml_context, Free<ggml_free>>;
using File = std::unique_ptr<std::FILE, Free<std::fclose>>;

bool fail(const char* path, const char* what) {
  std::fprintf(stderr, "%s: %s\n", path, what);
  return false;
}

// The keys of the tokenizer alone; `size` becomes the number of its entries.
bool take_vocabulary(const char* path, gguf_context* out, size_t& size) {
  const Gguf source(gguf_init_from_file(path, {.no_alloc = true, .ctx = nullptr}));
  if (source == nullptr) return fail(path, "is no readable GGUF file");
  const int64_t tokens = gguf_find_key(source.get(), "tokenizer.ggml.tokens");
  if (tokens < 0 || gguf_get_kv_type(source.get(), tokens) != GGUF_TYPE_ARRAY) {
    return fail(path, "has no tokenizer.ggml.tokens");
  }
  size = gguf_get_arr_n(source.get(), tokens);
  if (size == 0) return fail(path, "has an empty tokenizer.ggml.tokens");
  gguf_set_kv(out, source.get());
  std::vector<std::string> others;
  for (int64_t i = 0; i < gguf_get_n_kv(out); ++i) {
    const std::string key = gguf_get_key(out, i);
    if (!key.starts_with("tokenizer.")) others.push_back(key);
  }
  for (const std::string& key : others) gguf_remove_key(out, key.c_str());
  return true;
}

// Keys without which llama.cpp does not load an architecture, or which make it what it is, as the
// published models have them.
struct ExtraKey {
  const char* architecture;
  const char* key;
  float value;
};
constexpr ExtraKey kExtraKeys[] = {
    {"granite", "attention.scale", 0.015625f}, {"granite", "embedding_scale", 12},
    {"granite", "residual_scale", 0.22f},      {"granite", "logit_scale", 8},
    {"gemma2", "attn_logit_softcapping", 50},  {"gemma2", "final_logit_softcapping", 30}};
struct Window {
  const char* architecture;
  uint32_t size;
};
constexpr Window kWindows[] = {
    {"gemma2", 4096}, {"gemma3", 512}, {"olmo2", 4096}, {"gpt-oss", 128}};
// Qwen3-30B-A3B's, gpt-oss-20b's and DeepSeek-V2-Lite's.
struct Experts {
  const char* architecture;
  int count, used, ff, shared, dense_layers;
};
constexpr Experts kExperts[] = {{"qwen3moe", 128, 8, 768, 0, 0},
                                {"gpt-oss", 32, 4, 2880, 0, 0},
                                {"deepseek2", 64, 6, 1408, 2, 1}};
struct Latent {
  const char* architecture;
  int heads, latent, n_rot, key_part, head_v;
};
constexpr Latent kLatents[] = {{"deepseek2", 16, 512, 64, 128, 128}};

// The row of an architecture, or null.
template <class Rows>
auto row_of(const Rows& rows, std::string_view arch) {
  const auto at = std::find_if(std::begin(rows), std::end(rows),
                               [&](const auto& row) { return arch == row.architecture; });
  return at == std::end(rows) ? nullptr : &*at;
}

heed::Hyperparameters sizes_of(const heed::Architecture& arch, const Shape& shape, int layers) {
  heed::Hyperparameters h;
  h.arch = &arch;
  h.layers = layers;
  h.embd = shape.embd;
  h.dk = h.dv = h.head_k = h.head_v = h.n_rot = shape.head_size;
  heed::LayerHyper layer{.heads = shape.heads, .kv_heads = shape.kv_heads, .ff = shape.ff};
  if (const Latent* const latent = row_of(kLatents, arch.name)) {
    layer.heads = latent->heads;
    layer.kv_heads = 1;
    h.latent = h.dv = latent->latent;
    h.n_rot = latent->n_rot;
    h.dk = h.latent + h.n_rot;
    h.head_k = latent->key_part + h.n_rot;
    h.head_v = latent->head_v;
  }
  if (arch.encoder) layer.kv_heads = layer.heads;
  h.layer.assign(static_cast<size_t>(layers), layer);
  if (const Experts* const experts = row_of(kExperts, arch.name)) {
    h.experts = experts->count;
    h.experts_used = experts->used;
    h.dense_layers = std::min(experts->dense_layers, layers);
    h.shared_ff = experts->shared * experts->ff;
    for (int i = h.dense_layers; i < layers; ++i) h.layer[static_cast<size_t>(i)].ff = experts->ff;
  }
  return h;
}

void set_keys(gguf_context* out, const heed::Hyperparameters& h, const Shape& shape, size_t vocab) {
  const heed::Architecture& arch = *h.arch;
  const int layers = h.layers;
  const std::string prefix = std::string(arch.name) + ".";
  const auto set = [&](const char* key, auto value) {
    gguf_set_val_u32(out, (prefix + key).c_str(), static_cast<uint32_t>(value));
  };
  const auto set_number = [&](const char* key, float value) {
    gguf_set_val_f32(out, (prefix + key).c_str(), value);
  };
  // Without the architecture: llama.cpp looks tokens up by name where a name has "phi3" in it.
  const std::string name = std::string("random weights, shape ") + shape.name + ", " +
                           std::to_string(layers) + " layers";
  gguf_set_val_str(out, "general.architecture", arch.name);
  gguf_set_val_str(out, "general.name", name.c_str());
  gguf_set_val_bool(out, "heed.random_weights", true);
  set("context_length", arch.encoder ? kEncoderContext : kTrainedContext);
  set("embedding_length", shape.embd);
  set("block_count", layers);
  set("feed_forward_length", shape.ff);
  set("attention.head_count", h.layer[0].heads);
  set("attention.head_count_kv", h.layer[0].kv_heads);
  set("attention.key_length", h.dk);
  set("attention.value_length", h.dv);
  set("rope.dimension_count", h.n_rot);
  set("vocab_size", vocab);
  set_number("attention.layer_norm_rms_epsilon", 1e-5f);
  set_number("rope.freq_base", 500000.0f);
  if (arch.encoder) {
    set_number("attention.layer_norm_epsilon", 1e-12f);
    gguf_set_val_bool(out, (prefix + "attention.causal").c_str(), false);
    gguf_set_val_u32(out, "tokenizer.ggml.token_type_count", kTokenTypes);
  }
  for (const ExtraKey& extra : kExtraKeys) {
    if (std::string_view(extra.architecture) == arch.name) set_number(extra.key, extra.value);
  }
  if (const Window* const window = row_of(kWindows, arch.name)) {
    set("attention.sliding_window", window->size);
  }
  if (const Experts* const experts = row_of(kExperts, arch.name)) {
    set("expert_count", experts->count);
    set("expert_used_count", experts->used);
    set("expert_feed_forward_length", experts->ff);
    if (experts->shared > 0) set("expert_shared_count", experts->shared);
    if (experts->dense_layers > 0) set("leading_dense_block_count", h.dense_layers);
  }
  if (h.latent > 0) {
    set("attention.q_lora_rank", 0);  // llama.cpp wants the key unless the layers are 26 or 27
    set("attention.kv_lora_rank", h.latent);
    set("attention.key_length_mla", h.head_k);
    set("attention.value_length_mla", h.head_v);
  }
}

// Routers and what an encoder adds to its embeddings stay exact, as in published files.
bool stays_exact(std::string_view name) {
  return name.ends_with("ffn_gate_inp.weight") || name == "token_types.weight" ||
         name == "position_embd.weight";
}

class TensorList {
 public:
  TensorList(gguf_context* out, ggml_context* tensors) : out_(out), tensors_(tensors) {}

  // A vector where `outputs` is 0; as many as `count`.
  void add(const std::string& name, int64_t inputs, int64_t outputs, int64_t count = 1) {
    const bool exact = outputs == 0 || stays_exact(name);
    const int64_t vectors = outputs == 0 ? count : outputs;
    ggml_tensor* tensor = ggml_new_tensor_3d(tensors_, exact ? GGML_TYPE_F32 : GGML_TYPE_F16,
                                             inputs, vectors, outputs == 0 ? 1 : count);
    ggml_set_name(tensor, name.c_str());
    gguf_add_tensor(out_, tensor);
  }

  // What the description requires; the parts of fused weights as one.
  void add_layer(const heed::Hyperparameters& h, int layer) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    heed::TensorSet left = h.required(layer);
    for (const heed::FusedTensor& fused : h.arch->fused) {
      int64_t outputs = 0;
      for (size_t i = 0; i < fused.count; ++i) {
        const heed::TensorSet part = heed::tensor_set(fused.parts[i]);
        if ((left & part) != 0) outputs += h.size(spec_of(fused.parts[i]).out, layer);
        left &= ~part;
      }
      if (outputs > 0) add(block + fused.name, h.embd, outputs);  // optional biases stay out
    }
    for (const heed::LayerTensorSpec& spec : heed::layer_tensor_specs()) {
      if ((left & heed::tensor_set(spec.tensor)) == 0) continue;
      const bool vector = spec.out == heed::Size::kNone;
      add(block + spec.name, h.size(spec.in, layer), vector ? 0 : h.size(spec.out, layer),
          h.size(spec.count, layer));
    }
  }

 private:
  static const heed::LayerTensorSpec& spec_of(heed::LayerTensor tensor) {
    return heed::layer_tensor_specs()[static_cast<size_t>(tensor)];
  }

  gguf_context* out_;
  ggml_context* tensors_;
};

// What an encoder adds to its embeddings; it has no head.
void add_encoder_input(TensorList& list, const heed::Hyperparameters& h) {
  list.add("token_types.weight", h.embd, kTokenTypes);
  if (h.arch->rotary == heed::RotaryLayout::kNone) {
    list.add("position_embd.weight", h.embd, kEncoderContext);
  }
  list.add("token_embd_norm.weight", h.embd, 0);
  list.add("token_embd_norm.bias", h.embd, 0);
}

void add_tensors(gguf_context* out, ggml_context* tensors, const heed::Hyperparameters& h,
                 const Shape& shape, size_t vocab) {
  TensorList list(out, tensors);
  const auto rows = static_cast<int64_t>(vocab);
  list.add("token_embd.weight", h.embd, rows);
  for (int layer = 0; layer < h.layers; ++layer) list.add_layer(h, layer);
  if (h.arch->encoder) return add_encoder_input(list, h);
  list.add("output_norm.weight", h.embd, 0);
  // llama.cpp loads no olmo2 and no gpt-oss with a tied head, and no gemma2 without.
  const std::string_view arch = h.arch->name;
  const bool tied = (shape.tied || arch == "gemma2") && arch != "olmo2" && arch != "gpt-oss";
  if (!tied) list.add("output.weight", h.embd, rows);
}

// Norms and biases are 1; weights are uniform with variance 1 / inputs, so that products keep the
// size of their inputs.
std::vector<char> values_of(const ggml_tensor* tensor, uint64_t stream) {
  std::vector<char> bytes(ggml_nbytes(tensor));
  const int64_t inputs = tensor->ne[0], rows = ggml_nrows(tensor);
  std::vector<float> row(static_cast<size_t>(inputs), 1.0f);
  const double reach = std::sqrt(3.0 / static_cast<double>(inputs));
  for (int64_t r = 0; r < rows; ++r) {
    char* const to = bytes.data() + static_cast<size_t>(r) * tensor->nb[1];
    const bool vector = tensor->type == GGML_TYPE_F32 && !stays_exact(ggml_get_name(tensor));
    for (int64_t i = 0; i < inputs && !vector; ++i) {
      const auto at = static_cast<uint64_t>(r * inputs + i);
      row[static_cast<size_t>(i)] =
          static_cast<float>(reach * (2.0 * heed::random_uniform(stream, at) - 1.0));
    }
    if (tensor->type == GGML_TYPE_F32) {
      std::memcpy(to, row.data(), row.size() * sizeof(float));
    } else {
      ggml_fp32_to_fp16_row(row.data(), reinterpret_cast<ggml_fp16_t*>(to), inputs);
    }
  }
  return bytes;
}

// One tensor in memory at a time: the file of 8b has 1.7 GB with two layers and 15 with all 32.
bool write_file(const char* path, const gguf_context* out, ggml_context* tensors) {
  const File file(std::fopen(path, "wb"));
  if (file == nullptr) return fail(path, std::strerror(errno));
  if (!gguf_write_to_file_ptr(out, file.get(), true)) return fail(path, "cannot be written");
  const size_t alignment = gguf_get_alignment(out);
  uint64_t stream = 1;
  for (ggml_tensor* t = ggml_get_first_tensor(tensors); t != nullptr;
       t = ggml_get_next_tensor(tensors, t)) {
    std::vector<char> bytes = values_of(t, stream++);
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment, 0);
    if (std::fwrite(bytes.data(), 1, bytes.size(), file.get()) != bytes.size()) {
      return fail(path, std::strerror(errno));
    }
  }
  if (std::fflush(file.get()) != 0) return fail(path, std::strerror(errno));
  return true;
}

bool write_random(const char* tokenizer, const std::string& to, const heed::Architecture& arch,
                  const Shape& shape, int layers) {
  const Gguf out(gguf_init_empty());
  size_t vocab = 0;
  if (!take_vocabulary(tokenizer, out.get(), vocab)) return false;
  constexpr size_t kOtherTensors = 5;
  const size_t count = heed::kLayerTensors * static_cast<size_t>(layers) + kOtherTensors;
  const Tensors tensors(ggml_init(
      {.mem_size = count * ggml_tensor_overhead(), .mem_buffer = nullptr, .no_alloc = true}));
  if (tensors == nullptr) return fail(to.c_str(), "no memory for its header");
  const heed::Hyperparameters sizes = sizes_of(arch, shape, layers);
  set_keys(out.get(), sizes, shape, vocab);
  add_tensors(out.get(), tensors.get(), sizes, shape, vocab);
  const std::string whole = to + ".f16";
  const llama_ftype type = std::string_view(arch.name) == "gpt-oss" ? LLAMA_FTYPE_MOSTLY_MXFP4_MOE
                                                                    : LLAMA_FTYPE_MOSTLY_Q4_K_M;
  const bool written = write_file(whole.c_str(), out.get(), tensors.get()) &&
                       heed::bench::quantise_file(whole, to, type);
  std::error_code ignored;
  std::filesystem::remove(whole, ignored);
  return written;
}

const Shape* find_shape(std::string_view name) {
  const auto at = std::find_if(std::begin(kShapes), std::end(kShapes),
                               [&](const Shape& shape) { return name == shape.name; });
  return at == std::end(kShapes) ? nullptr : at;
}

}  // namespace

int main(int count, char** words) {
  const Shape* shape = count >= 4 ? find_shape(words[3]) : nullptr;
  const int layers = count >= 5 ? std::atoi(words[4]) : 2;
  if (count > 6 || shape == nullptr || layers < 1 || layers > kMaxLayers) {
    std::fprintf(stderr,
                 "usage: bench_random_weights TOKENIZER.gguf OUT.gguf 1b|8b [LAYERS "
                 "[ARCHITECTURE]], LAYERS from 1 to %d; default 2, llama\n",
                 kMaxLayers);
    return 2;
  }
  const auto arch = heed::find_architecture(count == 6 ? words[5] : "llama");
  if (!arch.is_ok()) {
    std::fprintf(stderr, "%s\n", arch.message().c_str());
    return 2;
  }
  return write_random(words[1], words[2], **arch, *shape, layers) ? 0 : 1;
}
