#include "model/linear.h"

#include <ggml.h>

#include "base/text.h"
#include "model/weights.h"

namespace heed {
namespace {

constexpr int64_t kAlignment = 64;

int64_t padded_scratch(int64_t inputs) {
  return (product_scratch_bytes(inputs) + kAlignment - 1) / kAlignment * kAlignment;
}

// Rows of x to 8 bits; every member does its share.
void quantize_node(ggml_tensor* node, int member, int members, void* user) {
  const auto& op = *static_cast<const LinearOp*>(user);
  const ggml_tensor* x = node->src[0];  // [T, in]
  quantize_inputs(op.workspace->isa(), node->data, static_cast<const float*>(x->data),
                  static_cast<int64_t>(x->nb[1] / sizeof(float)), x->ne[1], x->ne[0], member,
                  members);
}

void product_node(ggml_tensor* node, int member, int members, void* user) {
  const auto& op = *static_cast<const LinearOp*>(user);
  multiply(op.workspace->isa(), *op.weight, node->src[0]->data, node->ne[1],
           static_cast<float*>(node->data), node->ne[0], op.workspace->scratch(member),
           op.workspace->counter(), members);
}

}  // namespace

uint64_t LinearWorkspace::bytes_of(int64_t inputs, int threads) {
  return static_cast<uint64_t>(padded_scratch(inputs)) * static_cast<uint64_t>(threads);
}

Status LinearWorkspace::reserve(int64_t inputs) {
  const int64_t stride = padded_scratch(inputs);
  if (stride <= stride_) return Status::ok();
  const auto bytes = static_cast<size_t>(stride) * static_cast<size_t>(threads_);
  AlignedMemory scratch = allocate_aligned(bytes, kAlignment);
  if (!scratch) {
    return error(Code::kResourceExhausted, "no memory for ", bytes, " bytes of products");
  }
  scratch_ = std::move(scratch);
  stride_ = stride;
  return Status::ok();
}

LinearOp* LinearBuilder::op(const PackedWeight* weight) {
  ops_.push_back({workspace_, weight});
  return &ops_.back();
}

ggml_tensor* LinearBuilder::product(LinearInput& x, ggml_tensor* weight, ggml_tensor* bias) {
  const PackedWeight* packed = weights_.packed(weight);
  ggml_tensor* y =
      packed != nullptr ? packed_product(x, *packed) : ggml_mul_mat(context_, weight, x.x_);
  return bias == nullptr ? y : ggml_add(context_, y, bias);
}

ggml_tensor* LinearBuilder::packed_product(LinearInput& x, const PackedWeight& weight) {
  const int64_t rows = x.x_->ne[1];
  if (x.quantized_ == nullptr) {
    x.quantized_ = ggml_custom_4d(context_, GGML_TYPE_I8, quantized_bytes(rows, x.x_->ne[0]), 1, 1,
                                  1, &x.x_, 1, quantize_node, GGML_N_TASKS_MAX, op(nullptr));
  }
  return ggml_custom_4d(context_, GGML_TYPE_F32, weight.outputs(), rows, 1, 1, &x.quantized_, 1,
                        product_node, GGML_N_TASKS_MAX, op(&weight));
}

}  // namespace heed
