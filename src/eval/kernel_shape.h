// One attention problem of `heed bench kernels`: shapes, inputs, and what both engines implement.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "eval/contender.h"
#include "heed/format.h"
#include "heed/status.h"
#include "heed/view.h"

namespace heed::eval {

inline constexpr int kKernelChunk = 512;  // prompt tokens a call, as both engines' default

struct KernelShape {
  bool decode = false;
  int d = 128;         // dk = dv
  int kv_heads = 2;    // G
  int group = 4;       // query heads a KV head
  int64_t length = 0;  // keys; a prefill has as many queries, causal

  int heads() const { return kv_heads * group; }
  int64_t queries() const { return decode ? 1 : length; }
  uint64_t query_floats() const;  // of all queries; an output has as many
  uint64_t key_floats() const;    // of all keys; the values have as many
  // Multiply-adds count two; both products over the visible (query, key) pairs.
  double flops() const;
  std::string name() const;  // "prefill d128 2x4 4096"
};

// The same numbers for every contender.
struct KernelInputs {
  KernelShape shape;
  std::vector<float> q;  // [queries, H, d]
  std::vector<float> k;  // [length, G, d]
  std::vector<float> v;  // [length, G, d]
};
KernelInputs make_inputs(const KernelShape& shape);

// An engine on one problem. Appending the keys and values in their stored format is part of a
// round.
// A round of a prefill is the whole prompt in chunks; of a decode, one token on each of copies()
// sequences, so that no cache holds what is read next.
class KernelContender : public Contender {
 public:
  virtual const char* format() const = 0;
  virtual uint64_t kv_bytes() const = 0;  // read by one step, all KV heads
  // Row t of the last round (of its first sequence), [H, d].
  virtual std::span<const float> output(int64_t t) const = 0;
};

// Sequences that a round goes through: in decode as many as hold at least `rotate_bytes` at
// `kv_bytes` each.
int64_t kernel_copies(const KernelShape& shape, uint64_t kv_bytes, uint64_t rotate_bytes);

// Decode: as many sequences as make at least `rotate_bytes` of keys and values.
Result<std::unique_ptr<KernelContender>> make_heed_contender(const KernelInputs& inputs,
                                                             Format format, int threads,
                                                             uint64_t rotate_bytes);
// What it holds, whole pages and outputs; its threads' scratch is small beside that.
uint64_t heed_contender_bytes(const KernelShape& shape, Format format, uint64_t rotate_bytes);
// ggml's flash attention over a cache in f16 or f32, as llama.cpp calls it.
Result<std::unique_ptr<KernelContender>> make_ggml_contender(const KernelInputs& inputs,
                                                             Format format, int threads,
                                                             uint64_t rotate_bytes);
// What it holds: caches, copies of the inputs, masks and outputs.
uint64_t ggml_contender_bytes(const KernelShape& shape, Format format, uint64_t rotate_bytes);

}  // namespace heed::eval
