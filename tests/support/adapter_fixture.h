// What tests of adapters share.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "heed/adapters.h"

namespace heed::test {

// Null without files.
inline std::shared_ptr<const Adaptation> adaptation_with(const Engine& engine,
                                                         const std::vector<ScaledFile>& loras) {
  if (loras.empty()) return nullptr;
  auto adaptation = std::make_shared<Adaptation>();
  for (const ScaledFile& file : loras) {
    const auto lora = load_lora(engine.model(), file.path);
    EXPECT_TRUE(lora.is_ok()) << lora.message();
    if (lora.is_ok()) adaptation->loras.push_back({*lora, file.scale});
  }
  return adaptation;
}

}  // namespace heed::test
