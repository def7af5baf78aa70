// A chat template out of a file, a conversation, or an answer to read: any bytes give text or an
// error, in the child that heed runs them in. The first byte chooses.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "heed/chat.h"
#include "model/template.h"

namespace {

heed::ChatRequest conversation(std::string_view text) {
  heed::ChatRequest request;
  heed::ChatTurn turn;
  turn.role = "user";
  turn.content = text;
  request.turns.push_back(turn);
  request.tools.push_back({"f", "a tool", R"({"type": "object", "properties": {}})"});
  return request;
}

template <class T>
void must_explain(const heed::Result<T>& result) {
  if (!result.is_ok() && result.message().empty()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  constexpr const char* kTemplate =
      "{% for t in tools %}{{ t | tojson }}{% endfor %}{% for m in messages %}<{{ m.role }}>"
      "{{ m.content }}{% for c in m.tool_calls %}<call>{\"name\": \"{{ c.function.name }}\", "
      "\"arguments\": {{ c.function.arguments | tojson }}}</call>{% endfor %}{% endfor %}";
  switch (data[0]) {
    case 't': {  // a template
      const auto prompt = heed::prepare_chat_with(std::string(text), conversation("hello"));
      must_explain(prompt);
      break;
    }
    case 'm': {  // what a person says
      const auto prompt = heed::prepare_chat_with(kTemplate, conversation(text));
      must_explain(prompt);
      const bool plain =
          std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
      if (plain && (!prompt.is_ok() || prompt->text.find(text) == std::string::npos)) std::abort();
      break;
    }
    case 'a': {  // what a model says
      static const auto prompt = heed::prepare_chat_with(kTemplate, conversation("hello"));
      if (!prompt.is_ok()) std::abort();
      must_explain(heed::parse_answer(*prompt, text));
      must_explain(heed::parse_answer(*prompt, text, false));
      break;
    }
    case 'j':  // tools
      must_explain(heed::parse_tools(text));
      break;
    default: break;
  }
  return 0;
}
