// Tiny models whose tokenizer matters more than their weights.
#pragma once

#include <string>
#include <vector>

#include "tiny_gguf.h"

namespace heed::tiny {

// A tiny model whose byte-pair tokenizer cuts text as `pre` says.
inline File byte_pair_file(const std::string& pre) {
  Spec spec;
  spec.vocab = 128;
  File file = make_file(spec);
  std::vector<std::string> tokens = {"<end>"};
  for (char c = '!'; c <= '~'; ++c) tokens.emplace_back(1, c);
  tokens.insert(tokens.end(), {"\u0120", "\u010A", "--"});  // space, line end, a merge
  while (tokens.size() < 128) tokens.push_back("w" + std::to_string(tokens.size()));
  file.set(text_key("tokenizer.ggml.model", "gpt2"));
  file.set(text_key("tokenizer.ggml.pre", pre));
  file.set(texts_key("tokenizer.ggml.tokens", tokens));
  file.set(texts_key("tokenizer.ggml.merges", {"- -"}));
  file.set(u32_key("tokenizer.ggml.bos_token_id", 0));
  file.set(u32_key("tokenizer.ggml.eos_token_id", 0));
  return file;
}

}  // namespace heed::tiny
