#include "attention/workspace.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "attention/segments.h"
#include "attention/tiling.h"
#include "attention/visible.h"
#include "base/checked.h"
#include "base/guard.h"

namespace heed {
namespace {

// An item of this many stacked rows or fewer is bound by memory: decode, or a short prompt tail.
constexpr int kFewRows = 24;
// Items per thread from which dealing whole items balances well enough, for few and for many rows.
constexpr int kEnoughSmallItems = 16, kEnoughItems = 2;

constexpr size_t align_64(size_t bytes) { return (bytes + 63) / 64 * 64; }

// Under AddressSanitizer a gap that faults lies behind every piece of scratch: to the sanitizer the
// block is one allocation, so a kernel that leaves its piece would go unseen.
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kGap = 64;
void poison(const void* gap, size_t bytes) { __asan_poison_memory_region(gap, bytes); }
#else
constexpr size_t kGap = 0;
void poison(const void*, size_t) {}
#endif

// Hands out consecutive pieces of a block; with a null block it only adds up.
class Cutter {
 public:
  explicit Cutter(uint8_t* block) : block_(block) {}
  template <class T>
  void cut(T*& out, size_t count) {
    const size_t bytes = count * sizeof(T), cut = align_64(bytes) + kGap;
    if (block_ != nullptr) {
      out = reinterpret_cast<T*>(block_ + used_);
      poison(block_ + used_ + bytes, cut - bytes);
    }
    used_ += cut;
  }
  size_t used() const { return used_; }

 private:
  uint8_t* block_;
  size_t used_ = 0;
};

size_t cut_scratch(const ScratchSizes& sizes, uint8_t* block, Scratch& out) {
  const size_t rows = static_cast<size_t>(sizes.rows);
  const size_t dk = static_cast<size_t>(sizes.dk);
  const size_t width = static_cast<size_t>(kernels::row_floats(sizes.dv));
  Cutter cutter(block);
  float *q = nullptr, *p = nullptr, *k = nullptr, *v = nullptr;
  cutter.cut(q, rows * dk);
  cutter.cut(p, rows * kPageTokens);
  cutter.cut(out.mask, rows);
  cutter.cut(out.first, rows);
  cutter.cut(out.end, rows);
  cutter.cut(out.slope, rows);
  cutter.cut(out.distance, rows);
  cutter.cut(out.bias, kPageTokens);
  cutter.cut(out.key, kPageTokens);
  cutter.cut(out.turned, kMaxHeadSize);
  cutter.cut(k, dk * kPageTokens);
  cutter.cut(v, width * kPageTokens);
  for (State* state : {&out.part, &out.whole}) {
    cutter.cut(state->m, rows);
    cutter.cut(state->l, rows * kernels::kLaneFloats);
    cutter.cut(state->o, rows * width);
  }
  out.q = q;
  out.p = p;
  out.k = k;
  out.v = v;
  return cutter.used();
}

ScratchSizes sizes_of(const Plan& plan, const Call& call) {
  ScratchSizes sizes{1, call.dk, call.dv};
  for (const Item& item : plan.items) sizes.rows = std::max(sizes.rows, stacked_rows(item));
  return sizes;
}

ScratchSizes larger(const ScratchSizes& a, const ScratchSizes& b) {
  return {std::max(a.rows, b.rows), std::max(a.dk, b.dk), std::max(a.dv, b.dv)};
}

Status grow(Workspace::Impl& impl, const ScratchSizes& wanted, size_t partials) {
  try {
    if (!impl.sizes.covers(wanted) || impl.blocks.empty()) {
      const ScratchSizes sizes = larger(impl.sizes, wanted);
      std::vector<AlignedMemory> blocks;
      std::vector<Scratch> scratch(static_cast<size_t>(impl.threads));
      for (Scratch& s : scratch) {
        blocks.push_back(allocate_aligned(sizes.bytes()));
        if (blocks.back() == nullptr) throw std::bad_alloc();
        std::memset(blocks.back().get(), 0, sizes.bytes());  // gathered V is read behind dv
        cut_scratch(sizes, blocks.back().get(), s);
      }
      impl.blocks = std::move(blocks);
      impl.scratch = std::move(scratch);
      impl.sizes = sizes;
    }
    if (impl.partial_floats < partials) {
      // Not zeroed, so that only what a plan really needs becomes resident.
      auto block = allocate_aligned(partials * sizeof(float));
      if (block == nullptr) throw std::bad_alloc();
      impl.partials = std::move(block);
      impl.partial_floats = partials;
    }
    return {};
  } catch (const std::bad_alloc&) {
    return exhausted("no memory for attention scratch: ", impl.threads, " threads x ",
                     wanted.bytes(), " bytes + ", partials * sizeof(float),
                     " bytes of partial results; use fewer threads or smaller chunks");
  }
}

}  // namespace

void clear(State state, int rows, int dv) {
  std::fill_n(state.m, rows, -std::numeric_limits<float>::infinity());
  std::fill_n(state.l, static_cast<size_t>(rows) * kernels::kLaneFloats, 0.0f);
  std::fill_n(state.o, static_cast<size_t>(rows) * static_cast<size_t>(kernels::row_floats(dv)),
              0.0f);
}

size_t ScratchSizes::bytes() const {
  Scratch unused;
  return cut_scratch(*this, nullptr, unused);
}

size_t partial_floats(const Plan& plan, int dv) {
  size_t rows = 0;
  for (const Item& item : plan.items) {
    rows +=
        static_cast<size_t>(stacked_rows(item)) * static_cast<size_t>(count_segments(plan, item));
  }
  return rows * state_floats(dv);
}

bool prefers_splits(const Plan& plan, int members) {
  const size_t items = plan.items.size();
  if (members <= 1 || items >= static_cast<size_t>(kEnoughSmallItems * members)) return false;
  int rows = 0;
  size_t segments = 0;
  for (const Item& item : plan.items) {
    rows = std::max(rows, stacked_rows(item));
    segments += static_cast<size_t>(count_segments(plan, item));
  }
  if (rows > kFewRows && items >= static_cast<size_t>(kEnoughItems * members)) return false;
  return segments > items;
}

Workspace::Workspace(Isa isa, int threads)
    : impl_(std::make_unique<Impl>(isa, std::max(1, threads))) {}
Workspace::~Workspace() = default;

Status Workspace::reserve(const Plan& plan, const Call& call) {
  const bool splits = impl_->units == UnitKind::kSplits || prefers_splits(plan, impl_->threads);
  return grow(*impl_, sizes_of(plan, call), splits ? partial_floats(plan, call.dv) : 0);
}

Status Workspace::reserve(int rows, int heads, int kv_heads, int dk, int dv, int64_t slots,
                          int tags) {
  if (heads < 1 || kv_heads < 1 || heads % kv_heads != 0) {
    return error(Code::kInvalidArgument, "attention scratch for ", heads, " heads on ", kv_heads,
                 ": they do not divide; give a head map");
  }
  return reserve(rows, HeadMap{heads, kv_heads, nullptr}, dk, dv, slots, tags);
}

Status Workspace::reserve(int rows, const HeadMap& map, int dk, int dv, int64_t slots, int tags) {
  const int heads = map.n_q;
  if (rows < 1 || heads < 1 || map.n_kv < 1 || slots < 0 || tags < 1 || dk < 2 ||
      dk > kMaxHeadSize || dv < 2 || dv > kMaxHeadSize) {
    return error(Code::kInvalidArgument, "attention scratch for ", rows, " rows, ", heads,
                 " heads on ", map.n_kv, ", sizes ", dk, "/", dv, ", ", slots, " slots, ", tags,
                 " tags: a number is out of range");
  }
  const int group = largest_group(map);
  const int tokens = tile_tokens(group, dk, dv);
  const ScratchSizes sizes{std::min(rows, tokens) * std::min(group, kItemHeads), dk, dv};
  // Only plans that prefers_splits accepts need partial results: few items, or few rows in each.
  const int64_t small = int64_t{kFewRows} * kEnoughSmallItems * impl_->threads;
  const int64_t large = int64_t{sizes.rows} * kEnoughItems * impl_->threads;
  const int64_t stacked = std::min<int64_t>(int64_t{rows} * heads, std::max(small, large));
  // A window may touch one split more at either end than its length says, and so for every tag.
  HEED_ASSIGN(const int64_t splits,
              checked_mul<int64_t>(slots / kSplitSlots + 2, tags, "attention splits"));
  HEED_ASSIGN(const int64_t parts, checked_mul<int64_t>(stacked, splits, "attention parts"));
  HEED_ASSIGN(const int64_t floats,
              checked_mul<int64_t>(parts, static_cast<int64_t>(state_floats(dv)),
                                   "attention partial results"));
  return grow(*impl_, sizes, static_cast<size_t>(floats));
}

Status validate(const Plan& plan, const Call& call, const Workspace& workspace) {
  HEED_TRY(validate(plan, call));
  const ScratchSizes needed = sizes_of(plan, call), &has = workspace.impl().sizes;
  if (has.covers(needed) && !workspace.impl().blocks.empty()) return {};
  return error(Code::kInvalidArgument, "attention: the workspace is reserved for items of ",
               has.rows, " stacked rows and sizes ", has.dk, "/", has.dv, ", the plan has ",
               needed.rows, " and ", needed.dk, "/", needed.dv, "; reserve(plan, call) first");
}

size_t Workspace::bytes() const {
  return impl_->blocks.size() * impl_->sizes.bytes() + impl_->partial_floats * sizeof(float);
}

RunCounters counters(const Workspace& workspace) {
  RunCounters sum;
  const Workspace::Impl& impl = workspace.impl();
  for (int i = 0; i < impl.last_members; ++i) {
    sum.tiles += impl.scratch[static_cast<size_t>(i)].tiles;
    sum.pages += impl.scratch[static_cast<size_t>(i)].pages;
  }
  return sum;
}

}  // namespace heed
