// Limits of hyper-parameters, and keys that would change the mathematics.
#include "model/hyperparameters.h"

#include <gtest/gtest.h>

#include <functional>

#include "tiny_gguf.h"

namespace heed {
namespace {

using tiny::File;

Result<Hyperparameters> read(const File& file) {
  const std::vector<uint8_t> bytes = file.encode().bytes;
  HEED_ASSIGN(auto gguf, GgufFile::from_bytes(bytes, "memory"));
  return Hyperparameters::read(*gguf);
}

File changed(const std::function<void(File&)>& edit, tiny::Spec spec = {}) {
  File file = tiny::make_file(spec);
  edit(file);
  return file;
}

TEST(Hyperparameters, limits_hold_at_both_ends) {
  struct Limit {
    const char* key;
    uint64_t low, high;
  };
  const Limit kLimits[] = {
      {"llama.block_count", 1, limits::kLayers},
      {"llama.embedding_length", 1, limits::kEmbd},
      {"llama.context_length", 1, limits::kContext},
      {"llama.feed_forward_length", 1, limits::kFf},
      {"llama.attention.head_count", 1, limits::kHeads},
      {"llama.attention.head_count_kv", 1, limits::kHeads},
      {"llama.attention.key_length", 2, kMaxHeadSize},
      {"llama.attention.value_length", 2, kMaxHeadSize},
  };
  for (const Limit& limit : kLimits) {
    SCOPED_TRACE(limit.key);
    for (const uint64_t value : {limit.low - 1, limit.high + 1}) {
      const auto result = read(changed(
          [&](File& f) { f.set(tiny::scalar_key<uint64_t>(limit.key, tiny::kU64, value)); }));
      ASSERT_FALSE(result.is_ok());
      EXPECT_EQ(result.code(), Code::kOutOfRange);
      EXPECT_NE(result.message().find(limit.key), std::string::npos) << result.message();
      EXPECT_NE(result.message().find(std::to_string(limit.high)), std::string::npos);
    }
    // At the limit itself only a shape may be wrong.
    const auto inside = read(changed(
        [&](File& f) { f.set(tiny::scalar_key<uint64_t>(limit.key, tiny::kU64, limit.high)); }));
    EXPECT_NE(inside.code(), Code::kOutOfRange) << inside.message();
  }
}

TEST(Hyperparameters, keys_that_change_the_mathematics_are_refused_by_name) {
  const tiny::Key kKeys[] = {
      tiny::f32_key("llama.rope.scaling.yarn_ext_factor", 0.5f),
      tiny::f32_key("llama.rope.scaling.yarn_attn_factor", 2.0f),
      tiny::f32_key("llama.rope.scaling.yarn_beta_fast", 16.0f),
      tiny::f32_key("llama.rope.scaling.yarn_beta_slow", 2.0f),
      tiny::f32_key("llama.rope.scaling.yarn_log_multiplier", 0.1f),
      tiny::text_key("llama.rope.scaling.type", "longrope"),
      tiny::u32_key("llama.expert_count", 8),
      tiny::u32_key("llama.expert_used_count", 2),
      tiny::f32_key("llama.attn_logit_softcapping", 50.0f),
      tiny::f32_key("llama.final_logit_softcapping", 30.0f),
      tiny::f32_key("llama.attention.max_alibi_bias", 8.0f),
      tiny::f32_key("llama.rope.scaling.attn_factor", 1.2f),
      tiny::u32_key("llama.rope.dimension_count_swa", 8),
      tiny::u32_key("llama.attention.sliding_window", 4096),
      tiny::bool_key("llama.attention.causal", false),
      tiny::u32_key("llama.nextn_predict_layers", 1),
      tiny::f32_key("llama.logit_scale", 0.5f),
      tiny::u32_key("llama.something_new", 1),
  };
  for (const tiny::Key& key : kKeys) {
    const auto result = read(changed([&](File& f) { f.set(key); }));
    ASSERT_FALSE(result.is_ok()) << key.name;
    EXPECT_EQ(result.code(), Code::kUnsupported) << key.name;
    EXPECT_NE(result.message().find(key.name), std::string::npos) << result.message();
  }
}

TEST(Hyperparameters, neutral_values_of_the_same_keys_pass) {
  const auto result = read(changed([](File& f) {
    f.set(tiny::text_key("llama.rope.scaling.type", "none"));
    f.set(tiny::u32_key("llama.expert_count", 0));
    f.set(tiny::f32_key("llama.final_logit_softcapping", 0.0f));
    f.set(tiny::bool_key("llama.attention.causal", true));
    f.set(tiny::u32_key("llama.rope.scaling.original_context_length", 4096));
  }));
  EXPECT_TRUE(result.is_ok()) << result.message();
}

TEST(Hyperparameters, a_vocabulary_size_that_the_embeddings_do_not_have_is_refused) {
  for (const uint32_t size : {0u, 79u, 81u, 0x7FFFFFFFu}) {
    const auto result =
        read(changed([&](File& f) { f.set(tiny::u32_key("llama.vocab_size", size)); }));
    ASSERT_FALSE(result.is_ok()) << size;
    EXPECT_NE(result.message().find("llama.vocab_size"), std::string::npos) << result.message();
  }
}

TEST(Hyperparameters, parts_of_a_split_model_are_refused_with_the_way_out) {
  const auto result = read(
      changed([](File& f) { f.set(tiny::scalar_key<uint16_t>("split.count", tiny::kU16, 3)); }));
  ASSERT_FALSE(result.is_ok());
  EXPECT_NE(result.message().find("--merge"), std::string::npos) << result.message();
}

TEST(Hyperparameters, heads_may_differ_by_layer) {
  tiny::Spec spec;
  File file = tiny::make_file(spec);
  file.set(tiny::array_key<uint32_t>("llama.attention.head_count_kv", tiny::kU32, {2, 2}));
  file.set(tiny::array_key<uint64_t>("llama.feed_forward_length", tiny::kU64, {96, 96}));
  EXPECT_TRUE(read(file).is_ok()) << read(file).message();
  file.set(tiny::array_key<uint32_t>("llama.attention.head_count_kv", tiny::kU32, {2}));
  const auto shorter = read(file);
  ASSERT_FALSE(shorter.is_ok());
  EXPECT_NE(shorter.message().find("element 1"), std::string::npos) << shorter.message();
  file.set(tiny::array_key<uint32_t>("llama.attention.head_count_kv", tiny::kU32, {2, 3}));
  const auto uneven = read(file);
  ASSERT_FALSE(uneven.is_ok());
  EXPECT_NE(uneven.message().find("4 query heads on 3 KV heads"), std::string::npos)
      << uneven.message();
}

TEST(Hyperparameters, gemma3_windows_follow_the_period_and_a_pattern_key) {
  tiny::Spec spec;
  spec.arch = "gemma3";
  spec.layers = 8;
  spec.window = 16;
  const auto by_period = read(tiny::make_file(spec));
  ASSERT_TRUE(by_period.is_ok()) << by_period.message();
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(by_period->layer[i].window, i == 5 ? 0 : 16) << i;
    EXPECT_EQ(by_period->layer[i].rope, i == 5 ? 0 : 1) << i;
  }
  File file = tiny::make_file(spec);
  file.set(tiny::array_key<uint8_t>("gemma3.attention.sliding_window_pattern", tiny::kBool,
                                    {0, 1, 0, 1, 0, 1, 0, 1}));
  const auto by_list = read(file);
  ASSERT_TRUE(by_list.is_ok()) << by_list.message();
  for (int i = 0; i < 8; ++i) EXPECT_EQ(by_list->layer[i].window, i % 2 == 0 ? 0 : 16) << i;
}

}  // namespace
}  // namespace heed
