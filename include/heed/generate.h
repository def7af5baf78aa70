// An answer, token by token: prefill, then sample and decode until something ends it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heed/engine.h"
#include "heed/sampling.h"
#include "heed/speculative.h"

namespace heed {

struct GenerateOptions {
  int64_t max_tokens = -1;  // -1: until an end token or the context
  SamplerOptions sampler;
  bool ignore_eos = false;  // goes into the sampler
  // Texts that end the answer and are cut off Generation::text; on_token has had them by then.
  std::vector<std::string> stops;
  DraftOptions draft;  // guesses that change nothing but the speed
  const CancelToken* cancel = nullptr;
  // Complete UTF-8 only. It may not use the engine.
  std::function<void(Token token, std::string_view text)> on_token;
  std::function<void(int64_t done, int64_t total)> on_prefill;
};

enum class StopReason { kEnd, kLength, kContext, kCancelled };
const char* stop_reason_name(StopReason reason);

struct Generation {
  std::vector<Token> tokens;
  std::string text;
  StopReason stop = StopReason::kEnd;
  int64_t prompt_tokens = 0;
  double prompt_s = 0;       // the prefill alone
  double first_token_s = 0;  // from the call to the first token
  double decode_s = 0;       // of tokens behind the first
  uint32_t seed = 0;         // of the sampling, drawn from the clock or given
  DraftReport draft;
};

// Prefill `prompt` and generate. A cancel is not an error: the text so far comes back.
Result<Generation> generate(Engine& engine, SeqId seq, std::span<const Token> prompt,
                            const GenerateOptions& options);

// n answers to one prompt, which is read once: they share its pages and are decoded together, the
// i-th with the seed of the first + i, and each is what generate() with its seed would have said.
// The first stays in `seq`, and its text alone goes to on_token. At most max_sequences. Guesses of
// all of them are checked in one step; what it has room for, Engine::kLogitRows, is shared out.
Result<std::vector<Generation>> generate_several(Engine& engine, SeqId seq,
                                                 std::span<const Token> prompt, int n,
                                                 const GenerateOptions& options);

}  // namespace heed
