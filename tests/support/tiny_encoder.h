// Tiny encoders with random weights as GGUF files, and their formula in fp64.
#pragma once

#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "heed/model.h"
#include "tiny_gguf.h"

namespace heed::tiny {

struct EncoderSpec {
  std::string arch = "bert";
  int layers = 2, embd = 64, heads = 4, ff = 96, vocab = 80;
  int context = 512;
  int token_types = 2;  // 0: no such tensor
  bool biases = true;   // of products, where the architecture has them
  bool fused_qkv = false;
  int pooling = 1;          // mean; -1: no key
  bool word_piece = false;  // a tokenizer
  bool classifier = false;  // a reranker's tensors
  uint32_t weight_type = kTensorF32;
  uint64_t seed = 1;
};

// "▁" begins a word, as converters write it.
inline std::vector<std::string> word_pieces() {
  const std::string begin = "\xE2\x96\x81";
  std::vector<std::string> tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  for (const char* word : {"the", "red", "fox", "dog", "un", ".", "!", "2"}) {
    tokens.push_back(begin + word);
  }
  for (const char* piece : {"es", "s", "able", "0"}) tokens.emplace_back(piece);
  for (char c = 'a'; c <= 'z'; ++c) {
    tokens.push_back(begin + c);
    if (c != 's') tokens.emplace_back(1, c);
  }
  return tokens;
}

class EncoderWriter {
 public:
  explicit EncoderWriter(const EncoderSpec& spec) : s_(spec) {
    if (s_.word_piece) s_.vocab = static_cast<int>(word_pieces().size());
  }

  File file() {
    write_keys();
    write_vocabulary();
    write_tensors();
    return std::move(file_);
  }

 private:
  bool nomic() const { return s_.arch == "nomic-bert"; }

  void write_keys() {
    auto& k = file_.keys;
    const auto key = [this](const char* name) { return s_.arch + "." + name; };
    k.push_back(text_key("general.architecture", s_.arch));
    k.push_back(bool_key("heed.random_weights", true));
    k.push_back(u32_key(key("block_count"), s_.layers));
    k.push_back(u32_key(key("context_length"), s_.context));
    k.push_back(u32_key(key("embedding_length"), s_.embd));
    k.push_back(u32_key(key("feed_forward_length"), s_.ff));
    k.push_back(u32_key(key("attention.head_count"), s_.heads));
    k.push_back(f32_key(key("attention.layer_norm_epsilon"), 1e-12f));
    k.push_back(bool_key(key("attention.causal"), false));
    k.push_back(u32_key(key("vocab_size"), s_.vocab));
    if (s_.pooling >= 0) k.push_back(u32_key(key("pooling_type"), s_.pooling));
    if (nomic()) k.push_back(f32_key(key("rope.freq_base"), 1000));
    if (s_.classifier) k.push_back(texts_key(key("classifier.output_labels"), {"relevant"}));
    k.push_back(u32_key("tokenizer.ggml.token_type_count", std::max(1, s_.token_types)));
  }

  void write_vocabulary() {
    auto& k = file_.keys;
    if (!s_.word_piece) {
      k.push_back(text_key("tokenizer.ggml.model", "none"));
      return;
    }
    const std::vector<std::string> tokens = word_pieces();
    std::vector<int32_t> types(tokens.size(), 1);
    std::fill_n(types.begin(), 5, 3);
    k.push_back(text_key("tokenizer.ggml.model", "bert"));
    k.push_back(texts_key("tokenizer.ggml.tokens", tokens));
    k.push_back(array_key("tokenizer.ggml.token_type", kI32, types));
    k.push_back(u32_key("tokenizer.ggml.bos_token_id", 2));
    k.push_back(u32_key("tokenizer.ggml.unknown_token_id", 1));
    k.push_back(u32_key("tokenizer.ggml.seperator_token_id", 3));
    k.push_back(u32_key("tokenizer.ggml.padding_token_id", 0));
    k.push_back(u32_key("tokenizer.ggml.mask_token_id", 4));
  }

  void add(const std::string& name, std::vector<uint64_t> ne, double mean, double deviation,
           uint32_t type = kTensorF32) {
    file_.tensors.push_back(random_tensor(name, std::move(ne), type, mean, deviation,
                                          s_.seed * 1000 + file_.tensors.size()));
  }
  void vector(const std::string& name, int n, double mean, double deviation) {
    add(name, {static_cast<uint64_t>(n)}, mean, deviation);
  }
  void table(const std::string& name, int rows, double deviation) {
    add(name, {static_cast<uint64_t>(s_.embd), static_cast<uint64_t>(rows)}, 0, deviation);
  }
  void norm(const std::string& name) {
    vector(name + ".weight", s_.embd, 1, 0.1);
    vector(name + ".bias", s_.embd, 0, 0.2);
  }
  // A product and, where the model has them, its bias.
  void product(const std::string& name, int in, int out, double gain, bool bias) {
    add(name + ".weight", {static_cast<uint64_t>(in), static_cast<uint64_t>(out)}, 0,
        gain / std::sqrt(in), s_.weight_type);
    if (bias) vector(name + ".bias", out, 0, 0.3);
  }

  void write_tensors() {
    table("token_embd.weight", s_.vocab, 1);
    if (s_.token_types > 0) table("token_types.weight", s_.token_types, 0.5);
    if (!nomic()) table("position_embd.weight", s_.context, 0.5);
    norm("token_embd_norm");
    if (s_.classifier) {
      product("cls", s_.embd, s_.embd, 1, true);
      product("cls.output", s_.embd, 1, 1, true);
    }
    for (int i = 0; i < s_.layers; ++i) write_layer("blk." + std::to_string(i) + ".");
  }

  void write_layer(const std::string& b) {
    const bool biases = s_.biases && !nomic();
    if (s_.fused_qkv) {
      product(b + "attn_qkv", s_.embd, 3 * s_.embd, 1.3, biases);
    } else {
      product(b + "attn_q", s_.embd, s_.embd, 1.5, biases);
      product(b + "attn_k", s_.embd, s_.embd, 1.5, biases);
      product(b + "attn_v", s_.embd, s_.embd, 1, biases);
    }
    product(b + "attn_output", s_.embd, s_.embd, 1, biases);
    norm(b + "attn_output_norm");
    if (nomic()) product(b + "ffn_gate", s_.embd, s_.ff, 1, false);
    product(b + "ffn_up", s_.embd, s_.ff, 1, biases);
    product(b + "ffn_down", s_.ff, s_.embd, 1, biases);
    norm(b + "layer_output_norm");
  }

  EncoderSpec s_;
  File file_;
};

inline File make_encoder(const EncoderSpec& spec) { return EncoderWriter(spec).file(); }

// The rows of an encoder with F32 weights and separate q, k and v, from the formula.
class EncoderReference {
 public:
  explicit EncoderReference(const EncoderSpec& spec) : s_(spec), file_(make_encoder(spec)) {}

  using Matrix = std::vector<std::vector<double>>;  // [T][n]

  Matrix rows(const std::vector<Token>& tokens) {
    Matrix x;
    const bool positions = file_.tensor("position_embd.weight") != nullptr;
    for (size_t t = 0; t < tokens.size(); ++t) {
      x.push_back(row("token_embd.weight", tokens[t]));
      if (s_.token_types > 0) add(x[t], row("token_types.weight", 0));
      if (positions) add(x[t], row("position_embd.weight", static_cast<int>(t)));
    }
    x = normed(x, "token_embd_norm");
    for (int i = 0; i < s_.layers; ++i) x = layer(x, "blk." + std::to_string(i) + ".");
    return x;
  }

 private:
  const float* data(const std::string& name) {
    Tensor* t = file_.tensor(name);
    return t == nullptr ? nullptr : reinterpret_cast<const float*>(t->data.data());
  }
  std::vector<double> row(const std::string& name, int i) {
    const float* at = data(name) + static_cast<ptrdiff_t>(i) * s_.embd;
    return {at, at + s_.embd};
  }
  static void add(std::vector<double>& a, const std::vector<double>& b) {
    for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  }
  Matrix normed(const Matrix& x, const std::string& name) {
    const float *weight = data(name + ".weight"), *bias = data(name + ".bias");
    Matrix out = x;
    for (auto& r : out) {
      const double mean = std::accumulate(r.begin(), r.end(), 0.0) / static_cast<double>(r.size());
      double variance = 0;
      for (const double v : r) variance += (v - mean) * (v - mean) / static_cast<double>(r.size());
      for (size_t i = 0; i < r.size(); ++i) {
        r[i] = (r[i] - mean) / std::sqrt(variance + 1e-12) * weight[i] + bias[i];
      }
    }
    return out;
  }
  Matrix product(const Matrix& x, const std::string& name, int out) {
    const float *weight = data(name + ".weight"), *bias = data(name + ".bias");
    Matrix y;
    for (const auto& r : x) {
      auto& to = y.emplace_back(static_cast<size_t>(out), 0.0);
      for (size_t o = 0; o < to.size(); ++o) {
        to[o] = bias == nullptr ? 0 : bias[o];
        for (size_t i = 0; i < r.size(); ++i) to[o] += r[i] * weight[o * r.size() + i];
      }
    }
    return y;
  }
  void turn(Matrix& x) const {
    if (s_.arch != "nomic-bert") return;
    const int d = s_.embd / s_.heads;
    for (size_t t = 0; t < x.size(); ++t) {
      for (int h = 0; h < s_.heads; ++h) {
        for (int i = 0; i < d / 2; ++i) {
          const double angle = static_cast<double>(t) * std::pow(1000.0, -2.0 * i / d);
          double& a = x[t][static_cast<size_t>(h * d + i)];
          double& b = x[t][static_cast<size_t>(h * d + d / 2 + i)];
          const double turned = a * std::cos(angle) - b * std::sin(angle);
          b = a * std::sin(angle) + b * std::cos(angle);
          a = turned;
        }
      }
    }
  }
  Matrix attention(const Matrix& x, const std::string& b) {
    Matrix q = product(x, b + "attn_q", s_.embd), k = product(x, b + "attn_k", s_.embd);
    const Matrix v = product(x, b + "attn_v", s_.embd);
    turn(q);
    turn(k);
    const auto d = static_cast<size_t>(s_.embd / s_.heads), n = x.size();
    Matrix out(n, std::vector<double>(static_cast<size_t>(s_.embd), 0.0));
    for (size_t h = 0; h < static_cast<size_t>(s_.heads); ++h) {
      for (size_t t = 0; t < n; ++t) {
        std::vector<double> share(n, 0.0);
        double sum = 0;
        for (size_t j = 0; j < n; ++j) {
          for (size_t i = h * d; i < (h + 1) * d; ++i) share[j] += q[t][i] * k[j][i];
          share[j] = std::exp(share[j] / std::sqrt(static_cast<double>(d)));
          sum += share[j];
        }
        for (size_t j = 0; j < n; ++j) {
          for (size_t i = h * d; i < (h + 1) * d; ++i) out[t][i] += share[j] / sum * v[j][i];
        }
      }
    }
    return out;
  }
  Matrix feed_forward(const Matrix& x, const std::string& b) {
    Matrix up = product(x, b + "ffn_up", s_.ff);
    const bool gated = s_.arch == "nomic-bert";
    const Matrix gate = gated ? product(x, b + "ffn_gate", s_.ff) : Matrix();
    for (size_t t = 0; t < up.size(); ++t) {
      for (size_t i = 0; i < up[t].size(); ++i) {
        double& u = up[t][i];
        if (gated) {
          u *= gate[t][i] / (1 + std::exp(-gate[t][i]));
        } else {
          u = u / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (u + 0.044715 * u * u * u)));
        }
      }
    }
    return product(up, b + "ffn_down", s_.embd);
  }
  Matrix layer(const Matrix& x, const std::string& b) {
    Matrix y = product(attention(x, b), b + "attn_output", s_.embd);
    for (size_t t = 0; t < x.size(); ++t) add(y[t], x[t]);
    y = normed(y, b + "attn_output_norm");
    Matrix z = feed_forward(y, b);
    for (size_t t = 0; t < x.size(); ++t) add(z[t], y[t]);
    return normed(z, b + "layer_output_norm");
  }

  EncoderSpec s_;
  File file_;
};

}  // namespace heed::tiny
