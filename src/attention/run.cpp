// Running a plan: members of a team take units from a counter, heavy ones first as the plan lists
// them. A unit is a whole item (prefill: one thread reads all its segments and merges as it goes)
// or one segment of an item (decode: few items; partial results, a barrier, then the same merges in
// the same order). The choice is for speed only.
#include "attention/item_run.h"
#include "attention/segments.h"
#include "attention/workspace.h"

namespace heed {
namespace {

void run_item(const Plan& plan, const Call& call, const Item& item, ItemRun& run,
              Scratch& scratch) {
  run.begin(item);
  State part = scratch.part, whole = scratch.whole;
  SegmentWalk walk(plan, item);
  Segment segment;
  bool more = walk.next(segment);
  for (int tag = 0; tag < call.tags; ++tag) {
    if (!more || segment.tag != tag) {
      clear(whole, run.rows(), call.dv);
    } else {
      run.attend(segment, whole);  // a merge into nothing is a copy
      for (more = walk.next(segment); more && segment.tag == tag; more = walk.next(segment)) {
        run.attend(segment, part);
        for (int i = 0; i < run.rows(); ++i) run.merge(whole, i, part, i);
      }
    }
    run.finish_rows(tag, whole);
  }
}

// The partial states of all segments of a plan, in plan order, in one block.
class PartialCursor {
 public:
  PartialCursor(float* block, int dv) : at_(block), dv_(dv) {}
  // The state of the segment at hand (`rows` stacked rows); moves behind it.
  State take(int rows) {
    State state;
    state.m = at_;
    state.l = state.m + rows;
    state.o = state.l + static_cast<int64_t>(rows) * kernels::kLaneFloats;
    at_ += static_cast<size_t>(rows) * state_floats(dv_);
    return state;
  }

 private:
  float* at_;
  int dv_;
};

void run_segments(const Plan& plan, const Call& call, Workspace::Impl& impl, ItemRun& run) {
  PartialCursor partials(reinterpret_cast<float*>(impl.partials.get()), call.dv);
  // The counter only grows, so every member walks the plan once and computes the units it drew.
  int mine = impl.next.fetch_add(1, std::memory_order_relaxed);
  int unit = 0;
  for (const Item& item : plan.items) {
    const int rows = stacked_rows(item);
    bool begun = false;
    SegmentWalk walk(plan, item);
    for (Segment segment; walk.next(segment); ++unit) {
      const State state = partials.take(rows);
      if (unit != mine) continue;
      if (!begun) run.begin(item);
      begun = true;
      run.attend(segment, state);
      mine = impl.next.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

void merge_segments(const Plan& plan, const Call& call, Workspace::Impl& impl, ItemRun& run,
                    int member, int members) {
  PartialCursor partials(reinterpret_cast<float*>(impl.partials.get()), call.dv);
  const State whole = impl.scratch[static_cast<size_t>(member)].whole;
  int64_t row_index = 0;
  for (const Item& item : plan.items) {
    const int rows = stacked_rows(item);
    const PartialCursor first = partials;
    run.begin(item);
    for (int i = 0; i < rows; ++i, ++row_index) {
      if (row_index % members != member) continue;
      PartialCursor cursor = first;
      SegmentWalk walk(plan, item);
      Segment segment;
      bool more = walk.next(segment);
      for (int tag = 0; tag < call.tags; ++tag) {
        clear(whole, 1, call.dv);
        for (; more && segment.tag == tag; more = walk.next(segment)) {
          run.merge(whole, 0, cursor.take(rows), i);
        }
        run.finish(i, tag, whole, 0);
      }
    }
    for (int n = count_segments(plan, item); n > 0; --n) partials.take(rows);
  }
}

bool choose_splits(const Plan& plan, const Call& call, const Workspace::Impl& impl, int members) {
  if (impl.units == UnitKind::kItems) return false;
  if (impl.units == UnitKind::kAuto && !prefers_splits(plan, members)) return false;
  return partial_floats(plan, call.dv) <= impl.partial_floats;
}

}  // namespace

void run(const Plan& plan, const Call& call, Workspace& workspace, int member, int members) {
  Workspace::Impl& impl = workspace.impl();
  Scratch& scratch = impl.scratch[static_cast<size_t>(member)];
  scratch.tiles = scratch.pages = 0;
  if (member == 0) impl.last_members = members;
  ItemRun item_run(plan, call, impl.isa, scratch);
  if (choose_splits(plan, call, impl, members)) {
    run_segments(plan, call, impl, item_run);
    impl.barrier.wait(members);
    merge_segments(plan, call, impl, item_run, member, members);
  } else {
    const int items = static_cast<int>(plan.items.size());
    for (int i; (i = impl.next.fetch_add(1, std::memory_order_relaxed)) < items;) {
      run_item(plan, call, plan.items[static_cast<size_t>(i)], item_run, scratch);
    }
  }
  // The last to leave resets the counters for the next call, which the caller's barrier orders.
  if (impl.left.fetch_add(1, std::memory_order_acq_rel) == members - 1) {
    impl.left.store(0, std::memory_order_relaxed);
    impl.next.store(0, std::memory_order_relaxed);
  }
}

}  // namespace heed
