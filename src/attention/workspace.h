// What run needs besides its arguments: scratch of every thread, partial results, the counter that
// deals units and the barrier.
//
// Calls on one workspace follow each other with a barrier of the caller's between them (a ggml
// graph has one after every node, Team::run one at its end): no member may start a call before all
// members have returned from the one before. The last member to leave resets the counters; nothing
// else synchronises calls.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "base/aligned.h"
#include "cpu/team.h"
#include "heed/attention.h"
#include "kernels/kernels.h"

namespace heed {

// Running state of stacked rows: maximum (base 2), sums by lane, weighted values.
struct State {
  float* m = nullptr;  // [rows]
  float* l = nullptr;  // [rows][kLaneFloats]
  float* o = nullptr;  // [rows][row_floats(dv)]
};

// Floats of the state of one row.
constexpr size_t state_floats(int dv) {
  return 1 + kernels::kLaneFloats + static_cast<size_t>(kernels::row_floats(dv));
}

// A sum kept by lane, added up: in one order for every ISA and path.
inline float sum_lanes(const float* l) {
  float s[kernels::kLaneFloats];
  std::memcpy(s, l, sizeof(s));
  for (int n = kernels::kLaneFloats / 2; n > 0; n /= 2) {
    for (int i = 0; i < n; ++i) s[i] += s[i + n];
  }
  return s[0];
}

// The state of rows that saw nothing.
void clear(State state, int rows, int dv);

// Scratch of one thread, cut from one block.
struct Scratch {
  void* q = nullptr;              // [rows] packed queries
  void* p = nullptr;              // [rows][64] weights
  uint64_t* mask = nullptr;       // [rows] of the page at hand
  int32_t* first = nullptr;       // [rows] first slot a row sees
  int32_t* end = nullptr;         // [rows] behind the last one
  float* slope = nullptr;         // [rows] ALiBi slopes in base 2
  float* distance = nullptr;      // [rows] query position - origin of the page
  float* bias = nullptr;          // [64]
  float* key = nullptr;           // [64]
  float* turned = nullptr;        // [kMaxHeadSize] a rotated query
  void* k = nullptr;              // gathered K page
  void* v = nullptr;              // gathered or transposed V page
  State part, whole;              // of the split at hand; merged before it
  uint64_t tiles = 0, pages = 0;  // counters of the last run
};

// Sizes that a reservation covers.
struct ScratchSizes {
  int rows = 0;  // stacked rows of the largest item
  int dk = 0, dv = 0;

  size_t bytes() const;
  bool covers(const ScratchSizes& other) const {
    return rows >= other.rows && dk >= other.dk && dv >= other.dv;
  }
};

// How units are made: by shape, or forced by tests (the bits are equal either way).
enum class UnitKind { kAuto, kItems, kSplits };

struct Workspace::Impl {
  Impl(Isa isa_in, int threads_in) : isa(isa_in), threads(threads_in) {}

  Isa isa;
  int threads;
  UnitKind units = UnitKind::kAuto;
  ScratchSizes sizes;
  size_t partial_floats = 0;
  std::vector<AlignedMemory> blocks;  // [threads]
  AlignedMemory partials;
  std::vector<Scratch> scratch;  // [threads]
  alignas(64) std::atomic<int> next{0};
  alignas(64) std::atomic<int> left{0};
  cpu::Barrier barrier;
  int last_members = 0;
};

// Stacked rows of an item: query rows x query heads.
inline int stacked_rows(const Item& item) {
  return item.rows * __builtin_popcountll(item.head_mask);
}

// Partial results that `plan` needs when its items are cut into segments.
size_t partial_floats(const Plan& plan, int dv);

// Whether `members` threads share the work of this plan better by segments than by items.
bool prefers_splits(const Plan& plan, int members);

}  // namespace heed
