// The text of one user turn: -p, -f FILE and stdin put together.
#pragma once

#include <string>

#include "heed/engine.h"
#include "heed/status.h"

namespace heed::cli {

struct PromptSource {
  std::string text;  // -p or the positional prompt
  bool has_text = false;
  std::string file;     // -f; "-" is stdin, empty is none
  bool escapes = true;  // \n, \t, \\ and so on in -p, as in llama.cpp
};

// A document (-f, or stdin when it is a pipe or a file) before the question (-p), a blank line
// between them; CRLF line ends become newlines. Errors: nothing to read, an unreadable file.
Result<std::string> read_prompt(const PromptSource& source, bool quiet);

// Bytes that are no UTF-8 become U+FFFD, which is said about `name` unless quiet; a byte order mark
// goes; line ends of Windows become newlines, which is what models were trained on.
std::string clean_text(const std::string& text, const std::string& name, bool quiet);

// Backslash escapes of llama.cpp: \n \r \t \' \" \\ \xHH; anything else stays as it is.
std::string unescape(const std::string& text);

struct PromptTokens {
  std::vector<Token> tokens;
  bool templated = false;
};

// One user turn through the model's template, applied once; raw text for a base model (said on
// stderr unless quiet) or with `raw`.
Result<PromptTokens> tokenize_prompt(const Model& model, const std::string& user,
                                     const std::string& system, bool raw, bool quiet);

// How many tokens that would be, from the vocabulary alone: before the weights are read.
Result<int64_t> count_prompt_tokens(const std::string& path, const std::string& user,
                                    const std::string& system, bool raw);

}  // namespace heed::cli
