// heed show: a model file's facts, and the kernel of every weight.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "heed/cpu.h"
#include "oracle_variants.h"
#include "process.h"
#include "tiny_gguf.h"

namespace heed::test {
namespace {

nlohmann::json shown(std::vector<std::string> more, const Process::Options& options = {}) {
  std::vector<std::string> words{"show", "-m", small_model(), "-o", "json"};
  words.insert(words.end(), more.begin(), more.end());
  const Finished f = heed(words, options);
  EXPECT_EQ(f.code, 0) << f.err;
  return nlohmann::json::parse(f.out, nullptr, false);
}

// Kernel to the number of tensors that it serves.
std::map<std::string, int> kernels_of(const nlohmann::json& j) {
  std::map<std::string, int> kernels;
  for (const auto& w : j["weights"]) kernels[w["kernel"]] += w["tensors"].get<int>();
  return kernels;
}

TEST(show, a_model_has_its_facts) {
  const auto j = shown({});
  EXPECT_EQ(j["architecture"], "llama");
  EXPECT_EQ(j["file_type"], "Q4_1");
  EXPECT_EQ(j["layers"], 30);
  EXPECT_EQ(j["heads"], 9);
  EXPECT_EQ(j["kv_heads"], 3);
  EXPECT_EQ(j["dk"], 64);
  EXPECT_EQ(j["trained_context"], 8192);
  EXPECT_EQ(j["linear"], "heed");
  EXPECT_FALSE(j.contains("weights"));
}

TEST(show, experts_are_told_with_their_number_and_their_weights) {
  const tiny::TemporaryFile file(tiny::expert_spec("gpt-oss"));
  const Finished json = heed({"show", "-m", file.path(), "--weights", "-o", "json"});
  ASSERT_EQ(json.code, 0) << json.err;
  const auto j = nlohmann::json::parse(json.out, nullptr, false);
  EXPECT_EQ(j["experts"], 8);
  EXPECT_EQ(j["experts_used"], 2);
  EXPECT_EQ(j["ff"], 96);
  std::map<std::string, int> experts;
  for (const auto& w : j["weights"]) experts[w["name"]] = w["experts"].get<int>();
  EXPECT_EQ(experts["blk.*.ffn_down_exps.weight"], 8);
  EXPECT_EQ(experts["blk.*.ffn_down_exps.bias"], 8);
  EXPECT_EQ(experts["blk.*.attn_q.weight"], 1);
  const Finished text = heed({"show", "-m", file.path(), "--weights"});
  EXPECT_NE(text.out.find("8 in a layer, each with a feed-forward of 96; a token takes 2"),
            std::string::npos)
      << text.out;
  EXPECT_NE(text.out.find("96 x 64 x 8"), std::string::npos) << text.out;
}

TEST(show, every_tensor_of_the_file_has_a_kernel) {
  const auto j = shown({"--weights", "-v"});
  std::map<std::string, std::string> kernels;
  uint64_t bytes = 0;
  for (const auto& w : j["weights"]) {
    EXPECT_EQ(w["tensors"], 1);
    if (kernels.count(w["name"]) == 0) bytes += w["file_bytes"].get<uint64_t>();
    kernels[w["name"]] += w["kernel"].get<std::string>() + ";";
    EXPECT_EQ(w["resident_bytes"] == 0, w["kernel"] == "row lookup") << w;
  }
  EXPECT_EQ(kernels["token_embd.weight"], "row lookup;heed int8;");  // it serves as head too
  EXPECT_EQ(kernels["blk.0.attn_norm.weight"], "vector;");
  EXPECT_EQ(kernels["blk.29.ffn_down.weight"], "heed int8;");
  EXPECT_EQ(kernels.size(), 272u);
  const auto file = std::filesystem::file_size(small_model());
  EXPECT_LT(bytes, file);
  EXPECT_GT(bytes, file - (4 << 20));  // the rest is the header with the vocabulary
}

TEST(show, classes_hold_the_same_tensors_as_the_list) {
  const auto classes = shown({"--weights"}), each = shown({"--weights", "-v"});
  EXPECT_LT(classes["weights"].size(), 20u);
  EXPECT_EQ(kernels_of(classes), kernels_of(each));
  const auto sum = [](const nlohmann::json& j, const char* key) {
    uint64_t bytes = 0;
    for (const auto& w : j["weights"]) bytes += w[key].get<uint64_t>();
    return bytes;
  };
  for (const char* key : {"file_bytes", "resident_bytes"}) {
    EXPECT_EQ(sum(classes, key), sum(each, key)) << key;
  }
}

TEST(show, every_description_has_its_facts_and_a_kernel_for_all_its_bytes) {
  std::string last;
  for (const OracleVariant& variant : kOracleVariants) {
    const std::string& arch = variant.spec.arch;
    if (std::exchange(last, arch) == arch && !variant.spec.fused_qkv) continue;
    const tiny::File contents = tiny::make_file(variant.spec);
    const tiny::TemporaryFile file(contents);
    const Finished f = heed({"show", "-m", file.path(), "-o", "json", "--weights", "-v"});
    ASSERT_EQ(f.code, 0) << variant.name << f.err;
    const auto j = nlohmann::json::parse(f.out, nullptr, false);
    EXPECT_EQ(j["architecture"], arch);
    EXPECT_EQ(j["layers"], variant.spec.layers);
    uint64_t shown = 0, stored = variant.spec.tied ? contents.tensors[0].data.size() : 0;
    for (const auto& w : j["weights"]) shown += w["file_bytes"].get<uint64_t>();
    for (const tiny::Tensor& t : contents.tensors) stored += t.data.size();
    EXPECT_EQ(shown, stored) << variant.name;
  }
}

TEST(show, linear_decides_which_kernels_serve) {
  const auto heed_kernels = kernels_of(shown({"--weights"}));
  const auto ggml = shown({"--weights", "--linear", "ggml"});
  const auto ggml_kernels = kernels_of(ggml);
  EXPECT_EQ(ggml["linear"], "ggml plain");  // Q4_1 has no rearranged layout
  EXPECT_EQ(heed_kernels.count("ggml plain"), 0u);
  EXPECT_EQ(ggml_kernels.count("heed int8"), 0u);
  EXPECT_GT(ggml_kernels.at("ggml plain"), 200);
}

TEST(show, accurate_products_are_named_and_take_as_much_memory) {
  const auto usual = shown({"--weights"}), accurate = shown({"--weights", "--linear", "accurate"});
  EXPECT_EQ(accurate["linear"], "accurate");
  EXPECT_EQ(kernels_of(accurate).count("heed int8"), 0u);
  const Result<Isa> isa = choose_isa();
  ASSERT_TRUE(isa.is_ok()) << isa.message();
  const char* const unit = *isa == Isa::kAvx512Bf16 ? "heed bf16" : "heed fp32";
  EXPECT_EQ(kernels_of(accurate).at(unit), kernels_of(usual).at("heed int8"));
  for (size_t i = 0; i < usual["weights"].size(); ++i) {
    EXPECT_EQ(usual["weights"][i]["resident_bytes"], accurate["weights"][i]["resident_bytes"]);
  }
}

TEST(show, people_get_a_table) {
  const Finished f = heed({"show", "-m", small_model(), "--weights"});
  ASSERT_EQ(f.code, 0) << f.err;
  for (const char* text : {"9 query heads on 3 KV heads of 64", "blk.*.attn_q.weight", "576 x 1536",
                           "heed int8", "8192 tokens"}) {
    EXPECT_NE(f.out.find(text), std::string::npos) << text << "\n" << f.out;
  }
}

TEST(show, layers_that_are_alike_are_told_together) {
  tiny::Spec spec;
  spec.arch = "gemma3";
  spec.layers = 7;
  spec.window = 24;
  spec.freq_base = 1e6f;
  const tiny::TemporaryFile file(spec);
  const Finished f = heed({"show", "-m", file.path(), "-o", "json"});
  ASSERT_EQ(f.code, 0) << f.err;
  const auto classes = nlohmann::json::parse(f.out, nullptr, false)["layer_classes"];
  ASSERT_EQ(classes.size(), 2u);
  EXPECT_EQ(classes[0]["layers"], std::vector<int>({0, 1, 2, 3, 4, 6}));
  EXPECT_EQ(classes[0]["window"], 24);
  EXPECT_EQ(classes[0]["rotation"], "base 10000, 16 dims in halves");
  EXPECT_EQ(classes[1]["layers"], std::vector<int>({5}));
  EXPECT_EQ(classes[1]["window"], 0);
  EXPECT_EQ(classes[1]["rotation"], "base 1000000, 16 dims in halves");
  EXPECT_EQ(classes[1]["heads"], 4);
  EXPECT_EQ(classes[1]["kv_heads"], 2);
  const Finished text = heed({"show", "-m", file.path()});
  EXPECT_NE(text.out.find("0-4, 6 "), std::string::npos) << text.out;
}

TEST(show, rotations_say_how_they_stretch) {
  const auto rotation_of = [](const tiny::Spec& spec) {
    const tiny::TemporaryFile file(spec);
    const Finished f = heed({"show", "-m", file.path(), "-o", "json"});
    EXPECT_EQ(f.code, 0) << f.err;
    const auto j = nlohmann::json::parse(f.out, nullptr, false);
    return j["layer_classes"][0]["rotation"].get<std::string>();
  };
  EXPECT_EQ(rotation_of({}), "base 10000, 16 dims in pairs");
  EXPECT_EQ(rotation_of(test::make([](tiny::Spec& s) {
              s.rope_factor = 4;
              s.n_rot = 8;
            })),
            "base 10000, 8 dims in pairs, stretched 4 times");
  EXPECT_EQ(rotation_of(test::make([](tiny::Spec& s) {
              s.rope_scaling = "yarn";
              s.rope_factor = 4;
              s.rope_original_context = 128;
            })),
            "base 10000, 16 dims in pairs, YaRN stretches 128 4 times");
  EXPECT_EQ(rotation_of(test::make([](tiny::Spec& s) { s.rope_factors = true; })),
            "base 10000, 16 dims in pairs, factors by dimension");
  EXPECT_EQ(rotation_of(test::make([](tiny::Spec& s) {
              s.arch = "granite";
              s.unrotated = true;
            })),
            "none");
}

TEST(show, pages_cost_what_a_run_stores) {
  tiny::Spec spec;
  spec.arch = "gemma2";
  spec.layers = 4;
  spec.window = 24;  // of every second layer
  const tiny::TemporaryFile file(spec);
  const Finished f = heed({"show", "-m", file.path(), "-o", "json"});
  ASSERT_EQ(f.code, 0) << f.err;
  const auto kv = nlohmann::json::parse(f.out, nullptr, false)["kv"];
  EXPECT_EQ(kv["tokens"], 512);
  // Keys and values of 16 numbers, 2 heads, 4 layers.
  const uint64_t numbers = 2 * 16 * 2 * 4;
  for (const auto& [format, bytes] : {std::pair{"f32", 4}, {"f16", 2}, {"bf16", 2}}) {
    const auto& row = kv["formats"][format];
    EXPECT_EQ(row["bytes_per_token"], numbers * bytes);
    EXPECT_EQ(row["bytes"], numbers * bytes * 512);
    EXPECT_EQ(row["bytes_in_reach"], numbers * bytes / 2 * (512 + 23));
  }
}

TEST(show, a_prompts_peak_is_told_in_both_orders_with_the_chosen_one) {
  tiny::Spec spec;
  spec.context = 4096;
  const tiny::TemporaryFile file(spec);
  const std::vector<std::string> words{"show", "-m", file.path(), "-c", "3000"};
  std::vector<std::string> json = words;
  json.insert(json.end(), {"-o", "json"});
  const Finished f = heed(json);
  ASSERT_EQ(f.code, 0) << f.err;
  const auto j = nlohmann::json::parse(f.out, nullptr, false);
  EXPECT_EQ(j["kv"]["tokens"], 3000);
  EXPECT_EQ(j["memory"]["prompt_tokens"], 3000);
  EXPECT_EQ(j["memory"]["prefill_order"], "token");
  EXPECT_GT(j["memory"]["layer_major_peak_bytes"], j["memory"]["token_major_peak_bytes"]);
  EXPECT_GT(j["memory"]["token_major_peak_bytes"], j["memory"]["weights_bytes"]);
  const Finished text = heed(words);
  EXPECT_NE(text.out.find("peak with a prompt of 3000 tokens\n  token-major"), std::string::npos)
      << text.out;
  EXPECT_NE(text.out.find("(chosen)\n  layer-major"), std::string::npos) << text.out;
  const Finished beyond = heed({"show", "-m", file.path(), "-c", "5000"});
  EXPECT_EQ(beyond.code, 1);
  EXPECT_NE(beyond.err.find("use -c 4096 or less"), std::string::npos) << beyond.err;
}

TEST(show, what_is_no_model_is_refused) {
  EXPECT_EQ(heed({"show", "-m", "/dev/null"}).code, 1);
  EXPECT_EQ(heed({"show", "-m", "/nonexistent.gguf", "--offline"}).code, 1);
  EXPECT_EQ(heed({"show"}).code, 2);
}

}  // namespace
}  // namespace heed::test
