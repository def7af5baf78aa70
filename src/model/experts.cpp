#include "model/experts.h"

#include <ggml.h>

#include "model/weights.h"

namespace heed {
namespace {

// What a routing node leaves: chosen [T, used], shares [T, used], the lists.
struct Routed {
  Routed(const ExpertOp& op, const ggml_tensor* node)
      : chosen(static_cast<int32_t*>(node->data)),
        shares(reinterpret_cast<float*>(chosen + op.size.slots)),
        lists(chosen + 2 * op.size.slots, op.size) {}
  static int64_t words(const ExpertLists::Size& size) {
    return 2 * size.slots + ExpertLists::words(size);
  }
  int32_t* chosen;
  float* shares;
  ExpertLists lists;
};

// Every member chooses for its share of the rows; the last to be done makes the lists.
void route_node(ggml_tensor* node, int member, int members, void* user) {
  auto& op = *static_cast<ExpertOp*>(user);
  const ggml_tensor* const logits = node->src[0];  // [T, experts]
  Routed routed(op, node);
  const auto used = static_cast<size_t>(op.used), experts = static_cast<size_t>(op.size.experts);
  for (int64_t r = op.rows * member / members; r < op.rows * (member + 1) / members; ++r) {
    const auto* const row = reinterpret_cast<const float*>(static_cast<const char*>(logits->data) +
                                                           static_cast<size_t>(r) * logits->nb[1]);
    choose_experts(op.router, {row, experts}, op.choice_bias, {routed.chosen + r * op.used, used},
                   {routed.shares + r * op.used, used});
  }
  if (op.left.fetch_add(1, std::memory_order_acq_rel) != members - 1) return;
  op.left.store(0, std::memory_order_relaxed);
  routed.lists.make(routed.chosen);
}

// As if a row's slots went to every head in turn. Nobody reads the shares.
void route_by_head_node(ggml_tensor* node, int member, int, void* user) {
  if (member != 0) return;
  const auto& op = *static_cast<const ExpertOp*>(user);
  Routed routed(op, node);
  for (int64_t slot = 0; slot < op.size.slots; ++slot) {
    routed.chosen[slot] = static_cast<int32_t>(slot % op.used);
  }
  routed.lists.make(routed.chosen);
}

// src: packed rows, routed.
void gather_node(ggml_tensor* node, int member, int members, void* user) {
  const auto& op = *static_cast<const ExpertOp*>(user);
  gather_inputs(op.workspace->isa(), Routed(op, node->src[1]).lists,
                {op.form, node->src[0]->data, op.slots_per_row, op.inputs}, node->data, member,
                members);
}

ExpertWeights weights_of(const ExpertOp::Part& part, const ggml_tensor* x) {
  return {part.weights, part.bias, x->data};
}

// src: gathered rows, routed.
void product_node(ggml_tensor* node, int member, int members, void* user) {
  const auto& op = *static_cast<const ExpertOp*>(user);
  const ExpertProduct product{weights_of(op.parts[0], node->src[0]),
                              static_cast<float*>(node->data), node->ne[0]};
  multiply_experts(op.workspace->isa(), Routed(op, node->src[1]).lists, product,
                   op.workspace->worker(member, members));
}

// src: gathered rows of gate, of up, routed.
void gated_node(ggml_tensor* node, int member, int members, void* user) {
  const auto& op = *static_cast<const ExpertOp*>(user);
  const ExpertGatedProduct product{weights_of(op.parts[0], node->src[0]),
                                   weights_of(op.parts[1], node->src[1]), op.activation, op.form,
                                   node->data};
  multiply_experts_gated(op.workspace->isa(), Routed(op, node->src[2]).lists, product,
                         op.workspace->worker(member, members));
}

// src: results of the slots, routed, residual.
void sum_node(ggml_tensor* node, int member, int members, void* user) {
  const auto& op = *static_cast<const ExpertOp*>(user);
  const ggml_tensor* const residual = node->src[2];
  sum_experts({.y = static_cast<const float*>(node->src[0]->data),
               .shares = Routed(op, node->src[1]).shares,
               .residual = static_cast<const float*>(residual->data),
               .residual_stride = static_cast<int64_t>(residual->nb[1] / sizeof(float)),
               .rows = op.rows,
               .width = node->ne[0],
               .used = op.used,
               .out = static_cast<float*>(node->data)},
              member, members);
}

}  // namespace

ExpertOp& ExpertBuilder::new_op(const ExpertTerms& terms, int64_t rows) {
  ExpertOp& op = ops_.emplace_back();
  op.workspace = workspace_;
  op.size = {terms.experts, rows * terms.used};
  op.rows = rows;
  op.used = terms.used;
  return op;
}

ExpertOp::Part ExpertBuilder::part(const LinearTerm& term) const {
  const void* const bias = term.bias == nullptr ? nullptr : term.bias->data;
  return {weights_.packed_all(term.weight), static_cast<const float*>(bias)};
}

ggml_tensor* ExpertBuilder::route(const ExpertTerms& terms, ggml_tensor* logits) {
  ExpertOp& op = new_op(terms, logits->ne[1]);
  op.router = terms.rule;
  if (terms.choice_bias != nullptr) {
    op.choice_bias = static_cast<const float*>(terms.choice_bias->data);
  }
  return ggml_custom_4d(context_, GGML_TYPE_I32, Routed::words(op.size), 1, 1, 1, &logits, 1,
                        route_node, GGML_N_TASKS_MAX, &op);
}

ggml_tensor* ExpertBuilder::route_by_head(const ExpertTerms& terms, int64_t rows) {
  ggml_tensor*& routed = by_head_[{rows, terms.used}];
  if (routed == nullptr) {
    ExpertOp& op = new_op(terms, rows);
    routed = ggml_custom_4d(context_, GGML_TYPE_I32, Routed::words(op.size), 1, 1, 1, nullptr, 0,
                            route_by_head_node, GGML_N_TASKS_MAX, &op);
  }
  return routed;
}

ggml_tensor* ExpertBuilder::gathered(const Mixture& mixture, Input& x, InputForm form) {
  ggml_tensor*& gathered = x.gathered[static_cast<int>(form)];
  if (gathered == nullptr) {
    ExpertOp& op = new_op(mixture.terms, mixture.rows);
    op.form = form;
    op.slots_per_row = x.slots_per_row;
    op.inputs = x.rows.width();
    ggml_tensor* args[] = {linear_.packed(x.rows, form), mixture.routed};
    gathered =
        ggml_custom_4d(context_, GGML_TYPE_I8, gathered_input_bytes(form, op.size, op.inputs), 1, 1,
                       1, args, 2, gather_node, GGML_N_TASKS_MAX, &op);
  }
  return gathered;
}

// [T * used, out]
ggml_tensor* ExpertBuilder::ggml_product(const Mixture& mixture, Input& x, const LinearTerm& term) {
  const int64_t used = mixture.terms.used, rows = mixture.rows;
  ggml_tensor* const ids = ggml_view_2d(context_, mixture.routed, used, rows,
                                        static_cast<size_t>(used) * sizeof(int32_t), 0);
  ggml_tensor* const in = linear_.normed(x.rows);
  const int64_t inputs = used / x.slots_per_row;  // of a row, that may lie apart
  ggml_tensor* y = ggml_mul_mat_id(context_, term.weight,
                                   ggml_view_3d(context_, in, in->ne[0], inputs, rows, in->nb[1],
                                                static_cast<size_t>(inputs) * in->nb[1], 0),
                                   ids);
  if (term.bias != nullptr) y = ggml_add_id(context_, y, term.bias, ids);
  return ggml_reshape_2d(context_, y, y->ne[0], used * rows);
}

// [T * used, out]
ggml_tensor* ExpertBuilder::product(const Mixture& mixture, Input& x, const LinearTerm& term) {
  const ExpertOp::Part of = part(term);
  if (of.weights.empty()) return ggml_product(mixture, x, term);
  const PackedWeight& shape = of.weights.front();
  ExpertOp& op = new_op(mixture.terms, mixture.rows);
  op.parts[0] = of;
  ggml_tensor* args[] = {gathered(mixture, x, shape.input_form()), mixture.routed};
  return ggml_custom_4d(context_, GGML_TYPE_F32, shape.outputs(), op.size.slots, 1, 1, args, 2,
                        product_node, GGML_N_TASKS_MAX, &op);
}

ExpertBuilder::Input ExpertBuilder::gated(const Mixture& mixture, Input& x) {
  const ExpertTerms& terms = mixture.terms;
  const PackedWeight* const behind = weights_.packed(terms.down.weight);
  const ExpertOp::Part gate = part(terms.gate), up = part(terms.up);
  if (behind == nullptr || gate.weights.empty() || up.weights.empty()) {
    ggml_tensor* const g = product(mixture, x, terms.gate);
    ggml_tensor* const u = product(mixture, x, terms.up);
    return {linear_.activated(g, u, terms.activation)};
  }
  ExpertOp& op = new_op(terms, mixture.rows);
  op.parts[0] = gate;
  op.parts[1] = up;
  op.activation = terms.activation;
  op.form = behind->input_form();
  ggml_tensor* args[] = {gathered(mixture, x, gate.weights.front().input_form()),
                         gathered(mixture, x, up.weights.front().input_form()), mixture.routed};
  Input out{LinearInput(nullptr)};
  out.gathered[static_cast<int>(op.form)] = ggml_custom_4d(
      context_, GGML_TYPE_I8, gathered_input_bytes(op.form, op.size, behind->inputs()), 1, 1, 1,
      args, 3, gated_node, GGML_N_TASKS_MAX, &op);
  return out;
}

ggml_tensor* ExpertBuilder::sum(const Mixture& mixture, ggml_tensor* y, ggml_tensor* residual) {
  ExpertOp& op = new_op(mixture.terms, mixture.rows);
  ggml_tensor* args[] = {y, mixture.routed, residual};
  return ggml_custom_4d(context_, GGML_TYPE_F32, y->ne[0], mixture.rows, 1, 1, args, 3, sum_node,
                        GGML_N_TASKS_MAX, &op);
}

ggml_tensor* ExpertBuilder::mixture(LinearInput& x, const ExpertTerms& terms,
                                    ggml_tensor* residual) {
  ggml_tensor* const logits = linear_.product(x, terms.router);
  const Mixture mixture{terms, logits->ne[1], route(terms, logits)};
  Input in{x, terms.used};
  Input inner = gated(mixture, in);
  return sum(mixture, product(mixture, inner, terms.down), residual);
}

ggml_tensor* ExpertBuilder::by_head(ggml_tensor* x, ggml_tensor* weight, int heads) {
  const int64_t rows = x->ne[1] / heads;
  ExpertTerms terms;
  terms.experts = terms.used = heads;
  const Mixture every{terms, rows, route_by_head(terms, rows)};
  Input in{LinearInput(x), 1};
  return product(every, in, {weight, nullptr});
}

}  // namespace heed
