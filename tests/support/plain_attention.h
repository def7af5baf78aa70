// Attention written plainly, in the arithmetic type Real: scores, maximum, exp, weighted sum, one
// row at a time. With Real = double it is the oracle; with Real = float it is the plain
// implementation in the same input type whose error sets the tolerance of the kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "heed/attention.h"
#include "rounding.h"

namespace heed::test {

// Keys and values of one sequence as the store holds them, widened: [KV heads][slots][d].
struct DenseKv {
  std::vector<std::vector<float>> k, v;
  std::vector<double> longest_key;  // [KV heads] largest |k|
};

// What the kernels do to their operands besides fp32 arithmetic.
struct PlainRounding {
  bool query_bf16 = false;    // packed query values (scale included) are rounded to bf16
  bool weights_bf16 = false;  // exp(score - max) is rounded to bf16 before it meets V
  float weight_scale = 1;     // times this where it is rounded
};

// One part (a row, head and tag): out [dv] and the natural log-sum-exp.
template <class Real>
struct PlainRow {
  std::vector<Real> out;
  Real lse = -std::numeric_limits<Real>::infinity();
  Real largest_score = 0;  // in magnitude
  double dot_size = 0;     // scale |q| |longest k|: what the rounding errors of a score grow with
  // How far errors of at most 1 in each weight move out, in lengths of out: surely no further than
  // sum w|v|, and hardly beyond twice the root of sum (w|v|)^2 where their signs are chance.
  double cancellation = 1;
};

template <class Real>
class PlainAttention {
 public:
  PlainAttention(const Call& call, const std::vector<DenseKv>& kv, PlainRounding rounding = {})
      : call_(call), kv_(kv), rounding_(rounding) {}

  // Row `row` (within its item) of query head `head` over the ranges of `item` with `tag`.
  PlainRow<Real> row(const Plan& plan, const Item& item, int row, int head, int tag) const {
    std::vector<Real> scores;
    std::vector<int> slots;
    for (int i = item.range; i < item.range + item.ranges; ++i) {
      const Range& range = plan.ranges[i];
      if (range.tag == tag) collect(plan, item, range, row, head, scores, slots);
    }
    PlainRow<Real> result = finish(item, head, tag, scores, slots);
    double square = 0;
    for (Real x : query(call_.seqs[item.seq].first + item.row + row, head, 0)) square += x * x;
    result.dot_size = call_.scale * std::sqrt(square) * kv_[item.seq].longest_key[item.kv_head];
    return result;
  }

 private:
  void collect(const Plan& plan, const Item& item, const Range& range, int row, int head,
               std::vector<Real>& scores, std::vector<int>& slots) const {
    const SeqRows& seq = call_.seqs[item.seq];
    const std::vector<Real> q = query(seq.first + item.row + row, head, range.rot);
    const auto add = [&](int slot) {
      if (!visible(item, row, slot)) return;
      scores.push_back(score(item, q, row, head, slot));
      slots.push_back(slot);
    };
    const bool gather = range.source == 1;
    const int pages = gather ? (range.len + kPageTokens - 1) / kPageTokens : range.len;
    for (int i = 0; i < pages; ++i) {
      uint64_t mask = ~uint64_t{0};
      const int mask_row = range.one_mask ? 0 : row;
      if (range.tile_mask >= 0) mask = plan.tile_masks[range.tile_mask + mask_row * pages + i];
      for (int b = 0; b < kPageTokens; ++b) {
        const int entry = i * kPageTokens + b;
        if (!(mask >> b & 1) || (gather && entry >= range.len)) continue;
        add(gather ? plan.gather[range.begin + entry] : range.begin * kPageTokens + entry);
      }
    }
  }

  int64_t query_position(const Item& item, int row) const {
    const SeqRows& seq = call_.seqs[item.seq];
    return seq.pos ? seq.pos[item.row + row] : seq.pos0 + item.row + row;
  }
  int64_t key_position(const Item& item, int slot) const {
    const ListView& list = call_.seqs[item.seq].lists[item.kv_head];
    return list.pos ? list.pos[slot] : list.pos0 + slot;
  }

  bool visible(const Item& item, int row, int slot) const {
    const ListView& list = call_.seqs[item.seq].lists[item.kv_head];
    if (slot >= list.len) return false;
    if (list.live && !(list.live[slot / kPageTokens] >> (slot % kPageTokens) & 1)) return false;
    if (call_.mask == MaskKind::kNone) return true;
    const int64_t behind = query_position(item, row) - key_position(item, slot);
    return behind >= 0 && (call_.mask == MaskKind::kCausal || behind < call_.window);
  }

  static Real turn(Real x, Real y, float cos, float sin) { return x * Real(cos) - y * Real(sin); }

  void rotate(std::vector<Real>& q, const float* cos, const float* sin) const {
    const int half = call_.rotary.n_rot / 2;
    const bool adjacent = call_.rotary.layout == RotaryLayout::kAdjacent;
    for (int i = 0; i < half; ++i) {
      Real& x = q[call_.rotary.first + (adjacent ? 2 * i : i)];
      Real& y = q[call_.rotary.first + (adjacent ? 2 * i + 1 : i + half)];
      const Real old = x;
      x = turn(old, y, cos[i], sin[i]);
      y = turn(y, old, cos[i], -sin[i]);  // y cos + x sin
    }
  }

  // Rotated by position and delta, times scale (and log2 e where the kernel rounds the product).
  std::vector<Real> query(int row, int head, int rot) const {
    std::vector<Real> q(call_.dk);
    for (int d = 0; d < call_.dk; ++d) q[d] = call_.q(row, head, d);
    if (call_.rotary.layout != RotaryLayout::kNone) {
      const int half = call_.rotary.n_rot / 2;
      if (call_.rotary.cos) {
        rotate(q, call_.rotary.cos + int64_t{row} * half, call_.rotary.sin + int64_t{row} * half);
      }
      if (rot > 0) rotate(q, &call_.rot_deltas_cos(rot, 0), &call_.rot_deltas_sin(rot, 0));
    }
    if (!rounding_.query_bf16) return q;
    constexpr Real kLog2e = Real(1.44269504088896340736);
    const Real factor = Real(call_.scale) * (call_.softcap > 0 ? 1 / Real(call_.softcap) : kLog2e);
    for (Real& x : q) x = Real(round_bf16(static_cast<float>(x * factor))) / factor;
    return q;
  }

  Real score(const Item& item, const std::vector<Real>& q, int row, int head, int slot) const {
    const float* k = kv_[item.seq].k[item.kv_head].data() + int64_t{slot} * call_.dk;
    Real s = 0;
    for (int d = 0; d < call_.dk; ++d) s += q[d] * Real(k[d]);
    s *= Real(call_.scale);
    if (call_.softcap > 0) s = Real(call_.softcap) * std::tanh(s / Real(call_.softcap));
    if (call_.alibi) {
      s += Real(call_.alibi[head]) * Real(key_position(item, slot) - query_position(item, row));
    }
    const ListView& list = call_.seqs[item.seq].lists[item.kv_head];
    if (list.bias) s += Real(list.bias[slot]);
    return s;
  }

  template <class T>
  static double length(const T* v, int n) {
    double square = 0;
    for (int i = 0; i < n; ++i) square += double{v[i]} * double{v[i]};
    return std::sqrt(square);
  }

  Real rounded(Real weight) const {
    const Real scale = Real(rounding_.weight_scale);
    return Real(round_bf16(static_cast<float>(weight * scale))) / scale;
  }

  PlainRow<Real> finish(const Item& item, int head, int tag, const std::vector<Real>& scores,
                        const std::vector<int>& slots) const {
    PlainRow<Real> result;
    result.out.assign(call_.dv, Real(0));
    const bool sink = call_.sinks && tag == 0;
    Real max = sink ? Real(call_.sinks[head]) : -std::numeric_limits<Real>::infinity();
    for (Real s : scores) {
      max = std::max(max, s);
      result.largest_score = std::max(result.largest_score, std::fabs(s));
    }
    if (max == -std::numeric_limits<Real>::infinity()) return result;
    Real sum = sink ? std::exp(Real(call_.sinks[head]) - max) : Real(0);
    double sizes = 0, squares = 0;  // of w|v|
    for (size_t i = 0; i < scores.size(); ++i) {
      const Real p = std::exp(scores[i] - max);
      sum += p;
      const Real w = rounding_.weights_bf16 ? rounded(p) : p;
      const float* v = kv_[item.seq].v[item.kv_head].data() + int64_t{slots[i]} * call_.dv;
      for (int d = 0; d < call_.dv; ++d) result.out[d] += w * Real(v[d]);
      const double size = double{p} * length(v, call_.dv);
      sizes += size;
      squares += size * size;
    }
    const double out = length(result.out.data(), call_.dv);
    if (out > 0) result.cancellation = std::min(sizes, 2 * std::sqrt(squares)) / out;
    for (Real& x : result.out) x /= sum;
    result.lse = max + std::log(sum);
    return result;
  }

  const Call& call_;
  const std::vector<DenseKv>& kv_;
  PlainRounding rounding_;
};

}  // namespace heed::test
