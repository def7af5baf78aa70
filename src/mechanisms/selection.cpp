#include "mechanisms/selection.h"

#include <algorithm>
#include <bit>
#include <new>

#include "attention/rotation.h"
#include "attention/visible.h"
#include "base/checked.h"
#include "base/guard.h"

namespace heed {
namespace {

constexpr int kCompile = PrefillSelector::kMostPhases;  // the counter of units, and "phase" of one
constexpr int64_t kItemsOfPhase = int64_t{1} << 48;

constexpr size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

select::Cut cut_of(const PrefillSelector& selector, const select::SetBound& bound) {
  return {selector.block(), select::kNoCut, selector.group_shared(), bound};
}

size_t rotated_bytes(const PrefillSelector& selector, const HeadMap& heads, int dk, int64_t rows) {
  if ((selector.needs() & kNeedsQueries) == 0) return 0;
  return static_cast<size_t>(rows) * static_cast<size_t>(heads.n_q) * static_cast<size_t>(dk) *
         sizeof(float);
}

Status grow(AlignedMemory& memory, size_t& has, size_t bytes) {
  if (bytes <= has) return {};
  AlignedMemory more = allocate_aligned(bytes);
  if (more == nullptr) {
    return exhausted("no memory for ", bytes, " bytes of a selection; use a smaller chunk");
  }
  memory = std::move(more);
  has = bytes;
  return {};
}

}  // namespace

Result<uint64_t> Selection::bytes_of(const PrefillSelector& selector, const SelectShape& shape) {
  const SelectBound bound = selector.bound(shape);
  const select::Cut cut = cut_of(selector, bound.set);
  HEED_ASSIGN(uint64_t bytes, select::PlanLayout::bytes_of(shape.heads, shape.dk, shape.dv,
                                                           shape.rows, shape.slots, cut));
  const int sets = select::sets_of(shape.heads, selector.group_shared());
  const int blocks = select::most_blocks(shape.rows, selector.block());
  HEED_ASSIGN(const uint64_t table, select::KeySetTable::bytes_of(sets, blocks, bound.set));
  bytes += table + aligned(bound.shared_bytes) +
           aligned(bound.thread_bytes) * static_cast<uint64_t>(shape.threads) +
           rotated_bytes(selector, shape.heads, shape.dk, shape.rows);
  return bytes;
}

SelectInput Selection::make_input(const Call& call, int layer, Isa isa) const {
  const SeqRows& seq = call.seqs[0];
  SelectInput in;
  in.layer = layer;
  in.heads = call.heads;
  in.dk = call.dk;
  in.dv = call.dv;
  in.scale = call.scale;
  in.softcap = call.softcap;
  in.pos0 = seq.pos0;
  in.rows = seq.rows;
  in.prompt_first = prompt_.first;
  in.prompt_end = prompt_.end;
  in.blocks = layout_.blocks();
  in.lists = seq.lists;
  in.store = call.store;
  in.stored_layer = call.layer;
  in.mask = call.mask;
  in.window = call.window;
  in.isa = isa;
  return in;
}

Status Selection::prepare(const Call& call, PromptSpan prompt, int64_t slots, int threads) {
  if (call.seqs.size() != 1) {
    return error(Code::kInvalidArgument, "a selection over ", call.seqs.size(),
                 " sequences, can be over one");
  }
  prompt_ = prompt;
  heads_ = call.heads;
  const SeqRows& seq = call.seqs[0];
  const SelectShape shape{call.heads, call.dk, call.dv, seq.rows, slots, threads};
  const SelectBound bound = selector_.bound(shape);
  select::Cut cut = cut_of(selector_, bound.set);
  cut.position = selector_.cut(make_input(call, 0, Isa::kScalar));
  HEED_TRY(layout_.lay_out(call, cut, slots));
  HEED_TRY(sets_.reserve(layout_.sets(), static_cast<int>(layout_.blocks().size()), bound.set));
  HEED_TRY(guarded("a selection", [&] {
    counts_.resize(layout_.plan().items.size());
    return Status::ok();
  }));
  own_stride_ = aligned(bound.thread_bytes);
  HEED_TRY(grow(shared_, shared_bytes_, aligned(bound.shared_bytes)));
  HEED_TRY(grow(own_, own_bytes_, own_stride_ * static_cast<size_t>(threads)));
  return grow(rotated_, rotated_bytes_, rotated_bytes(selector_, call.heads, call.dk, seq.rows));
}

template <class Fn>
void Selection::deal(int counter, int64_t items, const Fn& fn) {
  for (int64_t i; (i = next_[counter].fetch_add(1, std::memory_order_relaxed)) < items;) fn(i);
}

void Selection::fail(int phase, int64_t item) {
  failed_at_.store(phase * kItemsOfPhase + item, std::memory_order_relaxed);
  failed_.store(true, std::memory_order_relaxed);
}

void Selection::rotate(const Call& call, Isa isa, int member, int members) {
  const int64_t rows = call.q.shape[0];
  const int64_t begin = rows * member / members, end = rows * (member + 1) / members;
  View<const float, 3> in = call.q;
  in.data += begin * in.stride[0];
  in.shape[0] = end - begin;
  auto* out = reinterpret_cast<float*>(rotated_.get());
  Rotary rotary = call.rotary;
  if (rotary.layout != RotaryLayout::kNone) {
    rotary.cos += begin * (rotary.n_rot / 2);
    rotary.sin += begin * (rotary.n_rot / 2);
  }
  rotate_rows(isa, rotary, in,
              View<float, 3>::contiguous(out + begin * in.shape[1] * in.shape[2], in.shape));
}

void Selection::run_phase(int phase, const SelectInput& in, int member) {
  const SelectScratch scratch{
      reinterpret_cast<std::byte*>(shared_.get()),
      reinterpret_cast<std::byte*>(own_.get()) + own_stride_ * static_cast<size_t>(member), member};
  deal(phase, selector_.count(phase, in), [&](int64_t item) {
    if (failed_.load(std::memory_order_relaxed)) return;
    if (!selector_.run(phase, item, in, scratch, sets_)) fail(phase, item);
  });
}

void Selection::compile_units(const Call& call) {
  deal(kCompile, static_cast<int64_t>(layout_.units().size()), [&](int64_t i) {
    if (failed_.load(std::memory_order_relaxed)) return;
    const auto at = static_cast<size_t>(i);
    if (!layout_.compile(at, sets_, call)) return fail(kCompile, i);
    const select::Unit& unit = layout_.units()[at];
    for (int32_t item = unit.item; item < unit.item + unit.items; ++item) {
      const auto n = static_cast<size_t>(item);
      counts_[n] = select::count_item(layout_.plan(), call, layout_.plan().items[n]);
    }
  });
}

bool Selection::run(const Call& call, int layer, Isa isa, int member, int members) {
  SelectInput in = make_input(call, layer, isa);
  if (member == 0) {  // the caller's barrier lies between this and the last run
    layer_ = layer;
    failed_.store(false, std::memory_order_relaxed);
    sets_.shape(layout_.sets(), static_cast<int>(layout_.blocks().size()));
  }
  if ((selector_.needs() & kNeedsQueries) != 0) {
    rotate(call, isa, member, members);
    in.q = View<const float, 3>::contiguous(reinterpret_cast<const float*>(rotated_.get()),
                                            call.q.shape);
  }
  barrier_.wait(members);
  // A phase that has failed is no reason to leave: the others wait at the barriers.
  for (int phase = 0; phase < selector_.phases(); ++phase) {
    run_phase(phase, in, member);
    barrier_.wait(members);
    if (member == 0) next_[phase].store(0, std::memory_order_relaxed);
  }
  compile_units(call);
  barrier_.wait(members);
  if (member == 0) next_[kCompile].store(0, std::memory_order_relaxed);
  return !failed_.load(std::memory_order_relaxed);
}

Status Selection::failure() const {
  if (!failed_.load(std::memory_order_relaxed)) return {};
  const int64_t at = failed_at_.load(std::memory_order_relaxed);
  const int64_t phase = at / kItemsOfPhase, item = at % kItemsOfPhase;
  if (phase == kCompile) {
    const select::Unit& unit = layout_.units()[static_cast<size_t>(item)];
    return error(Code::kInternal, selector_.name(), ": layer ", layer_, ", key set ", unit.set,
                 ", block ", unit.set_block, ": what it selected is no key set, or larger than it ",
                 "said");
  }
  return error(Code::kInternal, selector_.name(), ": layer ", layer_, ", phase ", phase, ", item ",
               item, " failed");
}

void Selection::add_counts(std::span<select::PlanCounts> counts) const {
  for (size_t i = 0; i < counts_.size(); ++i) {
    const Item& item = layout_.plan().items[i];
    int bit = -item.first_head;
    for (int h = 0; h < heads_.n_q; ++h) {
      if (heads_.kv_of(h) != item.kv_head) continue;
      const int at = bit++;
      if (at < 0 || at >= 64 || (item.head_mask >> at & 1) == 0) continue;
      counts[static_cast<size_t>(h)].add(counts_[i]);
    }
  }
}

uint64_t Selection::tiles() const {
  uint64_t tiles = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    const auto heads = static_cast<uint64_t>(std::popcount(layout_.plan().items[i].head_mask));
    tiles += heads * counts_[i].tiles;
  }
  return tiles;
}

}  // namespace heed
