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

// The same with a token for every byte, so that any text has tokens.
inline File all_bytes_file(const std::string& pre) {
  Spec spec;
  spec.vocab = 320;
  File file = make_file(spec);
  std::vector<std::string> tokens = {"<end>"};
  const auto spelled = [](int point) {  // below U+0800
    return point < 0x80 ? std::string(1, static_cast<char>(point))
                        : std::string{static_cast<char>(0xC0 | point >> 6),
                                      static_cast<char>(0x80 | (point & 0x3F))};
  };
  int stand_in = 256;  // GPT-2's alphabet: what is not printable in Latin-1 comes from U+0100 on
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
    tokens.push_back(spelled(printable ? byte : stand_in++));
  }
  tokens.insert(tokens.end(), {"aa", "aaaa", "\u0120\u0120", "\u0120a", "11", "--", "ab"});
  while (tokens.size() < 320) tokens.push_back("w" + std::to_string(tokens.size()));
  file.set(text_key("tokenizer.ggml.model", "gpt2"));
  file.set(text_key("tokenizer.ggml.pre", pre));
  file.set(texts_key("tokenizer.ggml.tokens", tokens));
  file.set(texts_key("tokenizer.ggml.merges",
                     {"a a", "aa aa", "\u0120 \u0120", "\u0120 a", "1 1", "- -", "a b"}));
  file.set(u32_key("tokenizer.ggml.bos_token_id", 0));
  file.set(u32_key("tokenizer.ggml.eos_token_id", 0));
  return file;
}

}  // namespace heed::tiny
