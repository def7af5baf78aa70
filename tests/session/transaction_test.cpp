// A step happens or does not: failing or cancelled ones leave sequences bit for bit as they were.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "session_fixture.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

using test::logits_of;

struct Variant {
  const char* arch;
  tiny::TensorType weights;  // Q4_0: with nodes that quantise, and packed weights
};

tiny::Spec spec_of(const Variant& variant) {
  tiny::Spec spec;
  spec.arch = variant.arch;
  spec.weight_type = variant.weights;
  spec.biases = spec.arch == "qwen2";
  spec.window = spec.arch == "gemma3" ? 16 : 0;
  spec.layers = 3;
  spec.window_period = spec.arch == "gemma3" ? 2 : 0;  // windowed and global layers
  return spec;
}

// Three sequences in one engine and the logits that token 7 has behind each of them.
class EachNode : public testing::TestWithParam<Variant> {
 protected:
  static constexpr int kLengths[3] = {70, 5, 130};

  void SetUp() override {
    const tiny::TemporaryFile file(spec_of(GetParam()));
    engine_ = test::make_engine(file.path(), {});
    ASSERT_NE(engine_, nullptr);
    if (GetParam().weights == tiny::kTensorQ4_0) {
      ASSERT_EQ(engine_->model().info().linear, "heed");
    }
    for (int i = 0; i < 3; ++i) {
      prompts_[i] = test::random_tokens(kLengths[i], 80, 1 + i);
      seqs_[i] = test::prefilled(*engine_, prompts_[i]);
      expected_[i] = test::step(*engine_, seqs_[i], 7);
      rewind(i);
      before_[i] = logits_of(*engine_, seqs_[i]);
    }
  }

  void rewind(int i) {
    ASSERT_TRUE(engine_->truncate(seqs_[i], kLengths[i] - 1).is_ok());
    ASSERT_TRUE(engine_->prefill(seqs_[i], {&prompts_[i].back(), 1}).is_ok());
  }

  // Runs `call` failing behind node 0, 1, ... until it reaches the end; after every failure nothing
  // has moved, and the next token gives the logits it gives without the failure.
  void expect_untouched(const std::function<Status()>& call, int least) {
    int nodes = 0;
    for (;; ++nodes) {
      ASSERT_LT(nodes, 1000);
      engine_->fail_after_node(nodes);
      const Status status = call();
      engine_->fail_after_node(-1);
      if (status.is_ok()) break;
      ASSERT_EQ(status.code(), Code::kInternal) << status.message();
      ASSERT_TRUE(engine_->store().check().is_ok());
      for (int i = 0; i < 3; ++i) {
        ASSERT_EQ(engine_->length(seqs_[i]), kLengths[i]) << "after node " << nodes;
        ASSERT_EQ(logits_of(*engine_, seqs_[i]), before_[i]) << "after node " << nodes;
        ASSERT_EQ(test::step(*engine_, seqs_[i], 7), expected_[i]) << "after node " << nodes;
        rewind(i);
      }
    }
    // Three layers of at least six nodes each: fewer would mean that the loop saw no layers.
    EXPECT_GE(nodes, least);
  }

  std::unique_ptr<Engine> engine_;
  std::vector<Token> prompts_[3];
  SeqId seqs_[3] = {};
  std::vector<float> before_[3], expected_[3];
};

TEST_P(EachNode, a_prompt_that_fails_behind_it_leaves_the_next_logits_unchanged) {
  const std::vector<Token> more = test::random_tokens(90, 80, 9);
  expect_untouched([&] { return engine_->prefill(seqs_[0], more); }, 18);
}

TEST_P(EachNode, a_prompt_with_all_logits_that_fails_behind_it_leaves_them_unchanged) {
  const std::vector<Token> more = test::random_tokens(90, 80, 9);
  PrefillOptions options;
  options.on_logits = [](int64_t, View<const float, 2>) {};
  expect_untouched([&] { return engine_->prefill(seqs_[0], more, options); }, 27);
}

TEST_P(EachNode, a_token_that_fails_behind_it_leaves_the_next_logits_unchanged) {
  const SeqToken next{seqs_[0], 3};
  expect_untouched([&] { return engine_->decode({&next, 1}); }, 18);
}

TEST_P(EachNode, tokens_of_three_sequences_that_fail_behind_it_leave_all_unchanged) {
  const SeqToken next[] = {{seqs_[0], 3}, {seqs_[1], 4}, {seqs_[2], 5}};
  expect_untouched([&] { return engine_->decode(next); }, 18);
}

constexpr Variant kVariants[] = {{"llama", tiny::kTensorF32},  {"qwen2", tiny::kTensorF32},
                                 {"gemma3", tiny::kTensorF32}, {"llama", tiny::kTensorQ4_0},
                                 {"qwen2", tiny::kTensorQ4_0}, {"gemma3", tiny::kTensorQ4_0}};
INSTANTIATE_TEST_SUITE_P(Transaction, EachNode, testing::ValuesIn(kVariants), [](const auto& info) {
  const bool f32 = info.param.weights == tiny::kTensorF32;
  return std::string(info.param.arch) + (f32 ? "_f32" : "_q4_0");
});

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
