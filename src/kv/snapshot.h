// What a sequence holds, in and out of the store: the outline of its lists, and the bytes of their
// pages and side arrays as they lie in memory. Whoever saves sequences decides the order on disk.
//
// Pages go as they are, so any format and any layout of a page comes back (V beside K or an alias
// of it): only a page's size is known here. They do not depend on the ISA (kernels/format_ops.h).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "heed/kv.h"

namespace heed::kv {

struct Sequence;

inline constexpr SideArray kSideArrays[] = {SideArray::kPosition, SideArray::kLive,
                                            SideArray::kBias, SideArray::kColumnMass,
                                            SideArray::kTokenClass};

struct ListOutline {
  int32_t slots = 0;
  uint8_t side = 0;  // bit of each SideArray that exists

  bool has(SideArray kind) const { return side >> static_cast<int>(kind) & 1; }
  bool operator==(const ListOutline&) const = default;
};

struct SequenceOutline {
  int64_t first_position = 0;
  int64_t length = 0;
  std::vector<ListOutline> lists;  // layer-major

  bool operator==(const SequenceOutline&) const = default;
  // Whether the slots of every list are the tokens in order, so that a shorter outline with the
  // same pages is the sequence as it was then.
  bool contiguous() const;
  // As if only the first n tokens had come; contiguous ones only.
  void cut(int64_t n);
};

// Lists of a sequence, and bytes of a page and of a side array of one.
size_t lists_of(const Store& store);
size_t page_bytes(const Store& store, size_t list);
size_t side_bytes(SideArray kind, int64_t pages);

// Reads a committed sequence; valid until its next change.
class SequenceReader {
 public:
  // Errors: an unknown sequence, an open transaction.
  static Result<SequenceReader> open(const Store& store, SeqId seq);
  SequenceOutline outline() const;  // may throw bad_alloc
  std::span<const uint8_t> page(size_t list, size_t page) const;
  std::span<const uint8_t> side(size_t list, SideArray kind) const;

 private:
  SequenceReader(const Store& store, Sequence& sequence) : store_(&store), sequence_(&sequence) {}
  const Store* store_;
  Sequence* sequence_;
};

// Makes a sequence from outside. Nobody sees it before finish(); without that it is gone with the
// builder. The store may not change meanwhile.
class SequenceBuilder {
 public:
  // Takes all pages. Errors: an outline that this store cannot hold (kCorrupt), memory or the
  // store's limit.
  static Result<std::unique_ptr<SequenceBuilder>> begin(Store& store,
                                                        const SequenceOutline& outline);
  ~SequenceBuilder();
  SequenceBuilder(const SequenceBuilder&) = delete;
  SequenceBuilder& operator=(const SequenceBuilder&) = delete;

  // To be filled.
  std::span<uint8_t> page(size_t list, size_t page);
  std::span<uint8_t> side(size_t list, SideArray kind);
  // Whatever lies behind the last slot is made neutral. Errors: positions that do not ascend
  // (kCorrupt), memory.
  Result<SeqId> finish();

 private:
  explicit SequenceBuilder(Store& store);
  Status take_pages();
  Status check_positions() const;

  Store& store_;
  std::unique_ptr<Sequence> sequence_;
  std::vector<PageId> taken_;  // with a reference of ours on each; the sequence takes its own
};

}  // namespace heed::kv
