// Runs generated cases and reports each failure with the line that repeats it.
//
// One line again:  HEED_CASE="isa=... seqs=..." test_attention --gtest_filter='Cases.*'
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "attention_compare.h"
#include "attention_generator.h"
#include "isa_list.h"

namespace heed::test {

// Which of the ways to make units, with another number of threads, gives other bits; null: none.
inline const char* other_bits(AttentionProblem& problem, const Output& output) {
  const int threads = 1 + problem.problem().threads % 3;
  for (const auto& [units, name] :
       {std::pair{UnitKind::kItems, "items"}, {UnitKind::kSplits, "splits"}}) {
    const Output other = problem.run(threads, units);
    const auto differs = [](const std::vector<float>& a, const std::vector<float>& b) {
      return a.size() != b.size() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) != 0;
    };
    if (differs(other.out, output.out) || differs(other.lse, output.lse)) return name;
  }
  return nullptr;
}

// True when the case passes; else a test failure was added. `worst_ratio` grows to the case's.
inline bool check_case(const AttentionCase& c, double& worst_ratio) {
  AttentionProblem problem(c);
  if (::testing::Test::HasFatalFailure()) return false;
  const Output output = problem.run(c.threads);
  if (output.out.empty()) return false;
  const Comparison result = compare(problem, output);
  worst_ratio = std::max(worst_ratio, result.worst_ratio);
  const int64_t overruns = problem.overruns();
  const char* units = other_bits(problem, output);
  if (result.failures == 0 && overruns == 0 && units == nullptr) return true;
  ADD_FAILURE() << result.failures << " of " << result.rows << " rows are wrong; "
                << result.first_failure << "; " << overruns << " floats beside the rows changed; "
                << (units ? cat("units by ", units, " give other bits") : "") << "\n  "
                << "HEED_CASE=\"" << to_text(c) << "\"";
  return false;
}

// Cases [first, first + count) of the generator, or the one of HEED_CASE. Stops after five
// failures.
inline void check_generated(uint64_t first, uint64_t count, int64_t work) {
  if (const char* line = std::getenv("HEED_CASE")) {
    const Result<AttentionCase> c = parse_case(line);
    ASSERT_TRUE(c.is_ok()) << c.message();
    double worst_ratio = 0;
    check_case(*c, worst_ratio);
    ::testing::Test::RecordProperty("worst_ratio", cat(worst_ratio));
    return;
  }
  const CaseGenerator generator(tested_isas(), work);
  int failures = 0;
  double worst_ratio = 0;
  for (uint64_t i = first; i < first + count && failures < 5; ++i) {
    failures += !check_case(generator.make(i), worst_ratio);
  }
  // How near to the limit the best-hidden error lies: below 1, and far above 0, or the limit says
  // nothing.
  ::testing::Test::RecordProperty("worst_ratio", cat(worst_ratio));
  EXPECT_LE(worst_ratio, failures > 0 ? std::numeric_limits<double>::infinity() : 1.0);
  EXPECT_GT(worst_ratio, 0.1);
}

// How many of these cases are latent attention over lists that are split and merged again.
inline int latent_splits(uint64_t first, uint64_t count, int64_t work) {
  const CaseGenerator generator(tested_isas(), work);
  int found = 0;
  for (uint64_t i = first; i < first + count; ++i) {
    const AttentionCase c = generator.make(i);
    if (!CaseGenerator::is_latent(c) || c.mask == MaskKind::kWindow) continue;
    found += std::ranges::any_of(c.seqs, [](const SeqShape& s) { return s.keys > 1024; });
  }
  return found;
}

}  // namespace heed::test
