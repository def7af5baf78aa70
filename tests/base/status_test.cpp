#include "heed/status.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

#include "base/text.h"

namespace heed {
namespace {

Result<int> half(int x) {
  if (x % 2 != 0) return error(Code::kInvalidArgument, x, " is odd");
  return x / 2;
}

Status quarter(int x, int& out) {
  HEED_ASSIGN(const int once, half(x));
  HEED_ASSIGN(out, half(once));
  return Status::ok();
}

Result<int> stop_at_the_first_error(int x, int& calls) {
  HEED_TRY(half(x));
  ++calls;
  return x;
}

TEST(Status, every_code_has_its_own_word) {
  std::set<std::string> words;
  for (int i = 0; i <= static_cast<int>(Code::kInternal); ++i) {
    words.insert(code_name(static_cast<Code>(i)));
  }
  EXPECT_EQ(words.size(), static_cast<size_t>(Code::kInternal) + 1);
  EXPECT_EQ(words.count("unknown"), 0u);
}

TEST(Status, context_keeps_the_code_and_stands_in_front) {
  const Status status = error(Code::kIo, "disk ", 3, " is gone").with_context("page 7");
  EXPECT_EQ(status.code(), Code::kIo);
  EXPECT_EQ(status.message(), "page 7: disk 3 is gone");
  EXPECT_TRUE(Status::ok().with_context("page 7").is_ok());
  EXPECT_EQ(Status::ok().with_context("page 7").message(), "");
}

TEST(Result, assign_binds_the_value_and_returns_the_first_error) {
  int out = -1;
  EXPECT_TRUE(quarter(12, out).is_ok());
  EXPECT_EQ(out, 3);
  out = -1;
  EXPECT_EQ(quarter(6, out).message(), "3 is odd");
  EXPECT_EQ(out, -1);
}

TEST(Result, try_stops_at_the_first_error) {
  int calls = 0;
  EXPECT_TRUE(stop_at_the_first_error(4, calls).is_ok());
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(stop_at_the_first_error(5, calls).code(), Code::kInvalidArgument);
  EXPECT_EQ(calls, 1);
}

TEST(Result, an_ok_status_is_not_a_value) {
  const Result<int> result{Status::ok()};
  EXPECT_FALSE(result.is_ok());
  EXPECT_EQ(result.code(), Code::kInternal);
}

TEST(Result, moves_a_value_that_cannot_be_copied) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(5));
  const std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 5);
}

}  // namespace
}  // namespace heed
