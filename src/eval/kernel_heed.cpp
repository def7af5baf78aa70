// heed on one attention problem: its store, its plan and its tile loop, outside any model.
#include <algorithm>
#include <cmath>

#include "base/guard.h"
#include "cpu/team.h"
#include "eval/kernel_shape.h"
#include "heed/attention.h"
#include "heed/kv.h"

namespace heed::eval {
namespace {

uint64_t stored_bytes(const KernelShape& shape, Format format) {
  const uint64_t element = format == Format::kF32 ? 4 : 2;
  return 2 * element * shape.key_floats();
}

class HeedContender : public KernelContender {
 public:
  HeedContender(const KernelInputs& inputs, Format format, int threads, Isa isa)
      : inputs_(inputs), format_(format), team_(threads), workspace_(isa, threads) {
    const KernelShape& s = inputs.shape;
    out_.resize(static_cast<size_t>(s.queries() * s.heads() * s.d));
  }

  Status prepare(Isa isa, uint64_t rotate_bytes);

  const char* engine() const override { return "heed"; }
  const char* format() const override { return format_name(format_); }
  int64_t copies() const override { return static_cast<int64_t>(sequences_.size()); }
  uint64_t kv_bytes() const override { return kv_bytes_; }
  void park() override {}  // the team sleeps of its own accord

  std::span<const float> output(int64_t t) const override {
    const auto row = static_cast<size_t>(inputs_.shape.heads() * inputs_.shape.d);
    return {&out_[static_cast<size_t>(t) * row], row};
  }

  Status round() override { return inputs_.shape.decode ? decode_round() : prefill_round(); }

 private:
  View<const float, 3> rows(const std::vector<float>& data, int heads, int64_t first,
                            int64_t n) const {
    const int d = inputs_.shape.d;
    return View<const float, 3>::contiguous(&data[static_cast<size_t>(first * heads * d)],
                                            {n, heads, d});
  }
  Status append(SeqId seq, int64_t first, int64_t n);
  // n query rows behind `seq`'s keys, whose last n are appended in the same step.
  Status step(SeqId seq, int64_t first, int64_t n);
  Status prefill_round();
  Status decode_round();

  const KernelInputs& inputs_;
  Format format_;
  cpu::Team team_;
  cpu::Barrier barrier_;
  std::unique_ptr<Store> store_;
  Workspace workspace_;
  Plan plan_;
  std::vector<SeqId> sequences_;
  std::vector<float> out_;  // [queries, H, d]
  uint64_t kv_bytes_ = 0;
};

Status HeedContender::append(SeqId seq, int64_t first, int64_t n) {
  const int heads = inputs_.shape.kv_heads;
  HEED_TRY(store_->begin_append(seq, static_cast<int>(n)));
  const auto k = rows(inputs_.k, heads, first, n), v = rows(inputs_.v, heads, first, n);
  team_.run([&](int member, int members) { store_->append(seq, 0, k, v, member, members); });
  store_->commit(seq);
  return Status::ok();
}

Status HeedContender::step(SeqId seq, int64_t first, int64_t n) {
  const KernelShape& s = inputs_.shape;
  HEED_TRY(store_->begin_append(seq, static_cast<int>(n)));
  const auto k = rows(inputs_.k, s.kv_heads, first, n), v = rows(inputs_.v, s.kv_heads, first, n);
  const int64_t row = s.decode ? 0 : first;
  const SeqRows seq_rows{
      .first = 0, .rows = static_cast<int32_t>(n), .pos0 = first, .lists = store_->lists(seq, 0)};
  Call call;
  call.store = store_.get();
  call.heads = {.n_q = s.heads(), .n_kv = s.kv_heads};
  call.dk = call.dv = s.d;
  call.scale = 1.0f / std::sqrt(static_cast<float>(s.d));
  call.q = rows(inputs_.q, s.heads(), row, n);
  call.out = View<float, 3>::contiguous(&out_[static_cast<size_t>(row * s.heads() * s.d)],
                                        {n, s.heads(), s.d});
  call.seqs = std::span<const SeqRows>(&seq_rows, 1);
  plan_.clear();
  HEED_TRY(plan_dense(call, plan_));
  team_.run([&](int member, int members) {
    store_->append(seq, 0, k, v, member, members);
    barrier_.wait(members);
    run(plan_, call, workspace_, member, members);
  });
  return Status::ok();
}

Status HeedContender::prefill_round() {
  // A fresh sequence: taking pages from the store is part of a prompt.
  HEED_TRY(store_->drop(sequences_[0]));
  HEED_ASSIGN(sequences_[0], store_->create_sequence());
  for (int64_t at = 0; at < inputs_.shape.length; at += kKernelChunk) {
    const int64_t n = std::min<int64_t>(kKernelChunk, inputs_.shape.length - at);
    HEED_TRY(step(sequences_[0], at, n));
    store_->commit(sequences_[0]);
  }
  return Status::ok();
}

Status HeedContender::decode_round() {
  // The first sequence comes last, so that its output is what output() shows.
  for (size_t i = sequences_.size(); i-- > 0;) {
    HEED_TRY(step(sequences_[i], inputs_.shape.length - 1, 1));
    store_->abort(sequences_[i]);  // the length stays the same in every round
  }
  return Status::ok();
}

Status HeedContender::prepare(Isa isa, uint64_t rotate_bytes) {
  const KernelShape& s = inputs_.shape;
  LayerShape layer{.kv_heads = s.kv_heads, .dk = s.d, .dv = s.d, .k = format_, .v = format_};
  StoreDesc desc;
  desc.layers = {layer};
  desc.isa = isa;
  HEED_ASSIGN(store_, Store::create(desc));
  const int rows = static_cast<int>(std::min<int64_t>(kKernelChunk, s.queries()));
  HEED_TRY(workspace_.reserve(rows, s.heads(), s.kv_heads, s.d, s.d, s.length));
  kv_bytes_ = stored_bytes(s, format_);
  const int64_t copies = kernel_copies(s, kv_bytes_, rotate_bytes);
  for (int64_t i = 0; i < copies; ++i) {
    HEED_ASSIGN(sequences_.emplace_back(), store_->create_sequence());
    if (!s.decode) continue;
    for (int64_t at = 0; at < s.length - 1; at += kKernelChunk) {
      HEED_TRY(append(sequences_.back(), at, std::min<int64_t>(kKernelChunk, s.length - 1 - at)));
    }
  }
  return Status::ok();
}

}  // namespace

uint64_t heed_contender_bytes(const KernelShape& shape, Format format, uint64_t rotate_bytes) {
  constexpr uint64_t kArena = uint64_t{2} << 20;  // arenas grow by this much
  KernelShape paged = shape;
  paged.length = pages_for(shape.length) * kPageTokens;
  const auto copies =
      static_cast<uint64_t>(kernel_copies(shape, stored_bytes(shape, format), rotate_bytes));
  return copies * stored_bytes(paged, format) + kArena + sizeof(float) * shape.query_floats();
}

Result<std::unique_ptr<KernelContender>> make_heed_contender(const KernelInputs& inputs,
                                                             Format format, int threads,
                                                             uint64_t rotate_bytes) {
  return guarded("preparing heed's kernels", [&]() -> Result<std::unique_ptr<KernelContender>> {
    HEED_ASSIGN(const Isa isa, choose_isa());
    auto contender = std::make_unique<HeedContender>(inputs, format, threads, isa);
    HEED_TRY(contender->prepare(isa, rotate_bytes));
    return std::unique_ptr<KernelContender>(std::move(contender));
  });
}

}  // namespace heed::eval
