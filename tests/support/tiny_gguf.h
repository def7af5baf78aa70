// Tiny models with random weights as GGUF files.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "gguf_writer.h"

namespace heed::tiny {

struct Spec {
  std::string arch = "llama";
  int layers = 2, embd = 64, heads = 4, kv_heads = 2, dk = 16, ff = 96, vocab = 80;
  int experts = 0, experts_used = 0;  // with feed-forwards of ff each
  // Latent attention: heads project keys of key_part + n_rot dims and values of head_v; the store
  // has keys of latent + n_rot.
  int latent = 0, key_part = 24, head_v = 20, q_rank = 0;
  int dense_layers = 0, shared_experts = 0;
  bool choice_bias = false;
  int context = 512;
  bool tied = true;
  bool biases = false;        // q, k, v
  bool other_biases = false;  // attention output and feed-forward
  bool rope_factors = false;
  int window = 0;
  float freq_base = 10000.0f, freq_base_swa = 10000.0f;  // 0 = no key
  float rope_factor = 0;                                 // of the scaling, 0 = no key
  bool rope_scale_linear = false;                        // the factor under its old key, alone
  std::string rope_scaling = "linear";
  int rope_original_context = 0;             // 0 = no key
  int n_rot = 0;                             // 0: dk
  std::vector<uint8_t> window_pattern = {};  // per layer, 1 = windowed; empty = no key
  int window_period = 0;                     // every such layer sees everything; 0 = no key
  bool context_factors = false;              // rope_factors_long and _short
  bool unrotated = false;                    // Granite's switch
  bool fused_qkv = false;                    // q, k and v in one tensor, with their biases
  std::vector<std::pair<std::string, float>> numbers = {};  // more keys of the section
  std::vector<std::pair<std::string, uint32_t>> integers = {};
  std::vector<std::string> flags = {};  // that are true
  uint32_t weight_type = kTensorF32;
  bool text_vocabulary = false;  // SentencePiece with byte tokens; else no vocabulary
  bool space_token = false;      // else a space is three byte tokens, which prose does not survive
  uint64_t seed = 1;
};

// The smallest model that has every kind of tensor, for tests that break it byte by byte.
inline Spec small_spec() {
  Spec spec;
  spec.layers = 1;
  spec.embd = 32;
  spec.heads = 2;
  spec.kv_heads = 1;
  spec.ff = 32;
  spec.vocab = 16;
  return spec;
}

inline uint16_t to_f16(float value) {
  const _Float16 half = static_cast<_Float16>(value);
  uint16_t bits = 0;
  std::memcpy(&bits, &half, sizeof(bits));
  return bits;
}

// Blocks of 32 numbers, as the format says: d = largest / -8, then two 4-bit codes a byte.
inline std::vector<uint8_t> to_q4_0(const std::vector<float>& values) {
  std::vector<uint8_t> out;
  for (size_t at = 0; at < values.size(); at += 32) {
    float largest = 0;
    for (size_t i = 0; i < 32; ++i) {
      if (std::fabs(values[at + i]) > std::fabs(largest)) largest = values[at + i];
    }
    const uint16_t d = to_f16(largest / -8);
    const float inverse = largest == 0 ? 0 : -8 / largest;
    const auto code = [&](size_t i) {
      return static_cast<uint8_t>(std::min(15.0f, std::floor(values[at + i] * inverse + 8.5f)));
    };
    out.push_back(static_cast<uint8_t>(d & 0xFF));
    out.push_back(static_cast<uint8_t>(d >> 8));
    for (size_t i = 0; i < 16; ++i) {
      out.push_back(static_cast<uint8_t>(code(i) | code(i + 16) << 4));
    }
  }
  return out;
}

// Normal numbers around `mean`, as a tensor of that type (F32, F16, Q4_0).
inline Tensor random_tensor(const std::string& name, std::vector<uint64_t> ne, uint32_t type,
                            double mean, double deviation, uint64_t stream) {
  Tensor t{name, ne, type, {}};
  uint64_t n = 1;
  for (const uint64_t e : ne) n *= e;
  std::vector<float> values(n);
  for (uint64_t i = 0; i < n; ++i) {
    values[i] = static_cast<float>(mean + deviation * random_normal(stream, i));
  }
  if (t.type == kTensorQ4_0) {
    t.data = to_q4_0(values);
  } else if (t.type == kTensorF16) {
    t.data.resize(n * 2);
    for (uint64_t i = 0; i < n; ++i) {
      const uint16_t half = to_f16(values[i]);
      std::memcpy(t.data.data() + 2 * i, &half, 2);
    }
  } else {
    t.data.resize(n * 4);
    std::memcpy(t.data.data(), values.data(), n * 4);
  }
  return t;
}

class ModelWriter {
 public:
  explicit ModelWriter(const Spec& spec) : s_(spec) {}

  File file() {
    write_keys();
    write_vocabulary();
    write_tensors();
    return std::move(file_);
  }

 private:
  bool is(std::initializer_list<const char*> archs) const {
    return std::find(archs.begin(), archs.end(), s_.arch) != archs.end();
  }
  int n_rot() const { return s_.n_rot > 0 ? s_.n_rot : s_.dk; }
  std::string key(const char* name) const { return s_.arch + "." + name; }

  void write_keys() {
    auto& k = file_.keys;
    k.push_back(text_key("general.architecture", s_.arch));
    // A KL or an answer of such a model means nothing; measurements refuse to report one.
    k.push_back(bool_key("heed.random_weights", true));
    k.push_back(u32_key(key("block_count"), s_.layers));
    k.push_back(u32_key(key("context_length"), s_.context));
    k.push_back(u32_key(key("embedding_length"), s_.embd));
    k.push_back(u32_key(key("feed_forward_length"), s_.ff));
    k.push_back(u32_key(key("attention.head_count"), s_.heads));
    k.push_back(u32_key(key("attention.head_count_kv"), s_.kv_heads));
    k.push_back(u32_key(key("attention.key_length"), s_.latent > 0 ? s_.latent + s_.n_rot : s_.dk));
    k.push_back(u32_key(key("attention.value_length"), s_.latent > 0 ? s_.latent : s_.dk));
    if (s_.latent > 0) write_latent_keys();
    k.push_back(u32_key(key("rope.dimension_count"), n_rot()));
    k.push_back(f32_key(key("attention.layer_norm_rms_epsilon"), 1e-5f));
    if (s_.freq_base != 0) k.push_back(f32_key(key("rope.freq_base"), s_.freq_base));
    k.push_back(u32_key(key("vocab_size"), s_.vocab));
    if (s_.experts > 0) {
      k.push_back(u32_key(key("expert_count"), s_.experts));
      k.push_back(u32_key(key("expert_used_count"), s_.experts_used));
      k.push_back(u32_key(key("expert_feed_forward_length"), s_.ff));
    }
    if (s_.rope_scale_linear) {
      k.push_back(f32_key(key("rope.scale_linear"), s_.rope_factor));
    } else {
      const bool typed = s_.rope_factor != 0 || s_.rope_scaling != "linear";
      if (typed) k.push_back(text_key(key("rope.scaling.type"), s_.rope_scaling));
      if (s_.rope_factor != 0) k.push_back(f32_key(key("rope.scaling.factor"), s_.rope_factor));
    }
    if (s_.unrotated) k.push_back(bool_key(key("rope.scaling.finetuned"), false));
    if (s_.rope_original_context > 0) {
      k.push_back(u32_key(key("rope.scaling.original_context_length"), s_.rope_original_context));
    }
    if (s_.window_period > 0) {
      k.push_back(u32_key(key("attention.sliding_window_pattern"), s_.window_period));
    }
    if (!s_.window_pattern.empty()) {
      k.push_back(array_key(key("attention.sliding_window_pattern"), kBool, s_.window_pattern));
    }
    if (s_.window > 0) {
      k.push_back(u32_key(key("attention.sliding_window"), s_.window));
      const bool own_base = is({"gemma2", "gemma3", "gpt-oss"}) && s_.freq_base_swa != 0;
      if (own_base) k.push_back(f32_key(key("rope.freq_base_swa"), s_.freq_base_swa));
    }
    for (const auto& [name, value] : s_.numbers) k.push_back(f32_key(key(name.c_str()), value));
    for (const auto& [name, value] : s_.integers) k.push_back(u32_key(key(name.c_str()), value));
    for (const std::string& name : s_.flags) k.push_back(bool_key(key(name.c_str()), true));
  }

  void write_latent_keys() {
    auto& k = file_.keys;
    k.push_back(u32_key(key("attention.q_lora_rank"), s_.q_rank));
    k.push_back(u32_key(key("attention.kv_lora_rank"), s_.latent));
    k.push_back(u32_key(key("attention.key_length_mla"), s_.key_part + s_.n_rot));
    k.push_back(u32_key(key("attention.value_length_mla"), s_.head_v));
    k.push_back(u32_key(key("leading_dense_block_count"), s_.dense_layers));
    k.push_back(u32_key(key("expert_shared_count"), s_.shared_experts));
  }

  void write_vocabulary() {
    auto& k = file_.keys;
    if (!s_.text_vocabulary) {
      k.push_back(text_key("tokenizer.ggml.model", "none"));
      return;
    }
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
    std::vector<int32_t> types = {2, 3, 3};
    for (int byte = 0; byte < 256; ++byte) {
      char name[8];
      std::snprintf(name, sizeof(name), "<0x%02X>", byte);
      tokens.emplace_back(name);
      types.push_back(6);
    }
    if (s_.space_token) {
      tokens.emplace_back("\xE2\x96\x81");
      types.push_back(1);
    }
    while (static_cast<int>(tokens.size()) < s_.vocab) {
      tokens.push_back("w" + std::to_string(tokens.size()));
      types.push_back(1);
    }
    k.push_back(text_key("tokenizer.ggml.model", "llama"));
    k.push_back(texts_key("tokenizer.ggml.tokens", tokens));
    k.push_back(array_key("tokenizer.ggml.scores", kF32, std::vector<float>(tokens.size(), 0.0f)));
    k.push_back(array_key("tokenizer.ggml.token_type", kI32, types));
    k.push_back(u32_key("tokenizer.ggml.bos_token_id", 1));
    k.push_back(u32_key("tokenizer.ggml.eos_token_id", 2));
  }

  // Normal numbers around `mean`.
  void add(const std::string& name, std::vector<uint64_t> ne, double mean, double deviation) {
    // As in real files: vectors and routers stay as they are.
    const bool plain = ne.size() == 1 || name.ends_with(".bias") || name.ends_with("_inp.weight");
    file_.tensors.push_back(random_tensor(
        name, std::move(ne), plain ? static_cast<uint32_t>(kTensorF32) : s_.weight_type, mean,
        deviation, s_.seed * 1000 + file_.tensors.size()));
  }
  void matrix(const std::string& name, int in, int out, double gain = 1.0) {
    add(name, {static_cast<uint64_t>(in), static_cast<uint64_t>(out)}, 0, gain / std::sqrt(in));
  }
  void vector(const std::string& name, int n, double mean, double deviation) {
    add(name, {static_cast<uint64_t>(n)}, mean, deviation);
  }

  void write_tensors() {
    const bool small = is({"gemma2", "gemma3"});  // they scale embeddings up
    add("token_embd.weight", {static_cast<uint64_t>(s_.embd), static_cast<uint64_t>(s_.vocab)}, 0,
        small ? 0.2 : 1.0);
    vector("output_norm.weight", s_.embd, 1, 0.1);
    if (!s_.tied) matrix("output.weight", s_.embd, s_.vocab, 2.0);
    if (s_.rope_factors) vector("rope_freqs.weight", n_rot() / 2, 3.0, 0.5);
    if (s_.context_factors) {
      vector("rope_factors_long.weight", n_rot() / 2, 6.0, 1.0);
      vector("rope_factors_short.weight", n_rot() / 2, 1.5, 0.1);
    }
    for (int i = 0; i < s_.layers; ++i) write_layer("blk." + std::to_string(i) + ".", i);
  }

  void write_layer(const std::string& b, int layer) {
    const bool pre_norms = !is({"olmo2"});
    if (pre_norms) vector(b + "attn_norm.weight", s_.embd, 1, 0.1);
    if (s_.latent > 0) {
      write_latent(b);
    } else {
      write_projections(b);
    }
    matrix(b + "attn_output.weight", s_.heads * (s_.latent > 0 ? s_.head_v : s_.dk), s_.embd);
    if (s_.other_biases) vector(b + "attn_output.bias", s_.embd, 0, 0.3);
    if (is({"gpt-oss"})) {
      vector(b + "attn_sinks.weight", s_.heads, 0.5, 1);
      vector(b + "post_attention_norm.weight", s_.embd, 1, 0.1);
    } else if (pre_norms) {
      vector(b + "ffn_norm.weight", s_.embd, 1, 0.1);
    }
    if (is({"qwen3moe"})) write_qk_norms(b);
    if (s_.experts > 0 && layer >= s_.dense_layers) return write_experts(b);
    write_feed_forward(b);
    if (is({"gemma3", "qwen3", "olmo2"})) write_qk_norms(b);
    if (!is({"gemma2", "gemma3", "olmo2"})) return;
    vector(b + "post_attention_norm.weight", s_.embd, 1, 0.1);
    vector(b + "post_ffw_norm.weight", s_.embd, 1, 0.1);
  }

  void write_latent(const std::string& b) {
    const int q = s_.heads * (s_.key_part + s_.n_rot);
    const auto part = static_cast<uint64_t>(s_.key_part), latent = static_cast<uint64_t>(s_.latent),
               value = static_cast<uint64_t>(s_.head_v), heads = static_cast<uint64_t>(s_.heads);
    if (s_.q_rank > 0) {
      matrix(b + "attn_q_a.weight", s_.embd, s_.q_rank);
      vector(b + "attn_q_a_norm.weight", s_.q_rank, 1, 0.1);
      matrix(b + "attn_q_b.weight", s_.q_rank, q, 1.5);
    } else {
      matrix(b + "attn_q.weight", s_.embd, q, 1.5);
    }
    matrix(b + "attn_kv_a_mqa.weight", s_.embd, s_.latent + s_.n_rot, 1.5);
    vector(b + "attn_kv_a_norm.weight", s_.latent, 1, 0.1);
    // Keys of heads have the size of what they are made of.
    add(b + "attn_k_b.weight", {part, latent, heads}, 0, 1.5 / std::sqrt(s_.latent));
    add(b + "attn_v_b.weight", {latent, value, heads}, 0, 1 / std::sqrt(s_.latent));
  }

  void write_projections(const std::string& b) {
    const int q = s_.heads * s_.dk, kv = s_.kv_heads * s_.dk;
    if (s_.fused_qkv) {
      matrix(b + "attn_qkv.weight", s_.embd, q + 2 * kv, 1.3);
      if (s_.biases) vector(b + "attn_qkv.bias", q + 2 * kv, 0, 0.3);
      return;
    }
    // A gain of 1.5 on q and k: scores spread enough that the softmax is neither flat nor one-hot.
    matrix(b + "attn_q.weight", s_.embd, q, 1.5);
    matrix(b + "attn_k.weight", s_.embd, kv, 1.5);
    matrix(b + "attn_v.weight", s_.embd, kv);
    if (!s_.biases) return;
    vector(b + "attn_q.bias", q, 0, 0.3);
    vector(b + "attn_k.bias", kv, 0, 0.3);
    vector(b + "attn_v.bias", kv, 0, 0.3);
  }

  void write_feed_forward(const std::string& b) {
    const bool fused = is({"phi3"});  // gate and up in one tensor, which is called up
    if (!fused) matrix(b + "ffn_gate.weight", s_.embd, s_.ff);
    matrix(b + "ffn_up.weight", s_.embd, fused ? 2 * s_.ff : s_.ff);
    matrix(b + "ffn_down.weight", s_.ff, s_.embd);
    if (!s_.other_biases) return;
    vector(b + "ffn_gate.bias", s_.ff, 0, 0.3);
    vector(b + "ffn_up.bias", s_.ff, 0, 0.3);
    vector(b + "ffn_down.bias", s_.embd, 0, 0.3);
  }

  void write_qk_norms(const std::string& b) {
    const bool wide = is({"olmo2"});
    vector(b + "attn_q_norm.weight", wide ? s_.heads * s_.dk : s_.dk, 1, 0.1);
    vector(b + "attn_k_norm.weight", wide ? s_.kv_heads * s_.dk : s_.dk, 1, 0.1);
  }

  void write_experts(const std::string& b) {
    const auto embd = static_cast<uint64_t>(s_.embd), ff = static_cast<uint64_t>(s_.ff),
               n = static_cast<uint64_t>(s_.experts);
    // Logits of a router spread like those of trained ones: the best of eight takes about half.
    matrix(b + "ffn_gate_inp.weight", s_.embd, s_.experts, 1.5);
    add(b + "ffn_gate_exps.weight", {embd, ff, n}, 0, 1 / std::sqrt(s_.embd));
    add(b + "ffn_up_exps.weight", {embd, ff, n}, 0, 1 / std::sqrt(s_.embd));
    add(b + "ffn_down_exps.weight", {ff, embd, n}, 0, 1 / std::sqrt(s_.ff));
    if (s_.shared_experts > 0) {
      matrix(b + "ffn_gate_shexp.weight", s_.embd, s_.shared_experts * s_.ff);
      matrix(b + "ffn_up_shexp.weight", s_.embd, s_.shared_experts * s_.ff);
      matrix(b + "ffn_down_shexp.weight", s_.shared_experts * s_.ff, s_.embd);
    }
    if (s_.choice_bias) vector(b + "exp_probs_b.bias", s_.experts, 0, 0.1);
    if (!s_.other_biases) return;
    vector(b + "ffn_gate_inp.bias", s_.experts, 0, 0.5);
    add(b + "ffn_gate_exps.bias", {ff, n}, 0, 0.3);
    add(b + "ffn_up_exps.bias", {ff, n}, 0, 0.3);
    add(b + "ffn_down_exps.bias", {embd, n}, 0, 0.3);
  }

  Spec s_;
  File file_;
};

// The descriptions with experts, with the tensors that they require.
inline Spec expert_spec(const std::string& arch) {
  Spec spec;
  spec.arch = arch;
  spec.experts = 8;
  spec.experts_used = 2;
  if (arch == "gpt-oss") {
    spec.tied = false;
    spec.biases = spec.other_biases = true;
    spec.layers = 3;
    spec.dk = 32;
    spec.window = 24;
    spec.freq_base_swa = 0;
  }
  if (arch == "deepseek2") {
    spec.tied = false;
    spec.layers = 3;
    spec.kv_heads = 1;
    spec.latent = 32;
    spec.n_rot = 16;
    spec.dense_layers = 1;
    spec.shared_experts = 2;
  }
  return spec;
}

inline File make_file(const Spec& spec) { return ModelWriter(spec).file(); }

// A file in the temporary folder that goes away with the object.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::vector<uint8_t>& bytes) {
    static int count = 0;
    path_ = (std::filesystem::temp_directory_path() /
             ("heed-tiny-" + std::to_string(::getpid()) + "-" + std::to_string(count++) + ".gguf"))
                .string();
    rewrite(bytes);
  }
  explicit TemporaryFile(const File& file) : TemporaryFile(file.encode().bytes) {}
  explicit TemporaryFile(const Spec& spec) : TemporaryFile(make_file(spec)) {}
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void rewrite(const std::vector<uint8_t>& bytes) const {
    std::ofstream out(path_, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace heed::tiny
