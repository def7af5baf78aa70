// The long grid: other cases than the quick suite's, larger ones too. 12,000 of them, so that each
// of four instruction sets gets 3,000, and all when it is forced (make test-full).
#include "attention_suite.h"

namespace heed::test {
namespace {

constexpr int kShards = 12;
constexpr uint64_t kFirst = 100'000, kCasesPerShard = 1000;
constexpr int64_t kWork = 4'000'000;

class CasesFull : public ::testing::TestWithParam<int> {};

TEST_P(CasesFull, error_at_most_twice_a_plain_implementation) {
  check_generated(kFirst + GetParam() * kCasesPerShard, kCasesPerShard, kWork);
}

INSTANTIATE_TEST_SUITE_P(Shards, CasesFull, ::testing::Range(0, kShards));

TEST(CaseGeneratorFull, latent_attention_is_split_in_many_cases) {
  EXPECT_GE(latent_splits(kFirst, kShards * kCasesPerShard, kWork), 20);
}

}  // namespace
}  // namespace heed::test
