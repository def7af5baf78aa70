// Limits of hyper-parameters, and keys that would change the mathematics.
#include "model/hyperparameters.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "model/tensor_rules.h"
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
  const tiny::Spec llama, experts = tiny::expert_spec("qwen3moe"),
                          latent = tiny::expert_spec("deepseek2");
  struct Limit {
    const tiny::Spec& spec;
    const char* key;
    int64_t low, high;
  };
  const Limit kLimits[] = {
      {llama, "block_count", 1, limits::kLayers},
      {llama, "embedding_length", 1, limits::kEmbd},
      {llama, "context_length", 1, limits::kContext},
      {llama, "feed_forward_length", 1, limits::kFf},
      {llama, "attention.head_count", 1, limits::kHeads},
      {llama, "attention.head_count_kv", 1, limits::kHeads},
      {llama, "attention.key_length", 2, kMaxHeadSize},
      {llama, "attention.value_length", 2, kMaxHeadSize},
      {llama, "attention.sliding_window", 0, limits::kContext},
      {llama, "rope.dimension_count", 0, llama.dk},
      {llama, "rope.scaling.original_context_length", 0, limits::kContext},
      {experts, "expert_count", 1, limits::kExperts},
      {experts, "expert_used_count", 1, experts.experts},
      {experts, "expert_feed_forward_length", 1, limits::kFf},
      {latent, "leading_dense_block_count", 0, latent.layers},
      {latent, "expert_shared_count", 1, limits::kFf / latent.ff},
      {latent, "attention.kv_lora_rank", 2, kMaxHeadSize - 2},
      {latent, "attention.q_lora_rank", 0, limits::kEmbd},
      {latent, "attention.key_length_mla", latent.n_rot + 1, limits::kEmbd},
      {latent, "attention.value_length_mla", 1, limits::kEmbd},
  };
  for (const Limit& limit : kLimits) {
    const std::string key = limit.spec.arch + "." + limit.key;
    SCOPED_TRACE(key);
    const auto with = [&](int64_t value) {
      return read(
          changed([&](File& f) { f.set(tiny::scalar_key(key, tiny::kI64, value)); }, limit.spec));
    };
    for (const int64_t value : {limit.low - 1, limit.high + 1}) {
      const auto result = with(value);
      ASSERT_FALSE(result.is_ok());
      EXPECT_EQ(result.code(), Code::kOutOfRange) << result.message();
      EXPECT_NE(result.message().find(key), std::string::npos) << result.message();
      EXPECT_NE(result.message().find(std::to_string(limit.high)), std::string::npos);
    }
    // At the limit itself only a shape may be wrong.
    EXPECT_NE(with(limit.high).code(), Code::kOutOfRange) << with(limit.high).message();
  }
}

TEST(Hyperparameters, a_vocabulary_has_a_limit) {
  for (const int64_t rows : {limits::kVocab, limits::kVocab + 1}) {
    const auto result = read(changed([&](File& f) {
      f.set(tiny::u32_key("llama.embedding_length", 1));
      tiny::Tensor& table = *f.tensor("token_embd.weight");
      table.ne = {1, static_cast<uint64_t>(rows)};
      table.data.resize(static_cast<size_t>(rows) * sizeof(float));
    }));
    ASSERT_FALSE(result.is_ok());
    const bool beyond = rows > limits::kVocab;
    EXPECT_EQ(result.code() == Code::kOutOfRange, beyond) << result.message();
    EXPECT_EQ(result.message().find("4194304") != std::string::npos, beyond) << result.message();
  }
}

TEST(Hyperparameters, keys_that_change_the_mathematics_are_refused_by_name) {
  const tiny::Key kKeys[] = {
      tiny::f32_key("llama.rope.scaling.yarn_ext_factor", 0.5f),
      tiny::f32_key("llama.rope.scaling.yarn_attn_factor", 2.0f),
      tiny::f32_key("llama.rope.scaling.yarn_beta_fast", 16.0f),
      tiny::f32_key("llama.rope.scaling.yarn_beta_slow", 2.0f),
      tiny::f32_key("llama.rope.scaling.yarn_log_multiplier", 0.1f),
      tiny::text_key("llama.rope.scaling.type", "dynamic"),
      tiny::f32_key("llama.rope.scaling.alpha", 1000.0f),
      tiny::u32_key("llama.expert_count", 8),
      tiny::u32_key("llama.expert_used_count", 2),
      tiny::f32_key("llama.attn_logit_softcapping", 50.0f),
      tiny::f32_key("llama.final_logit_softcapping", 30.0f),
      tiny::f32_key("llama.attention.max_alibi_bias", 8.0f),
      tiny::u32_key("llama.rope.dimension_count_swa", 8),
      tiny::f32_key("llama.rope.freq_base_swa", 5000.0f),
      tiny::f32_key("llama.attention.scale", 0.5f),
      tiny::f32_key("llama.attention.temperature_scale", 0.1f),
      tiny::f32_key("llama.embedding_scale", 12.0f),
      tiny::f32_key("llama.residual_scale", 0.2f),
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
  spec.freq_base = 1e6f;
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

tiny::Spec of(const char* arch) {
  tiny::Spec spec;
  spec.arch = arch;
  spec.layers = 4;
  return spec;
}

TEST(Hyperparameters, windows_are_of_every_layer_where_no_period_is_known_and_refused_elsewhere) {
  for (const char* arch : {"llama", "phi3"}) {
    tiny::Spec spec = of(arch);
    spec.window = 16;
    const auto windowed = read(tiny::make_file(spec));
    ASSERT_TRUE(windowed.is_ok()) << windowed.message();
    for (const LayerHyper& layer : windowed->layer) EXPECT_EQ(layer.window, 16) << arch;
  }
  for (const char* arch : {"qwen2", "qwen3", "mistral3", "granite", "smollm3"}) {
    tiny::Spec spec = of(arch);
    EXPECT_TRUE(read(tiny::make_file(spec)).is_ok()) << read(tiny::make_file(spec)).message();
    spec.window = 16;
    const auto refused = read(tiny::make_file(spec));
    EXPECT_EQ(refused.code(), Code::kUnsupported) << arch;
    EXPECT_NE(refused.message().find("attention.sliding_window"), std::string::npos);
  }
  const auto gemma2 = read(tiny::make_file(of("gemma2")));  // its makers' window, and caps
  ASSERT_TRUE(gemma2.is_ok()) << gemma2.message();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(gemma2->layer[i].window, i % 2 == 0 ? 4096 : 0);
  EXPECT_EQ(gemma2->score_cap, 50);
  EXPECT_EQ(gemma2->logit_cap, 30);
}

TEST(Hyperparameters, every_fourth_layer_of_smollm3_does_not_turn) {
  const auto result = read(tiny::make_file(of("smollm3")));
  ASSERT_TRUE(result.is_ok()) << result.message();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(result->ropes[result->layer[i].rope].turns, i != 3);
}

TEST(Hyperparameters, numbers_that_make_no_sense_are_refused_by_name) {
  struct Case {
    const char* arch;
    const char* key;
    float value;
  };
  const Case kCases[] = {{"granite", "logit_scale", -8},
                         {"granite", "residual_scale", NAN},
                         {"granite", "attention.scale", INFINITY},
                         {"granite", "embedding_scale", -1},
                         {"gemma2", "attn_logit_softcapping", -50},
                         {"gemma2", "final_logit_softcapping", NAN},
                         {"llama", "rope.scaling.attn_factor", 0},
                         {"mistral3", "attention.temperature_scale", -0.1f},
                         {"llama", "rope.scaling.factor", -4}};
  for (const Case& c : kCases) {
    tiny::Spec spec = of(c.arch);
    spec.numbers = {{c.key, c.value}};
    const auto result = read(tiny::make_file(spec));
    EXPECT_FALSE(result.is_ok()) << c.key;
    EXPECT_NE(result.message().find(c.key), std::string::npos) << result.message();
  }
  tiny::Spec spec = of("mistral3");
  spec.rope_scaling = "yarn";
  spec.rope_factor = 4;
  spec.numbers = {{"rope.scaling.yarn_beta_fast", 1}, {"rope.scaling.yarn_beta_slow", 2}};
  EXPECT_EQ(read(tiny::make_file(spec)).code(), Code::kOutOfRange);
  spec = of("mistral3");
  spec.n_rot = 8;
  spec.numbers = {{"attention.temperature_scale", 0.1f}};
  EXPECT_EQ(read(tiny::make_file(spec)).code(), Code::kUnsupported);
}

TEST(Hyperparameters, longrope_needs_both_lists_of_factors_and_no_other) {
  tiny::Spec spec = of("llama");
  spec.rope_scaling = "longrope";
  const auto neither = read(tiny::make_file(spec));
  EXPECT_NE(neither.message().find("rope_factors_long.weight"), std::string::npos);
  spec.context_factors = true;
  File file = tiny::make_file(spec);
  const auto both = read(file);
  ASSERT_TRUE(both.is_ok()) << both.message();
  EXPECT_EQ(both->ropes[0].factors, RopeFactors::kByContext);
  std::erase_if(file.tensors,
                [](const tiny::Tensor& t) { return t.name == "rope_factors_short.weight"; });
  const auto one = read(file);
  EXPECT_EQ(one.code(), Code::kCorrupt);
  EXPECT_NE(one.message().find("rope_factors_short.weight"), std::string::npos) << one.message();
  spec.rope_factors = true;
  EXPECT_NE(read(tiny::make_file(spec)).message().find("exclude"), std::string::npos);
  spec = of("qwen3");
  spec.context_factors = true;
  EXPECT_EQ(read(tiny::make_file(spec)).code(), Code::kUnsupported);
}

TEST(Hyperparameters, fused_tensors_have_the_outputs_of_all_their_parts_and_stand_alone) {
  tiny::Spec spec = of("phi3");
  spec.fused_qkv = spec.biases = true;
  ASSERT_TRUE(read(tiny::make_file(spec)).is_ok()) << read(tiny::make_file(spec)).message();
  for (const char* name : {"blk.2.attn_qkv.weight", "blk.2.attn_qkv.bias", "blk.2.ffn_up.weight"}) {
    File file = tiny::make_file(spec);
    file.tensor(name)->ne.back() -= 1;
    const auto result = read(file);
    EXPECT_EQ(result.code(), Code::kCorrupt) << name;
    EXPECT_NE(result.message().find(name), std::string::npos) << result.message();
  }
  // A second place for the same weights: one of the two would be passed over.
  for (const char* name : {"attn_k.weight", "ffn_gate.weight"}) {
    File file = tiny::make_file(spec);
    tiny::Tensor again = *file.tensor("blk.1.ffn_down.weight");
    again.name = std::string("blk.1.") + name;
    file.tensors.push_back(again);
    const auto result = read(file);
    EXPECT_EQ(result.code(), Code::kUnsupported) << name;
    EXPECT_NE(result.message().find(name), std::string::npos) << result.message();
  }
  // A vector of two dimensions: its parts end where it ends.
  File flat = tiny::make_file(spec);
  tiny::Tensor& bias = *flat.tensor("blk.2.attn_qkv.bias");
  bias.ne.push_back(1);
  const std::vector<uint8_t> bytes = flat.encode().bytes;
  const auto gguf = GgufFile::from_bytes(bytes, "memory");
  ASSERT_TRUE(gguf.is_ok()) << gguf.message();
  const auto h = Hyperparameters::read(**gguf);
  ASSERT_TRUE(h.is_ok()) << h.message();
  const auto v = layer_tensor(**gguf, *h, 2, LayerTensor::kVBias);
  const GgufTensor* whole = (*gguf)->find_tensor("blk.2.attn_qkv.bias");
  ASSERT_TRUE(v.has_value());
  EXPECT_EQ(v->ne[0], 32);
  EXPECT_EQ(v->bytes, 32 * sizeof(float));
  EXPECT_EQ(v->offset + v->bytes, whole->offset + whole->bytes);
  spec.arch = "llama";  // which has no fused tensors
  EXPECT_FALSE(read(tiny::make_file(spec)).is_ok());
}

}  // namespace
}  // namespace heed
