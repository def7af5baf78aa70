// Rows for tests: every written row of the source, whether its implementation is there or not, and
// rows of stages that no build has yet.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "heed/policy.h"
#include "mechanisms/row.h"

namespace heed::test {

inline constexpr Parameter kKeepParameters[] = {
    {.name = "share", .type = ParameterType::kBudget, .standard = "20%", .help = "kept"},
    {.name = "window",
     .type = ParameterType::kInt,
     .standard = "32",
     .least = 1,
     .most = 64,
     .help = "rows"},
    {.name = "exact", .type = ParameterType::kBool, .standard = "false", .help = "slower"},
};
inline constexpr Row kKeep = {
    .about = {.name = "keep",
              .aliases = "hold keep_it",
              .stage = Stage::kEvict,
              .summary = "keeps",
              .capabilities = kPerLayerPlan | kPerHead,
              .positional = "share",
              .parameters = kKeepParameters},
    .built_in = true,
};
inline constexpr Row kKeepNext = {
    .about = {.name = "keep",
              .stage = Stage::kEvict,
              .positional = "share",
              .parameters = kKeepParameters,
              .revision = 2},
    .built_in = true,
};

inline constexpr Parameter kByChunkParameters[] = {
    {.name = "chunk",
     .type = ParameterType::kInt,
     .standard = "20",
     .least = 1,
     .most = 99,
     .help = "entries"},
};
inline constexpr Row kByChunk = {
    .about = {.name = "by_chunk",
              .stage = Stage::kEvict,
              .summary = "whole chunks",
              .capabilities = kWrapper,
              .parameters = kByChunkParameters},
    .built_in = true,
};

// The source's own rows and these.
inline const Registry& all_rows() {
  static const Registry registry = [] {
    std::vector<const Row*> rows(written_rows().begin(), written_rows().end());
    rows.push_back(&kKeep);
    rows.push_back(&kByChunk);
    return Registry(rows, true);
  }();
  return registry;
}

inline Policy policy_of(std::string_view text) {
  Result<Policy> policy = Policy::parse(text, all_rows());
  EXPECT_TRUE(policy.is_ok()) << text << ": " << policy.message();
  return policy.is_ok() ? *std::move(policy) : Policy();
}

}  // namespace heed::test
