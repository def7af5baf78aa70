#include "attention/rotation.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/text.h"
#include "kernels/kernels.h"

namespace heed {
namespace {

Status check_spec(const RotarySpec& spec) {
  if (spec.n_rot < 2 || spec.n_rot % 2 != 0 || spec.n_rot > kMaxHeadSize) {
    return error(Code::kOutOfRange, "rotary embedding: ", spec.n_rot,
                 " rotated dims; use an even number from 2 to ", kMaxHeadSize);
  }
  if (!std::isfinite(spec.base) || spec.base <= 0) {
    return error(Code::kOutOfRange, "rotary embedding: frequency base ", spec.base,
                 " is not a positive number");
  }
  if (!std::isfinite(spec.scale) || spec.scale <= 0) {
    return error(Code::kOutOfRange, "rotary embedding: position scale ", spec.scale,
                 " is not a positive number");
  }
  const size_t half = static_cast<size_t>(spec.n_rot / 2);
  if (!spec.factors.empty() && spec.factors.size() != half) {
    return error(Code::kInvalidArgument, "rotary embedding: ", spec.factors.size(),
                 " frequency factors for ", half, " pairs of dims");
  }
  if (spec.yarn_context == 0) return Status::ok();
  if (spec.yarn_context < 0 || spec.base <= 1 || !std::isfinite(spec.yarn_fast) ||
      !(0 < spec.yarn_slow && spec.yarn_slow < spec.yarn_fast)) {
    return error(Code::kOutOfRange, "rotary embedding: YaRN of a context of ", spec.yarn_context,
                 ", a base of ", spec.base, " and ", spec.yarn_slow, " to ", spec.yarn_fast,
                 " turns; it needs a base above 1 and more turns at the fast end");
  }
  return Status::ok();
}

// The pair, with a fraction, that turns `turns` times within the original context.
double pair_of(double turns, const RotarySpec& spec) {
  return spec.n_rot *
         std::log(static_cast<double>(spec.yarn_context) / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(spec.base));
}

// How much of each pair's frequency YaRN does not scale: all of fast pairs, nothing of slow ones,
// less and less between. Without YaRN every pair is scaled.
class KeptShare {
 public:
  explicit KeptShare(const RotarySpec& spec) : yarn_(spec.yarn_context > 0) {
    if (!yarn_) return;
    first_ = std::max(0.0, std::floor(pair_of(spec.yarn_fast, spec)));
    last_ = std::min(spec.n_rot - 1.0, std::ceil(pair_of(spec.yarn_slow, spec)));
  }
  double of(size_t pair) const {
    if (!yarn_) return 0;
    const double along = (static_cast<double>(pair) - first_) / std::max(0.001, last_ - first_);
    return 1 - std::clamp(along, 0.0, 1.0);
  }

 private:
  bool yarn_;
  double first_ = 0, last_ = 0;
};

}  // namespace

Result<std::vector<double>> rotary_frequencies(const RotarySpec& spec) {
  if (spec.layout == RotaryLayout::kNone) return std::vector<double>{};
  HEED_TRY(check_spec(spec));
  const KeptShare kept(spec);
  std::vector<double> frequencies(static_cast<size_t>(spec.n_rot / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double factor = spec.factors.empty() ? 1.0 : spec.factors[i];
    if (!std::isfinite(factor) || factor == 0) {
      return error(Code::kOutOfRange, "rotary embedding: frequency factor ", i, " is ", factor,
                   "; a finite number other than 0 is needed");
    }
    const double scale = spec.scale + (1 - spec.scale) * kept.of(i);
    frequencies[i] =
        std::pow(spec.base, -2.0 * static_cast<double>(i) / spec.n_rot) * scale / factor;
  }
  return frequencies;
}

double yarn_length(double factor, double share) {
  return factor > 1 ? 1 + 0.1 * share * std::log(factor) : 1.0;
}

double ntk_base(double base, double factor, int n_rot) {
  return base * std::pow(factor, n_rot / (n_rot - 2.0));
}

void rotary_table(std::span<const double> frequencies, std::span<const int64_t> positions,
                  float* cos, float* sin) {
  for (size_t t = 0; t < positions.size(); ++t) {
    for (size_t i = 0; i < frequencies.size(); ++i) {
      const double angle = static_cast<double>(positions[t]) * frequencies[i];
      *cos++ = static_cast<float>(std::cos(angle));
      *sin++ = static_cast<float>(std::sin(angle));
    }
  }
}

void rotate_row(const kernels::Table& table, const Rotary& rotary, const float* cos,
                const float* sin, const float* in, float* out, int d) {
  const bool turns = rotary.layout != RotaryLayout::kNone;
  const int first = turns ? rotary.first : 0;
  if (in != out) std::copy_n(in, first, out);
  table.rotate_row(out + first, in + first, cos, sin, turns ? rotary.n_rot : 0,
                   rotary.layout == RotaryLayout::kAdjacent, d - first);
}

void rotate_rows(Isa isa, const Rotary& rotary, View<const float, 3> in, View<float, 3> out) {
  const kernels::Table& table = kernels::table(isa);
  const int d = static_cast<int>(in.shape[2]);
  const int n_rot = rotary.layout == RotaryLayout::kNone ? 0 : rotary.n_rot;
  for (int64_t t = 0; t < in.shape[0]; ++t) {
    const float* cos = n_rot > 0 ? rotary.cos + t * (n_rot / 2) : nullptr;
    const float* sin = n_rot > 0 ? rotary.sin + t * (n_rot / 2) : nullptr;
    for (int64_t h = 0; h < in.shape[1]; ++h) {
      rotate_row(table, rotary, cos, sin, &in(t, h, 0), &out(t, h, 0), d);
    }
  }
}

}  // namespace heed
