// The drafter that looks its guesses up in the text, after a shortage of memory.
#include <gtest/gtest.h>

#include "heap_counters.h"
#include "heed/speculative.h"
#include "session_fixture.h"

namespace heed {
namespace {

std::vector<Token> looked_up(Drafter& drafter, std::span<const Token> text) {
  std::vector<Token> draft;
  EXPECT_TRUE(drafter.propose(text, 8, nullptr, draft).is_ok());
  return draft;
}

TEST(LookupShortage, guesses_as_a_fresh_one_once_there_is_memory_again) {
  std::vector<Token> text = test::random_tokens(100, 1000, 1);
  const std::vector<Token> first(text.begin(), text.begin() + 40);
  text.insert(text.end(), first.end() - 3, first.end());  // the latest place, and not the best one
  const std::vector<Token> others = test::random_tokens(37, 1000, 2);
  text.insert(text.end(), others.begin(), others.end());
  text.insert(text.end(), first.end() - 10, first.end());
  const std::span<const Token> all(text);
  const auto fresh = make_lookup_drafter({});
  const std::vector<Token> expected = looked_up(**fresh, all);
  ASSERT_EQ(expected, std::vector<Token>(text.begin() + 40, text.begin() + 48));
  int refused = 0;
  const int failures = test::with_each_allocation_failing([&] {
    std::unique_ptr<Drafter> lookup;
    {
      const test::Untouched rest;
      lookup = std::move(*make_lookup_drafter({}));
      looked_up(*lookup, all.first(20));
    }
    std::vector<Token> draft;
    const Status grown = lookup->propose(all.first(135), 8, nullptr, draft);
    const test::Untouched rest;
    refused += grown.code() == Code::kResourceExhausted;
    EXPECT_EQ(looked_up(*lookup, all), expected) << refused;
  });
  EXPECT_GT(failures, 50);
  EXPECT_GT(refused, 50);
}

}  // namespace
}  // namespace heed
