#include "mechanisms/tri_shape/tri_shape.h"

#include "base/text.h"
#include "mechanisms/sink_window.h"

namespace heed {
namespace {

class TriShape final : public StaticSelector {
 public:
  explicit TriShape(const TriShapeParams& params) : params_(params) {}
  const char* name() const override { return "tri_shape"; }
  int block() const override { return 64; }
  int64_t cut(const SelectInput& in) const override { return in.prompt_end - params_.n_last; }
  SelectBound bound(const SelectShape&) const override { return {.set = kSinkWindow}; }

 protected:
  bool select(const SelectInput& in, int set, const select::QueryBlock& block,
              select::KeySetWriter& keys) const override {
    if (block.first >= cut(in)) return add_positions(in, set, kFirstPosition, block.end, keys);
    return add_sink_window(in, set, params_.n_init, params_.n_local, keys);
  }

 private:
  TriShapeParams params_;
};

}  // namespace

Result<std::unique_ptr<const PrefillSelector>> make_tri_shape(const TriShapeParams& params) {
  HEED_TRY(check_keys("tri_shape", "n_init", params.n_init));
  HEED_TRY(check_keys("tri_shape", "n_local", params.n_local));
  if (params.n_init == 0 && params.n_local == 0) {
    return error(Code::kOutOfRange, "tri_shape: n_init and n_local are 0, so that most rows read ",
                 "nothing; use n_local of 1 or more");
  }
  if (params.n_last < 0 || params.n_last > kMostKeys) {
    return error(Code::kOutOfRange, "tri_shape: n_last is ", params.n_last, " rows, must be 0 to ",
                 kMostKeys);
  }
  return std::unique_ptr<const PrefillSelector>(std::make_unique<TriShape>(params));
}

}  // namespace heed
