// llama.cpp's tokenizer over the vocabulary of a GGUF file; the weights are not touched.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "heed/engine.h"
#include "heed/status.h"

struct llama_model;
struct llama_vocab;

namespace heed {

class Tokenizer {
 public:
  // Errors: not a GGUF; a vocabulary that contradicts itself; a tokenizer no known architecture
  // uses. A file that says it has none (`none`, `no_vocab`) loads, and its text calls fail.
  static Result<std::unique_ptr<Tokenizer>> load(const std::string& path);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  bool has_vocabulary() const { return vocab_ != nullptr; }
  int vocab_size() const;
  // `add_special`: the beginning-of-text token where the model wants one. `parse_special`: the text
  // of a control token becomes that token.
  Result<std::vector<Token>> tokenize(std::string_view text, bool add_special,
                                      bool parse_special) const;
  // Bytes of one token, control tokens included; may be part of a UTF-8 character. Empty for a
  // token outside the vocabulary.
  std::string piece(Token token) const;
  bool is_end(Token token) const;

  // For chat templates; null without a vocabulary.
  const llama_model* model() const { return model_; }

 private:
  Tokenizer() = default;
  llama_model* model_ = nullptr;
  const llama_vocab* vocab_ = nullptr;
};

}  // namespace heed
