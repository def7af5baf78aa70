// What a Report says is what happened.
#include <gtest/gtest.h>

#include "base/clock.h"
#include "session_fixture.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

TEST(Report, a_warm_decode_builds_no_graph_alone_or_together) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const auto engine = test::make_engine(file.path(), {});
  std::vector<SeqToken> next;
  for (int i = 0; i < 7; ++i) {
    next.push_back({test::prefilled(*engine, test::random_tokens(20 + 31 * i, 80, 9 + i)), 1});
  }
  // Sequences come and go: every batch size is built once and then kept.
  for (const size_t batch : {1u, 2u, 7u}) {
    ASSERT_TRUE(engine->decode({next.data(), batch}).is_ok());
    EXPECT_EQ(engine->report().decode_graph_builds, batch == 1   ? 1
                                                    : batch == 2 ? 2
                                                                 : 3)
        << "the first step of " << batch;
  }
  engine->reset_report();
  for (int round = 0; round < 60; ++round) {
    for (const size_t batch : {1u, 2u, 7u}) {
      ASSERT_TRUE(engine->decode({next.data(), batch}).is_ok());
    }
  }
  const Report report = engine->report();
  EXPECT_EQ(report.decode_graph_builds, 0);
  EXPECT_EQ(report.graph_builds, 0);
  EXPECT_EQ(report.generated_tokens, 60 * (1 + 2 + 7));
  EXPECT_EQ(report.steps, 60 * 3);
  EXPECT_EQ(report.prompt_tokens, 0);
}

TEST(Report, counts_prompt_and_generated_tokens_and_steps) {
  const tiny::TemporaryFile file(tiny::Spec{});
  EngineOptions options;
  options.chunk = 64;
  const auto engine = test::make_engine(file.path(), options);
  const SeqId seq = test::prefilled(*engine, test::random_tokens(150, 80, 1));
  EXPECT_EQ(engine->report().prompt_tokens, 150);
  EXPECT_EQ(engine->report().steps, 3);
  test::step(*engine, seq, 1);
  EXPECT_EQ(engine->report().generated_tokens, 1);
  EXPECT_EQ(engine->report().steps, 4);
  // What fails is not counted as done.
  engine->fail_after_node(3);
  const SeqToken next{seq, 2};
  EXPECT_FALSE(engine->decode({&next, 1}).is_ok());
  engine->fail_after_node(-1);
  EXPECT_EQ(engine->report().generated_tokens, 1);
  EXPECT_EQ(engine->report().steps, 4);
  engine->reset_report();
  EXPECT_EQ(engine->report().steps, 0);
  EXPECT_EQ(engine->report().prompt_tokens, 0);
  EXPECT_EQ(engine->report().prefill_s, 0);
}

TEST(Report, times_lie_within_the_calls_and_hold_their_parts) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const auto start = Clock::now();
  const auto engine = test::make_engine(file.path(), {});
  const double made_s = seconds_since(start);
  EXPECT_GT(engine->report().load_s, 0);
  EXPECT_LE(engine->report().load_s, made_s);
  auto at = Clock::now();
  const SeqId seq = test::prefilled(*engine, test::random_tokens(400, 80, 2));
  const double prefill_s = seconds_since(at);
  at = Clock::now();
  for (int i = 0; i < 50; ++i) test::step(*engine, seq, i);
  const double decode_s = seconds_since(at);
  const Report r = engine->report();
  EXPECT_GT(r.prefill_s, 0);
  EXPECT_LE(r.prefill_s, prefill_s);
  EXPECT_GT(r.decode_s, 0);
  EXPECT_LE(r.decode_s, decode_s);
  EXPECT_GT(r.attention_s, 0);
  EXPECT_GT(r.append_s, 0);
  EXPECT_LE(r.attention_s + r.append_s, r.prefill_s + r.decode_s);
}

TEST(Report, bytes_are_those_of_the_pages_and_of_the_process) {
  tiny::Spec spec;
  const tiny::TemporaryFile file(spec);
  EngineOptions options;
  options.k = options.v = Format::kBf16;
  const auto engine = test::make_engine(file.path(), options);
  EXPECT_EQ(engine->report().kv.live, 0u);
  const SeqId seq = test::prefilled(*engine, test::random_tokens(200, 80, 3));
  // 200 entries of bf16 keys and values in every KV head of every layer.
  const uint64_t entry = 2u * static_cast<uint64_t>(spec.dk) * 2;
  const uint64_t lists = static_cast<uint64_t>(spec.layers * spec.kv_heads);
  const Report r = engine->report();
  EXPECT_EQ(r.kv.live, 200 * entry * lists);
  EXPECT_GE(r.kv.committed, 256 * entry * lists);  // whole pages of 64
  EXPECT_GT(r.peak_resident, r.kv.committed);
  EXPECT_GT(r.attention_tiles, 0u);
  ASSERT_TRUE(engine->drop(seq).is_ok());
  EXPECT_EQ(engine->report().kv.live, 0u);
}

}  // namespace
}  // namespace heed
