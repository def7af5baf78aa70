// What is generated from the registry: heed mechanisms, the page of the manual, the schema.
#include "heed/mechanisms.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "process.h"

namespace heed::test {
namespace {

using Json = nlohmann::json;

Json parsed(const std::vector<std::string>& words) {
  const Finished f = heed(words);
  EXPECT_EQ(f.code, 0) << f.err;
  return Json::parse(f.out, nullptr, false);
}

TEST(mechanisms, are_listed_by_stage_with_a_line_each) {
  const Finished f = heed({"mechanisms"});
  ASSERT_EQ(f.code, 0) << f.err;
  EXPECT_EQ(f.err, "");
  for (const Mechanism* m : mechanisms()) {
    EXPECT_NE(f.out.find("  " + std::string(m->name) + " "), std::string::npos) << m->name;
    EXPECT_NE(f.out.find(m->summary), std::string::npos) << m->name;
    EXPECT_NE(f.out.find(stage_name(m->stage)), std::string::npos);
  }
}

TEST(mechanisms, each_has_a_page_with_everything_the_row_says) {
  for (const Mechanism* m : mechanisms()) {
    const Finished f = heed({"mechanisms", std::string(m->name)});
    ASSERT_EQ(f.code, 0) << f.err;
    for (const Parameter& p : m->parameters) {
      EXPECT_NE(f.out.find(p.name), std::string::npos) << p.name;
      EXPECT_NE(f.out.find(valid_values(p)), std::string::npos) << p.name;
    }
    for (const char* part : {"formula", "cost", "needs", "chunks", "paper", "revision"}) {
      EXPECT_NE(f.out.find(part), std::string::npos) << part;
    }
  }
}

TEST(mechanisms, json_has_every_row) {
  const Json all = parsed({"mechanisms", "-o", "json"});
  ASSERT_EQ(all["mechanisms"].size(), mechanisms().size());
  for (const Json& row : all["mechanisms"]) {
    EXPECT_EQ(row, parsed({"mechanisms", row["name"], "-o", "json"}));
    const auto found = find_mechanism(row["name"].get<std::string>());
    ASSERT_TRUE(found.is_ok());
    EXPECT_EQ(row["parameters"].size(), (*found)->parameters.size());
    EXPECT_EQ(row["idea"], (*found)->idea);
  }
}

TEST(mechanisms, an_unknown_one_is_refused_with_the_nearest) {
  const Finished f = heed({"mechanisms", "dens"});
  EXPECT_EQ(f.code, 1);
  EXPECT_NE(f.err.find("did you mean 'dense'?"), std::string::npos) << f.err;
  EXPECT_EQ(heed({"mechanisms", "dense", "-o", "schema"}).code, 2);
}

TEST(mechanisms, the_page_of_the_manual_is_what_the_registry_makes) {
  std::ifstream file(HEED_SOURCE_DIR "/docs/mechanisms.md");
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(heed({"mechanisms", "-o", "markdown"}).out, page)
      << "make mechanisms writes the page anew";
}

TEST(mechanisms, the_schema_names_all_of_them) {
  const Json schema = parsed({"mechanisms", "-o", "schema"});
  EXPECT_EQ(schema["type"], "object");
  EXPECT_EQ(schema["additionalProperties"], false);
  const Json& stages = schema["$defs"]["stages"]["properties"];
  for (const Mechanism* m : mechanisms()) {
    const Json& stage = stages[stage_name(m->stage)];
    EXPECT_NE(stage.dump().find('"' + std::string(m->name) + '"'), std::string::npos) << m->name;
    EXPECT_TRUE(schema["properties"].contains(stage_name(m->stage)));
  }
  EXPECT_TRUE(schema["properties"].contains("overrides"));
}

TEST(mechanisms, help_and_completion_know_their_names) {
  const Finished help = heed({"explain", "--help"});
  EXPECT_NE(help.out.find("--prefill"), std::string::npos);
  EXPECT_NE(help.out.find("dense"), std::string::npos) << help.out;
  for (const char* shell : {"bash", "zsh", "fish"}) {
    EXPECT_NE(heed({"completion", shell}).out.find("dense"), std::string::npos) << shell;
  }
}

}  // namespace
}  // namespace heed::test
