// Generated problems against the fp64 oracle: every option, every instruction set of this machine,
// one to three threads. The shards run in parallel under ctest; tests/attention/full has more.
#include "attention/reference.h"
#include "attention_suite.h"

namespace heed::test {
namespace {

constexpr uint64_t kCasesPerShard = 100;
constexpr int64_t kWork = 1'500'000;

// Compares every part that the plan names; returns how many.
int64_t expect_reference(AttentionProblem& problem) {
  const Call& call = problem.call();
  std::vector<ReferenceKeys> keys;
  for (const DenseKv& kv : problem.kv()) {
    for (int g = 0; g < call.heads.n_kv; ++g) keys.push_back({kv.k[g].data(), kv.v[g].data()});
  }
  const ReferenceResult want = reference_attention(call, keys, plan_reads(problem.plan(), call));
  const PlainAttention<double> plain(call, problem.kv());
  const int64_t t_all = problem.problem().rows();
  int64_t rows = 0;
  for (const Item& item : problem.plan().items) {
    for (int bit = 0; bit < 64; ++bit) {
      if (!(item.head_mask >> bit & 1)) continue;
      const int head = head_of(call.heads, item.kv_head, bit);
      for (int i = 0; i < item.rows * call.tags; ++i, ++rows) {
        const int row = i / call.tags, tag = i % call.tags;
        const PlainRow<double> got = plain.row(problem.plan(), item, row, head, tag);
        const int64_t t = call.seqs[item.seq].first + item.row + row;
        const int64_t at = (tag * t_all + t) * call.heads.n_q + head;
        EXPECT_LE(detail::relative_l2(want.out.data() + at * call.dv, got.out.data(), call.dv),
                  1e-12);
        EXPECT_TRUE(want.lse[at] == got.lse || std::fabs(want.lse[at] - got.lse) < 1e-11);
      }
    }
  }
  return rows;
}

class Cases : public ::testing::TestWithParam<int> {};

TEST_P(Cases, error_at_most_twice_a_plain_implementation) {
  check_generated(GetParam() * kCasesPerShard, kCasesPerShard, kWork);
}

INSTANTIATE_TEST_SUITE_P(Shards, Cases, ::testing::Range(0, 8));

TEST(CaseGenerator, latent_attention_is_split_in_some_cases) {
  EXPECT_GE(latent_splits(0, 8 * kCasesPerShard, kWork), 1);
}

// Two oracles written apart agree: the one of these cases and src/attention/reference.h.
TEST(Oracle, plain_fp64_equals_the_reference) {
  const CaseGenerator generator(tested_isas(), 100'000);
  int64_t rows = 0;
  for (uint64_t i = 5000; i < 5150; ++i) {
    AttentionProblem problem(generator.make(i));
    SCOPED_TRACE(to_text(problem.problem()));
    rows += expect_reference(problem);
    if (HasFailure()) return;
  }
  EXPECT_GT(rows, 1000);
}

TEST(CaseText, lines_are_read_back) {
  const CaseGenerator generator(tested_isas(), kWork);
  for (uint64_t i = 0; i < 500; ++i) {
    const AttentionCase c = generator.make(i);
    const Result<AttentionCase> again = parse_case(to_text(c));
    ASSERT_TRUE(again.is_ok()) << again.message();
    ASSERT_EQ(to_text(*again), to_text(c));
  }
  EXPECT_EQ(parse_case("isa=scalar seqs=1x1 colour=red").code(), Code::kInvalidArgument);
  EXPECT_EQ(parse_case("isa=scalar").code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace heed::test
