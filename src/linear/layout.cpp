#include "linear/layout.h"

namespace heed {

namespace {

constexpr int kNone = WeightLayout::kNone;

constexpr WeightLayout kLayouts[kernels::kWeightTypes] = {
    {"Q4_0", 18, 32, 576, 0, 4, 512, kNone},         {"Q4_1", 20, 32, 640, 0, 4, 512, 576},
    {"Q5_0", 22, 32, 704, 0, 5, 640, kNone},         {"Q5_1", 24, 32, 768, 0, 5, 640, 704},
    {"Q8_0", 34, 32, 1088, 0, 8, 1024, kNone},       {"IQ4_NL", 18, 32, 576, 0, 4, 512, kNone},
    {"MXFP4", 17, 32, 576, 0, 4, 512, kNone},        {"Q4_K", 144, 256, 576, 128, 4, 512, 544},
    {"Q5_K", 176, 256, 704, 128, 5, 640, 672},       {"Q6_K", 210, 256, 832, 64, 6, 768, kNone},
    {"F32", 128, 32, 4096, 0, 32, kNone, kNone},     {"F16", 64, 32, 2048, 0, 16, kNone, kNone},
    {"BF16", 64, 32, 2048, 0, 16, kNone, kNone},     {"Q3_K", 110, 256, 448, 64, 3, 384, kNone},
    {"IQ4_XS", 136, 256, 512, 320, 4, kNone, kNone},
};

}  // namespace

const WeightLayout& weight_layout(kernels::WeightType type) {
  return kLayouts[static_cast<int>(type)];
}

int64_t record_at(const WeightLayout& layout, int64_t b) {
  using kernels::kSuperBlocks;
  if (!has_super(layout)) return b * layout.record_bytes;
  const int64_t super = layout.head_bytes + kSuperBlocks * layout.record_bytes;
  return b / kSuperBlocks * super + layout.head_bytes + b % kSuperBlocks * layout.record_bytes;
}

int scale_at(const WeightLayout& layout, int64_t b, int which) {
  if (layout.scale != kNone) return layout.scale + which * kernels::kGroupOutputs;
  const auto in_super = static_cast<int>(b % kernels::kSuperBlocks);
  // Behind the d of the head: back from the record over the records before it.
  return 64 + in_super * kernels::kGroupOutputs - layout.head_bytes -
         in_super * layout.record_bytes;
}

int64_t group_bytes(const WeightLayout& layout, int64_t inputs) {
  const int64_t blocks = inputs / kernels::kBlockInputs;
  return blocks * layout.record_bytes + blocks / kernels::kSuperBlocks * layout.head_bytes;
}

}  // namespace heed
