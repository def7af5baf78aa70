// What the primitives of selection are, in fp64 from their formulas: slow, by sorting and by whole
// maps, and sharing no code with the fast path. The tests believe these.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <span>
#include <vector>

#include "select/antidiagonal.h"
#include "select/keys.h"
#include "select/pick.h"

namespace heed::select::reference {

inline constexpr double kNone = -std::numeric_limits<double>::infinity();

// --- picks ---------------------------------------------------------------------------------------

// Candidates in order: score descending, index ascending; without -inf, NaN and `without`.
inline std::vector<int32_t> order(std::span<const float> scores, const std::set<int32_t>& without) {
  std::vector<int32_t> all;
  for (int32_t i = 0; i < static_cast<int32_t>(scores.size()); ++i) {
    if (scores[i] > kNone && !without.contains(i)) all.push_back(i);
  }
  std::stable_sort(all.begin(), all.end(), [&](int a, int b) { return scores[a] > scores[b]; });
  return all;
}

inline std::vector<int32_t> top_k(std::span<const float> scores, int64_t k,
                                  std::span<const int32_t> forced) {
  std::set<int32_t> kept(forced.begin(), forced.end());
  for (int32_t i : order(scores, kept)) {
    if (static_cast<int64_t>(kept.size()) < k) kept.insert(i);
  }
  return {kept.begin(), kept.end()};
}

inline double mass(float x) { return x > 0 && !std::isinf(x) ? x : 0.0; }

inline std::vector<int32_t> top_p(std::span<const float> scores, const TopP& rule,
                                  std::span<const int32_t> forced) {
  std::set<int32_t> kept(forced.begin(), forced.end());
  double total = 0, sum = 0;
  for (float x : scores) total += mass(x);
  std::vector<int32_t> sequence = order(scores, rule.forced_first ? kept : std::set<int32_t>{});
  if (rule.forced_first) sequence.insert(sequence.begin(), forced.begin(), forced.end());
  float budget = rule.p;
  if (rule.base == Base::kRow) budget = rule.p * static_cast<float>(total);
  if (rule.base == Base::kFlat) budget = rule.p * static_cast<float>(rule.rows);
  bool crossed = false;
  for (size_t i = 0; i < sequence.size(); ++i) {
    const auto before = static_cast<float>(sum);
    sum += mass(scores[sequence[i]]);
    const bool inside = static_cast<float>(sum) <= budget;
    bool keep = inside || rule.p > 1;
    if (rule.cross == Cross::kBefore) keep = before < budget || rule.p > 1;
    if (rule.cross == Cross::kInclude && !keep && !crossed) keep = crossed = true;
    if (keep || static_cast<int32_t>(i) < rule.min_keep) kept.insert(sequence[i]);
  }
  return {kept.begin(), kept.end()};
}

inline std::vector<int32_t> threshold(std::span<const float> scores, float theta,
                                      std::span<const int32_t> forced) {
  std::set<int32_t> kept(forced.begin(), forced.end());
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] >= theta && scores[i] > kNone) kept.insert(static_cast<int32_t>(i));
  }
  return {kept.begin(), kept.end()};
}

// --- attention maps ------------------------------------------------------------------------------

inline int64_t position(const ListView& list, int64_t slot) {
  return list.pos != nullptr ? list.pos[slot] : list.pos0 + slot;
}
inline bool live(const ListView& list, int64_t slot) {
  return list.live == nullptr || (list.live[slot / 64] >> (slot % 64) & 1) != 0;
}
inline bool sees(const Keys& keys, int64_t query, int64_t key) {
  if (keys.mask == MaskKind::kNone) return true;
  return key <= query && (keys.mask != MaskKind::kWindow || key > query - keys.window);
}

// In place; false where nothing is above -inf.
inline bool softmax(std::vector<double>& x) {
  double top = kNone, sum = 0;
  for (double v : x) top = std::fmax(top, v);
  if (top == kNone) {
    std::fill(x.begin(), x.end(), 0.0);
    return false;
  }
  for (double& v : x) sum += v = std::exp(v - top);
  for (double& v : x) v /= sum;
  return true;
}

// P [rows][len] of head h; k [len, dk] as stored.
inline std::vector<std::vector<double>> attention_map(const Keys& keys, const float* k,
                                                      View<const float, 3> q, int64_t pos0, int h) {
  const ListView& list = keys.lists[keys.heads.kv_of(h)];
  std::vector<std::vector<double>> map;
  for (int64_t i = 0; i < q.shape[0]; ++i) {
    std::vector<double> row(list.len, kNone);
    for (int64_t j = 0; j < list.len; ++j) {
      if (!live(list, j) || !sees(keys, pos0 + i, position(list, j))) continue;
      double s = 0;
      for (int d = 0; d < keys.dk; ++d) s += double{q(i, h, d)} * k[j * keys.dk + d];
      s *= keys.scale;
      if (keys.softcap > 0) s = keys.softcap * std::tanh(s / keys.softcap);
      row[j] = s + (list.bias != nullptr ? list.bias[j] : 0.0f);
    }
    softmax(row);
    map.push_back(std::move(row));
  }
  return map;
}

// [len]: sum over rows of P[row, own slot - s].
inline std::vector<double> diagonals(const std::vector<std::vector<double>>& map,
                                     const ListView& list, int64_t pos0) {
  std::vector<double> d(list.len, 0.0);
  for (size_t i = 0; i < map.size(); ++i) {
    int64_t own = -1;
    while (own + 1 < list.len && position(list, own + 1) <= pos0 + static_cast<int64_t>(i)) ++own;
    for (int64_t j = 0; j <= own; ++j) d[own - j] += map[i][j];
  }
  return d;
}

// A [query blocks][key blocks] of head h, from Q' and K' written out.
inline std::vector<std::vector<double>> antidiagonal(const Keys& keys,
                                                     const AntidiagonalShape& shape, const float* k,
                                                     View<const float, 3> q, int64_t pos0, int h) {
  const ListView& list = keys.lists[keys.heads.kv_of(h)];
  const int s = shape.stride, dims = s * keys.dk;
  const int64_t rows = q.shape[0], groups = (list.len + s - 1) / s;
  std::vector<std::vector<double>> out;
  for (int64_t a = pos0 / s; a * s < pos0 + rows; ++a) {
    std::vector<double> query(dims, 0.0), z(groups, kNone);
    int64_t last = -1, first = -1;
    for (int u = 0; u < s; ++u) {
      const int64_t row = a * s + s - 1 - u - pos0;
      if (row < 0 || row >= rows) continue;
      last = std::max(last, row + pos0);
      first = row + pos0;
      for (int d = 0; d < keys.dk; ++d) query[u * keys.dk + d] = q(row, h, d);
    }
    for (int64_t b = 0; b < groups; ++b) {
      double sum = 0;
      bool shown = false, alive = false;
      for (int u = 0; u < s && b * s + u < list.len; ++u) {
        const int64_t slot = b * s + u;
        // A group is shown to a group when any of its keys is shown to the last query, or, behind a
        // window, to the first one.
        shown = shown || sees(keys, last, position(list, slot)) ||
                (sees(keys, first, position(list, slot)));
        alive = alive || live(list, slot);
        if (!live(list, slot)) continue;
        for (int d = 0; d < keys.dk; ++d) sum += query[u * keys.dk + d] * k[slot * keys.dk + d];
      }
      if (!shown || !alive) continue;
      z[b] = keys.scale * sum / (s * double{shape.norm});
      if (keys.softcap > 0) z[b] = keys.softcap * std::tanh(z[b] / keys.softcap);
      if (s == 1 && list.bias != nullptr) z[b] += list.bias[b];
    }
    const auto block = static_cast<size_t>(a * s / shape.block - pos0 / shape.block);
    if (out.size() <= block) out.emplace_back((list.len + shape.block - 1) / shape.block, 0.0);
    softmax(z);
    for (int64_t b = 0; b < groups; ++b) out[block][b * s / shape.block] += z[b];
  }
  return out;
}

// --- summaries -----------------------------------------------------------------------------------

// The mean cosine of all pairs of n rows, a row with itself included.
inline double mean_cosine(const std::vector<std::vector<double>>& rows) {
  double sum = 0;
  for (const auto& a : rows) {
    for (const auto& b : rows) {
      double ab = 0, aa = 0, bb = 0;
      for (size_t d = 0; d < a.size(); ++d) ab += a[d] * b[d], aa += a[d] * a[d], bb += b[d] * b[d];
      sum += ab / std::sqrt(aa * bb);
    }
  }
  return sum / (static_cast<double>(rows.size()) * static_cast<double>(rows.size()));
}

}  // namespace heed::select::reference
