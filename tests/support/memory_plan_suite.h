// The predicted peak of a run against what a process of its own really took.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "heed/adapters.h"
#include "heed/engine.h"
#include "model/pull.h"
#include "session_fixture.h"

// Sanitizers keep memory of their own beside every allocation.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define HEED_TEST_RESIDENT_MEMORY 1
#endif

namespace heed::test {

inline MemoryPlan plan_of(const std::string& path, int sequences, const PlannedRun& run,
                          PrefillOrder order = PrefillOrder::kAuto) {
  ModelOptions load;
  load.threads = 2;
  EngineOptions engine;
  engine.max_sequences = sequences;
  engine.prefill_order = order;
  const auto plan = predict_memory(path, load, engine, run);
  EXPECT_TRUE(plan.is_ok()) << plan.message();
  return plan.is_ok() ? *plan : MemoryPlan{};
}

#ifdef HEED_TEST_RESIDENT_MEMORY
inline constexpr PlannedRun kRun{.prompt = 1072, .answer = 24};  // two chunks and a short tail

inline std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

// Run by measured_peak in a process of its own: prints what that process took.
TEST(MemoryPlan, DISABLED_a_run_in_its_own_process) {
  const auto order = parse_prefill_order(environment("HEED_TEST_ORDER"));
  ASSERT_TRUE(order.is_ok()) << order.message();
  EngineOptions options;
  options.max_sequences = 1;
  options.prefill_order = *order;
  const auto engine = make_engine(environment("HEED_TEST_MODEL"), options, 2);
  ASSERT_NE(engine, nullptr);
  const int vocab = engine->model().info().vocab;
  const int prompt = std::stoi(environment("HEED_TEST_PROMPT"));
  const SeqId seq = engine->create_sequence().value();
  auto adaptation = std::make_shared<Adaptation>();
  if (const std::string lora = environment("HEED_TEST_LORA"); !lora.empty()) {
    adaptation->loras.push_back({load_lora(engine->model(), lora).value(), 1});
    const ScaledFile control{environment("HEED_TEST_CONTROL")};
    adaptation->control = load_control_vector(engine->model(), {&control, 1}).value();
    ASSERT_TRUE(set_adaptation(*engine, seq, adaptation).is_ok());
  }
  const Status filled = engine->prefill(seq, random_tokens(prompt, vocab, 1));
  ASSERT_TRUE(filled.is_ok()) << filled.message();
  for (int i = 0; i < kRun.answer; ++i) step(*engine, seq, i);
  std::printf("peak=%llu\n", static_cast<unsigned long long>(engine->report().peak_resident));
}

// Bytes. With a LoRA adapter, with a control vector too.
inline double measured_peak(const std::string& path, PrefillOrder order, int64_t prompt,
                            const std::string& lora = {}, const std::string& control = {}) {
  // A fault maps its neighbours too when the page cache has them, which the plan assumes.
  std::ifstream file(path, std::ios::binary);
  std::vector<char> piece(1 << 20);
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size()))) {
  }
  EXPECT_TRUE(file.eof()) << path;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string command = "HEED_TEST_MODEL='" + path +
                              "' HEED_TEST_ORDER=" + prefill_order_name(order) +
                              " HEED_TEST_PROMPT=" + std::to_string(prompt) + " HEED_TEST_LORA='" +
                              lora + "' HEED_TEST_CONTROL='" + control + "' '" + self +
                              "' --gtest_also_run_disabled_tests "
                              "--gtest_filter=MemoryPlan.DISABLED_a_run_in_its_own_process";
  FILE* child = ::popen(command.c_str(), "r");
  if (child == nullptr) return NAN;
  std::string out;
  char block[512];
  while (std::fgets(block, sizeof(block), child) != nullptr) out += block;
  EXPECT_EQ(::pclose(child), 0) << out;
  const size_t at = out.find("peak=");
  EXPECT_NE(at, std::string::npos) << out;
  return at == std::string::npos ? NAN : std::stod(out.substr(at + 5));
}

inline void expect_peak_within_a_tenth(const std::string& path, PrefillOrder order) {
  const double measured = measured_peak(path, order, kRun.prompt);
  const auto predicted = static_cast<double>(plan_of(path, 1, kRun, order).peak);
  testing::Test::RecordProperty("measured_mib", std::to_string(measured / (1 << 20)));
  testing::Test::RecordProperty("predicted_mib", std::to_string(predicted / (1 << 20)));
  EXPECT_LE(std::abs(predicted - measured), 0.1 * measured)
      << "predicted " << predicted / (1 << 20) << " MiB, measured " << measured / (1 << 20);
}

class RealMemoryPlan : public ::testing::TestWithParam<const char*> {};

TEST_P(RealMemoryPlan, peak_lies_within_a_tenth_of_what_a_run_takes) {
  const auto path = ensure_model(GetParam());
  ASSERT_TRUE(path.is_ok()) << path.message();
  for (const PrefillOrder order : {PrefillOrder::kTokenMajor, PrefillOrder::kLayerMajor}) {
    SCOPED_TRACE(prefill_order_name(order));
    expect_peak_within_a_tenth(*path, order);
  }
}
#endif

}  // namespace heed::test
