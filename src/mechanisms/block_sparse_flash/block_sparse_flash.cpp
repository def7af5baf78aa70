#include "mechanisms/block_sparse_flash/block_sparse_flash.h"

#include <utility>

#include "base/guard.h"
#include "base/read_file.h"
#include "mechanisms/static_selector.h"

namespace heed {
namespace {

class BlockSparseFlash final : public StaticSelector {
 public:
  explicit BlockSparseFlash(BlockMask mask) : mask_(std::move(mask)) {}
  const char* name() const override { return "block_sparse_flash"; }
  int block() const override { return mask_.query_tokens(); }
  bool group_shared() const override { return !mask_.by_head(); }
  SelectBound bound(const SelectShape&) const override {
    return {.set = {.ranges = mask_.most_ranges()}};
  }

 protected:
  bool select(const SelectInput& in, int set, const select::QueryBlock& block,
              select::KeySetWriter& keys) const override {
    if (block.first < 0) return true;
    const int kv_head = group_shared() ? set : in.heads.kv_of(set);
    const int64_t tokens = mask_.key_tokens();
    return mask_.for_each_range(
        set, block.first / mask_.query_tokens(), [&](const select::KeyRange& blocks) {
          return add_positions(in, kv_head, blocks.begin * tokens, blocks.end() * tokens, keys);
        });
  }

 private:
  BlockMask mask_;
};

}  // namespace

std::unique_ptr<const PrefillSelector> make_block_sparse_flash(BlockMask mask) {
  return std::make_unique<BlockSparseFlash>(std::move(mask));
}

Result<std::unique_ptr<const PrefillSelector>> make_block_sparse_flash(const std::string& path) {
  using Made = Result<std::unique_ptr<const PrefillSelector>>;
  return guarded("reading a block mask", [&]() -> Made {
    HEED_ASSIGN(const std::string text, read_file(path, path));
    HEED_ASSIGN(BlockMask mask, BlockMask::parse(text, path));
    return make_block_sparse_flash(std::move(mask));
  });
}

}  // namespace heed
