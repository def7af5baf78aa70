// Tiny models with experts: heed's products, ggml's, and both mixed where rows fill no whole
// blocks.
#pragma once

#include <functional>

#include "oracle_variants.h"

namespace heed::test {

inline tiny::Spec make_experts(const char* arch, const std::function<void(tiny::Spec&)>& edit) {
  tiny::Spec spec = tiny::expert_spec(arch);
  edit(spec);
  return spec;
}

inline const OracleVariant kExpertVariants[] = {
    {"qwen3moe", make_experts("qwen3moe", [](tiny::Spec&) {})},
    {"qwen3moe_many_experts", make_experts("qwen3moe",
                                           [](tiny::Spec& s) {
                                             s.experts = 64;
                                             s.experts_used = 8;
                                             s.ff = 32;
                                             s.freq_base = 1e6f;
                                           })},
    {"qwen3moe_one_of_four", make_experts("qwen3moe",
                                          [](tiny::Spec& s) {
                                            s.experts = 4;
                                            s.experts_used = 1;
                                          })},
    {"qwen3moe_all_experts", make_experts("qwen3moe",
                                          [](tiny::Spec& s) {
                                            s.experts = s.experts_used = 3;
                                            s.tied = false;
                                          })},
    {"qwen3moe_single_expert",
     make_experts("qwen3moe", [](tiny::Spec& s) { s.experts = s.experts_used = 1; })},
    {"qwen3moe_head_size_apart_and_biases", make_experts("qwen3moe",
                                                         [](tiny::Spec& s) {
                                                           s.dk = 48;
                                                           s.biases = true;
                                                         })},
    {"qwen3moe_yarn", make_experts("qwen3moe",
                                   [](tiny::Spec& s) {
                                     s.dk = 64;
                                     s.rope_scaling = "yarn";
                                     s.rope_factor = 4;
                                     s.rope_original_context = 128;
                                   })},
    // heed does not pack what fills no whole blocks: gate and up are its own, down is ggml's.
    {"qwen3moe_down_is_ggmls", make_experts("qwen3moe", [](tiny::Spec& s) { s.ff = 40; })},
    {"qwen3moe_gate_and_up_are_ggmls",
     make_experts("qwen3moe", [](tiny::Spec& s) { s.embd = 72; })},
    {"gpt_oss", make_experts("gpt-oss",
                             [](tiny::Spec& s) {
                               s.rope_scaling = "yarn";
                               s.rope_factor = 4;
                               s.rope_original_context = 128;
                               s.freq_base = 150000;
                             })},
    {"gpt_oss_without_yarn", make_experts("gpt-oss", [](tiny::Spec&) {})},
    {"gpt_oss_four_of_32", make_experts("gpt-oss",
                                        [](tiny::Spec& s) {
                                          s.experts = 32;
                                          s.experts_used = 4;
                                          s.heads = 8;
                                          s.kv_heads = 1;
                                        })},
    {"gpt_oss_linear_scaling_in_windows_too", make_experts("gpt-oss",
                                                           [](tiny::Spec& s) {
                                                             s.rope_factor = 4;
                                                             s.layers = 2;
                                                           })},
    {"gpt_oss_bases_apart", make_experts("gpt-oss",
                                         [](tiny::Spec& s) {
                                           s.freq_base = 1e6f;
                                           s.freq_base_swa = 5e3f;
                                         })},
    {"gpt_oss_window_by_layer", make_experts("gpt-oss",
                                             [](tiny::Spec& s) {
                                               s.window_pattern = {0, 1, 1};
                                             })},
};

// DeepSeek's: one vector a token that keys and values of all heads are made of.
inline tiny::Spec make_latent(const std::function<void(tiny::Spec&)>& edit) {
  return make_experts("deepseek2", edit);
}

inline void stretch(tiny::Spec& s, float share) {
  s.rope_scaling = "yarn";
  s.rope_factor = 8;
  s.rope_original_context = 64;
  if (share > 0) s.numbers.emplace_back("rope.scaling.yarn_log_multiplier", share);
}

// As the third version has it: a sigmoid, a bias of the choice alone, groups.
inline void choose_as_v3(tiny::Spec& s) {
  s.experts = 16;
  s.experts_used = 4;
  s.ff = 64;
  s.choice_bias = true;
  s.integers = {
      {"expert_gating_func", 2}, {"expert_group_count", 4}, {"expert_group_used_count", 2}};
  s.flags = {"expert_weights_norm"};
  s.numbers.emplace_back("expert_weights_scale", 2.5f);
}

inline const OracleVariant kLatentVariants[] = {
    {"deepseek2_lite", make_latent([](tiny::Spec&) {})},
    {"deepseek2_lite_stretched", make_latent([](tiny::Spec& s) {
       stretch(s, 0.0707f);
       s.integers = {{"expert_gating_func", 1}};
     })},
    {"deepseek2_lite_f16", make_latent([](tiny::Spec& s) {
       s.weight_type = tiny::kTensorF16;
       // All take part: a last bit of f16 decides between two experts that nearly tie.
       s.experts = s.experts_used = 4;
     })},
    {"deepseek2_v2", make_latent([](tiny::Spec& s) {
       s.q_rank = 48;
       stretch(s, 0.0707f);
       s.numbers.emplace_back("expert_weights_scale", 4.0f);
     })},
    {"deepseek2_v3", make_latent([](tiny::Spec& s) {
       s.q_rank = 48;
       stretch(s, 0.1f);
       choose_as_v3(s);
     })},
    // Rows of every matrix in whole blocks: no product is ggml's.
    {"deepseek2_v3_heeds_products", make_latent([](tiny::Spec& s) {
       s.q_rank = s.latent = 64;
       s.key_part = s.head_v = 32;
       choose_as_v3(s);
     })},
    {"deepseek2_128_heads", make_latent([](tiny::Spec& s) {
       s.heads = 128;
       s.layers = 1;
       s.latent = s.n_rot = 16;
       s.key_part = s.head_v = 32;
     })},
    {"deepseek2_stretched_without_a_share", make_latent([](tiny::Spec& s) {
       stretch(s, 0);
       // All scores grow with its logarithm to the fourth, and what fp32 rounds with them.
       s.rope_factor = 2;
     })},
    {"deepseek2_yarn_lengthened", make_latent([](tiny::Spec& s) {
       stretch(s, 0.05f);
       s.numbers.emplace_back("rope.scaling.attn_factor", 0.9f);
     })},
    {"deepseek2_sigmoid_that_is_not_normalised", make_latent([](tiny::Spec& s) {
       s.integers = {{"expert_gating_func", 2}};
     })},
    {"deepseek2_normalised_softmax_with_bias_and_groups", make_latent([](tiny::Spec& s) {
       choose_as_v3(s);
       s.integers[0].second = 1;
     })},
    {"deepseek2_softmax_of_the_chosen", make_latent([](tiny::Spec& s) {
       s.integers = {{"expert_gating_func", 3}};
       s.numbers.emplace_back("expert_weights_scale", 1.5f);
     })},
    {"deepseek2_softmax_of_the_chosen_with_bias_and_groups", make_latent([](tiny::Spec& s) {
       choose_as_v3(s);
       s.integers[0].second = 3;
     })},
    {"deepseek2_experts_from_the_first_layer", make_latent([](tiny::Spec& s) {
       s.dense_layers = 0;
       s.shared_experts = 1;
       s.tied = true;
     })},
    {"deepseek2_without_experts", make_latent([](tiny::Spec& s) {
       s.integers = {{"expert_feed_forward_length", 96}};
       s.experts = s.experts_used = s.shared_experts = 0;
       s.dense_layers = s.layers;
     })},
};

}  // namespace heed::test
