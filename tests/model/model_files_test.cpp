// Finding, listing and removing what lies in $HEED_HOME/models.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "model/pull.h"
#include "model/sha256.h"
#include "model_home.h"

namespace heed {
namespace {

namespace fs = std::filesystem;

// A catalogue of the user with one model of four bytes, served from a local file.
void write_catalogue(const ModelHome& home) {
  home.write("server/t.gguf", "GGUF");
  home.write("models.json",
             R"({"schema": 1, "models": [{"name": "tiny:1", "aliases": ["tiny"],
    "file": "t.gguf", "bytes": 4, "sha256": ")" +
                 sha256_hex("GGUF") +
                 R"(", "licence": "MIT", "sources": [{"type": "url", "url": "file://)" +
                 home.path("server/t.gguf").string() + R"("}]}]})");
}

StoredModel listed(const std::string& name) {
  const auto list = list_models();
  EXPECT_TRUE(list.is_ok()) << list.message();
  for (const StoredModel& item : *list) {
    if (item.name == name) return item;
  }
  ADD_FAILURE() << name << " is not listed";
  return {};
}

TEST(ModelFiles, a_path_is_taken_as_it_is) {
  const ModelHome home;
  home.write("x/any.gguf", "1");
  EXPECT_EQ(*resolve_model(home.path("x/any.gguf").string()), home.path("x/any.gguf"));
}

TEST(ModelFiles, a_path_that_does_not_exist_is_not_looked_up_as_a_name) {
  const ModelHome home;
  for (const std::string& path : {home.path("none.gguf").string(), std::string("none.gguf")}) {
    const auto answer = resolve_model(path);
    EXPECT_EQ(answer.code(), Code::kNotFound);
    EXPECT_NE(answer.message().find("no such file"), std::string::npos) << answer.message();
    EXPECT_EQ(ensure_model(path).message(), answer.message());
  }
  EXPECT_EQ(resolve_model(home.path().string()).code(), Code::kInvalidArgument);
  EXPECT_EQ(resolve_model("").code(), Code::kInvalidArgument);
}

TEST(ModelFiles, only_who_takes_paths_says_that_a_path_works_too) {
  const ModelHome home;
  const auto says_so = [](const std::string& message) {
    return message.find("a path to a .gguf file works too") != std::string::npos;
  };
  EXPECT_TRUE(says_so(resolve_model("nobody").message()));
  EXPECT_TRUE(says_so(ensure_model("nobody").message()));
  EXPECT_FALSE(says_so(pull_model("nobody").message())) << pull_model("nobody").message();
  EXPECT_FALSE(says_so(remove_model("nobody").message())) << remove_model("nobody").message();
}

TEST(ModelFiles, a_known_model_that_is_absent_is_answered_with_the_command) {
  const ModelHome home;
  const auto answer = resolve_model("smollm2");
  EXPECT_EQ(answer.code(), Code::kNotFound);
  EXPECT_NE(answer.message().find("heed pull smollm2:135m"), std::string::npos) << answer.message();
}

TEST(ModelFiles, ensure_pulls_what_is_missing) {
  const ModelHome home;
  write_catalogue(home);
  const auto path = ensure_model("TINY");
  ASSERT_TRUE(path.is_ok()) << path.message();
  EXPECT_EQ(ModelHome::read(*path), "GGUF");
  EXPECT_EQ(*resolve_model("tiny:1"), *path);
}

TEST(ModelFiles, a_file_of_another_length_is_not_used) {
  const ModelHome home;
  write_catalogue(home);
  home.write("models/t.gguf", "too long");
  EXPECT_EQ(resolve_model("tiny").code(), Code::kCorrupt);
  EXPECT_FALSE(listed("tiny:1").installed);
}

TEST(ModelFiles, the_list_shows_known_models_then_other_files) {
  const ModelHome home;
  write_catalogue(home);
  home.write("models/mine.gguf", "12345");
  home.write("models/.partial/t.gguf/source0", "GG");
  EXPECT_FALSE(listed("smollm2:135m").installed);
  EXPECT_EQ(listed("tiny:1").bytes, 2u);
  EXPECT_TRUE(listed("mine.gguf").installed);
  EXPECT_FALSE(listed("mine.gguf").catalogued);
  EXPECT_EQ(listed("mine.gguf").bytes, 5u);
  ASSERT_TRUE(pull_model("tiny").is_ok());
  EXPECT_TRUE(listed("tiny:1").installed);
  EXPECT_EQ(list_models()->back().name, "mine.gguf");
}

TEST(ModelFiles, remove_frees_the_file_and_what_a_pull_left) {
  const ModelHome home;
  write_catalogue(home);
  ASSERT_TRUE(pull_model("tiny").is_ok());
  home.write("models/.partial/t.gguf/source0", "GG");
  EXPECT_EQ(*remove_model("tiny"), 6u);
  EXPECT_FALSE(fs::exists(home.path("models/t.gguf")));
  EXPECT_EQ(remove_model("tiny").code(), Code::kNotFound);
}

TEST(ModelFiles, remove_takes_no_path) {
  const ModelHome home;
  home.write("keep.gguf", "1");
  fs::create_directories(home.path("models"));
  EXPECT_EQ(remove_model("../keep.gguf").code(), Code::kInvalidArgument);
  EXPECT_EQ(remove_model(home.path("keep.gguf").string()).code(), Code::kInvalidArgument);
  EXPECT_EQ(remove_model("nothing-like-it").code(), Code::kNotFound);
  EXPECT_TRUE(fs::exists(home.path("keep.gguf")));
}

}  // namespace
}  // namespace heed
