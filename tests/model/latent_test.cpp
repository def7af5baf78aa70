// Files of descriptions with latent attention: their numbers, their shapes, and the forms that are
// refused.
#include <gtest/gtest.h>

#include <cmath>

#include "gguf_readers.h"
#include "model/hyperparameters.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

using tiny::File;

Result<Hyperparameters> read(const File& file) {
  const std::vector<uint8_t> bytes = file.encode().bytes;
  HEED_ASSIGN(auto gguf, GgufFile::from_bytes(bytes, "memory"));
  return Hyperparameters::read(*gguf);
}

tiny::Spec third_version() {
  tiny::Spec spec = tiny::expert_spec("deepseek2");
  spec.q_rank = 48;
  spec.choice_bias = true;
  spec.integers = {
      {"expert_gating_func", 2}, {"expert_group_count", 4}, {"expert_group_used_count", 2}};
  spec.flags = {"expert_weights_norm"};
  spec.numbers = {{"expert_weights_scale", 2.5f}};
  return spec;
}

TEST(LatentFile, numbers_are_read) {
  const auto h = read(tiny::make_file(third_version()));
  ASSERT_TRUE(h.is_ok()) << h.message();
  EXPECT_EQ(h->latent, 32);
  EXPECT_EQ(h->dk, 48);
  EXPECT_EQ(h->dv, 32);
  EXPECT_EQ(h->head_k, 40);
  EXPECT_EQ(h->head_v, 20);
  EXPECT_EQ(h->q_rank, 48);
  EXPECT_EQ(h->dense_layers, 1);
  EXPECT_FALSE(h->has_experts(0));
  EXPECT_TRUE(h->has_experts(1));
  EXPECT_EQ(h->shared_ff, 2 * 96);
  const RouterRule rule{.score = RouterScore::kSigmoid,
                        .normalised = true,
                        .scale = 2.5f,
                        .groups = 4,
                        .groups_used = 2};
  EXPECT_EQ(h->router, rule);
  EXPECT_FLOAT_EQ(h->attention_scale, 1 / std::sqrt(40.0f));  // of the head as it is projected
  const auto plain = read(tiny::make_file(tiny::expert_spec("deepseek2")));
  ASSERT_TRUE(plain.is_ok()) << plain.message();
  EXPECT_EQ(plain->q_rank, 0);
  EXPECT_EQ(plain->router, (RouterRule{.normalised = false}));
}

// GLM 4.7 Flash, as it was converted before the key was written: llama.cpp knows it by its sizes.
TEST(LatentFile, a_router_that_is_not_named_is_known_by_the_sizes) {
  constexpr int kGlm = 154880;
  const auto score = [](int layers, int vocabulary, int gating) {
    tiny::Spec spec = tiny::expert_spec("deepseek2");
    spec.layers = layers;
    spec.vocab = vocabulary;
    spec.embd = 4 * 4;
    spec.tied = true;
    if (gating >= 0) spec.integers = {{"expert_gating_func", static_cast<uint32_t>(gating)}};
    const auto h = read(tiny::make_file(spec));
    EXPECT_TRUE(h.is_ok()) << h.message();
    return h.is_ok() ? h->router.score : RouterScore::kLogits;
  };
  EXPECT_EQ(score(47, kGlm, -1), RouterScore::kSigmoid);
  EXPECT_EQ(score(48, kGlm, 0), RouterScore::kSigmoid);
  EXPECT_EQ(score(47, kGlm, 1), RouterScore::kSoftmax) << "the file says so";
  EXPECT_EQ(score(46, kGlm, -1), RouterScore::kSoftmax);
  EXPECT_EQ(score(47, 80, -1), RouterScore::kSoftmax);
}

// As files were before attn_kv_b was split: the message says what to do.
TEST(LatentFile, the_old_form_is_refused_with_the_way_out) {
  for (const char* key : {"key_length_mla", "value_length_mla"}) {
    File file = tiny::make_file(third_version());
    file.erase(std::string("deepseek2.attention.") + key);
    const auto result = read(file);
    EXPECT_EQ(result.code(), Code::kUnsupported);
    for (const char* part : {key, "attn_kv_b", "attn_k_b", "convert_hf_to_gguf.py"}) {
      EXPECT_NE(result.message().find(part), std::string::npos) << result.message();
    }
  }
}

TEST(LatentFile, numbers_that_make_no_sense_are_refused_by_name) {
  struct Wrong {
    const char* key;
    uint32_t value;
    Code code;
  };
  for (const Wrong& wrong : {Wrong{"attention.kv_lora_rank", 0, Code::kOutOfRange},
                             {"attention.kv_lora_rank", 576, Code::kOutOfRange},
                             {"attention.kv_lora_rank", 34, Code::kCorrupt},
                             {"attention.key_length_mla", 16, Code::kOutOfRange},
                             {"attention.value_length_mla", 0, Code::kOutOfRange},
                             {"attention.q_lora_rank", 1 << 18, Code::kOutOfRange},
                             {"leading_dense_block_count", 4, Code::kOutOfRange},
                             {"expert_shared_count", 0, Code::kOutOfRange},
                             {"expert_shared_count", 1 << 20, Code::kOutOfRange},
                             {"expert_gating_func", 4, Code::kUnsupported},
                             {"expert_group_count", 3, Code::kCorrupt},
                             {"expert_group_count", 8, Code::kCorrupt},
                             {"expert_group_count", 9, Code::kOutOfRange},
                             {"expert_group_used_count", 0, Code::kOutOfRange},
                             {"expert_group_used_count", 4, Code::kOutOfRange},
                             {"attention.temperature_scale", 1, Code::kUnsupported},
                             {"nextn_predict_layers", 1, Code::kUnsupported}}) {
    File file = tiny::make_file(third_version());
    file.set(tiny::u32_key(std::string("deepseek2.") + wrong.key, wrong.value));
    const auto result = read(file);
    EXPECT_EQ(result.code(), wrong.code) << wrong.key << " " << result.message();
    EXPECT_NE(result.message().find(wrong.key), std::string::npos) << result.message();
  }
  // One group of two experts for the two of a token is enough, for three it is not.
  File few = tiny::make_file(third_version());
  few.set(tiny::u32_key("deepseek2.expert_group_used_count", 1));
  EXPECT_TRUE(read(few).is_ok()) << read(few).message();
  few.set(tiny::u32_key("deepseek2.expert_used_count", 3));
  EXPECT_EQ(read(few).code(), Code::kCorrupt);
  File heads = tiny::make_file(third_version());
  heads.set(tiny::u32_key("deepseek2.attention.head_count_kv", 4));
  EXPECT_EQ(read(heads).code(), Code::kCorrupt);
  tiny::Spec linear = third_version();
  linear.rope_factor = 4;
  EXPECT_EQ(read(tiny::make_file(linear)).code(), Code::kUnsupported);
}

// Each tensor of a layer: missing, or of another shape.
TEST(LatentFile, tensors_that_are_missing_or_misshaped_are_named) {
  const File good = tiny::make_file(third_version());
  int checked = 0;
  for (size_t i = 0; i < good.tensors.size(); ++i) {
    const std::string& name = good.tensors[i].name;
    if (!name.starts_with("blk.")) continue;
    File without = good;
    without.tensors.erase(without.tensors.begin() + static_cast<std::ptrdiff_t>(i));
    const auto result = read(without);
    if (name.ends_with("exp_probs_b.bias")) {
      EXPECT_TRUE(result.is_ok()) << result.message();
    } else {
      EXPECT_EQ(result.code(), Code::kCorrupt) << name;
      EXPECT_NE(result.message().find(name), std::string::npos) << result.message();
    }
    for (size_t d = 0; d < good.tensors[i].ne.size(); ++d) {
      const auto misshaped = read(test::with_one_more(good, i, d));
      EXPECT_EQ(misshaped.code(), Code::kCorrupt) << name << " " << d << " " << misshaped.message();
      EXPECT_NE(misshaped.message().find(name), std::string::npos) << misshaped.message();
      ++checked;
    }
  }
  EXPECT_GE(checked, 90);
}

// What one layer has is no part of another: dense tensors in a layer with experts, and so on.
TEST(LatentFile, tensors_of_another_kind_of_layer_are_refused_by_name) {
  const auto moved = [](const char* from, const std::string& to) {
    File file = tiny::make_file(third_version());
    tiny::Tensor again = *file.tensor(from);
    again.name = to;
    file.tensors.push_back(again);
    const auto result = read(file);
    EXPECT_EQ(result.code(), Code::kUnsupported) << to;
    EXPECT_NE(result.message().find(to), std::string::npos) << result.message();
  };
  moved("blk.0.ffn_gate.weight", "blk.1.ffn_gate.weight");
  moved("blk.1.ffn_gate_inp.weight", "blk.0.ffn_gate_inp.weight");
  moved("blk.1.exp_probs_b.bias", "blk.0.exp_probs_b.bias");
  moved("blk.1.ffn_up_shexp.weight", "blk.0.ffn_up_shexp.weight");
  moved("blk.1.attn_q_b.weight", "blk.1.attn_q.weight");
}

}  // namespace
}  // namespace heed
