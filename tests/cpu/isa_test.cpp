// The choice of an instruction set: names, forcing, refusal.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "heed/cpu.h"
#include "scoped_env.h"

namespace heed {
namespace {

TEST(Isa, every_name_parses_to_itself) {
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    const Result<Isa> parsed = parse_isa(isa_name(isa));
    ASSERT_TRUE(parsed.is_ok());
    EXPECT_EQ(*parsed, isa);
  }
}

TEST(Isa, unknown_name_is_an_error_that_lists_the_known_ones) {
  const Result<Isa> parsed = parse_isa("avx1024");
  ASSERT_EQ(parsed.code(), Code::kInvalidArgument);
  EXPECT_NE(parsed.message().find("avx1024"), std::string::npos);
  EXPECT_NE(parsed.message().find("avx512_bf16"), std::string::npos);
}

TEST(Isa, support_is_cumulative_and_scalar_always_runs) {
  EXPECT_TRUE(isa_supported(Isa::kScalar));
  for (int i = 1; i < kIsaCount; ++i) {
    if (!isa_supported(static_cast<Isa>(i))) continue;
    EXPECT_TRUE(isa_supported(static_cast<Isa>(i - 1)));
  }
}

TEST(Isa, default_is_the_best_supported_one) {
  const ScopedEnv a("HEED_ISA", {}), b("HEED_FORCE_CPU_ISA", {});
  const Result<Isa> chosen = choose_isa();
  ASSERT_TRUE(chosen.is_ok());
  for (int i = static_cast<int>(*chosen) + 1; i < kIsaCount; ++i) {
    EXPECT_FALSE(isa_supported(static_cast<Isa>(i)));
  }
}

TEST(Isa, either_variable_forces_and_refuses_what_cannot_run) {
  for (const char* name : {"HEED_ISA", "HEED_FORCE_CPU_ISA"}) {
    const ScopedEnv clear("HEED_ISA", {}), clear_alias("HEED_FORCE_CPU_ISA", {});
    for (int i = 0; i < kIsaCount; ++i) {
      const Isa isa = static_cast<Isa>(i);
      const ScopedEnv force(name, isa_name(isa));
      const Result<Isa> chosen = choose_isa();
      if (isa_supported(isa)) {
        ASSERT_TRUE(chosen.is_ok());
        EXPECT_EQ(*chosen, isa);
      } else {
        EXPECT_EQ(chosen.code(), Code::kUnsupported);
        EXPECT_NE(chosen.message().find(name), std::string::npos);
      }
    }
    const ScopedEnv wrong(name, "sse9");
    EXPECT_EQ(choose_isa().code(), Code::kInvalidArgument);
  }
}

}  // namespace
}  // namespace heed
