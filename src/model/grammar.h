// A grammar over the tokens of a vocabulary: which may come next, and whether the text is complete.
#pragma once

#include <memory>
#include <optional>
#include <regex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heed/sampling.h"
#include "model/grammar_program.h"
#include "model/grammar_state.h"

struct llama_token_data;
struct llama_vocab;

namespace heed {

// The pieces of a vocabulary in the order of their bytes, so that a prefix is matched once for all
// tokens that begin with it. 262K tokens take some 0.1 s to sort: made when a choice is rejected.
struct PieceOrder {
  std::string bytes;
  std::vector<Token> tokens;
  std::vector<uint32_t> begin;   // of each in `bytes`, and the end
  std::vector<uint32_t> common;  // bytes in common with the one before
  std::vector<Token> ends;       // end tokens, which stand for no text

  static PieceOrder make(const llama_vocab* vocab);
  std::string_view piece(size_t i) const {
    return std::string_view(bytes).substr(begin[i], begin[i + 1] - begin[i]);
  }
};

class TokenGrammar {
 public:
  // Errors: the text is no grammar (with line and column), a trigger is no regular expression.
  static Result<std::unique_ptr<TokenGrammar>> create(const llama_vocab* vocab,
                                                      const GrammarOptions& options);

  // Everything is allowed until a trigger of a lazy grammar is seen.
  Result<bool> allows(Token token);
  // -infinity for what may not follow. Errors: nothing may.
  Status forbid(std::span<llama_token_data> candidates);
  // Errors: the grammar does not allow it.
  Status accept(Token token);
  // Nothing but the end may follow.
  bool finished() const { return !waiting_ && path_[0].complete && path_[0].places.empty(); }

 private:
  // A place within a character of several bytes.
  struct Partial {
    uint32_t value = 0;
    int left = 0;  // bytes to come
  };
  struct Cursor {
    size_t level = 0;  // in path_
    Partial partial;
  };
  struct Trigger {
    bool anchored = false;  // begins where the text does
    bool whole = false;     // and ends with it
    std::string word;       // else `pattern`
    std::regex pattern;
  };
  struct Heard {
    Token token = 0;
    size_t begin = 0, end = 0;  // in heard_text_
  };
  enum class Thinking { kNotYet, kNow, kDone };

  TokenGrammar() = default;
  Status set_triggers(const GrammarOptions& options);
  Status listen(Token token, std::string_view piece);
  bool think(std::string_view piece);
  Status wake(size_t from);
  Status accept_piece(Token token, std::string_view piece);
  // One byte on: at the end of a character path_[at.level] is left and the next one filled.
  Result<bool> advance(Cursor& at, uint8_t byte);
  bool may_end_at(const Cursor& at) const;
  bool takes_end() const { return path_[0].complete && partial_.left == 0; }
  bool names_tokens() const;
  bool names_token(Token token) const;
  Result<bool> fits(Token token, std::string_view piece);
  Result<std::vector<char>> allowed_tokens();

  const llama_vocab* vocab_ = nullptr;
  std::shared_ptr<const GrammarProgram> program_;
  std::shared_ptr<const PieceOrder> order_;
  std::optional<GrammarState> state_;
  std::vector<GrammarState::Level> path_;  // [0]: behind the text so far; then those of a walk
  Partial partial_;                        // at the end of the text so far

  bool waiting_ = false;
  std::vector<Trigger> triggers_;
  std::vector<Token> trigger_tokens_;
  std::vector<Heard> heard_;
  std::string heard_text_;
  Thinking thinking_ = Thinking::kDone;
  std::string think_start_;
  std::vector<std::string> think_ends_;
  std::string thought_;  // what a tag may lie in
};

}  // namespace heed
