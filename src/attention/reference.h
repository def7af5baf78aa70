// What attention is here, in fp64, straight from the formula:
//
//   out[t, h] = sum_j w_j v_j,  w = softmax(score),  score_j = cap(scale * <q, k_j>) + alibi + bias
//
// over the slots that were asked for, are live and that the mask lets the query see. Slow, without
// pages, splits or tiles; it shares no code with the fast path and is what the tests believe.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <vector>

#include "heed/attention.h"

namespace heed {

// The keys and values of one list, as its format stores them.
struct ReferenceKeys {
  const float* k = nullptr;  // [len, dk]
  const float* v = nullptr;  // [len, dv]
};

struct ReferenceResult {
  std::vector<double> out;  // [tags, T, H, dv]
  std::vector<double> lse;  // [tags, T, H]
};

namespace reference {

// One wish of a plan: this slot, for this tag, with the query turned by rot_deltas row `rot`.
struct Read {
  int32_t slot = 0;
  int tag = 0;
  int rot = 0;
};

inline void turn(std::vector<double>& q, const Rotary& r, const float* cos, const float* sin) {
  for (int i = 0; i < r.n_rot / 2; ++i) {
    const bool adjacent = r.layout == RotaryLayout::kAdjacent;
    double& x = q[r.first + (adjacent ? 2 * i : i)];
    double& y = q[r.first + (adjacent ? 2 * i + 1 : i + r.n_rot / 2)];
    const double x0 = x;
    x = x0 * cos[i] - y * sin[i];
    y = x0 * sin[i] + y * cos[i];
  }
}

inline bool sees(const Call& call, int64_t query, int64_t key) {
  if (call.mask == MaskKind::kNone) return true;
  if (call.mask == MaskKind::kWindow && key <= query - call.window) return false;
  return key <= query;
}

inline std::vector<double> query_row(const Call& call, int t, int h, int rot) {
  std::vector<double> q(call.dk);
  for (int d = 0; d < call.dk; ++d) q[d] = call.q(t, h, d);
  if (call.rotary.layout != RotaryLayout::kNone) {
    const int64_t at = int64_t{t} * (call.rotary.n_rot / 2);
    turn(q, call.rotary, call.rotary.cos + at, call.rotary.sin + at);
    if (rot > 0) turn(q, call.rotary, &call.rot_deltas_cos(rot, 0), &call.rot_deltas_sin(rot, 0));
  }
  return q;
}

inline double score(const Call& call, const ListView& list, const std::vector<double>& q,
                    const float* k, int32_t slot, int h, int64_t query, int64_t key) {
  double s = 0;
  for (int d = 0; d < call.dk; ++d) s += q[d] * k[int64_t{slot} * call.dk + d];
  s *= call.scale;
  if (call.softcap > 0) s = call.softcap * std::tanh(s / call.softcap);
  if (call.alibi != nullptr) s += double{call.alibi[h]} * static_cast<double>(key - query);
  if (list.bias != nullptr) s += list.bias[slot];
  return s;
}

}  // namespace reference

// `reads(seq, row, head)` gives the wishes of one query row of a sequence; `keys` is [seqs, n_kv].
template <class Reads>
ReferenceResult reference_attention(const Call& call, std::span<const ReferenceKeys> keys,
                                    const Reads& reads) {
  const int64_t rows = call.q.shape[0], heads = call.heads.n_q, dv = call.dv;
  ReferenceResult result{
      std::vector<double>(call.tags * rows * heads * dv),
      std::vector<double>(call.tags * rows * heads, -std::numeric_limits<double>::infinity())};
  for (size_t s = 0; s < call.seqs.size(); ++s) {
    const SeqRows& seq = call.seqs[s];
    for (int row = 0; row < seq.rows * heads; ++row) {
      const int h = row % static_cast<int>(heads), t = seq.first + row / static_cast<int>(heads);
      const int g = call.heads.kv_of(h);
      const ListView& list = seq.lists[g];
      const ReferenceKeys& kv = keys[s * call.heads.n_kv + g];
      const int64_t query = seq.pos ? seq.pos[t - seq.first] : seq.pos0 + t - seq.first;
      std::vector<std::vector<std::pair<double, int32_t>>> scores(call.tags);
      std::map<int, std::vector<double>> q;  // by rotation delta
      for (const reference::Read& r : reads(static_cast<int>(s), t - seq.first, h)) {
        const int64_t key = list.pos ? list.pos[r.slot] : list.pos0 + r.slot;
        const bool live = !list.live || (list.live[r.slot / kPageTokens] >> (r.slot % 64) & 1);
        if (!live || !reference::sees(call, query, key)) continue;
        if (!q.contains(r.rot)) q[r.rot] = reference::query_row(call, t, h, r.rot);
        scores[r.tag].emplace_back(
            reference::score(call, list, q[r.rot], kv.k, r.slot, h, query, key), r.slot);
      }
      for (int tag = 0; tag < call.tags; ++tag) {
        const bool sink = call.sinks != nullptr && tag == 0;
        double top = sink ? call.sinks[h] : -std::numeric_limits<double>::infinity();
        for (const auto& [x, slot] : scores[tag]) top = std::fmax(top, x);
        if (top == -std::numeric_limits<double>::infinity()) continue;
        double sum = sink ? std::exp(call.sinks[h] - top) : 0;
        for (const auto& [x, slot] : scores[tag]) sum += std::exp(x - top);
        const int64_t at = (tag * rows + t) * heads + h;
        result.lse[at] = top + std::log(sum);
        for (const auto& [x, slot] : scores[tag]) {
          const double w = std::exp(x - top) / sum;
          for (int d = 0; d < dv; ++d) result.out[at * dv + d] += w * kv.v[slot * dv + d];
        }
      }
    }
  }
  return result;
}

// What a plan's ranges, gather lists and tile masks ask for.
inline auto plan_reads(const Plan& plan, const Call& call) {
  return [&plan, &call](int s, int row, int h) {
    std::vector<reference::Read> all;
    const int g = call.heads.kv_of(h);
    int in_group = 0;
    for (int i = 0; i < h; ++i) in_group += call.heads.kv_of(i) == g;
    for (const Item& item : plan.items) {
      if (item.seq != s || item.kv_head != g || row < item.row || row >= item.row + item.rows)
        continue;
      const int bit = in_group - item.first_head;
      if (bit < 0 || bit >= 64 || !((item.head_mask >> bit) & 1)) continue;
      for (int r = item.range; r < item.range + item.ranges; ++r) {
        const Range& range = plan.ranges[r];
        const int entries = range.source == 0 ? range.len * kPageTokens : range.len;
        for (int i = 0; i < entries; ++i) {
          const int64_t slot = range.source == 0 ? int64_t{range.begin} * kPageTokens + i
                                                 : plan.gather[range.begin + i];
          if (slot >= call.seqs[s].lists[g].len) continue;
          const int64_t pages = (entries + kPageTokens - 1) / kPageTokens;
          const int64_t mask_row = range.one_mask ? 0 : row - item.row;
          const int64_t at = range.tile_mask + mask_row * pages + i / kPageTokens;
          if (range.tile_mask >= 0 && !((plan.tile_masks[at] >> (i % kPageTokens)) & 1)) continue;
          all.push_back({static_cast<int32_t>(slot), range.tag, range.rot});
        }
      }
    }
    return all;
  };
}

}  // namespace heed
