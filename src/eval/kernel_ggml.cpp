// ggml's flash attention on the same problem, called as llama.cpp calls it: a cache [length, G * d]
// in one type, each chunk copied into it, the mask in f16.
#include <ggml-backend.h>
#include <ggml.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/text.h"
#include "eval/ggml_runner.h"
#include "eval/kernel_shape.h"

namespace heed::eval {
namespace {

uint64_t cache_bytes(const KernelShape& shape, Format format) {
  const uint64_t element = format == Format::kF32 ? sizeof(float) : sizeof(ggml_fp16_t);
  return 2 * element * shape.key_floats();
}

struct Cache {
  ggml_tensor* k = nullptr;  // [G * d, length]
  ggml_tensor* v = nullptr;
};

class GgmlContender : public KernelContender {
 public:
  GgmlContender(const KernelInputs& inputs, Format format) : inputs_(inputs), format_(format) {}
  ~GgmlContender() override {
    if (buffer_ != nullptr) ggml_backend_buffer_free(buffer_);
    if (context_ != nullptr) ggml_free(context_);
  }

  Status prepare(int threads, uint64_t rotate_bytes);

  const char* engine() const override { return "ggml"; }
  const char* format() const override { return format_name(format_); }
  int64_t copies() const override { return static_cast<int64_t>(caches_.size()); }
  uint64_t kv_bytes() const override { return kv_bytes_; }
  void park() override { runner_.park(); }

  std::span<const float> output(int64_t t) const override {
    const ggml_tensor* out = outputs_[static_cast<size_t>(t / kKernelChunk)];  // [d, H, rows]
    const auto row = static_cast<size_t>(inputs_.shape.heads() * inputs_.shape.d);
    return {static_cast<const float*>(out->data) + static_cast<size_t>(t % kKernelChunk) * row,
            row};
  }

  Status round() override { return runner_.compute(graph_); }

 private:
  ggml_tensor* input(int heads, int64_t rows);
  ggml_tensor* mask(int64_t first, int64_t n, int64_t keys);
  void attend(const Cache& cache, ggml_tensor* q, ggml_tensor* mask, int64_t first, int64_t n);
  Status allocate();
  void fill();

  const KernelInputs& inputs_;
  Format format_;
  GgmlRunner runner_;
  ggml_context* context_ = nullptr;
  ggml_backend_buffer_t buffer_ = nullptr;
  ggml_cgraph* graph_ = nullptr;
  ggml_tensor *q_ = nullptr, *k_ = nullptr, *v_ = nullptr;  // f32 inputs [heads * d, rows]
  std::vector<Cache> caches_;
  std::vector<ggml_tensor*> outputs_;  // [d, H, rows] by chunk; decode: of the first cache
  struct Mask {
    ggml_tensor* tensor;  // [keys, rows] f16
    int64_t first;        // position of row 0
  };
  std::vector<Mask> masks_;
  uint64_t kv_bytes_ = 0;
};

ggml_tensor* GgmlContender::input(int heads, int64_t rows) {
  return ggml_new_tensor_2d(context_, GGML_TYPE_F32, heads * inputs_.shape.d, rows);
}

ggml_tensor* GgmlContender::mask(int64_t first, int64_t n, int64_t keys) {
  ggml_tensor* tensor = ggml_new_tensor_2d(context_, GGML_TYPE_F16, keys, n);
  masks_.push_back({tensor, first});
  return tensor;
}

// Keys and values [first, first + n) go into the cache, then their queries attend to all up to
// them.
void GgmlContender::attend(const Cache& cache, ggml_tensor* q, ggml_tensor* mask, int64_t first,
                           int64_t n) {
  const KernelShape& s = inputs_.shape;
  const int64_t keys = first + n, width = static_cast<int64_t>(s.kv_heads) * s.d;
  for (const auto& [from, to] : {std::pair{k_, cache.k}, std::pair{v_, cache.v}}) {
    ggml_tensor* rows = ggml_view_2d(context_, from, width, n, from->nb[1],
                                     static_cast<size_t>(first) * from->nb[1]);
    ggml_tensor* slot =
        ggml_view_2d(context_, to, width, n, to->nb[1], static_cast<size_t>(first) * to->nb[1]);
    ggml_build_forward_expand(graph_, ggml_cpy(context_, rows, slot));
  }
  const auto heads_of = [&](ggml_tensor* t) {  // [d, keys, G]
    const size_t element = ggml_element_size(t);
    return ggml_view_3d(context_, t, s.d, keys, s.kv_heads, t->nb[1],
                        element * static_cast<size_t>(s.d), 0);
  };
  const int64_t row = s.decode ? 0 : first;
  ggml_tensor* rows = ggml_view_3d(context_, q, s.d, s.heads(), n, sizeof(float) * s.d, q->nb[1],
                                   static_cast<size_t>(row) * q->nb[1]);
  ggml_tensor* out = ggml_flash_attn_ext(context_, ggml_permute(context_, rows, 0, 2, 1, 3),
                                         heads_of(cache.k), heads_of(cache.v), mask,
                                         1.0f / std::sqrt(static_cast<float>(s.d)), 0.0f, 0.0f);
  ggml_build_forward_expand(graph_, out);
  outputs_.push_back(out);
}

Status GgmlContender::allocate() {
  buffer_ = ggml_backend_alloc_ctx_tensors(context_, runner_.backend());
  if (buffer_ != nullptr) return Status::ok();
  return error(Code::kResourceExhausted, "no memory for ggml's side of ", inputs_.shape.name());
}

void GgmlContender::fill() {
  std::memcpy(q_->data, inputs_.q.data(), ggml_nbytes(q_));
  std::memcpy(k_->data, inputs_.k.data(), ggml_nbytes(k_));
  std::memcpy(v_->data, inputs_.v.data(), ggml_nbytes(v_));
  const ggml_fp16_t open = ggml_fp32_to_fp16(0.0f), shut = ggml_fp32_to_fp16(-INFINITY);
  for (const Mask& mask : masks_) {
    auto* at = static_cast<ggml_fp16_t*>(mask.tensor->data);
    for (int64_t r = 0; r < mask.tensor->ne[1]; ++r) {
      for (int64_t key = 0; key < mask.tensor->ne[0]; ++key) {
        *at++ = key <= mask.first + r ? open : shut;
      }
    }
  }
  // Every cache holds the same keys and values, in memory of its own.
  for (const Cache& cache : caches_) {
    for (const auto& [data, tensor] : {std::pair{&inputs_.k, cache.k}, {&inputs_.v, cache.v}}) {
      if (tensor->type == GGML_TYPE_F32) {
        std::memcpy(tensor->data, data->data(), ggml_nbytes(tensor));
      } else {
        ggml_fp32_to_fp16_row(data->data(), static_cast<ggml_fp16_t*>(tensor->data),
                              static_cast<int64_t>(data->size()));
      }
    }
  }
}

Status GgmlContender::prepare(int threads, uint64_t rotate_bytes) {
  HEED_TRY(runner_.start(threads));
  const KernelShape& s = inputs_.shape;
  const ggml_type type = format_ == Format::kF32 ? GGML_TYPE_F32 : GGML_TYPE_F16;
  const int64_t width = static_cast<int64_t>(s.kv_heads) * s.d;
  kv_bytes_ = cache_bytes(s, format_);
  const int64_t copies = kernel_copies(s, kv_bytes_, rotate_bytes);
  const int64_t chunks = s.decode ? copies : (s.length + kKernelChunk - 1) / kKernelChunk;
  const auto nodes = static_cast<size_t>(16 * chunks + 16);
  context_ = ggml_init(
      {.mem_size = nodes * ggml_tensor_overhead() + ggml_graph_overhead_custom(nodes, false),
       .mem_buffer = nullptr,
       .no_alloc = true});
  if (context_ == nullptr) return error(Code::kResourceExhausted, "no memory for ggml's graph");
  graph_ = ggml_new_graph_custom(context_, nodes, false);
  q_ = input(s.heads(), s.queries());
  k_ = input(s.kv_heads, s.length);
  v_ = input(s.kv_heads, s.length);
  for (int64_t i = 0; i < copies; ++i) {
    caches_.push_back({ggml_new_tensor_2d(context_, type, width, s.length),
                       ggml_new_tensor_2d(context_, type, width, s.length)});
  }
  if (s.decode) {
    ggml_tensor* all = mask(s.length - 1, 1, s.length);
    for (const Cache& cache : caches_) attend(cache, q_, all, s.length - 1, 1);
  } else {
    for (int64_t at = 0; at < s.length; at += kKernelChunk) {
      const int64_t n = std::min<int64_t>(kKernelChunk, s.length - at);
      attend(caches_[0], q_, mask(at, n, at + n), at, n);
    }
  }
  HEED_TRY(allocate());
  fill();
  return Status::ok();
}

}  // namespace

uint64_t ggml_contender_bytes(const KernelShape& shape, Format format, uint64_t rotate_bytes) {
  const uint64_t cache = cache_bytes(shape, format);
  const auto copies = static_cast<uint64_t>(kernel_copies(shape, cache, rotate_bytes));
  uint64_t mask = 0;  // elements: each chunk's rows by the keys up to its end
  for (int64_t at = 0; at < shape.queries(); at += kKernelChunk) {
    const int64_t rows = std::min<int64_t>(kKernelChunk, shape.queries() - at);
    mask += static_cast<uint64_t>(rows * (shape.decode ? shape.length : at + rows));
  }
  const uint64_t outputs = shape.decode ? copies : 1;
  return copies * cache + sizeof(ggml_fp16_t) * mask +
         sizeof(float) * ((1 + outputs) * shape.query_floats() + 2 * shape.key_floats());
}

Result<std::unique_ptr<KernelContender>> make_ggml_contender(const KernelInputs& inputs,
                                                             Format format, int threads,
                                                             uint64_t rotate_bytes) {
  if (format == Format::kBf16) {
    return error(Code::kUnsupported, "ggml's flash attention is compared in f16 and f32");
  }
  auto contender = std::make_unique<GgmlContender>(inputs, format);
  HEED_TRY(contender->prepare(threads, rotate_bytes));
  return std::unique_ptr<KernelContender>(std::move(contender));
}

}  // namespace heed::eval
