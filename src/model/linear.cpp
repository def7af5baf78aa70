#include "model/linear.h"

#include <ggml.h>

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "model/weights.h"

namespace heed {
namespace {

constexpr int64_t kAlignment = 64;

int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

const float* floats(const ggml_tensor* vector) {
  return vector == nullptr ? nullptr : static_cast<const float*>(vector->data);
}

int64_t row_stride(const ggml_tensor* t) { return static_cast<int64_t>(t->nb[1] / sizeof(float)); }

Input input_of(const LinearOp& op, const ggml_tensor* x) {
  Input input;
  input.x = floats(x);
  input.stride = row_stride(x);
  input.rows = op.rows;
  input.inputs = x->ne[0];
  input.norm = op.norm;
  input.eps = op.eps;
  return input;
}

// Rows of x in the form that products read; every member does its share.
void pack_node(ggml_tensor* node, int member, int members, void* user) {
  const auto& op = *static_cast<const LinearOp*>(user);
  pack_inputs(op.workspace->isa(), op.form, node->data, input_of(op, node->src[0]),
              op.workspace->worker(member, members).scratch, member, members);
}

// Packed x of part i.
const void* part_input(const LinearOp& op, const ggml_tensor* node, int i, int member) {
  if (!op.own_input) return node->src[op.parts[i].source]->data;
  return op.workspace->own_rows(member, op.parts[i].weight->input_form());
}

void pack_own_rows(const LinearOp& op, const ggml_tensor* node, int member) {
  if (!op.own_input) return;
  bool done[kernels::kInputForms] = {};
  for (int i = 0; i < op.count; ++i) {
    const InputForm form = op.parts[i].weight->input_form();
    if (std::exchange(done[static_cast<int>(form)], true)) continue;
    pack_inputs(op.workspace->isa(), form, op.workspace->own_rows(member, form),
                input_of(op, node->src[0]), op.workspace->worker(member, 1).scratch, 0, 1);
  }
}

void product_node(ggml_tensor* node, int member, int members, void* user) {
  const auto& op = *static_cast<const LinearOp*>(user);
  pack_own_rows(op, node, member);
  std::array<Product, LinearOp::kParts> products;
  for (int i = 0; i < op.count; ++i) {
    Product& p = products[i];
    p.weight = op.parts[i].weight;
    p.x = part_input(op, node, i, member);
    p.y = static_cast<float*>(node->data) + op.parts[i].column;
    p.y_stride = node->ne[0];
    p.bias = op.parts[i].bias;
    if (op.residual < 0) continue;
    p.residual = floats(node->src[op.residual]);
    p.residual_stride = row_stride(node->src[op.residual]);
  }
  multiply(op.workspace->isa(), {products.data(), static_cast<size_t>(op.count)}, op.rows,
           op.workspace->worker(member, members));
}

void gated_node(ggml_tensor* node, int member, int members, void* user) {
  const auto& op = *static_cast<const LinearOp*>(user);
  pack_own_rows(op, node, member);
  GatedProduct p;
  p.gate = op.parts[0].weight;
  p.up = op.parts[1].weight;
  p.gate_x = part_input(op, node, 0, member);
  p.up_x = part_input(op, node, 1, member);
  p.gate_bias = op.parts[0].bias;
  p.up_bias = op.parts[1].bias;
  p.activation = op.activation;
  p.form = op.form;
  p.out = node->data;
  multiply_gated(op.workspace->isa(), p, op.rows, op.workspace->worker(member, members));
}

// activation(x), which gates nothing.
void activate_alone(const LinearOp& op, float* x, int64_t n) {
  constexpr int64_t kSlice = 256;
  static constexpr auto kOnes = [] {
    std::array<float, kSlice> ones{};
    ones.fill(1.0f);
    return ones;
  }();
  for (int64_t i = 0; i < n; i += kSlice) {
    activate(op.workspace->isa(), op.activation, x + i, kOnes.data(), std::min(kSlice, n - i));
  }
}

// The gated pair where ggml multiplied: not its activations, whose GELU reads a table of f16.
void activate_node(ggml_tensor* node, int member, int members, void* user) {
  const auto& op = *static_cast<const LinearOp*>(user);
  const int64_t width = node->ne[0], rows = node->ne[1];
  for (int64_t r = rows * member / members; r < rows * (member + 1) / members; ++r) {
    float* const row = static_cast<float*>(node->data) + r * width;
    std::copy_n(floats(node->src[0]) + r * row_stride(node->src[0]), width, row);
    if (node->src[1] == nullptr) {
      activate_alone(op, row, width);
    } else {
      activate(op.workspace->isa(), op.activation, row,
               floats(node->src[1]) + r * row_stride(node->src[1]), width);
    }
  }
}

struct ScratchBytes {
  explicit ScratchBytes(int64_t inputs)
      : products(aligned(product_scratch_bytes(inputs))),
        tile(aligned(packed_input_bytes(InputForm::kFloats, kTileRows, inputs))) {}
  int64_t products, tile;
  int64_t member() const { return products + kernels::kInputForms * tile; }
};

}  // namespace

uint64_t LinearWorkspace::bytes_of(int64_t inputs, int threads) {
  return static_cast<uint64_t>(ScratchBytes(inputs).member()) * static_cast<uint64_t>(threads);
}

Status LinearWorkspace::reserve(int64_t inputs) {
  const ScratchBytes needed(inputs);
  if (needed.member() <= stride_) return Status::ok();
  const auto bytes = static_cast<size_t>(bytes_of(inputs, threads_));
  AlignedMemory scratch = allocate_aligned(bytes, kAlignment);
  if (!scratch) {
    return error(Code::kResourceExhausted, "no memory for ", bytes, " bytes of products");
  }
  scratch_ = std::move(scratch);
  products_ = needed.products;
  tile_ = needed.tile;
  stride_ = needed.member();
  return Status::ok();
}

int64_t LinearInput::width() const { return x_->ne[0]; }

int64_t LinearBuilder::rows_of(const LinearInput& x) const {
  return x.x_ != nullptr ? x.x_->ne[1] : x.rows_;
}

// A tile of rows costs every member less than the barrier behind a node that packs it.
bool LinearBuilder::packs_for_itself(const LinearInput& x) const {
  return x.x_ != nullptr && x.x_->ne[1] <= kTileRows;
}

LinearOp& LinearBuilder::new_op(const LinearInput& x) {
  LinearOp& op = ops_.emplace_back();
  op.workspace = workspace_;
  op.rows = rows_of(x);
  op.norm = floats(x.norm_);
  op.eps = x.eps_;
  return op;
}

ggml_tensor* LinearBuilder::normed(LinearInput& x) {
  if (x.norm_ == nullptr) return x.x_;
  if (x.normed_ == nullptr) {
    x.normed_ = ggml_mul(context_, ggml_rms_norm(context_, x.x_, x.eps_), x.norm_);
  }
  return x.normed_;
}

ggml_tensor* LinearBuilder::packed(LinearInput& x, InputForm form) {
  ggml_tensor*& packed = x.packed_[static_cast<int>(form)];
  if (packed == nullptr) {
    LinearOp& op = new_op(x);
    op.form = form;
    const int64_t bytes = packed_input_bytes(form, op.rows, x.x_->ne[0]);
    packed = ggml_custom_4d(context_, GGML_TYPE_I8, bytes, 1, 1, 1, &x.x_, 1, pack_node,
                            GGML_N_TASKS_MAX, &op);
  }
  return packed;
}

LinearBuilder::Node LinearBuilder::node(LinearInput& x, std::span<const LinearTerm> terms) {
  Node node;
  node.op = &new_op(x);
  LinearOp& op = *node.op;
  op.own_input = packs_for_itself(x);
  if (op.own_input) node.sources[static_cast<size_t>(node.count++)] = x.x_;
  for (const LinearTerm& term : terms) {
    LinearOp::Part& part = op.parts[static_cast<size_t>(op.count++)];
    part.weight = weights_.packed(term.weight);
    part.bias = floats(term.bias);
    part.column = node.outputs;
    node.outputs += part.weight->outputs();
    if (op.own_input) continue;
    ggml_tensor* const source = packed(x, part.weight->input_form());
    const auto end = node.sources.begin() + node.count;
    const auto at = std::find(node.sources.begin(), end, source);
    part.source = static_cast<int>(at - node.sources.begin());
    if (at == end) node.sources[static_cast<size_t>(node.count++)] = source;
  }
  return node;
}

ggml_tensor* LinearBuilder::run(Node& node, ggml_tensor* residual) {
  if (residual != nullptr) {
    node.op->residual = node.count;
    node.sources[static_cast<size_t>(node.count++)] = residual;
  }
  return ggml_custom_4d(context_, GGML_TYPE_F32, node.outputs, node.op->rows, 1, 1,
                        node.sources.data(), node.count, product_node, GGML_N_TASKS_MAX, node.op);
}

ggml_tensor* LinearBuilder::ggml_product(LinearInput& x, const LinearTerm& term,
                                         ggml_tensor* residual) {
  ggml_tensor* y = ggml_mul_mat(context_, term.weight, normed(x));
  if (term.bias != nullptr) y = ggml_add(context_, y, term.bias);
  return residual == nullptr ? y : ggml_add(context_, residual, y);
}

// Behind all that a node adds, so that rows without an adapter keep their bits.
ggml_tensor* LinearBuilder::adapted(ggml_tensor* y, const LinearInput& x,
                                    std::span<const AdaptedBuilder::Part> parts) {
  return adapted_.products(y, x.x_, x.norm_, x.eps_, parts);
}

ggml_tensor* LinearBuilder::product(LinearInput& x, const LinearTerm& term, ggml_tensor* residual) {
  const AdaptedBuilder::Part part{term.weight};
  if (weights_.packed(term.weight) == nullptr) {
    return adapted(ggml_product(x, term, residual), x, {&part, 1});
  }
  Node one = node(x, {&term, 1});
  return adapted(run(one, residual), x, {&part, 1});
}

void LinearBuilder::products(LinearInput& x, std::span<const LinearTerm> terms,
                             std::span<ggml_tensor*> out) {
  std::array<LinearTerm, LinearOp::kParts> ours;
  std::array<AdaptedBuilder::Part, LinearOp::kParts> parts;
  size_t count = 0;
  for (size_t i = 0; i < terms.size(); ++i) {
    if (weights_.packed(terms[i].weight) != nullptr) {
      ours[count++] = terms[i];
    } else {
      out[i] = product(x, terms[i]);
    }
  }
  if (count == 0) return;
  Node all = node(x, {ours.data(), count});
  for (size_t i = 0; i < count; ++i) parts[i] = {ours[i].weight, all.op->parts[i].column};
  ggml_tensor* const y = adapted(run(all, nullptr), x, {parts.data(), count});
  size_t part = 0;
  for (size_t i = 0; i < terms.size(); ++i) {
    if (weights_.packed(terms[i].weight) == nullptr) continue;
    const LinearOp::Part& p = all.op->parts[part++];
    out[i] = ggml_view_2d(context_, y, p.weight->outputs(), y->ne[1], y->nb[1],
                          static_cast<size_t>(p.column) * sizeof(float));
  }
}

LinearInput LinearBuilder::activated(ggml_tensor* gate, ggml_tensor* up, Activation activation) {
  LinearOp& op = ops_.emplace_back();
  op.workspace = workspace_;
  op.activation = activation;
  ggml_tensor* both[] = {gate, up};
  return LinearInput(ggml_custom_4d(context_, GGML_TYPE_F32, gate->ne[0], gate->ne[1], 1, 1, both,
                                    up == nullptr ? 1 : 2, activate_node, GGML_N_TASKS_MAX, &op));
}

LinearInput LinearBuilder::gated(LinearInput& x, const LinearTerm& gate, const LinearTerm& up,
                                 Activation activation, const ggml_tensor* down) {
  const PackedWeight* const behind = weights_.packed(down);
  const LinearTerm both[] = {gate, up};
  const bool ours = behind != nullptr && weights_.packed(gate.weight) != nullptr &&
                    weights_.packed(up.weight) != nullptr;
  // Adapters add to the products before the activation, and read what it leaves as it is.
  if (!ours || adapted_.adapts(gate.weight) || adapted_.adapts(up.weight) ||
      adapted_.adapts(down)) {
    ggml_tensor* out[] = {nullptr, nullptr};
    products(x, both, out);
    return activated(out[0], out[1], activation);
  }
  Node pair = node(x, both);
  pair.op->activation = activation;
  pair.op->form = behind->input_form();
  LinearInput out(nullptr);
  out.rows_ = pair.op->rows;
  const int64_t bytes = packed_input_bytes(pair.op->form, out.rows_, behind->inputs());
  out.packed_[static_cast<int>(pair.op->form)] =
      ggml_custom_4d(context_, GGML_TYPE_I8, bytes, 1, 1, 1, pair.sources.data(), pair.count,
                     gated_node, GGML_N_TASKS_MAX, pair.op);
  return out;
}

}  // namespace heed
