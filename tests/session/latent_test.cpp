// Latent attention beyond llama_oracle_test.cpp: pages that hold a token once for all heads, and
// what is left out when one of its tensors is.
#include <gtest/gtest.h>

#include <algorithm>

#include "expert_variants.h"
#include "oracle_rows.h"
#include "session_fixture.h"

namespace heed {
namespace {

using test::logits_of;
using test::Rows;

// Sums in another order: llama_oracle_test.cpp.
constexpr double kTolerance = 4e-6;

tiny::Spec third_version() {
  return test::make_latent([](tiny::Spec& s) {
    s.q_rank = 48;
    test::choose_as_v3(s);
  });
}

TEST(Latent, a_token_takes_its_latent_values_and_the_turned_dims_and_nothing_else) {
  const tiny::Spec spec = third_version();
  const tiny::TemporaryFile file(spec);
  EngineOptions options;
  options.max_sequences = 1;
  const auto engine = test::make_engine(file.path(), options);
  ASSERT_NE(engine, nullptr);
  const ModelInfo& info = engine->model().info();
  EXPECT_TRUE(info.v_in_k);
  EXPECT_EQ(info.kv_heads, 1);
  EXPECT_EQ(info.dk, spec.latent + spec.n_rot);
  EXPECT_EQ(info.dv, spec.latent);
  const auto token = static_cast<uint64_t>((spec.latent + spec.n_rot) * 2 * spec.layers);  // bf16
  test::prefilled(*engine, test::random_tokens(200, spec.vocab, 3));
  EXPECT_EQ(engine->report().kv.live, 200 * token);
  EXPECT_GE(engine->report().kv.committed, 256 * token);
  EXPECT_LE(engine->report().kv.committed, 256 * token + 4096) << "pages of four with their heads";
  // As the plan says, but for the arena that is half empty.
  const auto kv = [&](int64_t tokens) {
    return predict_memory(file.path(), {}, options, {.prompt = tokens})->kv;
  };
  EXPECT_EQ(kv(256) - kv(64), 3 * (64 * token + 32 * static_cast<uint64_t>(spec.layers)));
}

TEST(Latent, values_follow_the_keys_format_and_another_is_refused) {
  const tiny::TemporaryFile file(third_version());
  const auto model = Model::load(file.path(), {});
  ASSERT_TRUE(model.is_ok()) << model.message();
  EngineOptions options;
  options.k = Format::kF16;
  const auto engine = Engine::create(*model, options);
  ASSERT_TRUE(engine.is_ok()) << engine.message();
  EXPECT_EQ((*engine)->options().v, Format::kF16);
  options.v = Format::kBf16;
  const auto refused = Engine::create(*model, options);
  EXPECT_EQ(refused.code(), Code::kInvalidArgument);
  for (const char* part : {"f16", "bf16", "deepseek2", "one format"}) {
    EXPECT_NE(refused.message().find(part), std::string::npos) << refused.message();
  }
}

// Pages shared, cut and copied as those with values of their own are: the same bits.
TEST(Latent, forks_and_cut_sequences_give_the_same_bits) {
  const tiny::TemporaryFile file(third_version());
  const auto engine = test::make_engine(file.path(), {});
  ASSERT_NE(engine, nullptr);
  const std::vector<Token> prompt = test::random_tokens(100, 80, 3);
  const std::vector<Token> tail = test::random_tokens(40, 80, 4);
  const SeqId seq = test::prefilled(*engine, prompt);
  const auto fork = engine->fork(seq);
  ASSERT_TRUE(fork.is_ok()) << fork.message();
  Rows first;
  for (const Token t : tail) first.push_back(test::step(*engine, seq, t));
  test::step(*engine, *fork, 7);  // another token in the page that both held
  for (const int keep : {139, 128, 127, 101, 100}) {
    ASSERT_TRUE(engine->truncate(seq, keep).is_ok());
    for (size_t i = static_cast<size_t>(keep) - 100; i < tail.size(); ++i) {
      ASSERT_EQ(test::step(*engine, seq, tail[i]), first[i]) << keep << " " << i;
    }
  }
  ASSERT_TRUE(engine->truncate(*fork, 100).is_ok());
  for (size_t i = 0; i < tail.size(); ++i) {
    ASSERT_EQ(test::step(*engine, *fork, tail[i]), first[i]) << i;
  }
  EXPECT_TRUE(engine->store().check().is_ok());
}

TEST(Latent, storage_formats_stay_within_their_rounding) {
  const tiny::TemporaryFile file(third_version());
  const std::vector<Token> tokens = test::random_tokens(150, 80, 5);
  const auto rows_in = [&](Format format) {
    EngineOptions options;
    options.k = format;
    return test::heed_rows(*test::make_engine(file.path(), options, 1), tokens, 131);
  };
  const Rows exact = rows_in(Format::kF32);
  EXPECT_LE(test::worst_row(rows_in(Format::kF16), exact), 1e-2);
  EXPECT_LE(test::worst_row(rows_in(Format::kBf16), exact), 8e-2);
}

// The reference of heed kl: every matrix widened to fp32 when it is loaded.
TEST(Latent, weights_widened_to_fp32_equal_llama_cpp) {
  const tiny::TemporaryFile file(third_version());
  const std::vector<Token> tokens = test::random_tokens(150, 80, 5);
  ModelOptions load;
  load.threads = 2;
  load.weights = Weights::kF32;
  const auto model = Model::load(file.path(), load);
  ASSERT_TRUE(model.is_ok()) << model.message();
  const auto engine = Engine::create(*model, test::exact_options());
  ASSERT_TRUE(engine.is_ok()) << engine.message();
  EXPECT_LE(test::worst_row(test::heed_rows(**engine, tokens, 131),
                            test::llama_rows(file.path(), false, tokens, 131)),
            kTolerance);
}

// What the comparisons with llama.cpp are worth: each tensor that only these descriptions have
// moves the logits far beyond the tolerance.
TEST(Latent, a_tensor_that_is_dropped_is_seen) {
  const tiny::File file = tiny::make_file(third_version());
  const tiny::TemporaryFile whole(file);
  const std::vector<Token> tokens = test::random_tokens(60, 80, 5);
  const auto engine = test::make_engine(whole.path(), test::exact_options(), 1);
  ASSERT_NE(engine, nullptr);
  const Rows rows = test::heed_rows(*engine, tokens, 50);
  for (const char* name :
       {"attn_q_a.weight", "attn_q_a_norm.weight", "attn_q_b.weight", "attn_kv_a_mqa.weight",
        "attn_kv_a_norm.weight", "attn_k_b.weight", "attn_v_b.weight", "exp_probs_b.bias",
        "ffn_gate_shexp.weight", "ffn_up_shexp.weight", "ffn_down_shexp.weight"}) {
    tiny::File without = file;
    tiny::Tensor* const tensor = without.tensor(std::string("blk.2.") + name);
    ASSERT_NE(tensor, nullptr) << name;
    std::ranges::fill(tensor->data, uint8_t{0});
    const tiny::TemporaryFile changed(without);
    const auto other = test::make_engine(changed.path(), test::exact_options(), 1);
    ASSERT_NE(other, nullptr);
    EXPECT_GT(test::worst_row(test::heed_rows(*other, tokens, 50), rows), 1000 * kTolerance)
        << name;
  }
}

}  // namespace
}  // namespace heed
