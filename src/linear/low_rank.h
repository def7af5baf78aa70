// What low-rank factors add behind products: y += scale B (A x), for neighbouring rows, by the
// members of a team. Two steps with a barrier between them: a share of the sums of A x, then a
// share of the outputs.
//
// A x of one row is a long sum with few outputs, too little for a team to share by outputs. So the
// inputs are cut into slices of kSliceInputs, whose sums are added up in their order: the cut is
// the same for every team and every number of rows, hence a row's bits depend on neither.
#pragma once

#include <cstdint>
#include <span>

#include "heed/cpu.h"
#include "linear/weight.h"

namespace heed {

inline constexpr int64_t kSliceInputs = 1024;

// A [rank, in] and B [out, rank] of one matrix, widths padded with zeros to blocks of 32.
struct LowRankTerm {
  const PackedWeight* a = nullptr;  // null: the sums of A x are there already
  const PackedWeight* b = nullptr;
  int64_t rank = 0;
  float scale = 1;
  float* y = nullptr;     // [rows, out], y_stride floats apart
  int64_t y_stride = 0;   // floats
  float* sums = nullptr;  // [rows, slices, padded rank], between the steps
};

// `rows` rows that share their terms.
struct LowRankCall {
  const float* x = nullptr;  // [rows, inputs], x_stride floats apart
  int64_t x_stride = 0;
  int64_t rows = 0;
  int64_t inputs = 0;
  const float* norm = nullptr;  // [inputs]: rows are normed first, as in linear/product.h
  float eps = 0;
  std::span<const LowRankTerm> terms;
};

// Of a term whose A has so many inputs; 0: it has none.
int64_t low_rank_slices(int64_t inputs);
// Floats of LowRankTerm::sums a row.
int64_t low_rank_sums(int64_t inputs, int64_t padded_rank);
// Of a member, for up to so many inputs and so large a padded rank; 64-byte aligned.
int64_t low_rank_scratch_bytes(int64_t inputs, int64_t padded_rank);

void low_rank_sum(Isa isa, const LowRankCall& call, uint8_t* scratch, int member, int members);
void low_rank_add(Isa isa, const LowRankCall& call, uint8_t* scratch, int member, int members);

}  // namespace heed
