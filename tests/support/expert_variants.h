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

}  // namespace heed::test
