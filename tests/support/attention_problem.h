// Builds everything an AttentionCase names: a store with its sequences, queries, masks, a plan, and
// buffers in the asked layout; runs heed on it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "attention/workspace.h"
#include "attention_case.h"
#include "base/random.h"
#include "cpu/team.h"
#include "heed/kv.h"
#include "kv/arena_source.h"
#include "plain_attention.h"
#include "random_plan.h"

namespace heed::test {

// Parts in one canonical order: out [tags][T][H][dv], lse [tags][T][H].
struct Output {
  std::vector<float> out, lse;
};

// A buffer of [T, H, d] in a layout; what lies between rows must not be touched.
struct RowBuffer {
  std::vector<float> data;
  View<float, 3> view;

  static constexpr float kUntouched = -12345.75f;

  void make(Layout layout, int64_t t, int64_t h, int64_t d, float fill) {
    int64_t stride_t = h * d, stride_h = d, offset = 0;
    if (layout == Layout::kHeadsFirst) {
      stride_h = t * d;
      stride_t = d;
    } else if (layout == Layout::kPadded) {
      stride_h = d + 3;
      stride_t = h * stride_h + 5;
      offset = 1;  // rows then start at no alignment above a float's
    }
    data.assign(offset + t * h * (d + 8) + t * 8 + 16, fill);
    view = {data.data() + offset, {t, h, d}, {stride_t, stride_h, 1}};
  }
};

class AttentionProblem {
 public:
  explicit AttentionProblem(const AttentionCase& c, std::unique_ptr<kv::ArenaSource> arenas = {})
      : case_(c), random_(c.seed) {
    make_store(std::move(arenas));
    make_queries();
    make_call();
    if (case_.plan == PlanKind::kDense) {
      EXPECT_TRUE(plan_dense(call_, plan_).is_ok());
    } else {
      make_random_plan(case_, call_, random_, plan_);
    }
  }

  const AttentionCase& problem() const { return case_; }
  Call& call() { return call_; }
  Plan& plan() { return plan_; }
  Store& store() { return *store_; }
  const std::vector<SeqId>& ids() const { return ids_; }
  const std::vector<DenseKv>& kv() const { return kv_; }
  std::vector<SeqRows>& seqs() { return seqs_; }

  PlainRounding rounding() const {
    const bool dot = case_.isa == Isa::kAvx512Bf16;
    return {dot && case_.k == Format::kBf16, dot && case_.v == Format::kBf16};
  }

  // Validates and runs on a team of `threads`. Every row that the plan names is written.
  Output run(int threads, UnitKind units = UnitKind::kAuto) {
    Workspace workspace(case_.isa, threads);
    cpu::Team team(threads);
    return run(workspace, team, threads, units);
  }

  // The same with a workspace and a team of `members` that served other calls before.
  Output run(Workspace& workspace, cpu::Team& team, int members, UnitKind units) {
    const Status valid = validate(plan_, call_);
    EXPECT_TRUE(valid.is_ok()) << valid.message() << "\n  " << to_text(case_);
    Output output;
    if (!valid.is_ok()) return output;
    workspace.impl().units = units;
    const Status reserved = workspace.reserve(plan_, call_);
    EXPECT_TRUE(reserved.is_ok()) << reserved.message();
    if (!reserved.is_ok()) return output;
    clear_outputs();
    team.run([&](int member, int of) {
      EXPECT_EQ(of, members);
      heed::run(plan_, call_, workspace, member, of);
    });
    counters_ = counters(workspace);
    return collect();
  }

  const RunCounters& last_counters() const { return counters_; }

  // Floats between rows that a run changed; must be 0.
  int64_t overruns() const {
    int64_t changed = 0;
    std::vector<bool> inside(out_.data.size());
    for (int64_t t = 0; t < out_.view.shape[0]; ++t) {
      for (int64_t h = 0; h < out_.view.shape[1]; ++h) {
        for (int64_t d = 0; d < out_.view.shape[2]; ++d) {
          inside[&out_.view(t, h, d) - out_.data.data()] = true;
        }
      }
    }
    for (size_t i = 0; i < inside.size(); ++i) {
      changed += !inside[i] && out_.data[i] != RowBuffer::kUntouched;
    }
    return changed;
  }

 private:
  void make_store(std::unique_ptr<kv::ArenaSource> arenas) {
    StoreDesc desc;
    desc.isa = case_.isa;
    desc.layers = {{case_.kv_heads, case_.dk, case_.dv, case_.k, case_.v, case_.alias}};
    auto store = arenas ? Store::create(desc, std::move(arenas)) : Store::create(desc);
    ASSERT_TRUE(store.is_ok()) << store.message();
    store_ = std::move(*store);
    kv_.resize(case_.seqs.size());
    std::vector<int> left;
    for (size_t s = 0; s < case_.seqs.size(); ++s) {
      ids_.push_back(*store_->create_sequence(first_position(s)));
      left.push_back(case_.seqs[s].keys);
      kv_[s].k.assign(case_.kv_heads, {});
      kv_[s].v.assign(case_.kv_heads, {});
      kv_[s].longest_key.assign(case_.kv_heads, 0);
    }
    // Chunks of the sequences alternate, so that their pages lie mixed in the arenas.
    for (bool more = true; more;) {
      more = false;
      for (size_t s = 0; s < left.size(); ++s) {
        const int n = std::min<int>(left[s], 1 + static_cast<int>(random_.below(200)));
        if (n > 0) append(s, n);
        left[s] -= n;
        more = more || left[s] > 0;
      }
    }
    if (case_.ragged) make_ragged();
    make_side_arrays();
  }

  // Each list loses a number of rows of its own: truncate goes by position, and the positions
  // behind a list's cut are moved away first.
  void make_ragged() {
    for (size_t s = 0; s < ids_.size(); ++s) {
      const int keys = case_.seqs[s].keys;
      if (keys < 2) continue;
      for (int g = 0; g < case_.kv_heads; ++g) {
        auto* pos = static_cast<int32_t*>(*store_->side_array(ids_[s], 0, g, SideArray::kPosition));
        const int cut = keys - 1 - static_cast<int>(random_.below(std::min(keys - 1, 100)));
        for (int i = cut; i < keys; ++i) pos[i] += 1 << 20;
      }
      const Status cut = store_->truncate(ids_[s], first_position(s) + keys - 1);
      ASSERT_TRUE(cut.is_ok()) << cut.message();
    }
  }

  int64_t first_position(size_t s) const { return s == 0 ? 0 : 3 * static_cast<int64_t>(s); }

  void append(size_t s, int n) {
    const int g = case_.kv_heads, dk = case_.dk, dv = case_.dv;
    std::vector<float> k(int64_t{n} * g * dk), v(int64_t{n} * g * dv);
    for (float& x : k) x = static_cast<float>(random_.normal());
    for (float& x : v) x = static_cast<float>(random_.normal());
    ASSERT_TRUE(store_->begin_append(ids_[s], n).is_ok());
    store_->append(ids_[s], 0, View<const float, 3>::contiguous(k.data(), {n, g, dk}),
                   View<const float, 3>::contiguous(v.data(), {n, g, dv}), 0, 1);
    store_->commit(ids_[s]);
    for (int h = 0; h < g; ++h) {
      for (int t = 0; t < n; ++t) {
        const float* k_row = k.data() + (int64_t{t} * g + h) * dk;
        const float* v_row = case_.alias ? k_row : v.data() + (int64_t{t} * g + h) * dv;
        double square = 0;
        for (int d = 0; d < dk; ++d) {
          kv_[s].k[h].push_back(round_to(case_.k, k_row[d]));
          square += double{k_row[d]} * k_row[d];
        }
        kv_[s].longest_key[h] = std::max(kv_[s].longest_key[h], std::sqrt(square));
        for (int d = 0; d < dv; ++d) {
          kv_[s].v[h].push_back(round_to(case_.alias ? case_.k : case_.v, v_row[d]));
        }
      }
    }
  }

  int64_t key_position(size_t s, int64_t i) const {
    return first_position(s) +
           (case_.gaps ? 2 * i + static_cast<int64_t>(random_bits(9, i) & 1) : i);
  }

  void make_side_arrays() {
    for (size_t s = 0; s < ids_.size(); ++s) {
      for (int g = 0; g < case_.kv_heads; ++g) {
        const int len = store_->lists(ids_[s], 0)[g].len;
        if (case_.gaps) {
          auto* pos =
              static_cast<int32_t*>(*store_->side_array(ids_[s], 0, g, SideArray::kPosition));
          for (int i = 0; i < len; ++i) pos[i] = static_cast<int32_t>(key_position(s, i));
        }
        if (case_.bias) {
          auto* bias = static_cast<float*>(*store_->side_array(ids_[s], 0, g, SideArray::kBias));
          for (int i = 0; i < len; ++i) bias[i] = static_cast<float>(random_.normal());
        }
        if (case_.live) {
          auto* live = static_cast<uint64_t*>(*store_->side_array(ids_[s], 0, g, SideArray::kLive));
          for (int p = 0; p * kPageTokens < len; ++p) {
            live[p] = random_.below(4) == 0 ? 0 : random_.bits() | random_.bits();
            // Bits behind the length stay set, as the store leaves them.
            const int filled = std::min(kPageTokens, len - p * kPageTokens);
            if (filled < kPageTokens) live[p] |= ~uint64_t{0} << filled;
          }
        }
      }
    }
  }

  void make_queries() {
    int first = 0;
    positions_.resize(case_.seqs.size());
    for (size_t s = 0; s < case_.seqs.size(); ++s) {
      SeqRows rows;
      rows.first = first;
      rows.rows = case_.seqs[s].rows;
      const int64_t base = std::max(0, case_.seqs[s].keys - rows.rows);
      rows.pos0 = first_position(s) + base;
      if (case_.gaps) {
        for (int t = 0; t < rows.rows; ++t) {
          positions_[s].push_back(static_cast<int32_t>(first_position(s) + 2 * (base + t) + 1));
        }
        rows.pos0 = positions_[s].empty() ? 0 : positions_[s][0];
        rows.pos = positions_[s].data();
      }
      rows.lists = store_->lists(ids_[s], 0);
      seqs_.push_back(rows);
      first += rows.rows;
    }
    q_.make(case_.layout, first, case_.heads, case_.dk, std::numeric_limits<float>::quiet_NaN());
    for (int t = 0; t < first; ++t) {
      for (int h = 0; h < case_.heads; ++h) {
        for (int d = 0; d < case_.dk; ++d) q_.view(t, h, d) = static_cast<float>(random_.normal());
      }
    }
  }

  void make_heads() {
    call_.heads.n_q = case_.heads;
    call_.heads.n_kv = case_.kv_heads;
    if (case_.head_map) {
      for (int h = 0; h < case_.heads; ++h) {
        head_map_.push_back(static_cast<uint16_t>(random_.below(case_.kv_heads)));
      }
      call_.heads.kv_of_q = head_map_.data();
    }
    for (int h = 0; h < case_.heads; ++h) {
      slopes_.push_back(static_cast<float>(std::exp2(-8.0 * (h + 1) / case_.heads)));
      sinks_.push_back(static_cast<float>(2 * random_.normal()));
    }
    if (case_.alibi) call_.alibi = slopes_.data();
    if (case_.sinks) call_.sinks = sinks_.data();
  }

  void make_rotary() {
    if (case_.rotary == RotaryLayout::kNone) return;
    const int half = case_.n_rot / 2;
    call_.rotary = {case_.rotary, case_.n_rot, nullptr, nullptr, case_.rot_first};
    const auto angles = [&](int64_t n, std::vector<float>& cos, std::vector<float>& sin) {
      for (int64_t i = 0; i < n * half; ++i) {
        const double angle = 6.28 * random_.uniform();
        cos.push_back(static_cast<float>(std::cos(angle)));
        sin.push_back(static_cast<float>(std::sin(angle)));
      }
    };
    angles(case_.rows(), cos_, sin_);
    call_.rotary.cos = cos_.data();
    call_.rotary.sin = sin_.data();
    angles(case_.deltas + 1, delta_cos_, delta_sin_);
    call_.rot_deltas_cos =
        View<const float, 2>::contiguous(delta_cos_.data(), {case_.deltas + 1, half});
    call_.rot_deltas_sin =
        View<const float, 2>::contiguous(delta_sin_.data(), {case_.deltas + 1, half});
  }

  void make_call() {
    const int t = case_.rows(), h = case_.heads;
    call_.store = store_.get();
    call_.dk = case_.dk;
    call_.dv = case_.dv;
    call_.scale = case_.scale != 0 ? case_.scale : 1.0f / std::sqrt(static_cast<float>(case_.dk));
    call_.softcap = case_.softcap;
    call_.mask = case_.mask;
    call_.window = case_.window;
    call_.tags = case_.tags;
    call_.q = {q_.view.data, q_.view.shape, q_.view.stride};
    call_.seqs = seqs_;
    make_heads();
    make_rotary();
    if (case_.tags == 1) {
      out_.make(case_.layout, t, h, case_.dv, RowBuffer::kUntouched);
      lse_.assign(int64_t{t} * h, RowBuffer::kUntouched);
      call_.out = out_.view;
      call_.lse = View<float, 2>::contiguous(lse_.data(), {t, h});
    } else {
      parts_.assign(int64_t{case_.tags} * t * h * case_.dv, RowBuffer::kUntouched);
      lse_.assign(int64_t{case_.tags} * t * h, RowBuffer::kUntouched);
      call_.part_out = View<float, 4>::contiguous(parts_.data(), {case_.tags, t, h, case_.dv});
      call_.part_lse = View<float, 3>::contiguous(lse_.data(), {case_.tags, t, h});
    }
  }

  void clear_outputs() {
    std::fill(out_.data.begin(), out_.data.end(), RowBuffer::kUntouched);
    std::fill(parts_.begin(), parts_.end(), RowBuffer::kUntouched);
    std::fill(lse_.begin(), lse_.end(), RowBuffer::kUntouched);
  }

  Output collect() const {
    Output output;
    output.lse = lse_;
    if (case_.tags > 1) {
      output.out = parts_;
      return output;
    }
    for (int t = 0; t < case_.rows(); ++t) {
      for (int h = 0; h < case_.heads; ++h) {
        const float* row = &out_.view(t, h, 0);
        output.out.insert(output.out.end(), row, row + case_.dv);
      }
    }
    return output;
  }

  AttentionCase case_;
  Random random_;
  std::unique_ptr<Store> store_;
  std::vector<SeqId> ids_;
  std::vector<DenseKv> kv_;
  std::vector<SeqRows> seqs_;
  std::vector<std::vector<int32_t>> positions_;
  std::vector<uint16_t> head_map_;
  std::vector<float> slopes_, sinks_, cos_, sin_, delta_cos_, delta_sin_, parts_, lse_;
  RowBuffer q_, out_;
  Call call_;
  Plan plan_;
  RunCounters counters_;
};

}  // namespace heed::test
