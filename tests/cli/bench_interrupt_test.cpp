// heed bench prints what it has measured: row by row in jsonl, and all of it on Ctrl-C.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "process.h"

namespace heed::test {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// Many rounds: without the interrupt this would run for an hour.
std::vector<std::string> long_run(const std::string& form) {
  return {"bench",    "kernels", "--head-sizes", "64", "--groups", "4", "--lengths", "64,128,16384",
          "--phases", "prefill", "-r",           "3",  "-t",       "1", "-o",        form};
}

TEST(bench, jsonl_rows_come_while_it_runs_and_an_interrupt_ends_them_with_the_machine) {
  Process process(long_run("jsonl"));
  ASSERT_TRUE(process.wait_for("\"length\":128", true));
  process.signal(SIGINT);
  const Finished f = process.finish();
  EXPECT_EQ(f.code, 130) << f.err;
  const auto lines = lines_of(f.out);
  ASSERT_GE(lines.size(), 2u);
  for (const std::string& line : lines) EXPECT_TRUE(nlohmann::json::accept(line)) << line;
  EXPECT_TRUE(nlohmann::json::parse(lines.back()).contains("machine"));
  EXPECT_NE(f.err.find("rows above"), std::string::npos) << f.err;
}

TEST(bench, an_interrupt_prints_the_rows_so_far_in_json) {
  Process process(long_run("json"));
  ASSERT_TRUE(process.wait_for("prefill d64 2x4 64, heed f32"));
  process.signal(SIGINT);
  const Finished f = process.finish();
  EXPECT_EQ(f.code, 130) << f.err;
  const auto report = nlohmann::json::parse(f.out, nullptr, false);
  ASSERT_TRUE(report.is_object()) << f.out;
  EXPECT_GE(report["rows"].size(), 5u);
  EXPECT_TRUE(report.contains("machine"));
}

TEST(bench, an_interrupt_keeps_the_rows_of_products_too) {
  Process process({"bench", "linears", "--types", "q4_0,f32", "--sizes", "64x64,8192x32768",
                   "--rows", "512", "-r", "1000", "-t", "1", "-o", "jsonl"});
  ASSERT_TRUE(process.wait_for("\"engine\":\"ggml plain\"", true));
  process.signal(SIGINT);
  const Finished f = process.finish();
  EXPECT_EQ(f.code, 130) << f.err;
  const auto lines = lines_of(f.out);
  ASSERT_GE(lines.size(), 3u);
  for (const std::string& line : lines) EXPECT_TRUE(nlohmann::json::accept(line)) << line;
  EXPECT_TRUE(nlohmann::json::parse(lines.back()).contains("machine"));
}

TEST(bench, an_interrupt_before_the_first_row_says_so) {
  Process process({"bench", "-m", small_model(), "-p", "512", "-n", "0", "--compare", "llama.cpp"});
  ASSERT_TRUE(process.wait_for("choosing the fastest"));
  process.signal(SIGINT);
  const Finished f = process.finish();
  EXPECT_EQ(f.code, 130) << f.err;
  EXPECT_EQ(f.out, "");
  EXPECT_NE(f.err.find("no row was measured"), std::string::npos) << f.err;
}

}  // namespace
}  // namespace heed::test
