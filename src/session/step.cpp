#include "session/step.h"

#include <ggml.h>

#include <algorithm>

#include "attention/rotation.h"
#include "base/clock.h"
#include "base/text.h"

namespace heed {
namespace {

// Up to this many rows every member rotates all keys for itself, which is cheaper than a barrier.
constexpr int kPrivateRows = 8;

int64_t floats(size_t bytes) { return static_cast<int64_t>(bytes / sizeof(float)); }

// [d, heads, T] of ggml as [T, heads, d].
View<const float, 3> rows_of(const ggml_tensor* t) {
  return {static_cast<const float*>(t->data),
          {t->ne[2], t->ne[1], t->ne[0]},
          {floats(t->nb[2]), floats(t->nb[1]), 1}};
}

View<const float, 3> slice(View<const float, 3> v, int64_t first, int64_t rows) {
  v.data += first * v.stride[0];
  v.shape[0] = rows;
  return v;
}

int largest_kv_row(const Hyperparameters& hyper) {
  int kv_heads = 0;
  for (const LayerHyper& layer : hyper.layer) kv_heads = std::max(kv_heads, layer.kv_heads);
  return kv_heads * hyper.dk;
}

}  // namespace

Step::Step(const Hyperparameters& hyper, std::vector<RotaryTable> rotary, Store& store, Isa isa,
           int threads, int max_rows, std::shared_ptr<const PrefillPolicy> policy)
    : selections(hyper, std::move(policy)),
      hyper_(hyper),
      store_(store),
      isa_(isa),
      workspace_(isa, threads),
      threads_(threads),
      rotary_(std::move(rotary)) {
  for (int i = 0; i < hyper.layers; ++i) {
    ops.push_back({this, i});
    const LayerHyper& layer = hyper.layer[i];
    const auto same = [&](const AttendGroup& g) {
      return g.window == layer.window && g.heads == layer.heads && g.kv_heads == layer.kv_heads &&
             g.rope == layer.rope;
    };
    auto at = std::find_if(groups_.begin(), groups_.end(), same);
    if (at == groups_.end()) {
      AttendGroup group;
      group.window = layer.window;
      group.heads = layer.heads;
      group.kv_heads = layer.kv_heads;
      group.rope = layer.rope;
      at = groups_.insert(groups_.end(), std::move(group));
    }
    group_of_.push_back(static_cast<int>(at - groups_.begin()));
  }
  for (RotaryTable& table : rotary_) table.reserve(max_rows);
  const auto row = static_cast<size_t>(largest_kv_row(hyper));
  shared_keys_.resize(row * static_cast<size_t>(max_rows));
  private_keys_.resize(row * static_cast<size_t>(threads * kPrivateRows));
  positions_.reserve(static_cast<size_t>(max_rows));
}

uint64_t Step::bytes_of(const Hyperparameters& hyper, int threads, int max_rows) {
  const auto row = static_cast<uint64_t>(largest_kv_row(hyper));
  const uint64_t key_rows = static_cast<uint64_t>(max_rows) +
                            static_cast<uint64_t>(threads) * static_cast<uint64_t>(kPrivateRows);
  return sizeof(float) * key_rows * row + rotary_bytes(hyper, max_rows);
}

Status Step::prepare(std::span<const SeqSpan> seqs, LayerSlice layers) {
  nodes_done_ = 0;
  tiles_pending_ = false;
  failed_selection_ = nullptr;
  miscounted_ = false;
  error_ = Status::ok();
  positions_.clear();
  ids_.clear();
  rows_.assign(static_cast<size_t>(hyper_.layers) * seqs.size(), SeqRows{});
  int32_t first = 0;
  for (size_t s = 0; s < seqs.size(); ++s) {
    const int64_t pos0 = store_.next_position(seqs[s].id) + seqs[s].filled;
    const auto n = static_cast<int32_t>(seqs[s].tokens.size());
    ids_.push_back(seqs[s].id);
    for (int32_t t = 0; t < n; ++t) positions_.push_back(pos0 + t);
    for (int layer = layers.first; layer < layers.end; ++layer) {
      SeqRows& rows = rows_[static_cast<size_t>(layer) * seqs.size() + s];
      rows.first = first;
      rows.rows = n;
      rows.pos0 = pos0;
      rows.lists = store_.lists(seqs[s].id, stored_layer(layer));
    }
    first += n;
  }
  const bool has_angles = seqs.size() == 1 && seqs[0].angles != nullptr;
  angles_ = has_angles ? seqs[0].angles : &rotary_;
  angle_row_ = has_angles ? seqs[0].filled : 0;
  if (!has_angles) {
    for (RotaryTable& table : rotary_) {
      table.reserve(first);
      table.fill(positions_);
    }
  }
  prompt_step_ = selections.any() && seqs.size() == 1 && seqs[0].prompt.end > 0;
  if (prompt_step_) HEED_TRY(prepare_selections(seqs[0], layers));
  for (AttendGroup& group : groups_) group.plan.clear();
  for (int layer = layers.first; layer < layers.end; ++layer) {
    if (selection_of(layer) != nullptr) continue;
    AttendGroup& group = groups_[group_of_[layer]];
    if (!group.plan.items.empty()) continue;  // that of an earlier layer
    const Call call = make_call(group, layer);
    HEED_TRY(plan_dense(call, group.plan));
    HEED_TRY(workspace_.reserve(group.plan, call));
  }
  return Status::ok();
}

Status Step::prepare_selections(const SeqSpan& seq, LayerSlice layers) {
  int64_t slots = 0;
  for (int layer = layers.first; layer < layers.end; ++layer) {
    const SeqRows& rows = rows_[static_cast<size_t>(layer)];
    for (int g = 0; g < groups_[group_of_[layer]].kv_heads; ++g) {
      slots = std::max<int64_t>(slots, rows.lists[g].len);
    }
  }
  std::vector<const Selection*> ready;
  for (int layer = layers.first; layer < layers.end; ++layer) {
    Selection* selection = selection_of(layer);
    if (selection == nullptr) continue;
    if (std::find(ready.begin(), ready.end(), selection) != ready.end()) continue;
    ready.push_back(selection);
    const Call call = make_call(groups_[group_of_[layer]], layer);
    HEED_TRY(selection->prepare(call, seq.prompt, slots, threads_));
    HEED_TRY(workspace_.reserve(selection->plan(), call));
  }
  return Status::ok();
}

// Everything but q and out, which are the node's.
Call Step::make_call(const AttendGroup& group, int layer) const {
  const auto rows = static_cast<int64_t>(positions_.size());
  Call call;
  call.store = &store_;
  call.layer = stored_layer(layer);
  call.heads = {.n_q = group.heads, .n_kv = group.kv_heads, .kv_of_q = nullptr};
  call.dk = hyper_.dk;
  call.dv = hyper_.dv;
  call.scale = hyper_.attention_scale * rotary_[group.rope].scores();
  call.softcap = hyper_.score_cap;
  call.mask = hyper_.arch->encoder ? MaskKind::kNone
              : group.window > 0   ? MaskKind::kWindow
                                   : MaskKind::kCausal;
  call.window = group.window;
  call.rotary = (*angles_)[group.rope].queries(hyper_.arch->rotary, angle_row_);
  call.q = View<const float, 3>::contiguous(nullptr, {rows, group.heads, hyper_.dk});
  call.out = View<float, 3>::contiguous(nullptr, {rows, group.heads, hyper_.dv});
  call.seqs = {rows_.data() + static_cast<size_t>(layer) * ids_.size(), ids_.size()};
  return call;
}

void Step::rotate_keys(const ggml_tensor* k, Rotary rotary, float* out, int64_t begin,
                       int64_t end) const {
  const View<const float, 3> in = slice(rows_of(k), begin, end - begin);  // [rows, kv_heads, dk]
  rotary.cos += begin * (rotary.n_rot / 2);
  rotary.sin += begin * (rotary.n_rot / 2);
  rotate_rows(isa_, rotary, in,
              View<float, 3>::contiguous(out + begin * in.shape[1] * hyper_.dk, in.shape));
}

void Step::append(ggml_tensor* node, int layer, int member, int members) {
  const auto start = member == 0 ? Clock::now() : Clock::time_point();
  if (member == 0) collect_tiles();
  const ggml_tensor* k = node->src[0];              // [T, kv_heads, dk] before rotation
  const bool own_values = node->src[1] != nullptr;  // else they lie inside the keys
  View<const float, 3> keys = rows_of(k);
  const int64_t rows = keys.shape[0];
  const Rotary rotary =
      (*angles_)[groups_[group_of_[layer]].rope].keys(hyper_.arch->rotary, angle_row_);
  if (rotary.layout != RotaryLayout::kNone) {
    float* out = shared_keys_.data();
    if (rows <= kPrivateRows) {
      out = private_keys_.data() +
            private_keys_.size() / static_cast<size_t>(threads_) * static_cast<size_t>(member);
      rotate_keys(k, rotary, out, 0, rows);
    } else {
      rotate_keys(k, rotary, out, rows * member / members, rows * (member + 1) / members);
      barrier_.wait(members);
    }
    keys = View<const float, 3>::contiguous(out, keys.shape);
  }
  const SeqRows* seqs = rows_.data() + static_cast<size_t>(layer) * ids_.size();
  for (size_t s = 0; s < ids_.size(); ++s) {
    View<const float, 3> values;
    if (own_values) values = slice(rows_of(node->src[1]), seqs[s].first, seqs[s].rows);
    store_.append(ids_[s], stored_layer(layer), slice(keys, seqs[s].first, seqs[s].rows), values,
                  member, members);
  }
  if (member == 0) append_s += seconds_since(start);
}

void Step::attend(ggml_tensor* node, int layer, int member, int members) {
  const auto start = member == 0 ? Clock::now() : Clock::time_point();
  const AttendGroup& group = groups_[group_of_[layer]];
  Call call = make_call(group, layer);
  call.q = rows_of(node->src[0]);
  if (node->src[2] != nullptr) call.sinks = static_cast<const float*>(node->src[2]->data);
  call.out = View<float, 3>::contiguous(static_cast<float*>(node->data), call.out.shape);
  Selection* selection = selection_of(layer);
  if (selection != nullptr) {
    const bool selected = selection->run(call, layer, isa_, member, members);
    if (member == 0) selection_s += seconds_since(start);
    if (!selected) {
      if (member == 0) failed_selection_ = selection;
      return;
    }
  }
  run(selection != nullptr ? selection->plan() : group.plan, call, workspace_, member, members);
  if (member == 0) {
    tiles_pending_ = true;
    counted_layer_ = layer;
    attention_s += seconds_since(start);
  }
}

// The counters of a run are complete when all members have left it: one node later.
void Step::collect_tiles() {
  if (!tiles_pending_) return;
  tiles_pending_ = false;
  const uint64_t tiles = counters(workspace_).tiles;
  attention_tiles += tiles;
  if (!prompt_step_) return;
  const Call call = make_call(groups_[group_of_[counted_layer_]], counted_layer_);
  miscounted_ = !selections.count(counted_layer_, call, tiles) || miscounted_;
}

bool Step::should_stop() {
  if (nodes_done_++ == fail_after_node) {
    error_ = error(Code::kInternal, "the step was told to fail after node ", fail_after_node);
  } else if (cancel != nullptr && cancel->cancelled()) {
    error_ = Status(Code::kCancelled, "the step was cancelled");
  }
  return !error_.is_ok() || failed_selection_ != nullptr;
}

Status Step::finish() {
  collect_tiles();
  if (failed_selection_ != nullptr) return failed_selection_->failure();
  if (miscounted_ && error_.is_ok()) {
    return error(Code::kInternal, "attention computed other tiles than its plan says");
  }
  return error_;
}

void append_node(ggml_tensor* node, int member, int members, void* layer_op) {
  const auto& op = *static_cast<LayerOp*>(layer_op);
  op.step->append(node, op.layer, member, members);
}

void attend_node(ggml_tensor* node, int member, int members, void* layer_op) {
  const auto& op = *static_cast<LayerOp*>(layer_op);
  op.step->attend(node, op.layer, member, members);
}

}  // namespace heed
