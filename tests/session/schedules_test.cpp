// With heed's products and attention a token's logits are a function of its own sequence: whatever
// the chunks of its prompt, whatever else is decoded in its steps, however many threads.
// 70 schedules of each architecture.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "schedule_suite.h"

namespace heed {
namespace {

class ScheduleBits : public testing::TestWithParam<const char*> {};

TEST_P(ScheduleBits, logits_are_those_of_the_sequence_alone) {
  test::check_schedules(GetParam(), 10);
}

TEST_P(ScheduleBits, accurate_logits_too) {
  test::check_schedules(GetParam(), 3, Linear::kAccurate);
}

INSTANTIATE_TEST_SUITE_P(Architectures, ScheduleBits,
                         testing::Values("llama", "qwen2", "gemma3", "mistral3", "gemma2", "phi3",
                                         "olmo2", "smollm3", "qwen3moe", "gpt-oss", "deepseek2"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace heed
