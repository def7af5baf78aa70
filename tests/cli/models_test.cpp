// heed pull, ls, rm and doctor with the real binary.
#include <gtest/gtest.h>

#include <filesystem>

#include <nlohmann/json.hpp>

#include "heed/cpu.h"
#include "process.h"

namespace heed::test {
namespace {

TEST(ls, an_empty_home_lists_the_catalogue_as_not_here) {
  const EmptyHome home;
  const Finished f = heed({"ls", "-o", "json"}, home.options());
  ASSERT_EQ(f.code, 0) << f.err;
  const auto j = nlohmann::json::parse(f.out);
  ASSERT_GE(j["models"].size(), 3u);
  for (const auto& m : j["models"]) EXPECT_EQ(m["installed"], false);
  EXPECT_EQ(
      nlohmann::json::parse(heed({"ls", "--installed", "-o", "json"}, home.options()).out)["models"]
          .size(),
      0u);
}

TEST(ls, an_installed_model_has_its_size) {
  const std::string path = small_model();
  const auto j = nlohmann::json::parse(heed({"ls", "--installed", "-o", "json"}).out);
  bool found = false;
  for (const auto& m : j["models"]) {
    if (m["name"] != "smollm2:135m") continue;
    found = true;
    EXPECT_EQ(m["bytes"], std::filesystem::file_size(path));
  }
  EXPECT_TRUE(found);
}

TEST(rm, a_file_goes_and_an_unknown_name_is_code_1) {
  const EmptyHome home;
  std::filesystem::create_directories(home.path() + "/models");
  const std::string path = home.path() + "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  std::ofstream(path) << "12345";
  const Finished f = heed({"rm", "smollm2:135m", "-o", "json"}, home.options());
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_EQ(nlohmann::json::parse(f.out)["removed"][0]["bytes"], 5);
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_EQ(heed({"rm", "nothing-like-this"}, home.options()).code, 1);
}

TEST(pull, what_is_here_is_not_fetched_again) {
  const std::string path = small_model();
  const Finished f = heed({"pull", "smollm2:135m", "--offline", "-o", "json"});
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_EQ(nlohmann::json::parse(f.out)["path"], path);
}

TEST(pull, an_unknown_name_is_answered_with_the_nearest) {
  const Finished f = heed({"pull", "smolm2:135m", "--offline"});
  EXPECT_EQ(f.code, 1);
  EXPECT_NE(f.err.find("smollm2:135m"), std::string::npos) << f.err;
}

TEST(doctor, the_json_object_has_measured_rates_and_findings) {
  const Finished f = heed({"doctor", "-o", "json", "--rounds", "1", "-t", "1"});
  ASSERT_EQ(f.code, 0) << f.err;
  const auto j = nlohmann::json::parse(f.out);
  EXPECT_EQ(j["machine"]["threads"], 1);
  EXPECT_GT(j["machine"]["peak_gflops"]["fp32"].get<double>(), 0);
  EXPECT_GT(j["machine"]["stream_gbps"].get<double>(), 0);
  EXPECT_GT(j["memory"]["available_bytes"].get<uint64_t>(), 0u);
  EXPECT_TRUE(j["findings"].is_array());
}

TEST(doctor, huge_pages_are_reported_as_the_system_sets_them) {
  const std::string path = "/sys/kernel/mm/transparent_hugepage/enabled";
  std::string chosen;  // the word in brackets
  if (std::filesystem::exists(path)) {
    const std::string words = file_text(path);
    const size_t open = words.find('[') + 1;
    chosen = words.substr(open, words.find(']') - open);
  }
  const Finished f = heed({"doctor", "-o", "json", "--rounds", "1", "-t", "1"});
  ASSERT_EQ(f.code, 0) << f.err;
  const auto j = nlohmann::json::parse(f.out);
  EXPECT_EQ(j["memory"]["transparent_huge_pages"], chosen);
  EXPECT_TRUE(j["memory"]["huge_pages_reserved_bytes"].is_number_unsigned());
  int off = 0;
  for (const std::string finding : j["findings"]) {
    off += finding.starts_with("transparent huge pages are off");
  }
  EXPECT_EQ(off, chosen == "never" ? 1 : 0) << j["findings"];
  const Finished text = heed({"doctor", "--rounds", "1", "-t", "1"});
  EXPECT_NE(text.out.find("transparent: " + (chosen.empty() ? "unknown" : chosen)),
            std::string::npos)
      << text.out;
}

TEST(doctor, a_forced_instruction_set_is_used_and_reported) {
  const Finished f = heed({"doctor", "-o", "json", "--rounds", "1", "-t", "1"},
                          {.input = {}, .env = {{"HEED_ISA", "scalar"}}});
  ASSERT_EQ(f.code, 0) << f.err;
  const auto j = nlohmann::json::parse(f.out);
  EXPECT_EQ(j["machine"]["isa"], "scalar");
  EXPECT_NE(j["products"].get<std::string>().find("BF16 in fp32"), std::string::npos);
  int held = 0;
  for (const std::string finding : j["findings"]) {
    held += finding.starts_with("HEED_ISA holds heed at scalar");
  }
  EXPECT_EQ(held, isa_supported(Isa::kAvx2) ? 1 : 0) << j["findings"];
  const Finished wrong = heed({"doctor"}, {.input = {}, .env = {{"HEED_ISA", "avx3"}}});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_NE(wrong.err.find("avx3"), std::string::npos);
}

}  // namespace
}  // namespace heed::test
