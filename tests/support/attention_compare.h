// Compares a run of heed with the fp64 oracle, row by row (relative L2), against the error that a
// plain fp32 implementation makes on the same stored values.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "attention_problem.h"

namespace heed::test {

struct Comparison {
  int64_t rows = 0;
  int64_t failures = 0;
  double worst_ratio = 0;  // of a row's error to its tolerance, output or log-sum-exp
  std::string first_failure;
};

namespace detail {

template <class T>
double relative_l2(const double* expected, const T* actual, int n) {
  double difference = 0, norm = 0;
  for (int i = 0; i < n; ++i) {
    const double d = static_cast<double>(actual[i]) - expected[i];
    difference += d * d;
    norm += expected[i] * expected[i];
  }
  if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
  if (norm == 0) return difference == 0 ? 0 : std::numeric_limits<double>::infinity();
  return std::sqrt(difference / norm);
}

}  // namespace detail

struct RowErrors {
  double plain = 0, usual = 0;         // relative L2: of the worst plain one, of the first one
  double heed = 0;                     // the same of heed
  double plain_lse = 0, heed_lse = 0;  // absolute
  double largest_score = 0, dot_size = 0, cancellation = 1;
  bool empty = false;          // the row sees no key (at most its sink)
  bool empty_differs = false;  // one side says -inf or zero, the other does not
  int item = 0, row = 0, head = 0, tag = 0;
};

// Error that a row may have although the plain implementation, by luck or design, does not.
inline double error_floor(const AttentionProblem& problem, const RowErrors& e) {
  const AttentionCase& c = problem.problem();
  // Weights 2^x: the documented polynomial errors (src/kernels/approx.h), once in their sum, once
  // in the sum of values, which may cancel.
  double floor = (1 + e.cancellation) * (c.v == Format::kBf16 ? 3.0e-6 : 1.6e-7);
  // A score is off by up to about 2^-23 of the sizes in its sum (hundreds of roundings of partial
  // sums), its weight by as much. With few keys the plain row may happen to hit it exactly.
  floor += 0x1p-23 * std::max({4.0, e.dot_size, 1.4427 * e.largest_score});
  // Nothing for bf16 operands: the plain implementation rounds them too.
  return floor;
}

// Query head number `at` of a KV head's group.
inline int head_of(const HeadMap& map, int kv_head, int at) {
  for (int h = 0; h < map.n_q; ++h) {
    if (map.kv_of(h) == kv_head && at-- == 0) return h;
  }
  return -1;
}

// The plain implementations of this case. Where weights are bf16 that is three: the weight of the
// maximum is 1, which rounding spares, so that a row where one key outweighs the others may have no
// error at all. A kernel's base may lag behind the maximum (kHeadroom in src/kernels/tile.h); the
// other two put that weight 2^-9 behind a bf16 and 2^-9 before one.
inline std::vector<PlainAttention<float>> plain_implementations(AttentionProblem& problem) {
  std::vector<PlainAttention<float>> plain;
  PlainRounding rounding = problem.rounding();
  plain.emplace_back(problem.call(), problem.kv(), rounding);
  if (!rounding.weights_bf16) return plain;
  for (const float scale : {1 + 0x1p-9f, 1 + 0x1p-7f - 0x1p-9f}) {
    rounding.weight_scale = scale;
    plain.emplace_back(problem.call(), problem.kv(), rounding);
  }
  return plain;
}

// The errors of every row, head and tag that the plan names. `stride` > 1 looks at every
// stride-th query row only.
inline std::vector<RowErrors> row_errors(AttentionProblem& problem, const Output& output,
                                         int stride = 1) {
  const Call& call = problem.call();
  const PlainAttention<double> oracle(call, problem.kv());
  const std::vector<PlainAttention<float>> plain = plain_implementations(problem);
  const int64_t t_all = problem.problem().rows(), h_all = call.heads.n_q;
  std::vector<RowErrors> errors;
  for (size_t i = 0; i < problem.plan().items.size(); ++i) {
    const Item& item = problem.plan().items[i];
    for (int bit = 0; bit < 64; ++bit) {
      if (!(item.head_mask >> bit & 1)) continue;
      const int head = head_of(call.heads, item.kv_head, item.first_head + bit);
      for (int r = 0; r < item.rows; ++r) {
        if ((item.row + r) % stride != 0) continue;
        for (int tag = 0; tag < call.tags; ++tag) {
          const PlainRow<double> want = oracle.row(problem.plan(), item, r, head, tag);
          const int64_t t = call.seqs[item.seq].first + item.row + r;
          const int64_t at = (tag * t_all + t) * h_all + head;
          const float* got = output.out.data() + at * call.dv;
          RowErrors e;
          e.item = static_cast<int>(i);
          e.row = r;
          e.head = head;
          e.tag = tag;
          e.largest_score = want.largest_score;
          e.dot_size = want.dot_size;
          e.cancellation = want.cancellation;
          e.heed = detail::relative_l2(want.out.data(), got, call.dv);
          const float lse = output.lse[at];
          e.empty = std::ranges::all_of(want.out, [](double x) { return x == 0; });
          e.empty_differs = std::isinf(want.lse) != std::isinf(lse);
          const bool some = !std::isinf(want.lse);
          if (some) e.heed_lse = std::fabs(lse - want.lse);
          for (const PlainAttention<float>& p : plain) {
            const PlainRow<float> near = p.row(problem.plan(), item, r, head, tag);
            const double error = detail::relative_l2(want.out.data(), near.out.data(), call.dv);
            e.plain = std::max(e.plain, error);
            if (&p == &plain[0]) e.usual = error;
            if (some) e.plain_lse = std::fabs(near.lse - want.lse);
          }
          errors.push_back(e);
        }
      }
    }
  }
  return errors;
}

struct Tolerance {
  double out = 0;  // relative L2
  double lse = 0;  // absolute
};

// A row passes when its error is at most twice the plain implementation's, plus the floor. The
// plain error is the row's own or, because which way a row's few roundings fall is chance, twice
// the root mean square over the case's rows that see a key (the 95th percentile of a normal
// distribution).
inline std::vector<Tolerance> tolerances(const AttentionProblem& problem,
                                         const std::vector<RowErrors>& errors) {
  double square = 0, square_lse = 0, rows = 0;
  for (const RowErrors& e : errors) {
    square += e.usual * e.usual;
    square_lse += e.plain_lse * e.plain_lse;
    rows += e.empty ? 0 : 1;
  }
  rows = std::max(rows, 1.0);
  const double usual = 2 * std::sqrt(square / rows), usual_lse = 2 * std::sqrt(square_lse / rows);
  std::vector<Tolerance> result;
  for (const RowErrors& e : errors) {
    const double floor = error_floor(problem, e);
    result.push_back(
        {2 * std::max(e.plain, usual) + floor, 2 * std::max(e.plain_lse, usual_lse) + floor});
  }
  return result;
}

inline Comparison compare(AttentionProblem& problem, const Output& output, int stride = 1) {
  const std::vector<RowErrors> errors = row_errors(problem, output, stride);
  const std::vector<Tolerance> limits = tolerances(problem, errors);
  Comparison result;
  for (size_t i = 0; i < errors.size(); ++i) {
    const RowErrors& e = errors[i];
    const double tolerance = limits[i].out, lse_tolerance = limits[i].lse;
    ++result.rows;
    result.worst_ratio =
        std::max({result.worst_ratio, e.heed / tolerance, e.heed_lse / lse_tolerance});
    if (e.heed <= tolerance && e.heed_lse <= lse_tolerance && !e.empty_differs) continue;
    if (result.failures++ == 0) {
      result.first_failure =
          cat("item ", e.item, " row ", e.row, " head ", e.head, " tag ", e.tag, ": error ", e.heed,
              " of at most ", tolerance, " (plain ", e.plain, "), lse off by ", e.heed_lse,
              " of at most ", lse_tolerance, e.empty_differs ? ", one side sees nothing" : "");
    }
  }
  return result;
}

}  // namespace heed::test
