// What -m takes beside a file and a short name: a model in parts, and names of Ollama's.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "model/sha256.h"
#include "process.h"
#include "split_files.h"
#include "tiny_adapter.h"
#include "tiny_gguf.h"

namespace heed::test {
namespace {

const tiny::Spec kSpec{.vocab = 300, .context = 2048, .text_vocabulary = true};

nlohmann::json json_of(const std::vector<std::string>& words,
                       const Process::Options& options = {}) {
  const Finished f = heed(words, options);
  EXPECT_EQ(f.code, 0) << f.err;
  return nlohmann::json::parse(f.out, nullptr, false);
}

nlohmann::json answer(const std::string& model, const Process::Options& options = {}) {
  return json_of(
      {"run", "-m", model, "--raw", "-p", "hello", "-n", "5", "--temp", "0", "-o", "json"},
      options);
}

TEST(sources, a_model_in_parts_runs_by_the_name_of_any) {
  const tiny::File whole = tiny::make_file(kSpec);
  const tiny::TemporaryFile single(whole);
  const tiny::SplitFiles set(whole, 3);
  const auto expected = answer(single.path());
  for (const int part : {1, 2, 3}) {
    EXPECT_EQ(answer(set.path(part))["text"], expected["text"]) << part;
  }
  const auto facts = json_of({"show", "-m", set.path(2), "--weights", "-o", "json"});
  EXPECT_EQ(facts["path"], set.path(1));
  EXPECT_EQ(facts["parameters"],
            json_of({"show", "-m", single.path(), "-o", "json"})["parameters"]);
}

TEST(sources, a_model_in_parts_is_measured_beside_llama_cpp) {
  const tiny::SplitFiles set(tiny::make_file(kSpec), 2);
  const auto rows = json_of({"bench", "-m", set.path(2), "-p", "16", "-n", "2", "-r", "1", "-t",
                             "1", "--compare", "llama.cpp", "-o", "json"});
  std::map<std::string, int> engines;
  for (const auto& row : rows["rows"]) ++engines[row["engine"]];
  EXPECT_EQ(engines, (std::map<std::string, int>{{"heed", 2}, {"llama.cpp", 2}}));
}

TEST(sources, a_missing_part_is_named) {
  const tiny::SplitFiles set(tiny::make_file(kSpec), 2);
  std::filesystem::remove(set.path(1));
  const std::vector<std::vector<std::string>> verbs = {{"run", "-p", "x"}, {"show"}, {"bench"}};
  for (std::vector<std::string> words : verbs) {
    words.insert(words.end(), {"-m", set.path(2)});
    const Finished f = heed(words);
    EXPECT_EQ(f.code, 1) << words[0];
    EXPECT_NE(f.err.find(set.path(1)), std::string::npos) << f.err;
  }
}

class Ollama : public testing::Test {
 protected:
  Ollama() {
    const auto bytes = tiny::make_file(kSpec).encode().bytes;
    model_.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  nlohmann::json layer(const std::string& kind, const std::string& bytes) {
    const std::string hash = sha256_hex(bytes);
    write("blobs/sha256-" + hash, bytes);
    return {{"mediaType", "application/vnd.ollama.image." + kind},
            {"digest", "sha256:" + hash},
            {"size", bytes.size()}};
  }
  void manifest(const std::string& tag, const nlohmann::json& layers) {
    write("manifests/registry.ollama.ai/library/tiny/" + tag,
          nlohmann::json{{"layers", layers}}.dump());
  }
  void write(const std::string& name, const std::string& bytes) {
    const std::filesystem::path path = home_.path() + "/ollama/" + name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
  }

  EmptyHome home_;
  std::string model_;
};

TEST_F(Ollama, a_model_runs_and_says_which_layers_are_not_applied) {
  manifest("1b", {layer("model", model_), layer("template", "{{ .Prompt }}"),
                  layer("license", "MIT"), layer("params", "{}")});
  const tiny::TemporaryFile single(kSpec);
  const Finished f = heed({"run", "-m", "ollama:tiny:1b", "--raw", "-p", "hello", "-n", "5",
                           "--temp", "0", "-o", "json"},
                          home_.options());
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_EQ(nlohmann::json::parse(f.out)["text"], answer(single.path())["text"]);
  EXPECT_NE(f.err.find("template, params"), std::string::npos) << f.err;
  EXPECT_EQ(f.err.find("license"), std::string::npos) << f.err;
  const Finished quiet = heed(
      {"run", "-m", "ollama:tiny:1b", "--raw", "-p", "hello", "-n", "1", "-q"}, home_.options());
  EXPECT_EQ(quiet.err, "");
}

TEST_F(Ollama, a_model_with_an_adapter_runs_with_it) {
  tiny::AdapterSpec strong;
  strong.gain = 2;
  const tiny::File adapter = tiny::make_adapter(kSpec, strong);
  const auto bytes = adapter.encode().bytes;
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  manifest("tuned", {layer("model", model_), layer("adapter", text)});
  const tiny::TemporaryFile single(kSpec), file(adapter);
  const std::vector<std::string> rest = {"--raw",  "-p", "hello", "-n",   "5",
                                         "--temp", "0",  "-o",    "json", "-q"};
  const auto text_of = [&](std::vector<std::string> words) {
    words.insert(words.end(), rest.begin(), rest.end());
    return json_of(words, home_.options())["text"];
  };
  EXPECT_EQ(text_of({"run", "-m", "ollama:tiny:tuned"}),
            text_of({"run", "-m", single.path(), "--lora", file.path()}));
  const Finished f = heed({"show", "-m", "ollama:tiny:tuned"}, home_.options());
  EXPECT_EQ(f.code, 1);
  EXPECT_NE(f.err.find("has LoRA adapters"), std::string::npos) << f.err;
}

TEST_F(Ollama, a_model_is_listed_and_not_removed) {
  manifest("1b", nlohmann::json::array({layer("model", model_)}));
  const auto list = json_of({"ls", "--installed", "-o", "json"}, home_.options());
  ASSERT_EQ(list["models"].size(), 1U) << list.dump(2);
  EXPECT_EQ(list["models"][0]["name"], "ollama:tiny:1b");
  EXPECT_EQ(list["models"][0]["bytes"], model_.size());
  const Finished f = heed({"rm", "ollama:tiny:1b"}, home_.options());
  EXPECT_EQ(f.code, 1);
  EXPECT_NE(f.err.find("ollama rm tiny:1b"), std::string::npos) << f.err;
  EXPECT_EQ(json_of({"show", "-m", "ollama:tiny:1b", "-o", "json"}, home_.options())["layers"],
            kSpec.layers);
}

TEST_F(Ollama, an_unknown_name_is_answered_with_the_nearest) {
  manifest("1b", nlohmann::json::array({layer("model", model_)}));
  const Finished f = heed({"show", "-m", "ollama:tinny:1b"}, home_.options());
  EXPECT_EQ(f.code, 1);
  EXPECT_NE(f.err.find("did you mean ollama:tiny:1b?"), std::string::npos) << f.err;
}

}  // namespace
}  // namespace heed::test
