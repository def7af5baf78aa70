#include "mechanisms/dense/dense.h"

#include "mechanisms/static_selector.h"

namespace heed {
namespace {

class Dense final : public StaticSelector {
 public:
  const char* name() const override { return "dense"; }
  int block() const override { return 128; }
  SelectBound bound(const SelectShape&) const override { return {.set = {.ranges = 1}}; }

 protected:
  bool select(const SelectInput& in, int set, const select::QueryBlock&,
              select::KeySetWriter& keys) const override {
    const int32_t slots = in.lists[set].len;
    return slots == 0 || keys.add({0, slots});
  }
};

}  // namespace

std::unique_ptr<const PrefillSelector> make_dense() { return std::make_unique<Dense>(); }

}  // namespace heed
