#include "session/rope_options.h"

#include <algorithm>
#include <cmath>

#include "attention/rotation.h"
#include "base/text.h"

namespace heed {
namespace {

constexpr RopeScaling kScalings[] = {RopeScaling::kNone, RopeScaling::kLinear, RopeScaling::kNtk,
                                     RopeScaling::kYarn};

void rescale(RopeScaling scaling, double factor, int n_rot, Rope& rope) {
  rope.yarn = scaling == RopeScaling::kYarn;
  const bool divides = rope.yarn || scaling == RopeScaling::kLinear;
  rope.scale = divides ? 1 / factor : 1;
  if (scaling == RopeScaling::kNtk) rope.base = ntk_base(rope.base, factor, n_rot);
}

}  // namespace

const char* rope_scaling_name(RopeScaling scaling) {
  switch (scaling) {
    case RopeScaling::kNone: return "none";
    case RopeScaling::kLinear: return "linear";
    case RopeScaling::kNtk: return "ntk";
    case RopeScaling::kYarn: return "yarn";
  }
  return "?";
}

Result<RopeScaling> parse_rope_scaling(std::string_view name) {
  for (const RopeScaling scaling : kScalings) {
    if (name == rope_scaling_name(scaling)) return scaling;
  }
  return error(Code::kInvalidArgument, "rope scaling is '", name.substr(0, 64),
               "', must be none, linear, ntk or yarn");
}

Status check_rope_options(const RopeOptions& o) {
  const auto check = [](const char* what, double value) -> Status {
    if (value >= 0 && std::isfinite(value)) return Status::ok();
    return error(Code::kOutOfRange, what, " is ", value,
                 ", must be a finite number above 0, or 0 for the file's");
  };
  HEED_TRY(check("the factor of the rope's scaling", o.factor));
  HEED_TRY(check("the rope's frequency base", o.base));
  if (o.original_context >= 0 && o.original_context <= limits::kContext) return Status::ok();
  return error(Code::kOutOfRange, "the original context of the rope is ", o.original_context,
               ", must be 0 (the file's) to ", limits::kContext);
}

int64_t longest_context(const ModelInfo& model, const RopeOptions& options) {
  const int64_t trained = model.trained_context;
  if (options.scaling == RopeScaling::kNone || options.factor <= 1) return trained;
  const int64_t from = options.original_context > 0 ? options.original_context : trained;
  const double stretched = options.factor * static_cast<double>(from);
  const auto most = static_cast<double>(limits::kContext);
  return std::max(trained, static_cast<int64_t>(std::min(stretched, most)));
}

std::vector<Rope> changed_ropes(const RopeOptions& options, const Hyperparameters& hyper) {
  std::vector<Rope> ropes = hyper.ropes;
  // Windowed layers that take the others' base take this one too.
  const bool one_base = hyper.arch->window.rope == WindowRope::kUnscaled;
  for (size_t i = 0; options.base > 0 && i < (one_base ? ropes.size() : 1); ++i) {
    ropes[i].base = options.base;
  }
  Rope& rope = ropes[0];
  if (options.scaling) {
    const double factor = options.factor > 0 ? options.factor : 1 / rope.scale;
    rescale(*options.scaling, factor, hyper.n_rot, rope);
  } else if (options.factor > 0) {
    rope.scale = 1 / options.factor;
  }
  return ropes;
}

}  // namespace heed
