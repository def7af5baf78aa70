#include "model/weight_filler.h"

#include <ggml-backend.h>
#include <ggml.h>

#include <algorithm>
#include <cstring>
#include <thread>

namespace heed {

Status WeightFiller::fill() {
  for (const auto& [target, source] : packed_) {
    HEED_TRY(checkpoint(*source));
    const int64_t groups = target.front().groups() * static_cast<int64_t>(target.size());
    in_parts(source->bytes, [&, target = target, source = source](int64_t part, int64_t parts) {
      pack_experts(target, *source, groups * part / parts, groups * (part + 1) / parts);
    });
    HEED_TRY(not_cancelled());  // else nothing was left out
  }
  for (const auto& [target, source] : rearranged_) {
    HEED_TRY(checkpoint(*source));
    ggml_backend_tensor_set(target, file_.data(*source), 0, source->bytes);
    file_.release(file_.data(*source), source->bytes);
  }
  for (const auto& [target, source] : widened_) {
    HEED_TRY(checkpoint(*source));
    const int64_t rows = source->ne[1] * source->ne[2];
    in_parts(source->bytes, [&, target = target, source = source](int64_t part, int64_t parts) {
      widen_rows(*source, target, rows * part / parts, rows * (part + 1) / parts);
    });
    HEED_TRY(not_cancelled());
  }
  return Status::ok();
}

Status WeightFiller::widen_now(float* target, const GgufTensor& source) const {
  widen_rows(source, target, 0, source.ne[1] * source.ne[2]);
  return not_cancelled();
}

// Groups [begin, end) of all experts, counted through.
void WeightFiller::pack_experts(std::span<PackedWeight> experts, const GgufTensor& source,
                                int64_t begin, int64_t end) const {
  const int64_t groups = experts.front().groups();
  const auto row_bytes = static_cast<int64_t>(ggml_row_size(source.type, source.ne[0]));
  for (int64_t e = begin / groups; e * groups < end; ++e) {
    const int64_t first = e * groups;
    pack_groups(experts[static_cast<size_t>(e)], file_.data(source) + e * source.ne[1] * row_bytes,
                row_bytes, std::max<int64_t>(begin - first, 0), std::min(end - first, groups));
  }
}

// Slice after slice, so that the file's pages and the copy are not resident together.
void WeightFiller::pack_groups(PackedWeight& weight, const uint8_t* rows, int64_t row_bytes,
                               int64_t begin, int64_t end) const {
  const int64_t group_bytes = row_bytes * kernels::kGroupOutputs;
  const int64_t step = std::max<int64_t>(1, (int64_t{4} << 20) / group_bytes);
  for (int64_t g = begin; g < end && !cancelled(); g += step) {
    const int64_t stop = std::min(end, g + step);
    weight.fill(rows, g, stop);
    const int64_t last = std::min(stop * kernels::kGroupOutputs, weight.outputs());
    file_.release(rows + g * group_bytes, static_cast<size_t>(last * row_bytes - g * group_bytes));
  }
}

// Rows [begin, end) to fp32, fewer when the load is cancelled.
void WeightFiller::widen_rows(const GgufTensor& source, float* out, int64_t begin,
                              int64_t end) const {
  const uint8_t* data = file_.data(source);
  const size_t row_bytes = ggml_row_size(source.type, source.ne[0]);
  for (int64_t row = begin; row < end && !cancelled(); ++row) {
    const uint8_t* from = data + static_cast<size_t>(row) * row_bytes;
    float* to = out + row * source.ne[0];
    if (source.type == GGML_TYPE_F32) {
      std::memcpy(to, from, row_bytes);
    } else {
      ggml_get_type_traits(source.type)->to_float(from, to, source.ne[0]);
    }
  }
}

// fn(part, parts) by the threads of the model; small tensors by this one.
template <class Fn>
void WeightFiller::in_parts(uint64_t bytes, const Fn& fn) const {
  const int parts = bytes > (1 << 20) ? std::max(1, options_.threads) : 1;
  std::vector<std::jthread> helpers;  // they join when the system has no thread for a later one
  helpers.reserve(static_cast<size_t>(parts - 1));
  for (int t = 1; t < parts; ++t) helpers.emplace_back([&fn, t, parts] { fn(t, parts); });
  fn(0, parts);
}

Status WeightFiller::not_cancelled() const {
  return cancelled() ? Status(Code::kCancelled, "loading was cancelled") : Status::ok();
}

Status WeightFiller::checkpoint(const GgufTensor& next) {
  HEED_TRY(not_cancelled());
  HEED_TRY(file_.unchanged());
  done_ += next.bytes;
  if (options_.progress) {
    options_.progress(static_cast<double>(done_) / static_cast<double>(file_.size()));
  }
  return Status::ok();
}

}  // namespace heed
