// Which products serve a weight: heed's, or ggml's with plain or rearranged weights.
#pragma once

#include <ggml-backend.h>
#include <ggml.h>

#include <memory>
#include <optional>
#include <vector>

#include "linear/weight.h"
#include "model/gguf_file.h"

namespace heed {

struct GgmlFree {
  void operator()(ggml_context* c) const { ggml_free(c); }
  void operator()(ggml_backend_buffer_t b) const { ggml_backend_buffer_free(b); }
};
using GgmlContext = std::unique_ptr<ggml_context, GgmlFree>;
using GgmlBuffer = std::unique_ptr<ggml_backend_buffer, GgmlFree>;

// For the headers of so many tensors, without their data; null without memory.
GgmlContext tensor_headers(size_t tensors);

// heed's own products serve this type.
std::optional<WeightType> packed_weight_type(ggml_type type);

// What decodes the quantised types that heed does not pack; nothing for those that it does and for
// those that are no weights.
std::optional<RowDecoder> row_decoder(ggml_type type);

// ggml's rearranged layout is used for these types only (measured on Zen 4: Q4_0 1.4-1.5x at 512
// rows and one row; Q4_K loses 1.8x at 512 rows to gain 1.2x at one; others have no such layout).
bool repack_wanted(ggml_type type);

// ggml's buffers that rearrange weights for its own kernels.
class Repacking {
 public:
  Repacking();
  // The first kind of buffer in which ggml can multiply with this tensor, or null.
  ggml_backend_buffer_type_t type_of(const GgufTensor& tensor) const;

 private:
  ggml_backend_dev_t device_;
  std::vector<ggml_backend_buffer_type_t> types_;
};

}  // namespace heed
