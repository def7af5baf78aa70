// A grammar and a text: any bytes give a grammar or an error that says where, and whatever a text
// does to a grammar ends soon. Bytes that begin with '{' are a JSON schema, which goes through
// llama.cpp's converter.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "heed/sampling.h"
#include "model/grammar_program.h"
#include "model/grammar_state.h"

namespace {

using heed::GrammarState;

// The bytes behind the grammar's end, a zero, are characters of an answer.
void walk(const heed::GrammarProgram& program, std::string_view answer) {
  GrammarState state(program);
  GrammarState::Level level, next;
  state.renew_budget(100'000);
  heed::Status status = state.start(level);
  for (const char c : answer) {
    if (!status.is_ok() || level.dead()) return;
    state.renew_budget(100'000);
    const auto character = static_cast<uint8_t>(c);
    // The same step twice, once for going back: both must come to as many places.
    status = state.step(level, character, next);
    if (!status.is_ok()) return;
    const size_t places = next.places.size();
    state.back_to(level);
    status = state.step(level, character, next);
    if (!status.is_ok() || next.places.size() != places) std::abort();
    std::swap(level, next);
    state.compact(level);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  if (all.starts_with("{")) {
    const auto gbnf = heed::grammar_of_schema(std::string(all));
    if (!gbnf.is_ok() && gbnf.message().empty()) std::abort();
    return 0;
  }
  const size_t end = all.find('\0');
  const std::string_view text = all.substr(0, end);
  const heed::GrammarLimits limits{.text = 1 << 16, .instructions = 1 << 14, .depth = 64};
  const heed::TokenByName token = [](std::string_view name) {
    return heed::Result<heed::Token>(static_cast<heed::Token>(name.size()));
  };
  const auto program = heed::GrammarProgram::parse(text, token, limits);
  if (!program.is_ok()) {
    if (program.message().empty()) std::abort();
    return 0;
  }
  if (program->code.size() > 2 * limits.instructions) std::abort();
  walk(*program, end == all.npos ? all : all.substr(end + 1));
  return 0;
}
