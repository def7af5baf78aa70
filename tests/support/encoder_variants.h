// Tiny encoders of every description, with each of the tensors that change their mathematics.
#pragma once

#include <functional>
#include <ostream>

#include "tiny_encoder.h"

namespace heed::test {

// The name begins with the architecture.
struct EncoderVariant {
  const char* name;
  tiny::EncoderSpec spec;
};

inline void PrintTo(const EncoderVariant& variant, std::ostream* out) { *out << variant.name; }

inline tiny::EncoderSpec encoder(const std::function<void(tiny::EncoderSpec&)>& edit) {
  tiny::EncoderSpec spec;
  edit(spec);
  return spec;
}

inline const EncoderVariant kEncoderVariants[] = {
    {"bert", encoder([](tiny::EncoderSpec&) {})},
    {"bert_fused", encoder([](tiny::EncoderSpec& s) {
       s.fused_qkv = true;
       s.layers = 3;
     })},
    {"bert_without_biases_and_types", encoder([](tiny::EncoderSpec& s) {
       s.biases = false;
       s.token_types = 0;
     })},
    {"bert_one_type_f16", encoder([](tiny::EncoderSpec& s) {
       s.token_types = 1;
       s.weight_type = tiny::kTensorF16;
     })},
    {"bert_large_heads", encoder([](tiny::EncoderSpec& s) {
       s.embd = 128;
       s.heads = 2;
       s.ff = 256;
     })},
    {"nomic_bert", encoder([](tiny::EncoderSpec& s) { s.arch = "nomic-bert"; })},
    {"nomic_bert_fused", encoder([](tiny::EncoderSpec& s) {
       s.arch = "nomic-bert";
       s.fused_qkv = true;
       s.token_types = 0;
     })},
};

}  // namespace heed::test
