// Block scores from antidiagonals (XAttention): with a stride s, s rows of queries become one row
// of s * dk dims in reverse order and s keys one key of s * dk dims in order, so that a product is
// the sum over an antidiagonal of the s x s scores,
//
//   Q'[a] = concat_u q[a s + s - 1 - u],  K'[b] = concat_u k[b s + u],
//   Z = softmax_b(scale / (s norm) <Q'[a], K'[b]>)   (causal: b <= a),   A[I, J] = sum over the
//   block
//
// T S dk / s multiply-adds a head instead of T S dk. With s = 1, Z is the exact softmax and A the
// exact mass of each block of keys. One pass: weights are summed by block against a maximum of
// their own and rescaled at the end.
#pragma once

#include <cstddef>
#include <cstdint>

#include "select/keys.h"

namespace heed::select {

struct AntidiagonalShape {
  int stride = 8;   // s
  int block = 128;  // of query positions and of slots; block / s is a power of two
  float norm = 1.0f;
};

// Whether the shape is one that Antidiagonal can compute: s divides the block into a power of two.
bool is_computable(const AntidiagonalShape& shape);

class Antidiagonal {
 public:
  static size_t shared_bytes(const Keys& keys, const AntidiagonalShape& shape,
                             const SelectBound& bound);
  static size_t thread_bytes(const Keys& keys, const AntidiagonalShape& shape);

  // q [rows, H, dk], rotated, at positions pos0, pos0 + 1, ... A group of s positions of which the
  // call has a part counts with that part. Keys that are not live or lie behind the list count as
  // zero. out [H, query blocks, stride]: A, where key blocks count slots; a row's sum is the number
  // of groups in its block. stride >= blocks of the longest list.
  Antidiagonal(const Keys& keys, const AntidiagonalShape& shape, View<const float, 3> q,
               int64_t pos0, float* out, int64_t stride, void* shared);

  static constexpr int kPhases = 3;
  int64_t units(int phase) const;
  void run(int phase, int64_t unit, void* thread) const;

 private:
  struct Thread;
  struct Shared {
    uint8_t* q = nullptr;      // [H][groups] packed, s * dk dims each
    int32_t* first = nullptr;  // [G][groups] visible groups of keys [first, end)
    int32_t* end = nullptr;
    float* m = nullptr;    // [H][groups][pages of K'] base 2
    float* sum = nullptr;  // [H][groups][pages of K'][parts] weights 2^(score - m)
  };
  static Shared cut_shared(void* memory, size_t* bytes, const Keys& keys,
                           const AntidiagonalShape& shape, int64_t groups, int64_t slots);
  static Thread cut_thread(void* memory, size_t* bytes, const Keys& keys,
                           const AntidiagonalShape& shape);

  void pack(int h) const;
  void find_limits(int g) const;
  void score(int g, int page, const Thread& t) const;
  void sum_blocks(int h, int block) const;
  // K' of 64 groups from group 64 * page on.
  const void* strided_page(const ListView& list, int page, const Thread& t) const;
  uint64_t live_groups(const ListView& list, int page) const;

  const Keys keys_;
  const AntidiagonalShape shape_;
  const View<const float, 3> q_;
  const int64_t pos0_;
  float* const out_;
  const int64_t stride_;
  const kernels::Table& kernels_;
  const kernels::FormatOps& ops_;
  const int rows_;
  const QueryBlocks blocks_;
  const QueryBlocks groups_;
  const int pages_;       // of K'
  const int columns_;     // of K' summed as one part, at most 64
  const int parts_;       // per page of K'
  const size_t q_bytes_;  // of one query row
  Shared shared_;
};

}  // namespace heed::select
