// ggml's product on the same problem: a graph of one product a copy, as llama.cpp's graphs have it,
// over the file's rows or over ggml's own rearranged layout.
#include <algorithm>
#include <cstring>

#include "base/guard.h"
#include "eval/ggml_runner.h"
#include "eval/linear_problem.h"
#include "model/linear_choice.h"

namespace heed::eval {
namespace {

Status no_memory(const char* what) {
  return error(Code::kResourceExhausted, "no memory for ggml's ", what);
}

class GgmlLinear : public LinearContender {
 public:
  GgmlLinear(const LinearProblem& problem, GgmlLayout layout)
      : problem_(problem), layout_(layout) {}

  Status prepare(ggml_backend_buffer_type_t type, int64_t copies, int threads);

  const char* engine() const override {
    return layout_ == GgmlLayout::kPlain ? "ggml plain" : "ggml repack";
  }
  int64_t copies() const override { return used_; }
  void park() override { runner_.park(); }
  Status round() override { return runner_.compute(graph_); }
  Status begin(int64_t rows) override;

  std::span<const float> output(int64_t t) const override {
    const auto outputs = static_cast<size_t>(problem_.size.outputs);
    return {static_cast<const float*>(y_->data) + static_cast<size_t>(t) * outputs, outputs};
  }

 private:
  const LinearProblem& problem_;
  GgmlLayout layout_;
  GgmlRunner runner_;
  GgmlContext weights_context_, rows_context_, graph_context_;
  GgmlBuffer weights_buffer_, rows_buffer_;
  std::vector<ggml_tensor*> weights_;        // [outputs, inputs] each
  ggml_tensor *x_ = nullptr, *y_ = nullptr;  // [rows, inputs], [rows, outputs]
  ggml_cgraph* graph_ = nullptr;
  int64_t used_ = 0;  // copies that the rounds go through
};

Status GgmlLinear::prepare(ggml_backend_buffer_type_t type, int64_t copies, int threads) {
  HEED_TRY(runner_.start(threads));
  weights_context_ = tensor_headers(static_cast<size_t>(copies));
  if (!weights_context_) return no_memory("tensors");
  for (int64_t i = 0; i < copies; ++i) {
    weights_.push_back(ggml_new_tensor_2d(weights_context_.get(), ggml_type_of(problem_.type),
                                          problem_.size.inputs, problem_.size.outputs));
  }
  weights_buffer_.reset(ggml_backend_alloc_ctx_tensors_from_buft(weights_context_.get(), type));
  if (!weights_buffer_) return no_memory("weights");
  ggml_backend_buffer_set_usage(weights_buffer_.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
  for (ggml_tensor* w : weights_) {
    ggml_backend_tensor_set(w, problem_.file.data(), 0, problem_.file.size());
  }
  return Status::ok();
}

Status GgmlLinear::begin(int64_t rows) {
  const bool all = rows <= kStreamedRows;
  used_ = all ? static_cast<int64_t>(weights_.size()) : 1;
  const auto nodes = static_cast<size_t>(2 * used_ + 2);
  rows_buffer_.reset();
  rows_context_ = tensor_headers(2);
  graph_context_.reset(ggml_init(
      {.mem_size = (nodes + 1) * ggml_tensor_overhead() + ggml_graph_overhead_custom(nodes, false),
       .mem_buffer = nullptr,
       .no_alloc = true}));
  if (!rows_context_ || !graph_context_) return no_memory("graph");
  x_ = ggml_new_tensor_2d(rows_context_.get(), GGML_TYPE_F32, problem_.size.inputs, rows);
  y_ = ggml_new_tensor_2d(rows_context_.get(), GGML_TYPE_F32, problem_.size.outputs, rows);
  rows_buffer_.reset(ggml_backend_alloc_ctx_tensors(rows_context_.get(), runner_.backend()));
  if (!rows_buffer_) return no_memory("inputs and results");
  std::memcpy(x_->data, problem_.x.data(), ggml_nbytes(x_));
  graph_ = ggml_new_graph_custom(graph_context_.get(), nodes, false);
  for (int64_t i = 0; i < used_; ++i) {
    ggml_tensor* y = ggml_mul_mat(graph_context_.get(), weights_[static_cast<size_t>(i)], x_);
    // All results in one place, which stays in the cache: a model's graph reuses memory too.
    if (ggml_backend_tensor_alloc(rows_buffer_.get(), y, y_->data) != GGML_STATUS_SUCCESS) {
      return error(Code::kInternal, "ggml refused the place of a result");
    }
    ggml_build_forward_expand(graph_, y);
  }
  return Status::ok();
}

ggml_backend_buffer_type_t buffer_type(WeightType type, LinearSize size, GgmlLayout layout) {
  if (layout == GgmlLayout::kPlain) return ggml_backend_cpu_buffer_type();
  GgufTensor tensor;
  tensor.type = ggml_type_of(type);
  tensor.ne[0] = size.inputs;
  tensor.ne[1] = size.outputs;
  return Repacking().type_of(tensor);
}

}  // namespace

bool has_ggml_layout(WeightType type, LinearSize size, GgmlLayout layout) {
  return buffer_type(type, size, layout) != nullptr;
}

Result<std::unique_ptr<LinearContender>> make_ggml_linear(const LinearProblem& problem,
                                                          GgmlLayout layout, int64_t copies,
                                                          int threads) {
  return guarded("preparing ggml's products", [&]() -> Result<std::unique_ptr<LinearContender>> {
    const auto type = buffer_type(problem.type, problem.size, layout);
    if (type == nullptr) return std::unique_ptr<LinearContender>();
    auto contender = std::make_unique<GgmlLinear>(problem, layout);
    HEED_TRY(contender->prepare(type, copies, threads));
    return std::unique_ptr<LinearContender>(std::move(contender));
  });
}

}  // namespace heed::eval
