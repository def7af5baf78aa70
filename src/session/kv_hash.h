// What keys and values depend on besides tokens, as text: one fact a line, "name=value", so that a
// refusal can say which one differs. A new stage that changes keys, values or their format adds its
// lines here: to engine_lines() what holds for every sequence, to sequence_lines() what is one
// sequence's own. A fact that is off adds no line, so that what it does not touch stays valid.
#pragma once

#include <string>
#include <string_view>

#include "heed/engine.h"
#include "heed/status.h"

namespace heed {

// Raised when a line changes its meaning or the numbers behind it are computed otherwise.
inline constexpr int kKvTextVersion = 1;

// Errors: the model's file cannot be read.
Result<std::string> engine_lines(Engine::Impl& engine);
// Adapters and their scales. Equal texts within one engine: keys and values may be shared.
std::string sequence_lines(const Engine::Impl& engine, SeqId seq);

// Both, the version first.
std::string kv_text_of(std::string_view engine_lines, std::string_view sequence_lines);
Result<std::string> kv_text(Engine::Impl& engine, SeqId seq);

// Which facts differ, for a message: "k is f16 there and bf16 here; ...". Empty: the texts are
// equal.
std::string kv_difference(std::string_view there, std::string_view here);

}  // namespace heed
