#include "eval/kernel_shape.h"

#include "base/random.h"
#include "base/text.h"

namespace heed::eval {
namespace {

// Independent and normal: scores then have deviation 1, as after a trained projection's scale.
std::vector<float> normal(uint64_t stream, int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(random_normal(stream, i));
  }
  return values;
}

}  // namespace

double KernelShape::flops() const {
  const auto n = static_cast<double>(length);
  const double pairs = (decode ? n : n * (n + 1) / 2) * heads();
  return pairs * 4.0 * d;
}

uint64_t KernelShape::query_floats() const {
  return static_cast<uint64_t>(queries()) * static_cast<uint64_t>(heads()) *
         static_cast<uint64_t>(d);
}

uint64_t KernelShape::key_floats() const {
  return static_cast<uint64_t>(length) * static_cast<uint64_t>(kv_heads) * static_cast<uint64_t>(d);
}

int64_t kernel_copies(const KernelShape& shape, uint64_t kv_bytes, uint64_t rotate_bytes) {
  return shape.decode ? static_cast<int64_t>(rotate_bytes / kv_bytes) + 1 : 1;
}

std::string KernelShape::name() const {
  return cat(decode ? "decode" : "prefill", " d", d, " ", kv_heads, "x", group, " ", length);
}

KernelInputs make_inputs(const KernelShape& shape) {
  KernelInputs inputs{shape, {}, {}, {}};
  inputs.q = normal(1, shape.queries() * shape.heads() * shape.d);
  inputs.k = normal(2, shape.length * shape.kv_heads * shape.d);
  inputs.v = normal(3, shape.length * shape.kv_heads * shape.d);
  return inputs;
}

}  // namespace heed::eval
