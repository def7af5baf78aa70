// A step happens or does not: failing or cancelled ones leave sequences bit for bit as they were.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "session_fixture.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

using test::logits_of;

TEST(Transaction, a_step_that_fails_after_any_node_leaves_the_next_logits_unchanged) {
  for (const char* arch : {"llama", "gemma3"}) {
    tiny::Spec spec;
    spec.arch = arch;
    spec.window = spec.arch == "gemma3" ? 16 : 0;
    const tiny::TemporaryFile file(spec);
    const auto engine = test::make_engine(file.path(), {});
    const auto reference = test::make_engine(file.path(), {});
    const std::vector<Token> prompt = test::random_tokens(70, spec.vocab, 1);
    const std::vector<Token> more = test::random_tokens(90, spec.vocab, 2);
    const SeqId seq = test::prefilled(*engine, prompt);
    const SeqId untouched = test::prefilled(*reference, prompt);
    const std::vector<float> expected = test::step(*reference, untouched, 7);
    int nodes = 0;
    for (;; ++nodes) {
      ASSERT_LT(nodes, 1000);
      engine->fail_after_node(nodes);
      const std::vector<float> before = logits_of(*engine, seq);
      const Status prefill = engine->prefill(seq, more);
      ASSERT_EQ(engine->length(seq), prefill.is_ok() ? 160 : 70);
      if (prefill.is_ok()) break;
      ASSERT_EQ(prefill.code(), Code::kInternal);
      ASSERT_EQ(logits_of(*engine, seq), before) << nodes;
      ASSERT_TRUE(engine->store().check().is_ok());
      const SeqToken next{seq, 7};
      const Status decode = engine->decode({&next, 1});
      ASSERT_EQ(engine->length(seq), decode.is_ok() ? 71 : 70);
      if (decode.is_ok()) {
        ASSERT_TRUE(engine->truncate(seq, 70).is_ok());
      }
      engine->fail_after_node(-1);
      ASSERT_EQ(test::step(*engine, seq, 7), expected) << "after node " << nodes;
      ASSERT_TRUE(engine->truncate(seq, 69).is_ok());
      ASSERT_TRUE(engine->prefill(seq, {&prompt[69], 1}).is_ok());
    }
    EXPECT_GT(nodes, 30);
  }
}

TEST(Transaction, a_failing_decode_of_several_sequences_moves_none) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const auto engine = test::make_engine(file.path(), {});
  std::vector<SeqToken> next;
  std::vector<std::vector<float>> before;
  for (int i = 0; i < 5; ++i) {
    const SeqId seq = test::prefilled(*engine, test::random_tokens(10 + 13 * i, 80, 3 + i));
    next.push_back({seq, i});
    before.push_back(logits_of(*engine, seq));
  }
  engine->fail_after_node(20);
  EXPECT_EQ(engine->decode(next).code(), Code::kInternal);
  engine->fail_after_node(-1);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(engine->length(next[i].seq), 10 + 13 * i);
    EXPECT_EQ(logits_of(*engine, next[i].seq), before[i]);
  }
  EXPECT_TRUE(engine->decode(next).is_ok());
}

TEST(Transaction, a_cancel_keeps_the_chunks_that_were_committed) {
  tiny::Spec spec;
  spec.context = 4096;
  const tiny::TemporaryFile file(spec);
  EngineOptions options;
  options.chunk = 64;
  const auto engine = test::make_engine(file.path(), options);
  const std::vector<Token> tokens = test::random_tokens(640, spec.vocab, 4);
  const auto seq = engine->create_sequence();
  ASSERT_TRUE(seq.is_ok());
  CancelToken cancel;
  PrefillOptions call;
  call.cancel = &cancel;
  call.progress = [&](int64_t done, int64_t) {
    if (done == 192) cancel.cancel();
  };
  EXPECT_EQ(engine->prefill(*seq, tokens, call).code(), Code::kCancelled);
  EXPECT_EQ(engine->length(*seq), 192);
  ASSERT_TRUE(engine->prefill(*seq, {tokens.data() + 192, 448}).is_ok());
  const auto whole = test::make_engine(file.path(), options);
  EXPECT_EQ(logits_of(*engine, *seq), logits_of(*whole, test::prefilled(*whole, tokens)));
}

TEST(Transaction, a_cancel_inside_a_step_ends_it_between_two_nodes) {
  tiny::Spec spec;
  spec.layers = 40;
  spec.context = 8192;
  const tiny::TemporaryFile file(spec);
  EngineOptions options;
  options.chunk = 4096;
  const auto engine = test::make_engine(file.path(), options);
  const SeqId seq = test::prefilled(*engine, test::random_tokens(10, spec.vocab, 5));
  const std::vector<float> before = logits_of(*engine, seq);
  CancelToken cancel;
  PrefillOptions call;
  call.cancel = &cancel;
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    cancel.cancel();
  });
  const Status status = engine->prefill(seq, test::random_tokens(4096, spec.vocab, 6), call);
  other.join();
  EXPECT_EQ(status.code(), Code::kCancelled) << "the step took less than 30 ms";
  EXPECT_EQ(engine->length(seq), 10);
  EXPECT_EQ(logits_of(*engine, seq), before);
}

TEST(Transaction, a_cancel_between_slices_of_logits_ends_them) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const auto engine = test::make_engine(file.path(), {});
  const auto seq = engine->create_sequence();
  ASSERT_TRUE(seq.is_ok());
  CancelToken cancel;
  int slices = 0;
  PrefillOptions call;
  call.cancel = &cancel;
  call.on_logits = [&](int64_t, View<const float, 2>) {
    ++slices;
    cancel.cancel();
  };
  EXPECT_EQ(engine->prefill(*seq, test::random_tokens(300, 80, 9), call).code(), Code::kCancelled);
  EXPECT_EQ(slices, 1);
}

TEST(Transaction, a_full_store_refuses_the_step_and_keeps_the_sequences) {
  const tiny::TemporaryFile file(tiny::Spec{});
  EngineOptions options;
  options.max_kv_bytes = 256 << 10;
  const auto engine = test::make_engine(file.path(), options);
  const SeqId seq = test::prefilled(*engine, test::random_tokens(20, 80, 7));
  std::vector<SeqId> others;
  Status status;
  for (int i = 0; i < 1000 && status.is_ok(); ++i) {
    const auto other = engine->create_sequence();
    ASSERT_TRUE(other.is_ok());
    others.push_back(*other);
    status = engine->prefill(*other, test::random_tokens(64, 80, 8));
  }
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_EQ(engine->length(others.back()), 0);
  EXPECT_EQ(engine->length(seq), 20);
  for (const SeqId other : others) ASSERT_TRUE(engine->drop(other).is_ok());
  const SeqToken next{seq, 3};
  EXPECT_TRUE(engine->decode({&next, 1}).is_ok());
  EXPECT_TRUE(engine->store().check().is_ok());
}

}  // namespace
}  // namespace heed
