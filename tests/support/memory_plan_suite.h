// The predicted peak of a run against what a process of its own really took.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "heed/engine.h"
#include "model/pull.h"
#include "session_fixture.h"

// Sanitizers keep memory of their own beside every allocation.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define HEED_TEST_RESIDENT_MEMORY 1
#endif

namespace heed::test {

inline MemoryPlan plan_of(const std::string& path, int sequences, const PlannedRun& run) {
  ModelOptions load;
  load.threads = 2;
  EngineOptions engine;
  engine.max_sequences = sequences;
  const auto plan = predict_memory(path, load, engine, run);
  EXPECT_TRUE(plan.is_ok()) << plan.message();
  return plan.is_ok() ? *plan : MemoryPlan{};
}

#ifdef HEED_TEST_RESIDENT_MEMORY
inline constexpr PlannedRun kRun{.prompt = 1072, .answer = 24};  // two chunks and a short tail

// Run by the test below in a process of its own: prints what that process took.
TEST(MemoryPlan, DISABLED_a_run_in_its_own_process) {
  const char* path = std::getenv("HEED_TEST_MODEL");
  ASSERT_NE(path, nullptr);
  EngineOptions options;
  options.max_sequences = 1;
  const auto engine = make_engine(path, options, 2);
  ASSERT_NE(engine, nullptr);
  const int vocab = engine->model().info().vocab;
  const SeqId seq = prefilled(*engine, random_tokens(kRun.prompt, vocab, 1));
  for (int i = 0; i < kRun.answer; ++i) step(*engine, seq, i);
  std::printf("peak=%llu\n", static_cast<unsigned long long>(engine->report().peak_resident));
}

inline void expect_peak_within_a_tenth(const std::string& path) {
  // A fault maps its neighbours too when the page cache has them, which the plan assumes.
  std::ifstream file(path, std::ios::binary);
  std::vector<char> piece(1 << 20);
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size()))) {
  }
  ASSERT_TRUE(file.eof()) << path;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string command = "HEED_TEST_MODEL='" + path + "' '" + self +
                              "' --gtest_also_run_disabled_tests "
                              "--gtest_filter=MemoryPlan.DISABLED_a_run_in_its_own_process";
  FILE* child = ::popen(command.c_str(), "r");
  ASSERT_NE(child, nullptr);
  std::string out;
  char block[512];
  while (std::fgets(block, sizeof(block), child) != nullptr) out += block;
  ASSERT_EQ(::pclose(child), 0) << out;
  const size_t at = out.find("peak=");
  ASSERT_NE(at, std::string::npos) << out;
  const double measured = std::stod(out.substr(at + 5));
  const auto predicted = static_cast<double>(plan_of(path, 1, kRun).peak);
  testing::Test::RecordProperty("measured_mib", std::to_string(measured / (1 << 20)));
  testing::Test::RecordProperty("predicted_mib", std::to_string(predicted / (1 << 20)));
  EXPECT_LE(std::abs(predicted - measured), 0.1 * measured)
      << "predicted " << predicted / (1 << 20) << " MiB, measured " << measured / (1 << 20);
}

class RealMemoryPlan : public ::testing::TestWithParam<const char*> {};

TEST_P(RealMemoryPlan, peak_lies_within_a_tenth_of_what_a_run_takes) {
  const auto path = ensure_model(GetParam());
  ASSERT_TRUE(path.is_ok()) << path.message();
  expect_peak_within_a_tenth(*path);
}
#endif

}  // namespace heed::test
