// Answers that must match: --grammar, --json-schema and --tools as they are typed.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "process.h"
#include "refused_flags.h"
#include "tiny_vocabulary.h"

namespace heed::test {
namespace {

// A file with a text that goes away.
class TextFile {
 public:
  explicit TextFile(const std::string& text) {
    char name[] = "/tmp/heed-text-XXXXXX";
    const int fd = mkstemp(name);
    EXPECT_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    close(fd);
    path_ = name;
  }
  ~TextFile() { unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

constexpr const char* kTools =
    R"([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object",
        "required": ["days"], "properties": {"days": {"type": "integer", "maximum": 9}}}}}])";

// A model with random weights and a template that calls between tags.
const std::string& calling_model() {
  static const tiny::TemporaryFile file([] {
    tiny::File out = tiny::byte_pair_file("smollm");
    out.set(tiny::text_key(
        "tokenizer.chat_template",
        "{% for t in tools %}{{ t | tojson }}{% endfor %}{% for m in messages %}<s>{{ m.role }}: "
        "{{ m.content }}{% for c in m.tool_calls %}~{\"name\": \"{{ c.function.name }}\", "
        "\"arguments\": {{ c.function.arguments | tojson }}}~{% endfor %}\n{% endfor %}"
        "{% if add_generation_prompt %}<s>assistant: {% endif %}"));
    return out;
  }());
  return file.path();
}

TEST(grammar, refusals_come_before_a_model_is_opened_and_say_where) {
  const TextFile broken("root ::= \"a\"\nb ::= ("), schema("{\"type\": ");
  const RefusedFlags kBad[] = {
      {{"--grammar", "root ::= ["}, "--grammar: grammar, line 1, column"},
      {{"--grammar-file", broken.path()}, "line 2, column 8"},
      {{"--grammar-file", "/no/such"}, "--grammar-file /no/such"},
      {{"-j", "{\"type\": "}, "--json-schema"},
      {{"-jf", schema.path()}, schema.path().c_str()},
      {{"-j", "{}", "--grammar", "root ::= \"a\""}, "give one"},
      {{"--tools", schema.path()}, "--tools"},
      {{"--tool-choice", "required"}, "need --tools"},
  };
  expect_refused(kBad);
}

TEST(grammar, an_answer_has_the_form_that_was_asked_for) {
  const std::string model = small_model();
  const Finished word = heed({"run", "-m", model, "-p", "Is water wet?", "-q", "--temp", "0",
                              "--grammar", "root ::= \"yes\" | \"no\""});
  EXPECT_EQ(word.code, 0) << word.err;
  EXPECT_TRUE(word.out == "yes\n" || word.out == "no\n") << word.out;
  const TextFile schema(
      R"({"type": "object", "required": ["age"], "properties": {"age": {"type": "integer",
          "minimum": 0, "maximum": 120}}, "additionalProperties": false})");
  const Finished json = heed({"run", "-m", model, "-p", "Anna is 7 years old.", "-q", "-s", "3",
                              "-n", "64", "-jf", schema.path(), "-o", "json"});
  EXPECT_EQ(json.code, 0) << json.err;
  const auto result = nlohmann::json::parse(json.out, nullptr, false);
  ASSERT_TRUE(result.is_object()) << json.out;
  EXPECT_EQ(result["stop"], "end");
  const auto answer = nlohmann::json::parse(result["text"].get<std::string>(), nullptr, false);
  ASSERT_TRUE(answer.is_object()) << json.out;
  EXPECT_TRUE(answer["age"].is_number_integer()) << json.out;
}

TEST(tools, a_required_call_comes_out_as_json_with_the_arguments_of_its_schema) {
  const TextFile tools(kTools);
  // The character that begins a call is token 94; where the grammar refuses it, it is not chosen.
  const std::vector<std::string> base = {
      "run", "-m", calling_model(), "-p", "Rain?", "--tools", tools.path(), "-q", "-s",
      "4",   "-n", "300",           "-l", "94+60"};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> line = base;
    line.insert(line.end(), more.begin(), more.end());
    const Finished f = heed(line);
    EXPECT_EQ(f.code, 0) << f.err;
    return f;
  };
  for (const char* choice : {"required", "weather"}) {
    const auto calls = nlohmann::json::parse(with({"--tool-choice", choice}).out, nullptr, false);
    ASSERT_TRUE(calls.is_array());
    // llama.cpp's grammar lets more follow, and the limit of tokens may cut the last one.
    ASSERT_GE(calls.size(), 1u) << calls;
    EXPECT_EQ(calls[0]["function"]["name"], "weather");
    const auto arguments =
        nlohmann::json::parse(calls[0]["function"]["arguments"].get<std::string>(), nullptr, false);
    EXPECT_LE(arguments["days"].get<double>(), 9);
  }
  const auto all = nlohmann::json::parse(with({"--tool-choice", "required", "-o", "json"}).out);
  EXPECT_GE(all["tool_calls"].size(), 1u) << all;
  EXPECT_TRUE(all.contains("content"));
  const auto none = nlohmann::json::parse(with({"--tool-choice", "none", "-o", "json"}).out);
  EXPECT_EQ(none["tool_calls"].size(), 0u);
  EXPECT_FALSE(none["content"].get<std::string>().empty());
  std::vector<std::string> wrong = base;
  wrong.insert(wrong.end(), {"--tool-choice", "wether"});
  const Finished f = heed(wrong);
  EXPECT_EQ(f.code, 2);
  EXPECT_NE(f.err.find("did you mean 'weather'"), std::string::npos) << f.err;
}

}  // namespace
}  // namespace heed::test
