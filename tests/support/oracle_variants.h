// Tiny models of every description, with each of the keys that change its mathematics.
#pragma once

#include <functional>
#include <ostream>

#include "tiny_gguf.h"

namespace heed::test {

// The name begins with the architecture.
struct OracleVariant {
  const char* name;
  tiny::Spec spec;
};

inline void PrintTo(const OracleVariant& variant, std::ostream* out) { *out << variant.name; }

inline tiny::Spec make(const std::function<void(tiny::Spec&)>& edit) {
  tiny::Spec spec;
  edit(spec);
  return spec;
}

inline const OracleVariant kOracleVariants[] = {
    {"llama_tied", make([](tiny::Spec&) {})},
    {"llama_untied_f16", make([](tiny::Spec& s) {
       s.tied = false;
       s.weight_type = tiny::kTensorF16;
     })},
    {"llama_multi_head", make([](tiny::Spec& s) { s.kv_heads = 4; })},
    {"llama_single_kv_head", make([](tiny::Spec& s) {
       s.heads = 6;
       s.kv_heads = 1;
       s.dk = 32;
     })},
    {"llama_head_size_apart", make([](tiny::Spec& s) {
       s.dk = 64;
       s.layers = 3;
     })},
    {"llama_rope_factors", make([](tiny::Spec& s) {
       s.rope_factors = true;
       s.freq_base = 5e5f;
     })},
    {"llama_linear_scaling", make([](tiny::Spec& s) { s.rope_factor = 4; })},
    {"llama_linear_scaling_by_its_old_key", make([](tiny::Spec& s) {
       s.rope_factor = 4;
       s.rope_scale_linear = true;
     })},
    {"llama_without_a_frequency_base", make([](tiny::Spec& s) { s.freq_base = 0; })},
    {"llama_yarn", make([](tiny::Spec& s) {
       s.dk = 64;
       s.rope_scaling = "yarn";
       s.rope_factor = 4;
       s.rope_original_context = 128;
     })},
    {"llama_yarn_and_factors", make([](tiny::Spec& s) {
       s.dk = 48;
       s.rope_factors = true;
       s.rope_scaling = "yarn";
       s.rope_factor = 8;  // of the context in the file
     })},
    {"llama_yarn_that_shortens", make([](tiny::Spec& s) {
       s.dk = 32;
       s.rope_scaling = "yarn";
       s.rope_factor = 0.5f;
     })},
    {"llama_scaling_none_ignores_its_factor", make([](tiny::Spec& s) {
       s.rope_scaling = "none";
       s.rope_factor = 4;
     })},
    {"llama_biases", make([](tiny::Spec& s) { s.biases = s.other_biases = true; })},
    {"llama_longrope_beyond_its_context", make([](tiny::Spec& s) {
       s.context_factors = true;
       s.rope_scaling = "longrope";
       s.rope_original_context = 128;
       s.numbers = {{"rope.scaling.attn_factor", 1.19f}};
     })},
    {"llama_longrope_within_its_context", make([](tiny::Spec& s) {
       s.context_factors = true;
       s.rope_scaling = "longrope";
       s.rope_original_context = 4096;
     })},
    {"llama_yarn_lengthened", make([](tiny::Spec& s) {
       s.rope_scaling = "yarn";
       s.rope_factor = 4;
       s.rope_original_context = 128;
       s.numbers = {{"rope.scaling.attn_factor", 0.8f}};
     })},
    {"mistral3", make([](tiny::Spec& s) { s.arch = "mistral3"; })},
    {"mistral3_temperature", make([](tiny::Spec& s) {
       s.arch = "mistral3";
       s.dk = 32;
       s.freq_base = 1e6f;
       s.rope_scaling = "yarn";
       s.rope_factor = 16;
       s.rope_original_context = 64;
       s.numbers = {{"rope.scaling.yarn_beta_fast", 16},
                    {"rope.scaling.yarn_beta_slow", 2},
                    {"rope.scaling.yarn_log_multiplier", 1},
                    {"attention.temperature_scale", 0.3f}};
     })},
    {"mistral3_part_of_the_temperature", make([](tiny::Spec& s) {
       s.arch = "mistral3";
       s.rope_scaling = "yarn";
       s.rope_factor = 8;
       s.numbers = {{"rope.scaling.yarn_log_multiplier", 0.5f}};
     })},
    {"qwen2", make([](tiny::Spec& s) {
       s.arch = "qwen2";
       s.biases = true;
       s.freq_base = 1e6f;
     })},
    {"qwen2_untied", make([](tiny::Spec& s) {
       s.arch = "qwen2";
       s.biases = true;
       s.tied = false;
       s.kv_heads = 1;
       s.weight_type = tiny::kTensorF16;
     })},
    {"qwen2_yarn", make([](tiny::Spec& s) {
       s.arch = "qwen2";
       s.biases = true;
       s.heads = s.kv_heads = 1;
       s.dk = 64;
       s.freq_base = 1e6f;
       s.rope_scaling = "yarn";
       s.rope_factor = 4;
       s.rope_original_context = 256;
     })},
    {"qwen2_linear_scaling", make([](tiny::Spec& s) {
       s.arch = "qwen2";
       s.biases = true;
       s.rope_factor = 2;
     })},
    {"qwen3", make([](tiny::Spec& s) {
       s.arch = "qwen3";
       s.dk = 32;
       s.freq_base = 1e6f;
     })},
    {"qwen3_biases_untied_yarn", make([](tiny::Spec& s) {
       s.arch = "qwen3";
       s.biases = true;
       s.tied = false;
       s.rope_scaling = "yarn";
       s.rope_factor = 4;
       s.rope_original_context = 128;
     })},
    {"qwen3_f16", make([](tiny::Spec& s) {
       s.arch = "qwen3";
       s.weight_type = tiny::kTensorF16;
     })},
    {"gemma2_windows", make([](tiny::Spec& s) {
       s.arch = "gemma2";
       s.layers = 4;
       s.window = 24;
       s.dk = 32;
     })},
    {"gemma2_low_caps", make([](tiny::Spec& s) {
       s.arch = "gemma2";
       s.numbers = {{"attn_logit_softcapping", 2}, {"final_logit_softcapping", 1.5f}};
     })},
    {"gemma2_window_by_layer", make([](tiny::Spec& s) {
       s.arch = "gemma2";
       s.layers = 5;
       s.window = 30;
       s.window_pattern = {0, 1, 1, 0, 1};
     })},
    {"gemma2_bases_apart_scaled", make([](tiny::Spec& s) {
       s.arch = "gemma2";
       s.layers = 4;
       s.window = 40;
       s.freq_base = 1e5f;
       s.freq_base_swa = 5e3f;
       s.rope_factor = 4;
     })},
    {"gemma3_windows", make([](tiny::Spec& s) {
       s.arch = "gemma3";
       s.layers = 7;
       s.window = 24;
       s.dk = 32;
       s.kv_heads = 1;
       s.freq_base = 1e6f;
     })},
    {"gemma3_scaled_global_layers", make([](tiny::Spec& s) {
       s.arch = "gemma3";
       s.layers = 6;
       s.window = 70;
       s.dk = 32;
       s.freq_base = 1e6f;
       s.rope_factor = 8;
     })},
    {"gemma3_window_by_layer", make([](tiny::Spec& s) {
       s.arch = "gemma3";
       s.layers = 5;
       s.window = 30;
       s.freq_base = 1e6f;
       s.window_pattern = {0, 1, 1, 0, 1};
     })},
    {"gemma3_window_period", make([](tiny::Spec& s) {
       s.arch = "gemma3";
       s.layers = 4;
       s.window = 30;
       s.freq_base = 1e6f;
       s.window_period = 2;
     })},
    {"gemma3_part_of_a_head_turns", make([](tiny::Spec& s) {
       s.arch = "gemma3";
       s.dk = 32;
       s.n_rot = 16;
     })},
    {"gemma3_bases_apart", make([](tiny::Spec& s) {
       s.arch = "gemma3";
       s.layers = 6;
       s.window = 40;
       s.freq_base = 1e6f;
       s.freq_base_swa = 5e3f;
     })},
    {"gemma3_without_a_base_for_windows", make([](tiny::Spec& s) {
       s.arch = "gemma3";
       s.layers = 6;
       s.window = 40;
       s.freq_base = 1e6f;
       s.freq_base_swa = 0;
     })},
    {"gemma3_without_frequency_bases", make([](tiny::Spec& s) {
       s.arch = "gemma3";
       s.layers = 6;
       s.window = 40;
       s.freq_base = s.freq_base_swa = 0;
     })},
    {"gemma3_yarn_on_global_layers", make([](tiny::Spec& s) {
       s.arch = "gemma3";
       s.layers = 6;
       s.window = 40;
       s.freq_base = 1e6f;
       s.rope_scaling = "yarn";
       s.rope_factor = 4;
       s.rope_original_context = 256;
     })},
    {"gemma3_no_window", make([](tiny::Spec& s) {
       s.arch = "gemma3";
       s.dk = 64;
     })},
    {"phi3", make([](tiny::Spec& s) {
       s.arch = "phi3";
       s.fused_qkv = true;
       s.tied = false;
     })},
    {"phi3_f16_part_of_a_head_turns", make([](tiny::Spec& s) {
       s.arch = "phi3";
       s.fused_qkv = true;
       s.n_rot = 12;
       s.weight_type = tiny::kTensorF16;
     })},
    {"phi3_fused_biases", make([](tiny::Spec& s) {
       s.arch = "phi3";
       s.fused_qkv = s.biases = true;
       s.kv_heads = 4;
     })},
    {"phi3_not_fused", make([](tiny::Spec& s) {
       s.arch = "phi3";
       s.biases = true;
     })},
    {"phi3_longrope_beyond_its_context", make([](tiny::Spec& s) {
       s.arch = "phi3";
       s.fused_qkv = s.context_factors = true;
       s.n_rot = 12;
       s.window = 200000;
       s.rope_original_context = 128;
       s.numbers = {{"rope.scaling.attn_factor", 1.19f}};
     })},
    {"phi3_longrope_within_its_context", make([](tiny::Spec& s) {
       s.arch = "phi3";
       s.fused_qkv = s.context_factors = true;
       s.rope_original_context = 4096;
       s.numbers = {{"rope.scaling.attn_factor", 1.19f}};
     })},
    {"olmo2", make([](tiny::Spec& s) {
       s.arch = "olmo2";
       s.tied = false;
       s.kv_heads = 4;
       s.freq_base = 5e5f;
     })},
    {"olmo2_grouped_heads_biases", make([](tiny::Spec& s) {
       s.arch = "olmo2";
       s.tied = false;
       s.biases = true;
     })},
    {"olmo2_windows_yarn", make([](tiny::Spec& s) {  // OLMo 3
       s.arch = "olmo2";
       s.tied = false;
       s.layers = 5;
       s.window = 30;
       s.rope_scaling = "yarn";
       s.rope_factor = 8;
       s.rope_original_context = 128;
     })},
    {"granite", make([](tiny::Spec& s) {
       s.arch = "granite";
       s.numbers = {{"attention.scale", 0.15f},
                    {"embedding_scale", 12},
                    {"residual_scale", 0.22f},
                    {"logit_scale", 8}};
     })},
    {"granite_biases_and_rope_factors", make([](tiny::Spec& s) {
       s.arch = "granite";
       s.biases = s.other_biases = s.rope_factors = true;
       s.tied = false;
       s.numbers = {{"logit_scale", 0.5f}};
     })},
    {"granite_without_rotation", make([](tiny::Spec& s) {
       s.arch = "granite";
       s.unrotated = true;
       s.numbers = {{"logit_scale", 1}, {"residual_scale", 0.4f}};
     })},
    {"smollm3", make([](tiny::Spec& s) {
       s.arch = "smollm3";
       s.layers = 5;
       s.freq_base = 5e6f;
     })},
    {"smollm3_yarn", make([](tiny::Spec& s) {
       s.arch = "smollm3";
       s.layers = 4;
       s.rope_scaling = "yarn";
       s.rope_factor = 2;
       s.rope_original_context = 256;
     })},
};

}  // namespace heed::test
