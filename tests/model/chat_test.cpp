// Tool calls through templates of several families, written for this test, against llama.cpp's own
// functions in this process.
#include "heed/chat.h"

#include <chat.h>  // of llama.cpp's common code
#include <gtest/gtest.h>
#include <llama.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/random.h"
#include "model/grammar.h"
#include "model/model_impl.h"
#include "model/template.h"
#include "tiny_vocabulary.h"

namespace heed {
namespace {

// Calls between tags, as Hermes and Qwen write them.
constexpr const char* kTagged = R"(
{%- if tools %}<s>system: tools <tools>{% for t in tools %}{{ t | tojson }}{% endfor %}</tools>
{% endif %}
{%- for m in messages %}
{%- if m.role == 'tool' %}<s>user: <tool_response>{{ m.content }}</tool_response>
{% elif m.tool_calls %}<s>assistant: {{ m.content }}
{%- for c in m.tool_calls %}<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% endfor %}
{% else %}<s>{{ m.role }}: {{ m.content }}
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<s>assistant: {% endif %})";

// A list behind one mark, as Mistral's models write it.
constexpr const char* kMarked = R"(
{%- if tools %}[TOOLS]{{ tools | tojson }}[/TOOLS]{% endif %}
{%- for m in messages %}
{%- if m.role == 'user' or m.role == 'system' %}[INST]{{ m.content }}[/INST]
{%- elif m.role == 'tool' %}[RESULT]{{ m.content }}[/RESULT]
{%- elif m.tool_calls %}[CALLS][
{%- for c in m.tool_calls %}{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
{%- if not loop.last %}, {% endif %}{% endfor %}]</s>
{%- else %}{{ m.content }}</s>{% endif %}
{%- endfor %})";

// Names and values as tags, as Qwen's coders and Nemotron write them.
constexpr const char* kNamed = R"(
{%- if tools %}<s>system: {% for t in tools %}{{ t.function.name }}: {{ t.function | tojson }}{% endfor %}
{% endif %}
{%- for m in messages %}
{%- if m.tool_calls %}<s>assistant: {{ m.content }}
{%- for c in m.tool_calls %}<call><fn={{ c.function.name }}>
{%- for k, v in c.function.arguments | items %}<arg={{ k }}>{{ v if v is string else v | tojson }}</arg>{% endfor %}</fn></call>{% endfor %}
{% else %}<s>{{ m.role }}: {{ m.content }}
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<s>assistant: {% endif %})";

// One character around a call.
constexpr const char* kShort = R"(
{%- if tools %}<s>system: {% for t in tools %}{{ t | tojson }}{% endfor %}
{% endif %}
{%- for m in messages %}<s>{{ m.role }}: {{ m.content }}
{%- for c in m.tool_calls %}~{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}~{% endfor %}
{% endfor %}
{%- if add_generation_prompt %}<s>assistant: {% endif %})";

// Knows no tools.
constexpr const char* kPlain = R"(
{%- for m in messages %}<{{ m.role }}>{{ m.content }}
{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %})";

constexpr const char* kTools = R"([
  {"type": "function", "function": {"name": "weather", "description": "Of a town",
   "parameters": {"type": "object", "required": ["town"], "properties": {
     "town": {"type": "string", "maxLength": 6}, "days": {"type": "integer", "maximum": 9}}}}},
  {"type": "function", "function": {"name": "clock", "description": "The time",
   "parameters": {"type": "object", "properties": {}}}}])";

tiny::File file_with(const char* jinja) {
  tiny::File file = tiny::byte_pair_file("smollm");
  if (jinja != nullptr) file.set(tiny::text_key("tokenizer.chat_template", jinja));
  return file;
}

std::shared_ptr<Model> model_with(const char* jinja) {
  const tiny::TemporaryFile file(file_with(jinja));
  ModelOptions load;
  load.threads = 1;
  auto model = Model::load(file.path(), load);
  EXPECT_TRUE(model.is_ok()) << model.message();
  return model.is_ok() ? *model : nullptr;
}

ChatTurn said(const char* role, const char* content) {
  ChatTurn turn;
  turn.role = role;
  turn.content = content;
  return turn;
}

// A question, a call, its result, the next question.
ChatRequest conversation(ToolChoice choice) {
  ChatRequest request;
  const auto tools = parse_tools(kTools);
  EXPECT_TRUE(tools.is_ok()) << tools.message();
  request.tools = *tools;
  request.choice = choice;
  request.turns = {said("user", "Rain?"), said("assistant", ""), said("tool", "no"),
                   said("assistant", "No."), said("user", "And then?")};
  request.turns[1].tool_calls = {{"c1", "weather", R"({"town": "Ulm"})"}};
  request.turns[2].tool_call_id = "c1";
  request.turns[2].tool_name = "weather";
  return request;
}

common_chat_templates_inputs inputs_of(const ChatRequest& request) {
  common_chat_templates_inputs in;
  for (const ChatTurn& turn : request.turns) {
    common_chat_msg message;
    message.role = turn.role;
    message.content = turn.content;
    message.tool_call_id = turn.tool_call_id;
    message.tool_name = turn.tool_name;
    for (const ToolCall& c : turn.tool_calls) {
      message.tool_calls.push_back({c.name, c.arguments, c.id});
    }
    in.messages.push_back(message);
  }
  in.tools = common_chat_tools_parse_oaicompat(common_json::parse(kTools));
  in.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
  in.tool_choice = request.choice == ToolChoice::kRequired ? COMMON_CHAT_TOOL_CHOICE_REQUIRED
                   : request.choice == ToolChoice::kNone   ? COMMON_CHAT_TOOL_CHOICE_NONE
                                                           : COMMON_CHAT_TOOL_CHOICE_AUTO;
  return in;
}

struct Family {
  const char* name;
  const char* jinja;
  const char* call;  // an answer that calls
};
constexpr Family kFamilies[] = {
    {"tagged", kTagged,
     "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"town\": \"Bern\"}}\n</tool_call>"},
    {"marked", kMarked, "[CALLS][{\"name\": \"weather\", \"arguments\": {\"town\": \"Bern\"}}]"},
    {"named", kNamed, "<call><fn=weather><arg=town>Bern</arg></fn></call>"},
    {"short", kShort, "~{\"name\": \"weather\", \"arguments\": {\"town\": \"Bern\"}}~"},
    {"plain", kPlain, nullptr},
};

TEST(chat, prompts_and_grammars_are_llama_cpp_for_every_family_and_choice) {
  silence_common_log();
  for (const Family& family : kFamilies) {
    const auto model = model_with(family.jinja);
    ASSERT_NE(model, nullptr);
    const auto templates = common_chat_templates_init(model->impl().vocab, "");
    for (const ToolChoice choice : {ToolChoice::kAuto, ToolChoice::kNone, ToolChoice::kRequired}) {
      const ChatRequest request = conversation(choice);
      const auto prompt = prepare_chat(*model, request);
      ASSERT_TRUE(prompt.is_ok()) << family.name << ": " << prompt.message();
      const common_chat_params peer =
          common_chat_templates_apply(templates.get(), inputs_of(request));
      EXPECT_EQ(prompt->text, peer.prompt) << family.name;
      EXPECT_EQ(prompt->grammar.gbnf, peer.grammar) << family.name;
      EXPECT_EQ(prompt->stops, peer.additional_stops) << family.name;
      if (peer.grammar.empty()) continue;
      EXPECT_EQ(prompt->grammar.lazy, peer.grammar_lazy) << family.name;
      EXPECT_EQ(prompt->grammar.triggers.size(), peer.grammar_triggers.size()) << family.name;
      EXPECT_EQ(prompt->grammar.prefill, peer.generation_prompt) << family.name;
    }
  }
}

TEST(chat, answers_are_read_as_llama_cpp_reads_them) {
  silence_common_log();
  for (const Family& family : kFamilies) {
    const auto model = model_with(family.jinja);
    ASSERT_NE(model, nullptr);
    const ChatRequest request = conversation(ToolChoice::kAuto);
    const auto prompt = prepare_chat(*model, request);
    ASSERT_TRUE(prompt.is_ok()) << prompt.message();
    const auto templates = common_chat_templates_init(model->impl().vocab, "");
    const common_chat_params peer =
        common_chat_templates_apply(templates.get(), inputs_of(request));
    common_chat_parser_params how(peer);
    how.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
    if (!peer.parser.empty()) how.parser.load(peer.parser);
    std::vector<std::string> answers = {"It rains.", ""};
    if (family.call != nullptr) answers.push_back(family.call);
    for (const std::string& answer : answers) {
      const auto turn = parse_answer(*prompt, answer);
      ASSERT_TRUE(turn.is_ok()) << family.name << ": " << turn.message();
      const common_chat_msg theirs = common_chat_parse(answer, false, how);
      EXPECT_EQ(turn->content, theirs.content) << family.name;
      EXPECT_EQ(turn->reasoning, theirs.reasoning_content);
      ASSERT_EQ(turn->tool_calls.size(), theirs.tool_calls.size()) << family.name << answer;
      for (size_t i = 0; i < theirs.tool_calls.size(); ++i) {
        EXPECT_EQ(turn->tool_calls[i].name, theirs.tool_calls[i].name);
        EXPECT_EQ(turn->tool_calls[i].arguments, theirs.tool_calls[i].arguments);
        EXPECT_FALSE(turn->tool_calls[i].id.empty());
      }
    }
    if (family.call == nullptr) continue;
    const auto turn = parse_answer(*prompt, family.call);
    ASSERT_EQ(turn->tool_calls.size(), 1u) << family.name;
    EXPECT_EQ(turn->tool_calls[0].name, "weather");
    EXPECT_EQ(nlohmann::json::parse(turn->tool_calls[0].arguments)["town"], "Bern");
  }
}

// An answer that is pulled along `call` but for the town, which is chosen at random; where the
// grammar allows something else only, it is pulled no further.
std::string steered(const Model& model, Sampler& sampler, const std::string& call) {
  const auto id = [&](char c) {
    return static_cast<size_t>(model.tokenize(std::string(1, c), false, false)->front());
  };
  const size_t town = call.find("Bern");
  std::string answer;
  size_t at = 0;
  int free = 4;
  for (int i = 0; i < 600 && !sampler.finished(); ++i) {
    std::vector<float> logits(static_cast<size_t>(model.info().vocab), 0.0f);
    for (const char end : {'"', '\\', '<', '\n'}) logits[id(end)] = -20;
    const bool pulled = at != town || free == 0;
    if (at == town && free == 0) at += 4;
    if (at < call.size() && pulled) logits[id(call[at])] = 40;
    if (at >= call.size()) logits[0] = 40;  // the end token
    const auto token = sampler.sample(logits);
    EXPECT_TRUE(token.is_ok()) << token.message() << "\n" << answer;
    if (!token.is_ok() || model.is_end(*token)) break;
    const std::string piece = *model.piece(*token);
    answer += piece;
    if (!pulled) {
      --free;
    } else if (at < call.size() && piece == std::string(1, call[at])) {
      ++at;
    }
  }
  return answer;
}

TEST(chat, random_choices_under_the_grammar_are_calls_of_the_tool_that_was_asked_for) {
  for (const Family& family : kFamilies) {
    if (family.call == nullptr) continue;
    const auto model = model_with(family.jinja);
    ASSERT_NE(model, nullptr);
    ChatRequest request = conversation(ToolChoice::kAuto);
    ASSERT_TRUE(choose_tool("weather", request).is_ok());
    const auto prompt = prepare_chat(*model, request);
    ASSERT_TRUE(prompt.is_ok()) << family.name << ": " << prompt.message();
    ASSERT_FALSE(prompt->grammar.gbnf.empty()) << family.name;
    EXPECT_FALSE(prompt->grammar.lazy) << family.name;
    SamplerOptions options;
    options.grammar = prompt->grammar;
    options.temperature = 1;
    options.top_k = 0;
    options.top_p = 1;
    options.min_p = 0;
    options.seed = 5;
    auto sampler = Sampler::create(*model, options);
    ASSERT_TRUE(sampler.is_ok()) << family.name << ": " << sampler.message();
    const std::string answer = steered(*model, **sampler, family.call);
    const auto turn = parse_answer(*prompt, answer);
    ASSERT_TRUE(turn.is_ok()) << family.name << ": " << turn.message() << "\n" << answer;
    ASSERT_EQ(turn->tool_calls.size(), 1u) << family.name << "\n" << answer;
    EXPECT_EQ(turn->tool_calls[0].name, "weather");
    const auto arguments = nlohmann::json::parse(turn->tool_calls[0].arguments, nullptr, false);
    EXPECT_TRUE(arguments.is_object()) << answer;
    EXPECT_TRUE(arguments["town"].is_string()) << answer;
  }
}

TEST(chat, what_cannot_be_used_is_refused_with_a_reason) {
  const auto base = model_with(nullptr);
  ASSERT_NE(base, nullptr);
  const ChatRequest request = conversation(ToolChoice::kAuto);
  EXPECT_EQ(prepare_chat(*base, request).code(), Code::kUnsupported);

  ChatRequest unknown = request;
  const Status near = choose_tool("wether", unknown);
  EXPECT_NE(near.message().find("did you mean 'weather'"), std::string::npos) << near.message();
  const struct {
    std::string json;
    const char* needle;
  } kBad[] = {
      {"{", "line 1"},
      {"{}", "array"},
      {R"([{"type": "function"}])", "function"},
      {R"([{"type": "function", "function": {"name": ""}}])", "no name"},
      {R"([{"type": "function", "function": {"name": "a"}},
           {"type": "function", "function": {"name": "a"}}])",
       "twice"},
      {std::string(1 << 20, '['), "tools"},
  };
  for (const auto& bad : kBad) {
    const auto tools = parse_tools(bad.json);
    EXPECT_FALSE(tools.is_ok()) << bad.json.substr(0, 60);
    EXPECT_NE(tools.message().find(bad.needle), std::string::npos)
        << tools.message().substr(0, 200);
  }
}

TEST(chat, half_an_answer_is_read_as_far_as_it_goes) {
  const auto model = model_with(kTagged);
  ASSERT_NE(model, nullptr);
  const auto prompt = prepare_chat(*model, conversation(ToolChoice::kAuto));
  ASSERT_TRUE(prompt.is_ok()) << prompt.message();
  const auto half = parse_answer(*prompt, "<tool_call>\n{\"name\": \"weather\", \"argum", false);
  ASSERT_TRUE(half.is_ok()) << half.message();
  EXPECT_TRUE(half->content.empty()) << half->content;
}

}  // namespace
}  // namespace heed
