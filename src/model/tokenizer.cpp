#include "model/tokenizer.h"

#include <algorithm>
#include <climits>
#include <exception>
#include <new>

#include "base/guard.h"
#include "base/text.h"
#include "heed/model.h"
#include "llama.h"
#include "model/library_log.h"
#include "model/model_impl.h"
#include "model/split_set.h"
#include "model/vocabulary_rules.h"

namespace heed {
namespace {

// `named`: the file has a beginning-of-text id. llama.cpp takes token 11 of byte-pair files else.
Status check_special_tokens(const llama_vocab* vocab, bool named) {
  if (llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_NONE) return Status::ok();
  const int n = llama_vocab_n_tokens(vocab);
  auto valid = [n](llama_token t) { return t >= 0 && t < n; };
  const bool has_bos =
      valid(llama_vocab_bos(vocab)) && (named || llama_vocab_type(vocab) != LLAMA_VOCAB_TYPE_BPE);
  if (llama_vocab_get_add_bos(vocab) && !has_bos) {
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

// llama.cpp catches its own shortages and keeps their text; without memory not even that.
bool tells_of_shortage(const std::string& library_error) {
  return library_error.empty() || library_error.find("bad_alloc") != std::string::npos;
}

}  // namespace

void LlamaModelFree::operator()(llama_model* model) const { llama_model_free(model); }

Result<LlamaModelPtr> load_vocabulary(const std::string& path, const CancelToken* cancel) {
  route_library_logs();
  take_library_error();
  const auto not_cancelled = [cancel] {
    return cancel != nullptr && cancel->cancelled()
               ? error(Code::kCancelled, "loading the vocabulary was cancelled")
               : Status::ok();
  };
  HEED_TRY(not_cancelled());
  bool names_bos = false;
  {
    HEED_ASSIGN(const auto file, open_model_file(path));
    const Status checked = check_vocabulary(*file);
    if (!checked.is_ok()) return checked.with_context(path);
    names_bos = file->find("tokenizer.ggml.bos_token_id") != nullptr;
  }
  HEED_TRY(not_cancelled());
  LlamaModelPtr model;
  try {
    llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    const StopLibraryLoad stop(cancel);
    model.reset(llama_model_load_from_file(path.c_str(), params));
  } catch (const std::bad_alloc&) {
    return shortage("loading the vocabulary");
  } catch (const std::exception& e) {
    return error(Code::kCorrupt, path, ": tokenizer: ", e.what());
  }
  HEED_TRY(not_cancelled());
  if (model == nullptr) {
    const std::string reason = take_library_error();
    if (tells_of_shortage(reason)) {
      return exhausted(path, ": no memory for the vocabulary; free some or take a smaller model");
    }
    return error(Code::kCorrupt, path, ": tokenizer: ", reason);
  }
  const Status special = check_special_tokens(llama_model_get_vocab(model.get()), names_bos);
  if (!special.is_ok()) return special.with_context(path);
  return model;
}

Result<std::vector<Token>> tokenize(const llama_model* vocabulary, std::string_view text,
                                    bool add_special, bool parse_special) {
  const llama_vocab* vocab = text_vocabulary(vocabulary);
  if (vocab == nullptr) {
    return Status(Code::kUnsupported, "this model file has no tokenizer; only tokens can be fed");
  }
  // One token per byte and two special ones, but for WordPiece: a word of one byte may be two
  // there.
  if (text.size() > INT32_MAX - 16) {
    return error(Code::kOutOfRange, "text of ", text.size(), " bytes; at most 2 GiB are tokenised");
  }
  std::vector<Token> tokens(text.size() + 16);
  try {
    const auto fill = [&] {
      return llama_tokenize(vocab, text.data(), static_cast<int32_t>(text.size()), tokens.data(),
                            static_cast<int32_t>(tokens.size()), add_special, parse_special);
    };
    int32_t n = fill();
    if (n < 0 && n > -INT32_MAX) {  // that many are needed
      tokens.resize(static_cast<size_t>(-n));
      n = fill();
    }
    if (n < 0) {
      return error(Code::kOutOfRange, "text of ", text.size(), " bytes: llama.cpp cannot tokenise ",
                   "it; cut it into parts");
    }
    tokens.resize(static_cast<size_t>(n));
  } catch (const std::bad_alloc&) {
    return shortage("tokenising");
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

namespace {

Result<std::string> piece_of(const llama_vocab* vocab, Token token) {
  if (vocab == nullptr) return std::string();
  const int32_t count = llama_vocab_n_tokens(vocab);
  if (token < 0 || token >= count) {
    return error(Code::kOutOfRange, "token ", token, " has no text, it must be 0 to ", count - 1);
  }
  std::string text(32, '\0');
  int32_t n =
      llama_token_to_piece(vocab, token, text.data(), static_cast<int32_t>(text.size()), 0, true);
  if (n < 0) {  // that many bytes are needed
    text.resize(static_cast<size_t>(-n));
    n = llama_token_to_piece(vocab, token, text.data(), -n, 0, true);
  }
  text.resize(static_cast<size_t>(std::max(n, 0)));
  return text;
}

}  // namespace

Result<std::string> Model::piece(Token token) const {
  return guarded("the text of a token",
                 [&] { return piece_of(text_vocabulary(impl().vocab), token); });
}

bool Model::is_end(Token token) const {
  const llama_vocab* vocab = text_vocabulary(impl().vocab);
  return vocab != nullptr && token >= 0 && token < llama_vocab_n_tokens(vocab) &&
         llama_vocab_is_eog(vocab, token);
}

}  // namespace heed
