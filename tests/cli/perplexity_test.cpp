// heed perplexity as it is called: the figures, llama.cpp's beside them, and what a Ctrl-C leaves.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "process.h"
#include "tiny_gguf.h"

namespace heed::test {
namespace {

std::string document() { return std::string(HEED_SOURCE_DIR) + "/docs/demo/document.txt"; }

const std::string& tiny_model() {
  static const tiny::TemporaryFile file(tiny::Spec{
      .layers = 2, .vocab = 300, .context = 512, .text_vocabulary = true, .space_token = true});
  return file.path();
}

TEST(perplexity, prints_one_object_with_llama_cpp_beside_it) {
  for (const char* verb : {"perplexity", "ppl"}) {
    const Finished f = heed({verb, "-m", tiny_model(), "-f", document(), "-c", "64", "--chunks",
                             "3", "-t", "1", "--compare", "llama.cpp", "-o", "json"});
    ASSERT_EQ(f.code, 0) << f.err;
    const auto j = nlohmann::json::parse(f.out, nullptr, false);
    ASSERT_TRUE(j.is_object()) << f.out;
    EXPECT_EQ(j["windows_done"], 3);
    EXPECT_EQ(j["tokens"], 3 * 31);
    EXPECT_GT(j["ppl"].get<double>(), 1);
    EXPECT_GT(j["margin"].get<double>(), 0);
    EXPECT_NEAR(j["compare"]["ppl"].get<double>() / j["ppl"].get<double>(), 1, 0.05);
  }
  const Finished table = heed({"ppl", "-m", tiny_model(), "-f", document(), "-c", "64", "--chunks",
                               "2", "-t", "1", "--ppl-stride", "16", "--compare", "llama.cpp"});
  EXPECT_EQ(table.code, 0) << table.err;
  for (const char* needle : {"stride 16", "windows of 72", "heed over llama.cpp"}) {
    EXPECT_NE(table.out.find(needle), std::string::npos) << table.out;
  }
}

TEST(perplexity, refusals_name_the_flag) {
  const std::string model = tiny_model();
  const struct {
    std::vector<std::string> flags;
    int code;
    const char* needle;
  } kBad[] = {
      {{"-f", "/no/such"}, 1, "-f /no/such"},
      {{"-f", document(), "-c", "2"}, 2, "--ctx-size"},
      {{"-f", document(), "-c", "4096"}, 1, "trained for 512"},
      {{"-f", document(), "-c", "64", "--ppl-stride", "200"}, 1, "stride of 200"},
      {{"-f", document(), "--compare", "lama.cpp"}, 2, "llama.cpp"},
  };
  for (const auto& bad : kBad) {
    std::vector<std::string> line = {"perplexity", "-m", model};
    line.insert(line.end(), bad.flags.begin(), bad.flags.end());
    const Finished f = heed(line);
    EXPECT_EQ(f.code, bad.code) << bad.needle << ": " << f.err;
    EXPECT_NE(f.err.find(bad.needle), std::string::npos) << f.err;
  }
}

TEST(perplexity, an_interrupt_prints_what_was_reached) {
  Finished f;
  // A window of a busy machine may take longer than the program waits before it ends at once.
  for (int i = 0; i < 4 && f.out.find("perplexity") == std::string::npos; ++i) {
    Process process(
        {"perplexity", "-m", small_model(), "-f", document(), "-c", "64", "--progress"});
    ASSERT_TRUE(process.wait_for("window 1 of"));
    process.signal(SIGINT);
    f = process.finish();
  }
  EXPECT_EQ(f.code, 130);
  EXPECT_NE(f.out.find("perplexity"), std::string::npos) << f.out << f.err;
  EXPECT_NE(f.err.find("interrupted after"), std::string::npos) << f.err;
}

}  // namespace
}  // namespace heed::test
