// Models read from a store of Ollama's, as its own program lays one out.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "heed/model.h"
#include "model/ollama_store.h"
#include "model/pull.h"
#include "model/sha256.h"
#include "model_home.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kType = "application/vnd.ollama.image.";

class OllamaStore : public testing::Test {
 protected:
  OllamaStore() {
    const auto bytes = tiny::make_file(tiny::small_spec()).encode().bytes;
    model_.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  // A blob and its entry in a manifest.
  Json layer(const std::string& kind, const std::string& bytes) const {
    const std::string hash = sha256_hex(bytes);
    home_.write("ollama/blobs/sha256-" + hash, bytes);
    return {{"mediaType", kType + kind}, {"digest", "sha256:" + hash}, {"size", bytes.size()}};
  }
  std::string blob(const std::string& bytes) const {
    return home_.path("ollama/blobs/sha256-" + sha256_hex(bytes));
  }
  void manifest(const std::string& path, const Json& layers) const {
    const Json json = {
        {"schemaVersion", 2},
        {"mediaType", "application/vnd.docker.distribution.manifest.v2+json"},
        {"config", {{"mediaType", "application/vnd.docker.container.image.v1+json"}}},
        {"layers", layers}};
    home_.write("ollama/manifests/" + path, json.dump());
  }
  void add(const std::string& path) const { manifest(path, Json::array({layer("model", model_)})); }

  ModelHome home_;
  std::string model_;  // bytes of a GGUF file
};

TEST_F(OllamaStore, every_spelling_of_a_name_finds_its_model) {
  const struct {
    const char *path, *full, *shortest;
  } kNames[] = {
      {"registry.ollama.ai/library/tiny/latest", "ollama:registry.ollama.ai/library/tiny:latest",
       "ollama:tiny"},
      {"registry.ollama.ai/library/tiny/1b-q4_K_M", "ollama:library/tiny:1b-q4_K_M",
       "ollama:tiny:1b-q4_K_M"},
      {"registry.ollama.ai/someone/tiny/v1", "ollama:registry.ollama.ai/someone/tiny:v1",
       "ollama:someone/tiny:v1"},
      {"hf.co/a.b/c_d-GGUF/Q4_0", "ollama:hf.co/a.b/c_d-GGUF:Q4_0",
       "ollama:hf.co/a.b/c_d-GGUF:Q4_0"},
      {"localhost:5000/library/tiny/latest", "ollama:localhost:5000/library/tiny:latest",
       "ollama:localhost:5000/library/tiny"},
  };
  for (const auto& name : kNames) {
    const std::string bytes = model_ + name.path;
    manifest(name.path, Json::array({layer("model", bytes)}));
    for (const char* spelling : {name.full, name.shortest}) {
      const auto model = find_ollama_model(spelling);
      ASSERT_TRUE(model.is_ok()) << model.message();
      EXPECT_EQ(model->path, blob(bytes)) << spelling;
      EXPECT_EQ(*resolve_model(spelling), blob(bytes));
    }
  }
  EXPECT_EQ(list_ollama_models().size(), std::size(kNames));
}

TEST_F(OllamaStore, its_models_load_and_are_listed) {
  add("registry.ollama.ai/library/tiny/1b");
  const auto model = Model::load(*resolve_model("ollama:tiny:1b"), {});
  ASSERT_TRUE(model.is_ok()) << model.message();
  const auto list = list_models();
  ASSERT_TRUE(list.is_ok()) << list.message();
  EXPECT_EQ(list->back().name, "ollama:tiny:1b");
  EXPECT_EQ(list->back().path, blob(model_));
  EXPECT_EQ(list->back().bytes, model_.size());
  EXPECT_TRUE(list->back().installed);
  EXPECT_FALSE(list->back().catalogued);
  EXPECT_NE(list->back().about.find("Ollama"), std::string::npos);
}

TEST_F(OllamaStore, layers_are_model_adapters_and_what_is_ignored) {
  manifest("registry.ollama.ai/library/tiny/latest",
           {layer("model", model_), layer("template", "{{ .Prompt }}"), layer("params", "{}"),
            layer("adapter", "one"), layer("license", "MIT"), layer("adapter", "two")});
  const auto model = find_ollama_model("ollama:tiny");
  ASSERT_TRUE(model.is_ok()) << model.message();
  EXPECT_EQ(model->name, "ollama:tiny:latest");
  EXPECT_EQ(model->adapters, (std::vector<std::string>{blob("one"), blob("two")}));
  EXPECT_EQ(model->ignored, (std::vector<std::string>{"template", "params"}));
  EXPECT_EQ(model->bytes, model_.size() + 6);
}

TEST_F(OllamaStore, an_unknown_name_is_answered_with_the_nearest) {
  add("registry.ollama.ai/library/smollm2/135m");
  add("registry.ollama.ai/library/llama3.2/1b");
  const auto expect = [](const char* name, const std::string& hint) {
    const auto answer = resolve_model(name);
    EXPECT_EQ(answer.code(), Code::kNotFound) << name;
    EXPECT_NE(answer.message().find(hint), std::string::npos) << answer.message();
    EXPECT_NE(answer.message().find("ollama pull "), std::string::npos) << answer.message();
    EXPECT_EQ(ensure_model(name).message(), answer.message());
  };
  expect("ollama:smolm2:135m", "did you mean ollama:smollm2:135m?");
  expect("ollama:llama3.2", "did you mean ollama:llama3.2:1b?");
  expect("ollama:phi4:14b", "it holds ollama:llama3.2:1b, ollama:smollm2:135m");
}

TEST_F(OllamaStore, names_that_lead_elsewhere_are_refused) {
  add("registry.ollama.ai/library/tiny/latest");
  for (const char* name :
       {"ollama:", "ollama:..", "ollama:tiny:", "ollama:tiny:..", "ollama:../tiny", "ollama:/tiny",
        "ollama:a/b/c/d", "ollama:../../../etc/passwd", "ollama:ti\nny", "ollama:tiny:a/b/c/d",
        "ollama:a:b:c", "ollama:.hidden", "ollama:host//tiny"}) {
    const auto answer = find_ollama_model(name);
    EXPECT_EQ(answer.code(), Code::kInvalidArgument) << name << " " << answer.message();
    EXPECT_NE(answer.message().find("[[HOST/]NAMESPACE/]NAME[:TAG]"), std::string::npos);
  }
}

TEST_F(OllamaStore, damaged_manifests_are_refused_with_the_way_out) {
  const Json good = layer("model", model_);
  const auto changed = [&good](const char* key, const Json& value) {
    Json layer = good;
    layer[key] = value;
    return Json::array({layer});
  };
  const Json broken[] = {
      changed("digest", "sha256:../../../../etc/passwd"),
      changed("digest", 7),
      changed("digest", "sha256:" + std::string(64, 'A')),
      changed("digest", "sha256:" + std::string(64, '0')),  // no such blob
      changed("size", model_.size() + 1),
      changed("size", -1),
      changed("size", "1"),
      Json::array({7}),
      Json::array({nullptr}),
      Json("layers"),
      Json(nullptr),
  };
  for (const Json& layers : broken) {
    manifest("registry.ollama.ai/library/tiny/latest", layers);
    const auto answer = find_ollama_model("ollama:tiny");
    EXPECT_EQ(answer.code(), Code::kCorrupt) << layers.dump() << " " << answer.message();
    EXPECT_NE(answer.message().find("ollama pull tiny:latest"), std::string::npos)
        << answer.message();
    EXPECT_TRUE(list_ollama_models().empty());
  }
  for (const char* text : {"", "{", "[]", "7", "{\"layers\": {}}"}) {
    home_.write("ollama/manifests/registry.ollama.ai/library/tiny/latest", text);
    EXPECT_EQ(find_ollama_model("ollama:tiny").code(), Code::kCorrupt) << text;
  }
}

TEST_F(OllamaStore, models_that_are_no_single_gguf_are_refused) {
  for (const Json& layers : {Json::array({layer("tensor", "x")}), Json::array(),
                             Json::array({layer("model", "a"), layer("model", "b")})}) {
    manifest("registry.ollama.ai/library/tiny/latest", layers);
    const auto answer = find_ollama_model("ollama:tiny");
    EXPECT_EQ(answer.code(), Code::kUnsupported) << layers.dump();
    EXPECT_NE(answer.message().find("GGUF"), std::string::npos) << answer.message();
  }
}

TEST_F(OllamaStore, nothing_in_it_is_ever_removed) {
  add("registry.ollama.ai/library/tiny/latest");
  for (const char* name : {"ollama:tiny", "ollama:library/tiny:latest"}) {
    const auto answer = remove_model(name);
    EXPECT_EQ(answer.code(), Code::kUnsupported);
    EXPECT_NE(answer.message().find("ollama rm"), std::string::npos) << answer.message();
  }
  EXPECT_TRUE(find_ollama_model("ollama:tiny").is_ok());
}

TEST_F(OllamaStore, a_machine_without_a_store_says_how_to_name_one) {
  const auto answer = find_ollama_model("ollama:tiny");
  EXPECT_EQ(answer.code(), Code::kNotFound);
  EXPECT_NE(answer.message().find("OLLAMA_MODELS"), std::string::npos) << answer.message();
  EXPECT_TRUE(list_ollama_models().empty());
  EXPECT_TRUE(list_models().is_ok());
}

TEST_F(OllamaStore, without_a_folder_of_its_own_it_is_in_the_home_folder) {
  add("registry.ollama.ai/library/tiny/latest");
  const ScopedEnv unset("OLLAMA_MODELS", "");
  const ScopedEnv home("HOME", home_.path("user").string());
  fs::create_directories(home_.path("user/.ollama"));
  fs::rename(home_.path("ollama"), home_.path("user/.ollama/models"));
  EXPECT_TRUE(find_ollama_model("ollama:tiny").is_ok())
      << find_ollama_model("ollama:tiny").message();
}

}  // namespace
}  // namespace heed
