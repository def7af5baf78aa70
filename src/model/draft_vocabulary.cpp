// Whether two models speak of the same tokens.
#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "base/guard.h"
#include "base/text.h"
#include "heed/speculative.h"
#include "llama.h"
#include "model/model_impl.h"

namespace heed {
namespace {

// llama.cpp's limits: paddings differ between sizes of one family, and so do the first few control
// tokens.
constexpr int kMostExtraTokens = 128;
constexpr int kFirstCompared = 5;

struct Vocabulary {
  const llama_vocab* vocab;
  std::string path;
  int tokens;

  explicit Vocabulary(const Model& model)
      : vocab(llama_model_get_vocab(model.impl().vocab)),
        path(model.info().path),
        tokens(model.info().vocab) {}
  bool has_text() const { return llama_vocab_type(vocab) != LLAMA_VOCAB_TYPE_NONE; }
  std::string_view text(int token) const { return llama_vocab_get_text(vocab, token); }
};

template <class... Args>
Status differs(const Vocabulary& draft, const Vocabulary& target, const Args&... what) {
  return error(Code::kInvalidArgument, "the draft model ", draft.path, " cannot guess for ",
               target.path, ": ", what...,
               "; take a smaller model of the same family, or prompt lookup");
}

Status check_special(const Vocabulary& draft, const Vocabulary& target, const char* what,
                     bool (*adds)(const llama_vocab*), llama_token (*token)(const llama_vocab*)) {
  const bool adds_draft = adds(draft.vocab), adds_target = adds(target.vocab);
  const auto word = [](bool add) { return add ? "adds" : "does not add"; };
  if (adds_draft != adds_target) {
    return differs(draft, target, "it ", word(adds_draft), " a token for the ", what,
                   " of a text, the other ", word(adds_target), " one");
  }
  if (adds_draft && token(draft.vocab) != token(target.vocab)) {
    return differs(draft, target, "the ", what, " of a text is token ", token(draft.vocab),
                   " of the one and ", token(target.vocab), " of the other");
  }
  return Status::ok();
}

Status check_vocabularies(const Vocabulary& draft, const Vocabulary& target) {
  if (std::abs(draft.tokens - target.tokens) > kMostExtraTokens) {
    return differs(draft, target, "vocabularies of ", draft.tokens, " and ", target.tokens,
                   " tokens, more than ", kMostExtraTokens, " apart");
  }
  if (llama_vocab_type(draft.vocab) != llama_vocab_type(target.vocab)) {
    return differs(draft, target, "tokenizers of different kinds");
  }
  if (!draft.has_text()) return Status::ok();
  HEED_TRY(check_special(draft, target, "beginning", llama_vocab_get_add_bos, llama_vocab_bos));
  HEED_TRY(check_special(draft, target, "end", llama_vocab_get_add_eos, llama_vocab_eos));
  const int shared =
      std::min(llama_vocab_n_tokens(draft.vocab), llama_vocab_n_tokens(target.vocab));
  for (int i = kFirstCompared; i < shared; ++i) {
    if (draft.text(i) == target.text(i)) continue;
    return differs(draft, target, "token ", i, " is '", draft.text(i), "' in the one and '",
                   target.text(i), "' in the other");
  }
  return Status::ok();
}

}  // namespace

Status check_draft_vocabulary(const Model& draft, const Model& target) {
  return guarded("comparing vocabularies",
                 [&] { return check_vocabularies(Vocabulary(draft), Vocabulary(target)); });
}

}  // namespace heed
