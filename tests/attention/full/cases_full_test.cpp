// The long grid: other cases than the quick suite's, larger ones too. 12,000 of them, so that each
// of four instruction sets gets 3,000, and all when it is forced (make test-full).
#include "attention_suite.h"

namespace heed::test {
namespace {

class CasesFull : public ::testing::TestWithParam<int> {};

TEST_P(CasesFull, error_at_most_twice_a_plain_implementation) {
  constexpr uint64_t kCasesPerShard = 1000;
  check_generated(100'000 + GetParam() * kCasesPerShard, kCasesPerShard, 4'000'000);
}

INSTANTIATE_TEST_SUITE_P(Shards, CasesFull, ::testing::Range(0, 12));

}  // namespace
}  // namespace heed::test
