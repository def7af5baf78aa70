// Embeddings: a text as one vector, or as a vector a token. By encoders (BERT), and by decoders as
// the normed rows behind their last layer.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "heed/engine.h"
#include "heed/model.h"
#include "heed/status.h"

namespace heed {

const char* pooling_name(Pooling pooling);  // "none", "mean", "cls", "last", "rank"
Result<Pooling> parse_pooling(std::string_view name);

struct EmbedOptions {
  std::optional<Pooling> pooling;  // absent: what the model's file asks for
  const CancelToken* cancel = nullptr;
  std::function<void(int64_t done, int64_t total)> progress;  // tokens, after each step
};

struct Embedding {
  int64_t rows = 0;           // 1; with Pooling::kNone one a token
  std::vector<float> values;  // [rows, ModelInfo::embd], not normalised
};

// One per text, in their order. Several texts share a step, up to the engine's chunk of tokens and
// max_sequences texts; the bits of a text's values do not depend on the others. Nothing of the
// texts stays in the engine, and an error or a cancel gives nothing. Errors: a text without tokens
// or longer than the engine's context (the message has both numbers), a token out of range,
// Pooling::kRank, memory.
Result<std::vector<Embedding>> embed(Engine& engine, std::span<const std::vector<Token>> texts,
                                     const EmbedOptions& options = {});

// Errors: an encoder, for whoever needs the next token. The message has the way out.
Status check_decoder(const ModelInfo& model);

// Divides by a norm, llama.cpp's numbers: -1 none, 0 such that the largest magnitude becomes
// 32,760, 1 taxicab, 2 euclidean, p > 2 the p-norm. Zeros stay. Errors: a number below -1.
Status normalize_embedding(std::span<float> values, int norm);

// a.b / (|a| |b|); 1 of two vectors of zeros, 0 of one.
double cosine_similarity(std::span<const float> a, std::span<const float> b);

}  // namespace heed
