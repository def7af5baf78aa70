#include "mechanisms/a_shape/a_shape.h"

#include "base/text.h"
#include "mechanisms/sink_window.h"

namespace heed {
namespace {

class AShape final : public StaticSelector {
 public:
  explicit AShape(const AShapeParams& params) : params_(params) {}
  const char* name() const override { return "a_shape"; }
  int block() const override { return 64; }
  SelectBound bound(const SelectShape&) const override { return {.set = kSinkWindow}; }

 protected:
  bool select(const SelectInput& in, int set, const select::QueryBlock&,
              select::KeySetWriter& keys) const override {
    return add_sink_window(in, set, params_.n_init, params_.n_local, keys);
  }

 private:
  AShapeParams params_;
};

}  // namespace

Result<std::unique_ptr<const PrefillSelector>> make_a_shape(const AShapeParams& params) {
  HEED_TRY(check_keys("a_shape", "n_init", params.n_init));
  HEED_TRY(check_keys("a_shape", "n_local", params.n_local));
  if (params.n_init == 0 && params.n_local == 0) {
    return error(Code::kOutOfRange, "a_shape: n_init and n_local are 0, so that nothing is read; ",
                 "use n_local of 1 or more");
  }
  return std::unique_ptr<const PrefillSelector>(std::make_unique<AShape>(params));
}

}  // namespace heed
