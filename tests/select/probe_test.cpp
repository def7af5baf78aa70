// Probe rows equal the whole map in fp64, reduced; no thread count changes a bit; nothing outside
// of their memory is touched and nothing is allocated.
#include "select/probe.h"

#include <cstring>

#include "guard_memory.h"
#include "heap_counters.h"
#include "select/reference.h"
#include "select_problem.h"

namespace heed::test {
namespace {

using namespace heed::select;

struct ProbeResult {
  std::vector<float> columns, diagonals, page_max, map, lse;
  int64_t stride = 0, page_stride = 0;
};

ProbeResult probe(SelectProblem& p, int threads, bool map = true) {
  const SelectCase& c = p.problem();
  ProbeResult r;
  r.stride = longest_list(p.keys()) + 3;
  r.page_stride = pages_for(r.stride) + 1;
  const int64_t rows = p.q().shape[0];
  r.columns.assign(c.heads * r.stride, -7);
  r.diagonals = r.columns;
  r.page_max.assign(c.heads * r.page_stride, -7);
  r.map.assign(map ? c.heads * rows * r.stride : 0, -7);
  r.lse.assign(c.heads * rows, -7);
  const ProbeOutputs out{
      r.columns.data(), r.diagonals.data(), r.page_max.data(), map ? r.map.data() : nullptr,
      r.lse.data(),     r.stride,           r.page_stride};
  const SelectBound bound{static_cast<int32_t>(rows), longest_list(p.keys())};
  const AlignedMemory shared = poisoned(Probe::shared_bytes(p.keys(), bound, true));
  const Probe run(p.keys(), p.q(), p.first(), out, shared.get());
  cpu::Team team(threads);
  run_phases(run, team, Probe::thread_bytes(p.keys(), bound));
  return r;
}

// |got - want| <= tolerance * want plus what a sum of `rows` probabilities loses.
void expect_near(double got, double want, double tolerance, const char* what, int64_t at) {
  ASSERT_NEAR(got, want, tolerance * (want + 1e-3)) << what << " at " << at;
}

TEST(Probe, equals_the_whole_map_reduced) {
  for (const SelectCase& c : select_cases()) {
    SCOPED_TRACE(to_text(c));
    SelectProblem p(c);
    const ProbeResult r = probe(p, 2);
    for (int h = 0; h < c.heads; ++h) {
      const int g = p.keys().heads.kv_of(h);
      const ListView& list = p.list(g);
      const auto map = reference::attention_map(p.keys(), p.k(g), p.q(), p.first(), h);
      const auto diagonals = reference::diagonals(map, list, p.first());
      std::vector<double> most(pages_for(list.len), 0.0);
      for (int64_t j = 0; j < list.len; ++j) {
        double column = 0;
        for (size_t i = 0; i < map.size(); ++i) {
          column += map[i][j];
          most[j / 64] = std::max(most[j / 64], map[i][j]);
          const int64_t at = (h * int64_t{c.rows} + static_cast<int64_t>(i)) * r.stride + j;
          expect_near(r.map[at], map[i][j], p.tolerance(), "map", at);
        }
        expect_near(r.columns[h * r.stride + j], column, p.tolerance(), "column", j);
        expect_near(r.diagonals[h * r.stride + j], diagonals[j], p.tolerance(), "diagonal", j);
      }
      for (int64_t b = 0; b < pages_for(list.len); ++b) {
        expect_near(r.page_max[h * r.page_stride + b], most[b], p.tolerance(), "page", b);
      }
      ASSERT_EQ(r.columns[h * r.stride + list.len], -7) << "written behind the list";
      ASSERT_EQ(r.page_max[h * r.page_stride + pages_for(list.len)], -7);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Probe, log_sum_exps_are_those_of_the_rows) {
  SelectProblem p({.isa = tested_isas().back(),
                   .format = Format::kF32,
                   .heads = 4,
                   .kv_heads = 2,
                   .slots = 300,
                   .rows = 20});
  const ProbeResult r = probe(p, 1);
  for (int h = 0; h < 4; ++h) {
    for (int i = 0; i < 20; ++i) {
      double sum = 0;
      for (int64_t j = 0; j < 300 - 19 + i; ++j) {
        double s = 0;
        for (int d = 0; d < 64; ++d) s += p.q()(i, h, d) * p.k(h / 2)[j * 64 + d];
        sum += std::exp(s * p.keys().scale);
      }
      ASSERT_NEAR(r.lse[h * 20 + i], std::log(sum), 1e-5);
    }
  }
}

TEST(Probe, threads_and_outputs_change_no_bit) {
  for (Isa isa : tested_isas()) {
    SelectProblem p({.isa = isa, .heads = 6, .kv_heads = 2, .dk = 80, .slots = 4200, .rows = 64});
    const ProbeResult one = probe(p, 1);
    for (int threads : {2, 3}) {
      const ProbeResult other = probe(p, threads, false);
      ASSERT_EQ(one.columns, other.columns);
      ASSERT_EQ(one.diagonals, other.diagonals);
      ASSERT_EQ(one.page_max, other.page_max);
      ASSERT_EQ(one.lse, other.lse);
    }
  }
}

TEST(Probe, nothing_outside_is_touched_and_nothing_allocated) {
  for (Isa isa : tested_isas()) {
    for (int f = 0; f < kFormatCount; ++f) {
      for (GuardSide side : {GuardSide::kBefore, GuardSide::kBehind}) {
        const SelectCase c{.isa = isa,
                           .format = static_cast<Format>(f),
                           .heads = 3,
                           .dk = 96,
                           .slots = 1100,
                           .rows = 101};
        SelectProblem plain(c), p(c, std::make_unique<GuardArenas>(side));
        const ProbeResult want = probe(plain, 1);
        const SelectBound bound{c.rows, c.slots};
        const size_t floats = c.heads * c.slots;
        GuardMemory columns(4 * floats, side), diagonals(4 * floats, side);
        GuardMemory shared(Probe::shared_bytes(p.keys(), bound, true), side);
        GuardMemory thread(Probe::thread_bytes(p.keys(), bound), side);
        GuardMemory q(sizeof(float) * c.rows * c.heads * c.dk, side);
        for (int64_t i = 0; i < int64_t{c.rows} * c.heads; ++i) {
          std::memcpy(q.floats() + i * c.dk, &p.q()(i / c.heads, i % c.heads, 0), 4 * c.dk);
        }
        const auto view = View<const float, 3>::contiguous(q.floats(), {c.rows, c.heads, c.dk});
        const ProbeOutputs out{
            columns.floats(), diagonals.floats(), nullptr, nullptr, nullptr, c.slots, 0};
        const int64_t before = allocations;
        const Probe run(p.keys(), view, p.first(), out, shared.data());
        for (int phase = 0; phase < Probe::kPhases; ++phase) {
          for (int64_t u = 0; u < run.units(phase); ++u) run.run(phase, u, thread.data());
        }
        ASSERT_EQ(allocations, before);
        for (int h = 0; h < c.heads; ++h) {
          ASSERT_EQ(std::memcmp(columns.floats() + h * c.slots,
                                want.columns.data() + h * want.stride, 4 * c.slots),
                    0);
          ASSERT_EQ(std::memcmp(diagonals.floats() + h * c.slots,
                                want.diagonals.data() + h * want.stride, 4 * c.slots),
                    0);
        }
      }
    }
  }
}

TEST(Probe, block_sums_add_whole_and_ragged_blocks) {
  const float x[] = {1, 2, 4, 8, 16};
  float sums[4];
  EXPECT_EQ(block_sums(x, 5, 0, 2, sums), 3);
  EXPECT_EQ(std::vector<float>(sums, sums + 3), (std::vector<float>{3, 12, 16}));
  EXPECT_EQ(block_sums(x, 5, -1, 2, sums), 3);
  EXPECT_EQ(std::vector<float>(sums, sums + 3), (std::vector<float>{1, 6, 24}));
}

}  // namespace
}  // namespace heed::test
