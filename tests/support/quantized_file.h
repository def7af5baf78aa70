// Tiny models with matrices of any type that ggml quantises, and the same numbers as F32: the file
// from which a reference without quantised products is made.
#pragma once

#include <ggml.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tiny_gguf.h"

namespace heed::tiny {

// Matrices of a file of F32 tensors become `type`, but for routers, which real files keep; their
// rows must come in whole blocks. `only`: those whose names have it.
inline File quantized(File file, ggml_type type, const std::string& only = ".weight") {
  for (Tensor& t : file.tensors) {
    const bool kept = t.ne.size() < 2 || t.name.ends_with("_inp.weight");
    if (kept || t.name.find(only) == std::string::npos) continue;
    const auto inputs = static_cast<int64_t>(t.ne[0]);
    const auto rows = static_cast<int64_t>(t.data.size() / sizeof(float)) / inputs;
    EXPECT_EQ(t.type, kTensorF32) << t.name;
    EXPECT_EQ(inputs % ggml_blck_size(type), 0) << t.name;
    std::vector<float> values(static_cast<size_t>(inputs * rows));
    std::memcpy(values.data(), t.data.data(), t.data.size());
    t.data.resize(ggml_row_size(type, inputs) * static_cast<size_t>(rows));
    ggml_quantize_chunk(type, values.data(), t.data.data(), 0, rows, inputs, nullptr);
    t.type = static_cast<uint32_t>(type);
  }
  return file;
}

// What the matrices of such a file decode to.
inline File dequantized(File file) {
  for (Tensor& t : file.tensors) {
    if (t.type == kTensorF32) continue;
    int64_t n = 1;  // rows are whole blocks
    for (const uint64_t size : t.ne) n *= static_cast<int64_t>(size);
    std::vector<float> values(static_cast<size_t>(n));
    ggml_get_type_traits(static_cast<ggml_type>(t.type))->to_float(t.data.data(), values.data(), n);
    t.data.resize(values.size() * sizeof(float));
    std::memcpy(t.data.data(), values.data(), t.data.size());
    t.type = kTensorF32;
  }
  return file;
}

}  // namespace heed::tiny
