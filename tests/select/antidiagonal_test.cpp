// Antidiagonal block scores equal Q' and K' written out; stride 1 is the exact mass of blocks.
#include "select/antidiagonal.h"

#include "guard_memory.h"
#include "heap_counters.h"
#include "select/reference.h"
#include "select_problem.h"

namespace heed::test {
namespace {

using namespace heed::select;

struct Blocks {
  std::vector<float> data;
  int64_t stride = 0;
  int count = 0;
};

Blocks blocks_of(SelectProblem& p, const AntidiagonalShape& shape, int threads) {
  const auto rows = static_cast<int32_t>(p.q().shape[0]);
  Blocks b;
  b.count = query_blocks(p.first(), rows, shape.block).count;
  b.stride = longest_list(p.keys()) / shape.block + 2;
  b.data.assign(p.problem().heads * b.count * b.stride, -7);
  const SelectBound bound{rows, longest_list(p.keys())};
  const AlignedMemory shared = poisoned(Antidiagonal::shared_bytes(p.keys(), shape, bound));
  const Antidiagonal run(p.keys(), shape, p.q(), p.first(), b.data.data(), b.stride, shared.get());
  cpu::Team team(threads);
  run_phases(run, team, Antidiagonal::thread_bytes(p.keys(), shape));
  return b;
}

TEST(Antidiagonal, equals_strided_rows_written_out) {
  uint64_t draw = 0;
  for (SelectCase c : select_cases()) {
    c.gaps = false;  // groups of keys count slots, groups of queries positions
    AntidiagonalShape shape;
    shape.stride = 1 << random_below(11, draw++, 5);
    shape.block = 64 << random_below(11, draw++, 2);
    shape.norm = random_below(11, draw++, 2) == 0 ? 1.0f : 0.5f;
    SCOPED_TRACE(to_text(c) + " s=" + std::to_string(shape.stride) +
                 " B=" + std::to_string(shape.block));
    ASSERT_TRUE(is_computable(shape));
    SelectProblem p(c);
    const Blocks got = blocks_of(p, shape, 2);
    for (int h = 0; h < c.heads; ++h) {
      const int g = p.keys().heads.kv_of(h);
      const auto want = reference::antidiagonal(p.keys(), shape, p.k(g), p.q(), p.first(), h);
      ASSERT_EQ(static_cast<int>(want.size()), got.count);
      for (int i = 0; i < got.count; ++i) {
        const float* row = got.data.data() + (h * got.count + i) * got.stride;
        for (size_t j = 0; j < want[i].size(); ++j) {
          ASSERT_NEAR(row[j], want[i][j], p.tolerance() * (want[i][j] + 1e-2))
              << "head " << h << " block " << i << ", " << j;
        }
        ASSERT_EQ(row[want[i].size()], -7);
      }
    }
  }
}

TEST(Antidiagonal, stride_one_is_the_exact_mass_of_blocks) {
  for (Isa isa : tested_isas()) {
    SelectProblem p({.isa = isa, .heads = 4, .kv_heads = 2, .slots = 777, .rows = 200});
    const Blocks got = blocks_of(p, {.stride = 1, .block = 128}, 1);
    for (int h = 0; h < 4; ++h) {
      const auto map = reference::attention_map(p.keys(), p.k(h / 2), p.q(), p.first(), h);
      for (int64_t i = 0; i < got.count; ++i) {
        for (int64_t j = 0; j < 7; ++j) {
          double mass = 0;
          for (int64_t t = 0; t < 200; ++t) {
            if ((p.first() + t) / 128 != p.first() / 128 + i) continue;
            for (int64_t s = j * 128; s < std::min<int64_t>(777, j * 128 + 128); ++s)
              mass += map[t][s];
          }
          ASSERT_NEAR(got.data[(h * got.count + i) * got.stride + j], mass,
                      p.tolerance() * (mass + 1e-2));
        }
      }
    }
  }
}

TEST(Antidiagonal, threads_change_no_bit) {
  for (Isa isa : tested_isas()) {
    SelectProblem p({.isa = isa, .heads = 4, .kv_heads = 2, .dk = 96, .slots = 2100, .rows = 300});
    const Blocks one = blocks_of(p, {.stride = 8, .block = 128}, 1);
    ASSERT_EQ(one.data, blocks_of(p, {.stride = 8, .block = 128}, 2).data);
    ASSERT_EQ(one.data, blocks_of(p, {.stride = 8, .block = 128}, 3).data);
  }
}

TEST(Antidiagonal, nothing_outside_is_touched_and_nothing_allocated) {
  const AntidiagonalShape shape{.stride = 16, .block = 64};
  for (Isa isa : tested_isas()) {
    for (GuardSide side : {GuardSide::kBefore, GuardSide::kBehind}) {
      const SelectCase c{.isa = isa, .heads = 3, .dk = 80, .slots = 1090, .rows = 77};
      SelectProblem plain(c), p(c, std::make_unique<GuardArenas>(side));
      const Blocks want = blocks_of(plain, shape, 1);
      const SelectBound bound{c.rows, c.slots};
      GuardMemory out(sizeof(float) * want.data.size(), side);
      GuardMemory shared(Antidiagonal::shared_bytes(p.keys(), shape, bound), side);
      GuardMemory thread(Antidiagonal::thread_bytes(p.keys(), shape), side);
      std::fill_n(out.floats(), want.data.size(), -7.0f);
      const int64_t before = allocations;
      const Antidiagonal run(p.keys(), shape, p.q(), p.first(), out.floats(), want.stride,
                             shared.data());
      for (int phase = 0; phase < Antidiagonal::kPhases; ++phase) {
        for (int64_t u = 0; u < run.units(phase); ++u) run.run(phase, u, thread.data());
      }
      ASSERT_EQ(allocations, before);
      ASSERT_EQ(std::vector<float>(out.floats(), out.floats() + want.data.size()), want.data);
    }
  }
}

TEST(Antidiagonal, shapes_that_do_not_tile_are_not_computable) {
  EXPECT_TRUE(is_computable({.stride = 16, .block = 16}));
  EXPECT_TRUE(is_computable({.stride = 1, .block = 256}));
  EXPECT_FALSE(is_computable({.stride = 0, .block = 64}));
  EXPECT_FALSE(is_computable({.stride = 10, .block = 64}));
  EXPECT_FALSE(is_computable({.stride = 128, .block = 64}));
  EXPECT_FALSE(is_computable({.stride = 64, .block = 192}));
}

}  // namespace
}  // namespace heed::test
