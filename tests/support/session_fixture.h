// What tests of sessions share.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "heed/engine.h"

namespace heed::test {

inline std::vector<Token> random_tokens(int n, int vocab, uint64_t stream) {
  std::vector<Token> tokens;
  for (int i = 0; i < n; ++i) {
    tokens.push_back(static_cast<Token>(
        random_below(stream, static_cast<uint64_t>(i), static_cast<uint64_t>(vocab))));
  }
  return tokens;
}

// fp32 pages: attention adds no rounding of its own to what is stored.
inline EngineOptions exact_options() {
  EngineOptions options;
  options.k = options.v = Format::kF32;
  return options;
}

inline std::unique_ptr<Engine> make_engine(const std::string& path, const EngineOptions& options,
                                           int threads = 2, Linear linear = Linear::kHeed) {
  ModelOptions load;
  load.threads = threads;
  load.linear = linear;
  auto model = Model::load(path, load);
  EXPECT_TRUE(model.is_ok()) << model.message();
  if (!model.is_ok()) return nullptr;
  auto engine = Engine::create(*model, options);
  EXPECT_TRUE(engine.is_ok()) << engine.message();
  return engine.is_ok() ? std::move(*engine) : nullptr;
}

// Relative L2 distance; not finite anywhere: infinite.
inline double distance(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return INFINITY;
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    norm += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / norm);
}

inline std::vector<float> logits_of(const Engine& engine, SeqId seq) {
  const auto logits = engine.logits(seq);
  EXPECT_TRUE(logits.is_ok()) << logits.message();
  return logits.is_ok() ? std::vector<float>(logits->begin(), logits->end()) : std::vector<float>();
}

// Decodes one token and returns the logits behind it.
inline std::vector<float> step(Engine& engine, SeqId seq, Token token) {
  const SeqToken next{seq, token};
  const Status status = engine.decode({&next, 1});
  EXPECT_TRUE(status.is_ok()) << status.message();
  return logits_of(engine, seq);
}

inline SeqId prefilled(Engine& engine, const std::vector<Token>& tokens) {
  const auto seq = engine.create_sequence();
  EXPECT_TRUE(seq.is_ok()) << seq.message();
  const Status status = engine.prefill(*seq, tokens);
  EXPECT_TRUE(status.is_ok()) << status.message();
  return *seq;
}

}  // namespace heed::test
