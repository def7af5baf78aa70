#include "model/tokenizer.h"

#include <algorithm>
#include <climits>
#include <exception>
#include <iterator>
#include <unordered_set>

#include "base/guard.h"
#include "base/text.h"
#include "ggml.h"
#include "gguf.h"
#include "heed/engine.h"
#include "llama.h"
#include "model/library_log.h"
#include "model/model_impl.h"

namespace heed {
namespace {

struct GgufFree {
  void operator()(gguf_context* g) const { gguf_free(g); }
};
using Gguf = std::unique_ptr<gguf_context, GgufFree>;

Result<std::string> string_value(const gguf_context* g, const char* key) {
  const int64_t id = gguf_find_key(g, key);
  if (id < 0) return std::string();
  if (gguf_get_kv_type(g, id) != GGUF_TYPE_STRING) {
    return error(Code::kCorrupt, key, " is not a string");
  }
  return std::string(gguf_get_val_str(g, id));
}

// llama.cpp asserts that all tokens differ; it names empty ones [EMPTY_i] first.
Status check_tokens_differ(const gguf_context* g, int64_t key) {
  const size_t n = gguf_get_arr_n(g, key);
  if (n == 0 || n > INT32_MAX) {
    return error(Code::kCorrupt, "tokenizer.ggml.tokens has ", n, " entries");
  }
  std::unordered_set<std::string_view> seen;
  std::vector<std::string> filled;
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
  return Status::ok();
}

// How byte-pair tokenizers cut text into words. llama.cpp runs all others through std::regex, which
// takes stack for every character of a word: 50,000 equal ones end the process. These have cutters
// of their own there, or patterns of one character.
constexpr std::string_view kCutters[] = {
    "gpt-2",     "qwen2",     "deepseek-r1-qwen", "stablelm2", "llama3",     "llama-v3",
    "llama-bpe", "falcon3",   "falcon-h1",        "pixtral",   "smollm",     "starcoder",
    "refact",    "command-r", "codeshell",        "exaone",    "minerva-7b", "mpt",
    "olmo",      "jais",      "qwen35",           "smaug-bpe", "dbrx"};

Status check_cutter(const gguf_context* g) {
  HEED_ASSIGN(const std::string pre, string_value(g, "tokenizer.ggml.pre"));
  if (std::find(std::begin(kCutters), std::end(kCutters), pre) != std::end(kCutters)) {
    return Status::ok();
  }
  std::string known;
  for (const std::string_view name : kCutters) known += cat(known.empty() ? "" : ", ", name);
  return error(Code::kUnsupported, "tokenizer.ggml.pre is '", pre.substr(0, 64),
               "', which would need a stack as long as the text; supported are ", known,
               "; convert the model again with the name that fits its tokenizer");
}

Status check_special_tokens(const llama_vocab* vocab) {
  if (llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_NONE) return Status::ok();
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

// Null when the file has no vocabulary: llama.cpp's text functions would stop the process.
const llama_vocab* text_vocabulary(const llama_model* model) {
  const llama_vocab* vocab = model == nullptr ? nullptr : llama_model_get_vocab(model);
  return vocab == nullptr || llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_NONE ? nullptr : vocab;
}

}  // namespace

void LlamaModelFree::operator()(llama_model* model) const { llama_model_free(model); }

Status check_vocabulary(const gguf_context* file) {
  HEED_ASSIGN(const std::string kind, string_value(file, "tokenizer.ggml.model"));
  if (kind.empty() || kind == "none" || kind == "no_vocab") return Status::ok();
  if (kind != "gpt2" && kind != "llama") {
    return error(Code::kUnsupported, "tokenizer '", kind.substr(0, 64),
                 "' is not supported; supported are gpt2 (byte pairs) and llama (SentencePiece)");
  }
  if (kind == "gpt2") HEED_TRY(check_cutter(file));
  const int64_t key = gguf_find_key(file, "tokenizer.ggml.tokens");
  if (key < 0 || gguf_get_kv_type(file, key) != GGUF_TYPE_ARRAY ||
      gguf_get_arr_type(file, key) != GGUF_TYPE_STRING) {
    return Status(Code::kCorrupt, "tokenizer.ggml.tokens is missing or not a list of strings");
  }
  return check_tokens_differ(file, key);
}

Result<LlamaModelPtr> load_vocabulary(const std::string& path) {
  route_library_logs();
  take_library_error();
  {
    const Gguf file(gguf_init_from_file(path.c_str(), {.no_alloc = true, .ctx = nullptr}));
    if (file == nullptr) {
      return error(Code::kCorrupt, path, ": not a readable GGUF file: ", take_library_error());
    }
    const Status checked = check_vocabulary(file.get());
    if (!checked.is_ok()) return checked.with_context(path);
  }
  LlamaModelPtr model;
  try {
    llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    model.reset(llama_model_load_from_file(path.c_str(), params));
  } catch (const std::exception& e) {
    return error(Code::kCorrupt, path, ": tokenizer: ", e.what());
  }
  if (model == nullptr) return error(Code::kCorrupt, path, ": tokenizer: ", take_library_error());
  const Status special = check_special_tokens(llama_model_get_vocab(model.get()));
  if (!special.is_ok()) return special.with_context(path);
  return model;
}

Result<std::vector<Token>> tokenize(const llama_model* vocabulary, std::string_view text,
                                    bool add_special, bool parse_special) {
  const llama_vocab* vocab = text_vocabulary(vocabulary);
  if (vocab == nullptr) {
    return Status(Code::kUnsupported, "this model file has no tokenizer; only tokens can be fed");
  }
  // One token per byte and two special ones is the most llama.cpp returns.
  if (text.size() > INT32_MAX - 16) {
    return error(Code::kOutOfRange, "text of ", text.size(), " bytes; at most 2 GiB are tokenised");
  }
  std::vector<Token> tokens(text.size() + 16);
  try {
    const int32_t n =
        llama_tokenize(vocab, text.data(), static_cast<int32_t>(text.size()), tokens.data(),
                       static_cast<int32_t>(tokens.size()), add_special, parse_special);
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

Result<std::vector<Token>> Model::tokenize(std::string_view text, bool add_special,
                                           bool parse_special) const {
  return guarded("tokenising",
                 [&] { return heed::tokenize(impl().vocab, text, add_special, parse_special); });
}

std::string Model::piece(Token token) const {
  const llama_vocab* vocab = text_vocabulary(impl().vocab);
  if (vocab == nullptr || token < 0 || token >= llama_vocab_n_tokens(vocab)) return {};
  std::string text(32, '\0');
  try {
    for (int round = 0; round < 2; ++round) {
      const int32_t n = llama_token_to_piece(vocab, token, text.data(),
                                             static_cast<int32_t>(text.size()), 0, true);
      text.resize(static_cast<size_t>(n < 0 ? -n : n));
      if (n >= 0) return text;
    }
  } catch (const std::exception&) {  // a byte token whose name is no byte
  }
  return {};
}

bool Model::is_end(Token token) const {
  const llama_vocab* vocab = text_vocabulary(impl().vocab);
  return vocab != nullptr && token >= 0 && token < llama_vocab_n_tokens(vocab) &&
         llama_vocab_is_eog(vocab, token);
}

}  // namespace heed
