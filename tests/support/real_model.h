// A model of the catalogue: heed is no further from llama.cpp than twice what llama.cpp is from
// itself.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "eval/llama_baseline.h"
#include "model/pull.h"
#include "session_fixture.h"

namespace heed::test {

// [rows, vocab], behind every token.
inline std::vector<float> llama_logits(const std::string& path, bool flash,
                                       const std::vector<Token>& tokens) {
  eval::LlamaOptions options;
  options.flash = flash;
  options.f32_kv = !flash;
  options.repack = false;
  options.context = static_cast<int64_t>(tokens.size()) + 8;
  auto llama = eval::LlamaBaseline::load(path, options);
  EXPECT_TRUE(llama.is_ok()) << llama.message();
  if (!llama.is_ok()) return {};
  std::vector<float> rows;
  const Status status = (*llama)->prefill(tokens, [&](int64_t, View<const float, 2> logits) {
    rows.insert(rows.end(), logits.data, logits.data + logits.shape[0] * logits.shape[1]);
  });
  EXPECT_TRUE(status.is_ok()) << status.message();
  return rows;
}

inline std::vector<float> heed_logits(Engine& engine, const std::vector<Token>& tokens) {
  std::vector<float> rows;
  PrefillOptions options;
  options.on_logits = [&](int64_t, View<const float, 2> logits) {
    rows.insert(rows.end(), logits.data, logits.data + logits.shape[0] * logits.shape[1]);
  };
  const auto seq = engine.create_sequence();
  EXPECT_TRUE(seq.is_ok()) << seq.message();
  const Status status = engine.prefill(*seq, tokens, options);
  EXPECT_TRUE(status.is_ok()) << status.message();
  return rows;
}

// Quantised weights re-quantise every activation, so one differing last bit flips codes: the
// distance of llama.cpp to itself (flash attention and f16 keys against neither) is the finest
// measure there is.
inline void expect_within_twice_llama_cpps_distance_from_itself(const std::string& name) {
  const auto path = ensure_model(name);
  ASSERT_TRUE(path.is_ok()) << path.message();
  const auto engine = make_engine(*path, {}, 1);
  ASSERT_NE(engine, nullptr);
  const auto tokens = engine->model().tokenize(
      "In 1712 Thomas Newcomen built an engine that pumped water out of a coal mine near Dudley. "
      "It "
      "burned a great deal of coal, but coal was what a mine had. Half a century later James Watt "
      "repaired a model of it, saw where the heat went, and gave the steam a condenser of its own.",
      true, false);
  ASSERT_TRUE(tokens.is_ok()) << tokens.message();
  const auto plain = llama_logits(*path, false, *tokens);
  const auto flash = llama_logits(*path, true, *tokens);
  const double yardstick = distance(flash, plain);
  const double error = distance(heed_logits(*engine, *tokens), plain);
  EXPECT_GT(yardstick, 0);
  EXPECT_LE(error, 2 * yardstick) << "yardstick " << yardstick;
  ::testing::Test::RecordProperty("error_to_yardstick", std::to_string(error / yardstick));
}

}  // namespace heed::test
