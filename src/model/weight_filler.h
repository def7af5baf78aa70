// Brings the bytes of a file to weights that have their place already: packed for heed's products,
// rearranged by ggml, or widened to fp32. The threads of the model share each tensor; the cancel
// token is seen between slices of some MiB.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heed/model.h"
#include "linear/weight.h"
#include "model/gguf_file.h"

namespace heed {

class WeightFiller {
 public:
  // All outlive this.
  WeightFiller(const GgufFile& file, const ModelOptions& options)
      : file_(file), options_(options) {}

  // What fill() brings. Targets and sources live until then.
  void pack(std::span<PackedWeight> experts, const GgufTensor& source) {
    packed_.push_back({experts, &source});
  }
  void rearrange(ggml_tensor* target, const GgufTensor& source) {
    rearranged_.push_back({target, &source});
  }
  void widen(float* target, const GgufTensor& source) { widened_.push_back({target, &source}); }

  // Everything named, with progress. Errors: cancelled, a file that changed.
  Status fill();
  // One tensor at once, by this thread.
  Status widen_now(float* target, const GgufTensor& source) const;

 private:
  template <class T>
  struct Pending {
    T target;
    const GgufTensor* source;
  };

  void pack_experts(std::span<PackedWeight> experts, const GgufTensor& source, int64_t begin,
                    int64_t end) const;
  void pack_groups(PackedWeight& weight, const uint8_t* rows, int64_t row_bytes, int64_t begin,
                   int64_t end) const;
  void widen_rows(const GgufTensor& source, float* out, int64_t begin, int64_t end) const;
  template <class Fn>
  void in_parts(uint64_t bytes, const Fn& fn) const;
  bool cancelled() const { return options_.cancel != nullptr && options_.cancel->cancelled(); }
  Status not_cancelled() const;
  Status checkpoint(const GgufTensor& next);

  const GgufFile& file_;
  const ModelOptions& options_;
  std::vector<Pending<std::span<PackedWeight>>> packed_;
  std::vector<Pending<ggml_tensor*>> rearranged_;
  std::vector<Pending<float*>> widened_;
  uint64_t done_ = 0;  // bytes of the file
};

}  // namespace heed
