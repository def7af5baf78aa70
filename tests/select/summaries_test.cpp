// Summaries of blocks equal means, extremes and cosines written out; full blocks are read once;
// pooled scores and bounds follow.
#include "select/summaries.h"

#include "guard_memory.h"
#include "heap_counters.h"
#include "select/block_scores.h"
#include "select/reference.h"
#include "select_problem.h"

namespace heed::test {
namespace {

using namespace heed::select;

constexpr unsigned kAll = kMeans | kExtremes | kSelfSimilarity;

void update(KeySummaries& s, const Keys& keys, int threads) {
  cpu::Team team(threads);
  s.begin(keys);
  team.run([&](int member, int members) {
    for (int64_t u = member; u < s.units(); u += members) s.run(keys, u);
  });
  s.end();
}

std::vector<std::vector<double>> block_keys(const SelectProblem& p, int g, int64_t b, int block) {
  std::vector<std::vector<double>> rows;
  const int dk = p.problem().dk;
  for (int64_t j = b * block; j < std::min<int64_t>((b + 1) * block, p.list(g).len); ++j) {
    if (!reference::live(p.list(g), j)) continue;
    rows.emplace_back(p.k(g) + j * dk, p.k(g) + (j + 1) * dk);
  }
  return rows;
}

float panel_value(const float* panels, int dims, int64_t block, int d) {
  return panels[block / 64 * 64 * dims + d * 64 + block % 64];
}

void expect_summaries(const KeySummaries& s, const SelectProblem& p) {
  const int dk = p.problem().dk;
  for (int g = 0; g < p.problem().kv_heads; ++g) {
    ASSERT_EQ(s.blocks(g), (p.list(g).len + s.block() - 1) / s.block());
    for (int64_t b = 0; b < s.blocks(g); ++b) {
      const auto rows = block_keys(p, g, b, s.block());
      for (int d = 0; d < dk; ++d) {
        double sum = 0, high = rows.empty() ? 0 : -1e30, low = -high;
        for (const auto& row : rows) {
          sum += row[d];
          high = std::max(high, row[d]);
          low = std::min(low, row[d]);
        }
        const double mean = rows.empty() ? 0 : sum / static_cast<double>(rows.size());
        ASSERT_NEAR(panel_value(s.means(g), dk, b, d), mean, 1e-6) << "block " << b;
        ASSERT_EQ(panel_value(s.bounds(g), 2 * dk, b, d), high) << "block " << b;
        ASSERT_EQ(panel_value(s.bounds(g), 2 * dk, b, d + dk), low) << "block " << b;
      }
      // All pairs of a block are many.
      if (!rows.empty() && (b % 5 == 0 || b + 1 == s.blocks(g))) {
        ASSERT_NEAR(s.similarity(g)[b], reference::mean_cosine(rows), 2e-6);
      }
    }
  }
}

TEST(Summaries, equal_means_extremes_and_cosines_written_out) {
  for (const SelectCase& c : select_cases()) {
    SCOPED_TRACE(to_text(c));
    SelectProblem p(c);
    KeySummaries s(c.kv_heads, c.dk, c.seed % 2 ? 64 : 128, kAll);
    ASSERT_TRUE(s.reserve(c.slots).is_ok());
    const int64_t before = allocations;
    s.begin(p.keys());
    for (int64_t u = 0; u < s.units(); ++u) s.run(p.keys(), u);
    s.end();
    ASSERT_EQ(allocations, before);
    expect_summaries(s, p);
    if (HasFatalFailure()) return;
  }
}

TEST(Summaries, full_blocks_are_read_once_and_again_after_a_cut) {
  for (int block : {64, 128}) {
    SelectProblem p({.isa = tested_isas().back(), .heads = 2, .kv_heads = 2, .slots = 300});
    KeySummaries s(2, 64, block, kAll);
    ASSERT_TRUE(s.reserve(300).is_ok());
    update(s, p.keys(), 2);
    const int64_t first = s.computed();
    EXPECT_EQ(first, 2 * ((300 + block - 1) / block));
    p.append(9000);  // over a panel of 64 blocks: the reservation grows and keeps what is there
    ASSERT_TRUE(s.reserve(9300).is_ok());
    update(s, p.keys(), 2);
    EXPECT_EQ(s.computed() - first, 2 * ((9300 + block - 1) / block - 300 / block));
    expect_summaries(s, p);
    // The pages come back with other keys under the same handles.
    p.truncate(200);
    s.truncate(200);
    p.append(400);
    const int64_t second = s.computed();
    update(s, p.keys(), 1);
    EXPECT_EQ(s.computed() - second, 2 * ((600 + block - 1) / block - 200 / block));
    expect_summaries(s, p);
  }
}

TEST(Summaries, threads_change_no_bit_and_no_memory_is_an_error) {
  SelectProblem p(
      {.isa = tested_isas().back(), .heads = 2, .kv_heads = 2, .dk = 80, .slots = 5000});
  KeySummaries one(2, 80, 64, kAll), three(2, 80, 64, kAll);
  allocations_left = 0;
  const Status status = one.reserve(5000);
  allocations_left = -1;
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  ASSERT_TRUE(one.reserve(5000).is_ok() && three.reserve(5000).is_ok());
  update(one, p.keys(), 1);
  update(three, p.keys(), 3);
  for (int g = 0; g < 2; ++g) {
    for (int64_t b = 0; b < one.blocks(g); ++b) {
      ASSERT_EQ(one.similarity(g)[b], three.similarity(g)[b]);
      for (int d = 0; d < 80; ++d) {
        ASSERT_EQ(panel_value(one.means(g), 80, b, d), panel_value(three.means(g), 80, b, d));
      }
    }
  }
}

TEST(Summaries, a_zero_key_makes_the_similarity_nan_and_a_center_moves_it) {
  for (Isa isa : tested_isas()) {
    SelectProblem p({.isa = isa, .format = Format::kF32, .heads = 1, .slots = 100});
    const auto rows = block_keys(p, 0, 1, 64);
    std::vector<float> center(64);
    for (int d = 0; d < 64; ++d) center[d] = static_cast<float>(random_normal(3, d));
    auto moved = rows;
    for (auto& row : moved) {
      for (int d = 0; d < 64; ++d) row[d] -= center[d];
    }
    EXPECT_NEAR(self_similarity(p.keys(), 0, 1, 64, center.data()), reference::mean_cosine(moved),
                2e-6);
    EXPECT_NEAR(self_similarity(p.keys(), 0, 1, 64, nullptr), reference::mean_cosine(rows), 2e-6);
    std::vector<float> same(p.k(0) + 70 * 64, p.k(0) + 71 * 64);
    EXPECT_TRUE(std::isnan(self_similarity(p.keys(), 0, 1, 64, same.data())));
  }
}

TEST(Summaries, the_mean_of_all_keys_weighs_blocks_by_their_live_keys) {
  SelectProblem p({.isa = tested_isas().back(), .heads = 1, .slots = 1000, .live = true});
  KeySummaries s(1, 64, 128, kMeans);
  ASSERT_TRUE(s.reserve(1000).is_ok());
  update(s, p.keys(), 1);
  std::vector<float> mean(64);
  mean_of_keys(s, p.list(0), 0, mean.data());
  const auto rows = block_keys(p, 0, 0, 1000);
  for (int d = 0; d < 64; ++d) {
    double sum = 0;
    for (const auto& row : rows) sum += row[d];
    ASSERT_NEAR(mean[d], sum / static_cast<double>(rows.size()), 1e-6);
  }
}

TEST(Summaries, queries_are_pooled_by_position) {
  for (Isa isa : tested_isas()) {
    for (int dk : {64, 80, 96, 128, 256}) {
      SelectProblem p({.isa = isa, .heads = 3, .dk = dk, .slots = 500, .rows = 333});
      const QueryBlocks blocks = query_blocks(p.first(), 333, 128);  // 167 .. 499
      ASSERT_EQ(blocks.first, 1);
      ASSERT_EQ(blocks.count, 3);
      GuardMemory mean(sizeof(float) * 9 * dk, GuardSide::kBehind);
      std::vector<float> similarity(9);
      const QueryPooling pool{p.q(), p.first(), 128, isa, mean.floats(), similarity.data()};
      ASSERT_EQ(pool.units(), 9);
      for (int64_t u = 0; u < 9; ++u) pool.run(u);
      for (int h = 0; h < 3; ++h) {
        for (int64_t b = 0; b < 3; ++b) {
          std::vector<std::vector<double>> rows;
          for (int64_t t = 0; t < 333; ++t) {
            if ((p.first() + t) / 128 != b + 1) continue;
            rows.emplace_back(&p.q()(t, h, 0), &p.q()(t, h, 0) + dk);
          }
          for (int d = 0; d < dk; ++d) {
            double sum = 0;
            for (const auto& row : rows) sum += row[d];
            ASSERT_NEAR(mean.floats()[(h * 3 + b) * dk + d], sum / static_cast<double>(rows.size()),
                        1e-6);
          }
          ASSERT_NEAR(similarity[h * 3 + b], reference::mean_cosine(rows), 2e-6);
        }
      }
    }
  }
}

// --- scores ----------------------------------------------------------------------------------

TEST(BlockScores, pooled_products_and_their_softmax_equal_the_formula) {
  for (const SelectCase& c : select_cases()) {
    SCOPED_TRACE(to_text(c));
    SelectProblem p(c);
    KeySummaries s(c.kv_heads, c.dk, 64, kAll);
    ASSERT_TRUE(s.reserve(c.slots).is_ok());
    update(s, p.keys(), 1);
    const int32_t blocks = s.blocks(0);
    for (int h = 0; h < c.heads; ++h) {
      const int g = p.keys().heads.kv_of(h);
      std::vector<float> out(int64_t{c.rows} * (blocks + 1), -7);
      std::vector<int32_t> visible(c.rows);
      std::vector<uint8_t> allowed(blocks, 1);
      allowed[blocks / 2] = blocks < 3;
      for (int i = 0; i < c.rows; ++i) {
        visible[i] = visible_blocks(p.list(g), p.first() + i, 64);
        int64_t last = 0;
        for (int64_t j = 0; j < c.slots; ++j) {
          if (reference::position(p.list(g), j) <= p.first() + i) last = j;
        }
        ASSERT_EQ(visible[i], last / 64 + 1);
      }
      const AlignedMemory thread = poisoned(BlockScores::thread_bytes(c.dk));
      const BlockScores scores{c.isa,           BlockScore::kMean, &s,         g,
                               &p.q()(0, h, 0), p.q().stride[0],   c.rows,     0.5f,
                               visible.data(),  allowed.data(),    out.data(), blocks + 1};
      scores.run(thread.get());
      for (int i = 0; i < c.rows; ++i) {
        std::vector<double> want(blocks, reference::kNone);
        float* row = out.data() + int64_t{i} * (blocks + 1);
        for (int32_t b = 0; b < std::min(blocks, visible[i]); ++b) {
          if (!allowed[b]) continue;
          want[b] = 0;
          for (int d = 0; d < c.dk; ++d) {
            want[b] += 0.5 * p.q()(i, h, d) * panel_value(s.means(g), c.dk, b, d);
          }
          ASSERT_NEAR(row[b], want[b], 1e-5);
        }
        reference::softmax(want);
        softmax_row(c.isa, row, blocks);
        for (int32_t b = 0; b < blocks; ++b) ASSERT_NEAR(row[b], want[b], 1e-5 * (want[b] + 1e-3));
        ASSERT_EQ(row[blocks], -7);
      }
    }
  }
}

TEST(BlockScores, no_key_of_a_block_scores_above_its_bound) {
  for (const SelectCase& c : select_cases()) {
    SCOPED_TRACE(to_text(c));
    SelectProblem p(c);
    KeySummaries s(c.kv_heads, c.dk, 64, kExtremes);
    ASSERT_TRUE(s.reserve(c.slots).is_ok());
    update(s, p.keys(), 1);
    for (int h = 0; h < c.heads; ++h) {
      const int g = p.keys().heads.kv_of(h);
      const int32_t blocks = s.blocks(g);
      std::vector<float> out(int64_t{c.rows} * blocks);
      const AlignedMemory thread = poisoned(BlockScores::thread_bytes(c.dk));
      BlockScores scores{c.isa,           BlockScore::kBound, &s,    g,
                         &p.q()(0, h, 0), p.q().stride[0],    c.rows};
      scores.out = out.data();
      scores.out_stride = blocks;
      scores.run(thread.get());
      for (int i = 0; i < c.rows; i += 7) {
        for (int64_t b = 0; b < blocks; ++b) {
          const float bound = out[i * blocks + b];
          double exact = 0, most = -1e30;
          const auto rows = block_keys(p, g, b, 64);
          for (const auto& row : rows) {
            double dot = 0;
            for (int d = 0; d < c.dk; ++d) dot += row[d] * p.q()(i, h, d);
            most = std::max(most, dot);
          }
          for (int d = 0; d < c.dk && !rows.empty(); ++d) {
            double high = -1e30;
            for (const auto& row : rows) high = std::max(high, row[d] * p.q()(i, h, d));
            exact += high;
          }
          ASSERT_NEAR(bound, exact, 1e-5 * (1 + exact));
          ASSERT_GE(bound, most - 1e-5 * std::fabs(most));
        }
      }
    }
  }
}

TEST(BlockScores, a_row_that_sees_nothing_is_zero_after_softmax) {
  std::vector<float> row(5, -std::numeric_limits<float>::infinity());
  softmax_row(tested_isas().back(), row.data(), 5);
  EXPECT_EQ(row, std::vector<float>(5, 0.0f));
}

}  // namespace
}  // namespace heed::test
