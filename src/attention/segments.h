// Walks the pages of an item in plan order and cuts them where a row's running state restarts.
//
// A segment is the longest run of pages with one tag that stays inside one group of kSplitPages
// pages of the list (counted from the start of the list, so neither windows nor chunks move the
// cuts), or inside kSplitPages pages of one gather range. Both ways to run an item use this walk,
// so the order of merges, and with it the bits, are the same.
#pragma once

#include <algorithm>
#include <cstdint>

#include "heed/attention.h"

namespace heed {

inline constexpr int kSplitSlots = kSplitPages * kPageTokens;

struct Segment {
  int tag = 0;
  int32_t range = 0, offset = 0;          // first: index in Plan::ranges, pages (slots) into it
  int32_t range_end = 0, offset_end = 0;  // the last range and where it ends inside
};

class SegmentWalk {
 public:
  SegmentWalk(const Plan& plan, const Item& item)
      : plan_(&plan), range_(item.range), end_(item.range + item.ranges) {}

  bool next(Segment& out) {
    skip_empty();
    if (range_ == end_) return false;
    const Range& first = plan_->ranges[range_];
    out = {first.tag, range_, offset_, range_, 0};
    const int64_t group = group_of(first, offset_);
    for (;;) {
      const Range& range = plan_->ranges[range_];
      out.range_end = range_;
      out.offset_end = std::min<int64_t>(range.len, group_end(range, offset_));
      offset_ = out.offset_end;
      if (offset_ < range.len) return true;
      skip_empty();
      if (range_ == end_ || range.source != 0) return true;
      const Range& following = plan_->ranges[range_];
      if (following.source != 0 || following.tag != range.tag || group_of(following, 0) != group) {
        return true;
      }
    }
  }

 private:
  void skip_empty() {
    while (range_ < end_ && offset_ >= plan_->ranges[range_].len) {
      ++range_;
      offset_ = 0;
    }
  }
  static int64_t group_of(const Range& range, int32_t offset) {
    return range.source == 0 ? (range.begin + offset) / kSplitPages : offset / kSplitSlots;
  }
  static int64_t group_end(const Range& range, int32_t offset) {
    if (range.source == 0) return (group_of(range, offset) + 1) * kSplitPages - range.begin;
    return (group_of(range, offset) + 1) * kSplitSlots;
  }

  const Plan* plan_;
  int32_t range_;
  int32_t end_;
  int32_t offset_ = 0;
};

inline int count_segments(const Plan& plan, const Item& item) {
  SegmentWalk walk(plan, item);
  Segment segment;
  int n = 0;
  while (walk.next(segment)) ++n;
  return n;
}

}  // namespace heed
