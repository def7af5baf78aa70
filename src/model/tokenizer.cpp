#include "model/tokenizer.h"

#include <climits>
#include <exception>
#include <unordered_set>

#include "base/text.h"
#include "ggml.h"
#include "gguf.h"
#include "llama.h"
#include "model/llama_log.h"

namespace heed {
namespace {

struct GgufFree {
  void operator()(gguf_context* g) const { gguf_free(g); }
};
using Gguf = std::unique_ptr<gguf_context, GgufFree>;

enum class Kind { kText, kNone };

// llama.cpp stops the process on a vocabulary with two equal tokens and assumes strings where a
// file may hold anything, so these are refused before it sees the file.
Result<Kind> check_vocabulary(const gguf_context* g) {
  const int64_t model_key = gguf_find_key(g, "tokenizer.ggml.model");
  if (model_key < 0) return Kind::kNone;
  if (gguf_get_kv_type(g, model_key) != GGUF_TYPE_STRING) {
    return Status(Code::kCorrupt, "tokenizer.ggml.model is not a string");
  }
  const std::string kind = gguf_get_val_str(g, model_key);
  if (kind == "none" || kind == "no_vocab") return Kind::kNone;
  if (kind != "gpt2" && kind != "llama") {
    return error(Code::kUnsupported, "tokenizer '", kind.substr(0, 64),
                 "' is not supported; supported are gpt2 (byte pairs) and llama (SentencePiece)");
  }
  const int64_t pre_key = gguf_find_key(g, "tokenizer.ggml.pre");
  if (pre_key >= 0 && gguf_get_kv_type(g, pre_key) != GGUF_TYPE_STRING) {
    return Status(Code::kCorrupt, "tokenizer.ggml.pre is not a string");
  }
  const int64_t key = gguf_find_key(g, "tokenizer.ggml.tokens");
  if (key < 0 || gguf_get_kv_type(g, key) != GGUF_TYPE_ARRAY ||
      gguf_get_arr_type(g, key) != GGUF_TYPE_STRING) {
    return Status(Code::kCorrupt, "tokenizer.ggml.tokens is missing or not a list of strings");
  }
  const size_t n = gguf_get_arr_n(g, key);
  if (n == 0 || n > INT32_MAX) {
    return error(Code::kCorrupt, "tokenizer.ggml.tokens has ", n, " entries");
  }
  std::unordered_set<std::string_view> seen;
  std::vector<std::string> filled;  // names that llama.cpp gives to empty entries
  seen.reserve(n);
  for (size_t i = 0; i < n; ++i) {
    const std::string_view text = gguf_get_arr_str(g, key, i);
    if (text.empty()) {
      filled.push_back(cat("[EMPTY_", i, "]"));
    } else if (!seen.insert(text).second) {
      return error(Code::kCorrupt, "tokenizer.ggml.tokens: entry ", i, " repeats an earlier one");
    }
  }
  for (const std::string& name : filled) {
    if (seen.contains(name)) {
      return error(Code::kCorrupt, "tokenizer.ggml.tokens: an empty entry would be named ", name,
                   ", which exists");
    }
  }
  return Kind::kText;
}

Status check_special_tokens(const llama_vocab* vocab) {
  const int n = llama_vocab_n_tokens(vocab);
  auto valid = [n](llama_token t) { return t >= 0 && t < n; };
  if (llama_vocab_get_add_bos(vocab) && !valid(llama_vocab_bos(vocab))) {
    return Status(Code::kCorrupt, "the file asks for a beginning-of-text token and names none");
  }
  if (llama_vocab_get_add_eos(vocab) && !valid(llama_vocab_eos(vocab))) {
    return Status(Code::kCorrupt, "the file asks for an end-of-text token and names none");
  }
  return Status::ok();
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::load(const std::string& path) {
  capture_llama_log();
  take_llama_log();
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer());
  {
    const Gguf g(gguf_init_from_file(path.c_str(), {.no_alloc = true, .ctx = nullptr}));
    if (g == nullptr) {
      return error(Code::kCorrupt, path, ": not a readable GGUF file: ", take_llama_log());
    }
    const Result<Kind> kind = check_vocabulary(g.get());
    if (!kind.is_ok()) return kind.status().with_context(path);
    if (*kind == Kind::kNone) return tokenizer;
  }
  try {
    llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    tokenizer->model_ = llama_model_load_from_file(path.c_str(), params);
  } catch (const std::exception& e) {
    return error(Code::kCorrupt, path, ": tokenizer: ", e.what());
  }
  if (tokenizer->model_ == nullptr) {
    return error(Code::kCorrupt, path, ": tokenizer: ", take_llama_log());
  }
  tokenizer->vocab_ = llama_model_get_vocab(tokenizer->model_);
  const Status special = check_special_tokens(tokenizer->vocab_);
  if (!special.is_ok()) return special.with_context(path);
  return tokenizer;
}

Tokenizer::~Tokenizer() {
  if (model_ != nullptr) llama_model_free(model_);
}

int Tokenizer::vocab_size() const {
  return vocab_ == nullptr ? 0 : llama_vocab_n_tokens(vocab_);
}

Result<std::vector<Token>> Tokenizer::tokenize(std::string_view text, bool add_special,
                                               bool parse_special) const {
  if (vocab_ == nullptr) {
    return Status(Code::kUnsupported, "this model file has no tokenizer; only tokens can be fed");
  }
  // One token per byte and two special ones is the most llama.cpp returns.
  if (text.size() > INT32_MAX - 16) {
    return error(Code::kOutOfRange, "text of ", text.size(), " bytes; at most 2 GiB are tokenised");
  }
  std::vector<Token> tokens(text.size() + 16);
  try {
    const int32_t n = llama_tokenize(vocab_, text.data(), static_cast<int32_t>(text.size()),
                                     tokens.data(), static_cast<int32_t>(tokens.size()),
                                     add_special, parse_special);
    if (n < 0) {
      return error(Code::kInternal, "tokenising ", text.size(), " bytes needs ",
                   -static_cast<int64_t>(n), " tokens, more than one a byte");
    }
    tokens.resize(static_cast<size_t>(n));
  } catch (const std::exception& e) {
    return error(Code::kCorrupt, "the vocabulary cannot express the text: ", e.what());
  }
  return tokens;
}

std::string Tokenizer::piece(Token token) const {
  if (vocab_ == nullptr || token < 0 || token >= llama_vocab_n_tokens(vocab_)) return {};
  std::string text(32, '\0');
  try {
    for (int round = 0; round < 2; ++round) {
      const int32_t n = llama_token_to_piece(vocab_, token, text.data(),
                                             static_cast<int32_t>(text.size()), 0, true);
      text.resize(static_cast<size_t>(n < 0 ? -n : n));
      if (n >= 0) return text;
    }
  } catch (const std::exception&) {  // a byte token whose name is no byte
  }
  return {};
}

bool Tokenizer::is_end(Token token) const {
  return vocab_ != nullptr && token >= 0 && token < llama_vocab_n_tokens(vocab_) &&
         llama_vocab_is_eog(vocab_, token);
}

}  // namespace heed
