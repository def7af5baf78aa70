// Logits behind every token, by heed and by llama.cpp in the same process.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "eval/llama_baseline.h"
#include "heed/adapters.h"
#include "heed/engine.h"
#include "session_fixture.h"

namespace heed::test {

using Rows = std::vector<std::vector<float>>;

// Relative L2 distance of the worst row.
inline double worst_row(const Rows& a, const Rows& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, distance(a[i], b[i]));
  return worst;
}

// For scripts/architectures: the largest difference of a logit, and llama.cpp's own between flash
// attention and plain. In a model that rounds to half precision the one is measured by the other.
class LargestDelta {
 public:
  void add(const Rows& ours, const Rows& plain, const Rows& flash) {
    ours_ = std::max(ours_, delta(ours, plain));
    theirs_ = std::max(theirs_, delta(flash, plain));
  }
  void record(const std::string& arch, bool halves) const {
    testing::Test::RecordProperty("architecture", arch);
    testing::Test::RecordProperty("halves", halves ? 1 : 0);
    testing::Test::RecordProperty("largest_delta", std::to_string(ours_ * 1e6f));
    testing::Test::RecordProperty("llama_delta", std::to_string(theirs_ * 1e6f));
  }

 private:
  static float delta(const Rows& a, const Rows& b) {
    float largest = 0;
    for (size_t r = 0; r < std::min(a.size(), b.size()); ++r) {
      for (size_t i = 0; i < a[r].size(); ++i) {
        largest = std::max(largest, std::fabs(a[r][i] - b[r][i]));
      }
    }
    return largest;
  }

  float ours_ = 0, theirs_ = 0;
};

// Prompt of `prompt` tokens, then each further token on its own: logits behind every token.
inline Rows llama_rows(const std::string& path, eval::LlamaOptions options,
                       const std::vector<Token>& tokens, size_t prompt) {
  options.f32_kv = true;
  options.threads = 1;  // pools of two engines on two cores would poll against each other
  options.context = static_cast<int64_t>(tokens.size()) + 8;
  auto llama = eval::LlamaBaseline::load(path, options);
  EXPECT_TRUE(llama.is_ok()) << llama.message();
  if (!llama.is_ok()) return {};
  Rows rows;
  const auto keep = [&](int64_t, View<const float, 2> logits) {
    for (int64_t r = 0; r < logits.shape[0]; ++r) {
      rows.emplace_back(&logits(r, 0), &logits(r, 0) + logits.shape[1]);
    }
  };
  const Status status = (*llama)->prefill({tokens.data(), prompt}, keep);
  EXPECT_TRUE(status.is_ok()) << status.message();
  for (size_t i = prompt; i < tokens.size(); ++i) {
    EXPECT_TRUE((*llama)->decode(tokens[i]).is_ok());
    const auto logits = (*llama)->logits();
    EXPECT_TRUE(logits.is_ok());
    rows.emplace_back(logits->begin(), logits->end());
  }
  return rows;
}

inline Rows llama_rows(const std::string& path, bool flash, const std::vector<Token>& tokens,
                       size_t prompt, bool repack = false, const RopeOptions& rope = {}) {
  eval::LlamaOptions options;
  options.rope = rope;
  options.flash = flash;
  options.repack = repack;
  return llama_rows(path, options, tokens, prompt);
}

inline Rows heed_rows(Engine& engine, const std::vector<Token>& tokens, size_t prompt,
                      std::shared_ptr<const Adaptation> adaptation = nullptr) {
  Rows rows;
  const auto seq = engine.create_sequence();
  EXPECT_TRUE(seq.is_ok());
  const Status adapted = set_adaptation(engine, *seq, std::move(adaptation));
  EXPECT_TRUE(adapted.is_ok()) << adapted.message();
  PrefillOptions options;
  options.on_logits = [&](int64_t first, View<const float, 2> logits) {
    EXPECT_EQ(first, static_cast<int64_t>(rows.size()));
    for (int64_t r = 0; r < logits.shape[0]; ++r) {
      rows.emplace_back(&logits(r, 0), &logits(r, 0) + logits.shape[1]);
    }
  };
  const Status status = engine.prefill(*seq, {tokens.data(), prompt}, options);
  EXPECT_TRUE(status.is_ok()) << status.message();
  for (size_t i = prompt; i < tokens.size(); ++i) {
    rows.push_back(step(engine, *seq, tokens[i]));
  }
  EXPECT_TRUE(engine.drop(*seq).is_ok());
  return rows;
}

}  // namespace heed::test
