// A mask of blocks, and the text that a user writes it in.
//
//   heed-block-mask 1      # format and version, first line
//   block 64 64            # query rows and keys of a block: 1 to 65,536 each
//   rest none              # query blocks that no line names read: none (default) or all
//   heads 0,2-3            # whose lines follow: query heads, or all (default)
//   0: 0                   # query block: key blocks
//   1-3: 0 2-3             # several query blocks with the same key blocks
//
// Query block i is the rows at positions [i Q, (i + 1) Q), key block j the keys at positions
// [j K, (j + 1) K). A line for a query block that has one adds to it. `#` begins a comment.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "heed/status.h"
#include "select/key_set.h"

namespace heed {

class BlockMask {
 public:
  static constexpr int kMostTokens = 65536;        // of a block
  static constexpr int32_t kMostBlocks = 1 << 24;  // of a text
  static constexpr size_t kMostEntries = 1 << 22;  // ranges of key blocks in all lines

  // Errors: kInvalidArgument naming `name` and the line.
  static Result<BlockMask> parse(std::string_view text, std::string_view name);

  int query_tokens() const { return query_tokens_; }
  int key_tokens() const { return key_tokens_; }
  // Whether heads read differently.
  bool by_head() const { return !own_.empty(); }
  // Ranges of key blocks of one query block at most.
  int32_t most_ranges() const;

  // Whether query block `row` of `head` reads key block `column`.
  bool at(int head, int64_t row, int64_t column) const;
  // Calls fn(range of key blocks) for what query block `row` of `head` reads, and returns false as
  // soon as that does. Ranges ascend.
  template <class Fn>
  bool for_each_range(int head, int64_t row, const Fn& fn) const {
    const Row* shared = find(shared_, row);
    const auto own = own_.find(head);
    const Row* mine = own == own_.end() ? nullptr : find(own->second, row);
    if (shared == nullptr && mine == nullptr) {
      return !rest_all_ || fn(select::KeyRange{0, kMostBlocks});
    }
    for (const Row* r : {shared, mine}) {
      for (size_t i = 0; r != nullptr && i < r->size(); ++i) {
        if (!fn((*r)[i])) return false;
      }
    }
    return true;
  }

 private:
  friend class BlockMaskParser;
  using Row = std::vector<select::KeyRange>;  // sorted, disjoint
  using Rows = std::map<int64_t, Row>;

  static const Row* find(const Rows& rows, int64_t row) {
    const auto at = rows.find(row);
    return at == rows.end() ? nullptr : &at->second;
  }

  int query_tokens_ = 0, key_tokens_ = 0;
  bool rest_all_ = false;
  Rows shared_;
  std::map<int, Rows> own_;  // by query head, beside those of all
};

}  // namespace heed
