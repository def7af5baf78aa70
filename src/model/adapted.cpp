#include "model/adapted.h"

#include <ggml.h>

#include <algorithm>

#include "base/guard.h"
#include "base/text.h"
#include "model/weights.h"

namespace heed {
namespace {

// The terms of one run in one node.
struct Terms {
  std::array<LowRankTerm, AdaptedRows::kParts * Adaptation::kMostLoras> terms;
  size_t count = 0;
  int64_t rows = 0;
  float* after = nullptr;  // the sums of the next run

  std::span<const LowRankTerm> all() const { return {terms.data(), count}; }
};

float* row_of(const ggml_tensor* t, int64_t row) {
  return reinterpret_cast<float*>(static_cast<char*>(t->data) +
                                  static_cast<size_t>(row) * t->nb[1]);
}

int64_t row_stride(const ggml_tensor* t) { return static_cast<int64_t>(t->nb[1] / sizeof(float)); }

// Every member finds the same terms with the same places for their sums.
Terms terms_of(const AdaptedOp& op, const AdaptedRun& run, const ggml_tensor* node, float* sums) {
  Terms all;
  all.rows = std::min(run.rows, node->ne[1] - run.first);
  all.after = sums;
  for (const ScaledLora& lora : run.adaptation->loras) {
    for (size_t p = 0; p < op.count && lora.scale != 0; ++p) {
      const LoraAdapter::Factors* const factors = lora.adapter->find(op.targets[p]);
      if (factors == nullptr) continue;
      LowRankTerm& term = all.terms[all.count++];
      term.a = factors->a;
      term.b = factors->b;
      term.rank = factors->rank;
      term.scale = lora.scale * factors->scale;
      term.y = row_of(node, run.first) + op.columns[p];
      term.y_stride = row_stride(node);
      term.sums = all.after;
      all.after += all.rows *
                   low_rank_sums(factors->a == nullptr ? 0 : factors->inputs, factors->b->inputs());
    }
  }
  return all;
}

// fn(terms, run, member): a run of few rows has work for few members, so each run begins with
// another one.
template <class Fn>
void each_run(const AdaptedOp& op, const ggml_tensor* node, int member, int members, const Fn& fn) {
  float* sums = op.rows->sums();
  int turn = 0;
  for (const AdaptedRun& run : op.rows->runs) {
    if (run.first >= node->ne[1]) break;
    const Terms terms = terms_of(op, run, node, sums);
    sums = terms.after;
    if (terms.count > 0) fn(terms, run, (member + turn++) % members);
  }
}

LowRankCall call_of(const AdaptedOp& op, const Terms& terms, const AdaptedRun& run,
                    const ggml_tensor* x) {
  LowRankCall call;
  call.x = row_of(x, run.first);
  call.x_stride = row_stride(x);
  call.rows = terms.rows;
  call.inputs = x->ne[0];
  call.norm = op.norm;
  call.eps = op.eps;
  call.terms = terms.all();
  return call;
}

// src: y, x.
void products_node(ggml_tensor* node, int member, int members, void* user) {
  const auto& op = *static_cast<const AdaptedOp*>(user);
  uint8_t* const scratch = op.rows->scratch(member);
  each_run(op, node, member, members, [&](const Terms& terms, const AdaptedRun& run, int m) {
    low_rank_sum(op.rows->isa(), call_of(op, terms, run, node->src[1]), scratch, m, members);
  });
  op.rows->barrier().wait(members);
  each_run(op, node, member, members, [&](const Terms& terms, const AdaptedRun& run, int m) {
    low_rank_add(op.rows->isa(), call_of(op, terms, run, node->src[1]), scratch, m, members);
  });
}

// src: rows, tokens. A row of the table's A is A x itself.
void embeddings_node(ggml_tensor* node, int member, int members, void* user) {
  const auto& op = *static_cast<const AdaptedOp*>(user);
  const auto* const tokens = static_cast<const int32_t*>(node->src[1]->data);
  each_run(op, node, member, members, [&](const Terms& terms, const AdaptedRun& run, int m) {
    size_t at = 0;
    for (const ScaledLora& lora : run.adaptation->loras) {
      const LoraAdapter::Factors* const factors = lora.adapter->find(op.targets[0]);
      if (factors == nullptr || lora.scale == 0) continue;
      const LowRankTerm& term = terms.terms[at++];
      for (int64_t r = terms.rows * m / members; r < terms.rows * (m + 1) / members; ++r) {
        std::copy_n(factors->table + tokens[run.first + r] * term.rank, term.rank,
                    term.sums + r * term.b->inputs());
      }
    }
  });
  op.rows->barrier().wait(members);
  each_run(op, node, member, members, [&](const Terms& terms, const AdaptedRun& run, int m) {
    LowRankCall call;
    call.rows = terms.rows;
    call.terms = terms.all();
    static_cast<void>(run);
    low_rank_add(op.rows->isa(), call, op.rows->scratch(member), m, members);
  });
}

// src: residual.
void steer_node(ggml_tensor* node, int member, int members, void* user) {
  const auto& op = *static_cast<const AdaptedOp*>(user);
  const int64_t width = node->ne[0];
  const int64_t begin = width * member / members, end = width * (member + 1) / members;
  for (const AdaptedRun& run : op.rows->runs) {
    const ControlVector* const control = run.adaptation->control.get();
    if (control == nullptr) continue;
    const std::vector<float>& direction = control->directions[static_cast<size_t>(op.layer)];
    if (direction.empty()) continue;
    for (int64_t r = run.first; r < std::min(run.first + run.rows, node->ne[1]); ++r) {
      float* const row = row_of(node, r);
      for (int64_t i = begin; i < end; ++i) row[i] += direction[static_cast<size_t>(i)];
    }
  }
}

}  // namespace

AdaptedRows::Needs AdaptedRows::needs_of(std::span<const LoraAdapter* const> loras) {
  Needs needs;
  for (const LoraAdapter* lora : loras) {
    int64_t sums = 0;
    for (int t = 0; t < lora->targets(); ++t) {
      const LoraAdapter::Factors* const factors = lora->find(t);
      if (factors == nullptr) continue;
      const int64_t rank = factors->b->inputs();
      needs.inputs = std::max(needs.inputs, factors->inputs);
      needs.rank = std::max(needs.rank, rank);
      sums = std::max(sums, low_rank_sums(factors->inputs, rank));
    }
    needs.sums += static_cast<int64_t>(kParts) * sums;
  }
  return needs;
}

uint64_t AdaptedRows::bytes_of(const Needs& needs, int threads, int max_rows) {
  if (needs.rank == 0) return 0;
  return static_cast<uint64_t>(low_rank_scratch_bytes(needs.inputs, needs.rank)) *
             static_cast<uint64_t>(threads) +
         static_cast<uint64_t>(needs.sums) * static_cast<uint64_t>(max_rows) * sizeof(float);
}

Status AdaptedRows::reserve(const Needs& needs) {
  const Needs most{std::max(needs.inputs, reserved_.inputs), std::max(needs.rank, reserved_.rank),
                   std::max(needs.sums, reserved_.sums)};
  if (most == reserved_) return Status::ok();
  const uint64_t bytes = bytes_of(most, threads_, max_rows_);
  AlignedMemory memory = allocate_aligned(bytes);
  if (!memory) {
    return exhausted("no memory for ", bytes, " bytes of adapters' sums; use a smaller chunk");
  }
  memory_ = std::move(memory);
  reserved_ = most;
  scratch_ = low_rank_scratch_bytes(most.inputs, most.rank);
  return Status::ok();
}

void AdaptedTargets::add(const LoraAdapter& lora) {
  for (int t = 0; t < lora.targets(); ++t) {
    if (lora.find(t) != nullptr) matrices[static_cast<size_t>(t)] = true;
  }
}

void AdaptedTargets::add(const ControlVector& control) {
  for (size_t i = 0; i < control.directions.size(); ++i) {
    if (!control.directions[i].empty()) steered[i] = true;
  }
}

void AdaptedTargets::add(const Adaptation& adaptation) {
  for (const ScaledLora& lora : adaptation.loras) {
    if (lora.scale != 0) add(*lora.adapter);
  }
  if (adaptation.control) add(*adaptation.control);
}

AdaptedBuilder::AdaptedBuilder(ggml_context* context, const ModelWeights& weights,
                               const AdaptedTargets* targets, AdaptedOps& ops)
    : context_(context),
      targets_(targets),
      layers_(static_cast<int>(weights.layers.size())),
      ops_(ops) {
  if (targets == nullptr) return;
  for (int t = 0; t < target_count(layers_); ++t) {
    if (!targets->matrices[static_cast<size_t>(t)] || t == table_target(layers_)) continue;
    targets_by_weight_.emplace(target_tensor(weights, t), t);
  }
}

AdaptedOp& AdaptedBuilder::new_op() {
  AdaptedOp& op = ops_.emplace_back();
  op.rows = targets_->rows;
  return op;
}

ggml_tensor* AdaptedBuilder::products(ggml_tensor* y, ggml_tensor* x, const ggml_tensor* norm,
                                      float eps, std::span<const Part> parts) {
  AdaptedOp* op = nullptr;
  for (const Part& part : parts) {
    const auto at = targets_by_weight_.find(part.weight);
    if (at == targets_by_weight_.end()) continue;
    if (op == nullptr) op = &new_op();
    op->targets[op->count] = at->second;
    op->columns[op->count++] = part.column;
  }
  if (op == nullptr) return y;
  op->norm = norm == nullptr ? nullptr : static_cast<const float*>(norm->data);
  op->eps = eps;
  return ggml_custom_inplace(context_, y, &x, 1, products_node, GGML_N_TASKS_MAX, op);
}

ggml_tensor* AdaptedBuilder::embeddings(ggml_tensor* rows, ggml_tensor* tokens) {
  const int table = table_target(layers_);
  if (targets_ == nullptr || !targets_->matrices[static_cast<size_t>(table)]) return rows;
  AdaptedOp& op = new_op();
  op.targets[op.count++] = table;
  return ggml_custom_inplace(context_, rows, &tokens, 1, embeddings_node, GGML_N_TASKS_MAX, &op);
}

ggml_tensor* AdaptedBuilder::steered(ggml_tensor* residual, int layer) {
  if (targets_ == nullptr || !targets_->steered[static_cast<size_t>(layer)]) return residual;
  AdaptedOp& op = new_op();
  op.layer = layer;
  return ggml_custom_inplace(context_, residual, nullptr, 0, steer_node, GGML_N_TASKS_MAX, &op);
}

}  // namespace heed
