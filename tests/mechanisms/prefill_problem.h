// A prompt's queries, keys and values, attended in chunks through a prefill selector, and the fp64
// oracle that masks by a formula.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "cpu/team.h"
#include "heed/attention.h"
#include "heed/kv.h"
#include "mechanisms/selection.h"

namespace heed::test {

struct PrefillShape {
  Isa isa = Isa::kScalar;
  Format format = Format::kF32;
  int heads = 2, kv_heads = 1, d = 32;
  int before = 0;  // keys of earlier turns
  int rows = 300;
  MaskKind mask = MaskKind::kCausal;
  int window = 0;
  bool constant_values = false;
  uint64_t seed = 1;
};

struct PrefillOutput {
  std::vector<float> out, lse;             // [T, H, d], [T, H]
  std::vector<select::PlanCounts> counts;  // [H], of the plans
  uint64_t tiles = 0;                      // of the runs
  uint64_t said_tiles = 0;                 // of the plans
  select::PlanCounts visible;              // of dense attention, all heads
};

// Whether query head `head` at position `query` reads the key at `key`; both absolute.
using Formula = std::function<bool(int head, int64_t query, int64_t key)>;

class PrefillProblem {
 public:
  explicit PrefillProblem(const PrefillShape& shape) : shape_(shape) {
    const int64_t all = shape.before + shape.rows;
    const auto fill = [&](std::vector<float>& x, int64_t n, uint64_t stream) {
      x.resize(static_cast<size_t>(n));
      for (size_t i = 0; i < x.size(); ++i) {
        x[i] = static_cast<float>(random_normal(shape.seed * 16 + stream, i));
      }
    };
    fill(q_, int64_t{shape.rows} * shape.heads * shape.d, 0);
    fill(k_, all * shape.kv_heads * shape.d, 1);
    fill(v_, all * shape.kv_heads * shape.d, 2);
    if (shape.constant_values) std::fill(v_.begin(), v_.end(), 0.75f);
  }

  const PrefillShape& shape() const { return shape_; }
  int64_t prompt_end() const { return shape_.before + shape_.rows; }

  // Chunks of so many rows, the last one repeated as often as it takes; null: the dense plan.
  PrefillOutput run(const PrefillSelector* selector, std::vector<int> chunks = {1 << 20},
                    int threads = 2) {
    PrefillOutput output;
    StoreDesc desc;
    desc.isa = shape_.isa;
    desc.layers = {{shape_.kv_heads, shape_.d, shape_.d, shape_.format, shape_.format}};
    auto store = Store::create(desc);
    EXPECT_TRUE(store.is_ok()) << store.message();
    const SeqId seq = *(*store)->create_sequence();
    append(**store, seq, 0, shape_.before);
    output.out.assign(q_.size(), NAN);
    output.lse.assign(static_cast<size_t>(shape_.rows * shape_.heads), NAN);
    output.counts.resize(static_cast<size_t>(shape_.heads));
    Workspace workspace(shape_.isa, threads);
    cpu::Team team(threads);
    std::unique_ptr<Selection> selection;
    if (selector != nullptr) selection = std::make_unique<Selection>(*selector);
    for (int row = 0; row < shape_.rows;) {
      const int n = std::min(chunks.front(), shape_.rows - row);
      append(**store, seq, shape_.before + row, n);
      attend(**store, seq, row, n, selection.get(), workspace, team, output);
      row += n;
      if (chunks.size() > 1) chunks.erase(chunks.begin());
    }
    return output;
  }

  // Masked attention of the whole prompt in fp64: rows [T, H] of d values, and log-sum-exps.
  struct Oracle {
    std::vector<double> out, lse, mass;  // mass: share of dense probability on what is read
  };
  Oracle oracle(const Formula& reads) const {
    Oracle o;
    o.out.assign(q_.size(), 0.0);
    o.lse.assign(static_cast<size_t>(shape_.rows * shape_.heads), -INFINITY);
    o.mass.assign(o.lse.size(), 0.0);
    for (int t = 0; t < shape_.rows; ++t) {
      for (int h = 0; h < shape_.heads; ++h) oracle_row(reads, t, h, o);
    }
    return o;
  }

  double longest_value() const {
    double longest = 0;
    for (size_t i = 0; i < v_.size(); i += static_cast<size_t>(shape_.d)) {
      longest =
          std::max(longest, std::sqrt(std::inner_product(&v_[i], &v_[i] + shape_.d, &v_[i], 0.0)));
    }
    return longest;
  }

 private:
  int kv_of(int h) const { return h * shape_.kv_heads / shape_.heads; }
  const float* row(const std::vector<float>& x, int64_t t, int heads, int h) const {
    return x.data() + (t * heads + h) * shape_.d;
  }

  void append(Store& store, SeqId seq, int64_t at, int n) const {
    if (n == 0) return;
    const int g = shape_.kv_heads, d = shape_.d;
    ASSERT_TRUE(store.begin_append(seq, n).is_ok());
    store.append(seq, 0, View<const float, 3>::contiguous(row(k_, at, g, 0), {n, g, d}),
                 View<const float, 3>::contiguous(row(v_, at, g, 0), {n, g, d}), 0, 1);
    store.commit(seq);
  }

  void attend(Store& store, SeqId seq, int first, int n, Selection* selection, Workspace& workspace,
              cpu::Team& team, PrefillOutput& output) const {
    SeqRows rows;
    rows.rows = n;
    rows.pos0 = shape_.before + first;
    rows.lists = store.lists(seq, 0);
    Call call;
    call.store = &store;
    call.heads = {shape_.heads, shape_.kv_heads, nullptr};
    call.dk = call.dv = shape_.d;
    call.scale = 1.0f / std::sqrt(static_cast<float>(shape_.d));
    call.mask = shape_.mask;
    call.window = shape_.window;
    call.seqs = {&rows, 1};
    Plan dense;
    if (selection != nullptr) {
      const Status ready = selection->prepare(call, {shape_.before, prompt_end()},
                                              shape_.before + first + n, team.size());
      ASSERT_TRUE(ready.is_ok()) << ready.message();
    } else {
      ASSERT_TRUE(plan_dense(call, dense).is_ok());
    }
    const Plan& plan = selection != nullptr ? selection->plan() : dense;
    call.q = View<const float, 3>::contiguous(row(q_, first, shape_.heads, 0),
                                              {n, shape_.heads, shape_.d});
    call.out = View<float, 3>::contiguous(
        output.out.data() + int64_t{first} * shape_.heads * shape_.d, call.q.shape);
    call.lse = View<float, 2>::contiguous(output.lse.data() + int64_t{first} * shape_.heads,
                                          {n, shape_.heads});
    ASSERT_TRUE(workspace.reserve(plan, call).is_ok());
    std::atomic<int> failures{0};
    team.run([&](int member, int members) {
      if (selection != nullptr && !selection->run(call, 0, shape_.isa, member, members)) {
        ++failures;
        return;
      }
      heed::run(plan, call, workspace, member, members);
    });
    ASSERT_EQ(failures, 0) << selection->failure().message();
    const Status valid = validate(plan, call, workspace);
    EXPECT_TRUE(valid.is_ok()) << valid.message();
    output.tiles += counters(workspace).tiles;
    for (int h = 0; h < shape_.heads; ++h) {
      output.visible.add(select::count_visible(call, rows, kv_of(h), 0, n));
    }
    if (selection == nullptr) return;
    selection->add_counts(output.counts);
    output.said_tiles += selection->tiles();
  }

  void oracle_row(const Formula& reads, int t, int h, Oracle& o) const {
    const int64_t query = shape_.before + t;
    const float* q = row(q_, t, shape_.heads, h);
    const int64_t first =
        shape_.mask == MaskKind::kWindow ? std::max<int64_t>(0, query - shape_.window + 1) : 0;
    std::vector<double> scores;
    double top = -INFINITY, all = 0, some = 0;
    for (int64_t key = first; key <= query; ++key) {
      const float* k = row(k_, key, shape_.kv_heads, kv_of(h));
      scores.push_back(std::inner_product(q, q + shape_.d, k, 0.0) /
                       std::sqrt(static_cast<double>(shape_.d)));
      top = std::max(top, scores.back());
    }
    const size_t at = static_cast<size_t>(t * shape_.heads + h);
    double* out = o.out.data() + at * static_cast<size_t>(shape_.d);
    for (int64_t key = first; key <= query; ++key) {
      const double p = std::exp(scores[static_cast<size_t>(key - first)] - top);
      all += p;
      if (!reads(h, query, key)) continue;
      some += p;
      const float* v = row(v_, key, shape_.kv_heads, kv_of(h));
      for (int i = 0; i < shape_.d; ++i) out[i] += p * v[i];
    }
    o.mass[at] = some / all;
    if (some == 0) return;
    for (int i = 0; i < shape_.d; ++i) out[i] /= some;
    o.lse[at] = top + std::log(some);
  }

  PrefillShape shape_;
  std::vector<float> q_, k_, v_;
};

// Largest relative L2 error of a row; infinite where one side sees nothing and the other does.
inline double worst_row(const PrefillOutput& got, const PrefillProblem::Oracle& want, int d) {
  double worst = 0;
  for (size_t r = 0; r < want.lse.size(); ++r) {
    if (std::isinf(want.lse[r]) != std::isinf(got.lse[r])) return INFINITY;
    double difference = 0, norm = 0;
    for (int i = 0; i < d; ++i) {
      const size_t at = r * static_cast<size_t>(d) + static_cast<size_t>(i);
      difference += (got.out[at] - want.out[at]) * (got.out[at] - want.out[at]);
      norm += want.out[at] * want.out[at];
    }
    if (!(difference == difference)) return INFINITY;
    if (norm == 0 && difference == 0) continue;
    worst = std::max(worst, std::sqrt(difference / norm));
    worst = std::max(worst,
                     std::fabs(got.lse[r] - want.lse[r]) / std::max(1.0, std::fabs(want.lse[r])));
  }
  return worst;
}

}  // namespace heed::test
