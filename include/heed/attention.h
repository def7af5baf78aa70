// Attention over paged keys and values: plan (what each query tile reads) and run (read it).
//
// out[t, h] = sum_j softmax_j(score(q[t, h], k_j)) v_j over the slots that the plan and the mask
// leave visible, score = softcap(scale * q.k) + alibi + bias. Dense is the plan with everything;
// run does not know who made the plan. A row's bits depend only on its query, its plan and its key
// list: never on threads, on the batch or on how the prompt was cut (design 4, Determinism).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "heed/cpu.h"
#include "heed/kv.h"
#include "heed/status.h"
#include "heed/view.h"

namespace heed {

// Every row restarts (max, sum, accumulator) when its plan crosses a multiple of this many pages of
// its source, and merges the parts in order: 1,024 tokens.
inline constexpr int kSplitPages = 16;

enum class MaskKind : uint8_t { kNone, kCausal, kWindow };

// Pages [begin, begin + len) of a source, read in order.
struct Range {
  int32_t begin = 0;
  int32_t len = 0;
  uint8_t source = 0;  // 0: the list; 1: Plan::gather (begin, len count entries there)
  uint8_t tag = 0;     // which partial result this range feeds, < Call::tags
  uint16_t rot = 0;    // index into Call::rot_deltas (0 = none): the query is turned by it
  // Index into Plan::tile_masks, or -1: [rows][pages] explicit masks, row-major, where pages is len
  // (source 1: len / 64 rounded up; bit i of page j is entry 64 j + i of the range).
  int32_t tile_mask = -1;
  bool one_mask = false;  // tile_mask names one row [pages] that holds for all rows of the item
};

// One query tile and what it reads.
struct Item {
  int32_t seq = 0;  // index into Call::seqs
  int32_t kv_head = 0;
  uint64_t head_mask = 0;  // bit i: head first_head + i of this KV head's group takes part
  int32_t row = 0;         // query rows [row, row + rows) of the sequence
  int32_t rows = 0;
  int32_t range = 0;  // Plan::ranges [range, range + ranges), sorted by tag
  int32_t ranges = 0;
  int32_t first_head = 0;  // of the group; groups of more than 64 heads take several items
};

struct Plan {
  std::vector<Item> items;
  std::vector<Range> ranges;
  std::vector<int32_t> gather;       // single slots of the list, ascending inside a range
  std::vector<uint64_t> tile_masks;  // bit i: slot i of the page may be read by the row

  void clear();
};

// Which query heads read which KV head. Default: head h reads KV head h / (n_q / n_kv).
struct HeadMap {
  int n_q = 0;
  int n_kv = 0;
  const uint16_t* kv_of_q = nullptr;  // [n_q], or null for the default

  // A product, not q / (n_q / n_kv): defined for every q < n_q, also before validate.
  int kv_of(int q) const {
    return kv_of_q ? kv_of_q[q] : static_cast<int>(int64_t{q} * n_kv / n_q);
  }
};

enum class RotaryLayout : uint8_t { kNone, kAdjacent, kHalves };  // llama.cpp: NORM, NEOX

// cos and sin of the angles of each row's position. Attend turns q with it while packing.
struct Rotary {
  RotaryLayout layout = RotaryLayout::kNone;
  int n_rot = 0;               // dims that turn, even
  const float* cos = nullptr;  // [T, n_rot / 2]
  const float* sin = nullptr;
  int first = 0;  // of them; first + n_rot <= dk
};

// Rows of one sequence inside a call.
struct SeqRows {
  int32_t first = 0;  // its first row in q and out
  int32_t rows = 0;
  int64_t pos0 = 0;                 // position of its first row; rows are contiguous, unless `pos`
  const int32_t* pos = nullptr;     // [rows]
  const ListView* lists = nullptr;  // [kv_heads]
};

// Everything run needs besides the plan. Borrowed; must outlive the run.
struct Call {
  const Store* store = nullptr;
  int layer = 0;
  HeadMap heads;
  int dk = 0, dv = 0;
  float scale = 1.0f;
  float softcap = 0.0f;          // score = softcap * tanh(scale * q.k / softcap); 0 = none
  const float* alibi = nullptr;  // [H] slopes: + slope * (key position - query position)
  const float* sinks = nullptr;  // [H] logits that join the softmax (of tag 0) without a value
  MaskKind mask = MaskKind::kCausal;
  int window = 0;  // kWindow: keys in (p - window, p]
  Rotary rotary;
  View<const float, 2> rot_deltas_cos;  // [deltas, n_rot / 2]; entry 0 is unused
  View<const float, 2> rot_deltas_sin;
  View<const float, 3> q;  // [T, H, dk], last stride 1
  View<float, 3> out;      // [T, H, dv], last stride 1 (tag 0 when tags > 1)
  View<float, 2> lse;      // [T, H] natural log-sum-exp, or data null
  // Parts by tag, when tags > 1: out [tags, T, H, dv], lse [tags, T, H]; `out`/`lse` unused then.
  int tags = 1;
  View<float, 4> part_out;
  View<float, 3> part_lse;
  std::span<const SeqRows> seqs;
};

// Appends the items of dense attention of `call` (mask, heads, sequences) to plan. Query blocks are
// anchored at absolute positions. Allocates only when plan's capacity is too small; without memory
// for that the plan stays as it was.
Status plan_dense(const Call& call, Plan& plan);

// Shapes, strides, list lengths, ranges, masks: everything run relies on. For callers that did not
// build the plan with heed's planners.
Status validate(const Plan& plan, const Call& call);

class Workspace;
// The same, and that `workspace` was reserved for what the plan needs.
Status validate(const Plan& plan, const Call& call, const Workspace& workspace);

// Scratch of a team, reusable for any number of calls; sized before, so run never allocates.
class Workspace {
 public:
  Workspace(Isa isa, int threads);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // Makes run(plan, call) possible. Errors: memory; what ran before still runs.
  Status reserve(const Plan& plan, const Call& call);
  // The same from bounds, for every plan_dense of a call inside them: rows in a call, heads, sizes
  // and slots of the longest list. Plans with larger items need the form above, as
  // validate(plan, call, workspace) tells.
  Status reserve(int rows, const HeadMap& heads, int dk, int dv, int64_t slots, int tags = 1);
  // The same with the default head map.
  Status reserve(int rows, int heads, int kv_heads, int dk, int dv, int64_t slots, int tags = 1);

  size_t bytes() const;  // reserved; partial results become resident as plans need them

  struct Impl;
  Impl& impl() { return *impl_; }
  const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

// Work done, for reports and for tests that skipped work is not computed.
struct RunCounters {
  uint64_t tiles = 0;  // (query row, page) pairs whose scores were computed, rows with heads
  uint64_t pages = 0;  // page reads (one per query tile)
};

// Runs the plan, for which `workspace` was reserved. Every member of the team (members <= the
// workspace's threads) calls it with the same arguments; it synchronises inside, neither allocates
// nor fails. Calls on one workspace need a barrier of the caller's between them. Rows that see
// nothing give 0 and lse = -inf (with a sink: 0 and the sink's logit); rows that no item covers are
// not written. A score or a visible value that is NaN or infinite makes its row NaN or infinite; an
// infinite or NaN *value* also reaches the rows that read its page under a mask (their weight 0
// times it).
void run(const Plan& plan, const Call& call, Workspace& workspace, int member, int members);

RunCounters counters(const Workspace& workspace);  // of the last run

// Log-sum-exp combination of parts, in order: out [T, H, dv] = sum_i w_i parts[i], w =
// softmax(lse). Parts with lse = -inf do not contribute; all -inf gives 0 and -inf. The last stride
// of part_out and out must be 1.
void combine(View<const float, 4> part_out, View<const float, 3> part_lse, View<float, 3> out,
             View<float, 2> lse);

}  // namespace heed
