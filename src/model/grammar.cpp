#include "model/grammar.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "base/guard.h"
#include "base/text.h"
#include "llama.h"

namespace heed {
namespace {

// Steps through a grammar: some 20 ns each, so a second for all tokens of a vocabulary. Grammars of
// real schemas take some ten thousand.
constexpr uint64_t kStepsOfAToken = 5'000'000;
constexpr uint64_t kStepsOfAll = 50'000'000;

// Triggers are short; text before this is not looked at again.
constexpr size_t kTriggerWindow = 256;
// A pattern that begins with the text is tried on no more than this: std::regex recurses.
constexpr size_t kLongestAnchored = 4096;

std::string piece_of(const llama_vocab* vocab, Token token) {
  std::string text(32, '\0');
  int32_t n =
      llama_token_to_piece(vocab, token, text.data(), static_cast<int32_t>(text.size()), 0, true);
  if (n < 0) {
    text.resize(static_cast<size_t>(-n));
    n = llama_token_to_piece(vocab, token, text.data(), -n, 0, true);
  }
  text.resize(static_cast<size_t>(std::max(n, 0)));
  return text;
}

// "<[12]>" or "<|im_start|>".
Result<Token> token_named(const llama_vocab* vocab, std::string_view name) {
  const int32_t count = llama_vocab_n_tokens(vocab);
  if (name.starts_with("<[") && name.ends_with("]>")) {
    const char* end = name.data() + name.size() - 2;
    Token id = -1;
    const auto [at, fault] = std::from_chars(name.data() + 2, end, id);
    if (fault == std::errc() && at == end && id >= 0 && id < count) return id;
    return error(Code::kInvalidArgument, "'", name, "' names no token, which are <[0]> to <[",
                 count - 1, "]>");
  }
  Token ids[2];
  const int32_t n =
      llama_tokenize(vocab, name.data(), static_cast<int32_t>(name.size()), ids, 2, false, true);
  if (n == 1) return ids[0];
  return error(Code::kInvalidArgument, "'", name, "' is no single token of this model");
}

// Bytes of the character that begins with this one; 0: none does.
int bytes_of(uint8_t lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

// A token by name must stand for text, as llama.cpp wants it: bytes of a character are none.
bool begins_with_a_character(std::string_view piece) {
  const int bytes = piece.empty() ? 0 : bytes_of(static_cast<uint8_t>(piece[0]));
  return bytes > 0 && static_cast<size_t>(bytes) <= piece.size();
}

}  // namespace

PieceOrder PieceOrder::make(const llama_vocab* vocab) {
  const int32_t count = llama_vocab_n_tokens(vocab);
  std::vector<std::string> pieces(static_cast<size_t>(count));
  PieceOrder out;
  for (Token t = 0; t < count; ++t) {
    std::string& piece = pieces[static_cast<size_t>(t)];
    piece = piece_of(vocab, t);
    if (llama_vocab_is_eog(vocab, t)) {
      out.ends.push_back(t);
    } else if (!piece.empty() && piece[0] != '\0') {
      out.tokens.push_back(t);
    }
  }
  std::sort(out.tokens.begin(), out.tokens.end(), [&](Token a, Token b) {
    return pieces[static_cast<size_t>(a)] < pieces[static_cast<size_t>(b)];
  });
  std::string_view before;
  for (const Token t : out.tokens) {
    const std::string& piece = pieces[static_cast<size_t>(t)];
    const auto differ = std::mismatch(before.begin(), before.end(), piece.begin(), piece.end());
    out.common.push_back(static_cast<uint32_t>(differ.first - before.begin()));
    out.begin.push_back(static_cast<uint32_t>(out.bytes.size()));
    out.bytes += piece;
    before = piece;
  }
  out.begin.push_back(static_cast<uint32_t>(out.bytes.size()));
  return out;
}

Status check_grammar(std::string_view gbnf) {
  return guarded("the grammar", [&] {
    const TokenByName any = [](std::string_view) { return Result<Token>(0); };
    return GrammarProgram::parse(gbnf, any).status();
  });
}

Result<std::unique_ptr<TokenGrammar>> TokenGrammar::create(const llama_vocab* vocab,
                                                           const GrammarOptions& options) {
  if (vocab == nullptr) {
    return Status(Code::kUnsupported,
                  "a grammar speaks of text, but this model file has no tokenizer");
  }
  std::unique_ptr<TokenGrammar> out(new TokenGrammar());
  out->vocab_ = vocab;
  const TokenByName by_name = [vocab](std::string_view name) { return token_named(vocab, name); };
  HEED_ASSIGN(GrammarProgram program, GrammarProgram::parse(options.gbnf, by_name));
  out->program_ = std::make_shared<const GrammarProgram>(std::move(program));
  out->state_.emplace(*out->program_);
  out->path_.resize(1);
  out->state_->renew_budget(kStepsOfAToken);
  HEED_TRY(out->state_->start(out->path_[0]));
  if (options.lazy) {
    HEED_TRY(out->set_triggers(options));
  } else if (!options.prefill.empty()) {
    const Status passed = out->accept_piece(-1, options.prefill);
    if (!passed.is_ok()) return passed.with_context("the start of the answer");
  }
  return out;
}

Status TokenGrammar::set_triggers(const GrammarOptions& options) {
  waiting_ = true;
  for (const GrammarTrigger& trigger : options.triggers) {
    using Kind = GrammarTrigger::Kind;
    if (trigger.kind == Kind::kToken) {
      trigger_tokens_.push_back(trigger.token);
      continue;
    }
    Trigger made;
    if (trigger.kind == Kind::kWord) {
      made.word = trigger.text;
    } else {
      made.whole = trigger.kind == Kind::kWholePattern;
      made.anchored = made.whole || trigger.text.starts_with('^');
      try {
        made.pattern.assign(trigger.text);
      } catch (const std::regex_error& e) {
        return error(Code::kInvalidArgument, "the trigger '", trigger.text,
                     "' of a grammar is no regular expression: ", e.what());
      }
    }
    triggers_.push_back(std::move(made));
  }
  think_start_ = options.think_start;
  think_ends_ = options.think_ends;
  const bool thinks = !think_start_.empty() && !think_ends_.empty();
  thinking_ = thinks ? Thinking::kNotYet : Thinking::kDone;
  if (thinks) think(options.prefill);
  return Status::ok();
}

// --- one character on
Result<bool> TokenGrammar::advance(Cursor& at, uint8_t byte) {
  Partial& p = at.partial;
  if (p.left == 0) {
    const int bytes = bytes_of(byte);
    if (bytes == 0) return false;
    p.value = bytes == 1 ? byte : byte & (0x7Fu >> bytes);
    p.left = bytes - 1;
  } else {
    if (byte >> 6 != 2) return false;
    p.value = p.value << 6 | (byte & 0x3Fu);
    --p.left;
  }
  if (p.left > 0) return true;
  if (path_.size() < at.level + 2) path_.resize(at.level + 2);
  state_->back_to(path_[at.level]);
  HEED_TRY(state_->step(path_[at.level], p.value, path_[at.level + 1]));
  p.value = 0;
  return !path_[++at.level].dead();
}

bool TokenGrammar::may_end_at(const Cursor& at) const {
  const auto [value, left] = at.partial;
  if (left == 0) return true;
  if (left == 1 && value < 2) return false;  // a character of seven bits in two bytes
  uint32_t low = value << (6 * left);
  const uint32_t high = low | ((1u << (6 * left)) - 1);
  if (low == 0) low = left == 2 ? 1u << 11 : 1u << 16;
  const auto& places = path_[at.level].places;
  return std::any_of(places.begin(), places.end(), [&](const GrammarState::Place& place) {
    return program_->matches_some(program_->code[place.pc], low, high);
  });
}

bool TokenGrammar::names_tokens() const {
  const auto& places = path_[0].places;
  return partial_.left == 0 &&
         std::any_of(places.begin(), places.end(), [&](const GrammarState::Place& place) {
           return program_->code[place.pc].op == GrammarInstruction::Op::kToken;
         });
}

bool TokenGrammar::names_token(Token token) const {
  const auto& places = path_[0].places;
  return std::any_of(places.begin(), places.end(), [&](const GrammarState::Place& place) {
    const GrammarInstruction& at = program_->code[place.pc];
    return at.op == GrammarInstruction::Op::kToken &&
           (at.a == static_cast<uint32_t>(token)) != at.negated;
  });
}

Result<bool> TokenGrammar::fits(Token token, std::string_view piece) {
  if (piece.empty() || piece[0] == '\0') return false;
  if (partial_.left == 0 && names_token(token) && begins_with_a_character(piece)) return true;
  Cursor at{0, partial_};
  for (const char byte : piece) {
    HEED_ASSIGN(const bool alive, advance(at, static_cast<uint8_t>(byte)));
    if (!alive) return false;
  }
  return may_end_at(at);
}

// --- the choice of a token
Result<bool> TokenGrammar::allows(Token token) {
  if (waiting_) return true;
  if (llama_vocab_is_eog(vocab_, token)) return takes_end();
  state_->renew_budget(kStepsOfAToken);
  return fits(token, piece_of(vocab_, token));
}

Result<std::vector<char>> TokenGrammar::allowed_tokens() {
  std::vector<char> allowed(static_cast<size_t>(llama_vocab_n_tokens(vocab_)), 0);
  const PieceOrder& order = *order_;
  const bool named = names_tokens();
  std::vector<Cursor> cursors(1, Cursor{0, partial_});  // behind each byte of the piece
  size_t alive = 0;  // bytes that the grammar takes, of the piece before
  for (size_t i = 0; i < order.tokens.size(); ++i) {
    const Token token = order.tokens[i];
    const std::string_view piece = order.piece(i);
    if (named && names_token(token) && begins_with_a_character(piece)) {
      allowed[static_cast<size_t>(token)] = 1;
    }
    if (order.common[i] > alive) continue;  // both begin with what died
    alive = order.common[i];
    cursors.resize(piece.size() + 1);
    for (; alive < piece.size(); ++alive) {
      Cursor next = cursors[alive];
      HEED_ASSIGN(const bool on, advance(next, static_cast<uint8_t>(piece[alive])));
      if (!on) break;
      cursors[alive + 1] = next;
    }
    if (alive == piece.size() && may_end_at(cursors[alive]))
      allowed[static_cast<size_t>(token)] = 1;
  }
  if (takes_end()) {
    for (const Token end : order.ends) allowed[static_cast<size_t>(end)] = 1;
  }
  return allowed;
}

Status TokenGrammar::forbid(std::span<llama_token_data> candidates) {
  if (waiting_) return Status::ok();
  if (order_ == nullptr) order_ = std::make_shared<const PieceOrder>(PieceOrder::make(vocab_));
  state_->renew_budget(kStepsOfAll);
  HEED_ASSIGN(const std::vector<char> allowed, allowed_tokens());
  bool any = false;
  for (llama_token_data& c : candidates) {
    const auto id = static_cast<size_t>(c.id);
    if (id >= allowed.size() || allowed[id] == 0) c.logit = -INFINITY;
    any = any || c.logit != -INFINITY;
  }
  if (any) return Status::ok();
  return Status(Code::kInvalidArgument,
                "no token can follow: the grammar allows none that biases and the model leave; "
                "the text so far is its beginning, but the vocabulary cannot go on");
}

Status TokenGrammar::accept_piece(Token token, std::string_view piece) {
  state_->renew_budget(kStepsOfAToken);
  const auto refuse = [&] {
    return error(Code::kInvalidArgument, "the grammar does not go on with '", piece, "'");
  };
  if (token >= 0 && partial_.left == 0 && names_token(token)) {
    path_.resize(std::max<size_t>(path_.size(), 2));
    state_->back_to(path_[0]);
    HEED_TRY(state_->step_token(path_[0], static_cast<uint32_t>(token), path_[1]));
    std::swap(path_[0], path_[1]);
  } else {
    Cursor at{0, partial_};
    for (const char byte : piece) {
      HEED_ASSIGN(const bool alive, advance(at, static_cast<uint8_t>(byte)));
      if (!alive) return refuse();
    }
    if (!may_end_at(at)) return refuse();
    std::swap(path_[0], path_[at.level]);
    partial_ = at.partial;
  }
  state_->compact(path_[0]);
  return Status::ok();
}

Status TokenGrammar::accept(Token token) {
  const std::string piece = piece_of(vocab_, token);
  if (waiting_) return listen(token, piece);
  if (!llama_vocab_is_eog(vocab_, token)) return accept_piece(token, piece);
  if (takes_end()) return Status::ok();
  return Status(Code::kInvalidArgument, "the answer ends before the grammar does");
}

// --- waiting for a trigger
bool TokenGrammar::think(std::string_view piece) {
  if (thinking_ == Thinking::kDone) return false;
  thought_ += piece;
  if (thinking_ == Thinking::kNotYet) {
    const size_t start = thought_.find(think_start_);
    if (start != std::string::npos) {
      thinking_ = Thinking::kNow;
      thought_.erase(0, start + think_start_.size());
    }
  }
  bool ended = false;
  if (thinking_ == Thinking::kNow) {
    ended = std::any_of(think_ends_.begin(), think_ends_.end(), [&](const std::string& tag) {
      return thought_.find(tag) != std::string::npos;
    });
  }
  if (ended) thinking_ = Thinking::kDone;
  if (thought_.size() > kTriggerWindow) thought_.erase(0, thought_.size() - kTriggerWindow);
  return thinking_ == Thinking::kNow || ended;
}

Status TokenGrammar::listen(Token token, std::string_view piece) {
  const bool thought = think(piece);
  if (thought && thinking_ == Thinking::kNow) return Status::ok();
  if (!thought &&
      std::find(trigger_tokens_.begin(), trigger_tokens_.end(), token) != trigger_tokens_.end()) {
    waiting_ = false;
    return accept_piece(token, piece);
  }
  const size_t before = heard_text_.size();
  heard_.push_back({token, before, before + piece.size()});
  heard_text_ += piece;
  const size_t recent = before - std::min(before, kTriggerWindow);
  for (const Trigger& trigger : triggers_) {
    if (!trigger.word.empty()) {
      const size_t at = heard_text_.find(trigger.word, recent);
      if (at != std::string::npos) return wake(at);
      continue;
    }
    if (trigger.anchored && heard_text_.size() > kLongestAnchored) continue;
    std::smatch match;
    const size_t start = trigger.anchored ? 0 : recent;
    const auto from = heard_text_.cbegin() + static_cast<int64_t>(start), to = heard_text_.cend();
    const auto how =
        start == 0 ? std::regex_constants::match_default : std::regex_constants::match_not_bol;
    const bool found = trigger.whole ? std::regex_match(from, to, match, trigger.pattern)
                                     : std::regex_search(from, to, match, trigger.pattern, how);
    if (!found) continue;
    // The grammar begins at the first group that took something, else at the match.
    size_t group = 0;
    for (size_t i = match.size(); i-- > 1;) {
      if (match.length(i) > 0) group = i;
    }
    return wake(static_cast<size_t>(match[group].first - heard_text_.cbegin()));
  }
  return Status::ok();
}

Status TokenGrammar::wake(size_t from) {
  waiting_ = false;
  for (const Heard& h : heard_) {
    if (h.end <= from) continue;
    const size_t begin = std::max(h.begin, from);
    const std::string_view piece = std::string_view(heard_text_).substr(begin, h.end - begin);
    const Status passed = accept_piece(begin == h.begin ? h.token : -1, piece);
    if (!passed.is_ok()) return passed;
  }
  heard_.clear();
  heard_text_.clear();
  return Status::ok();
}

}  // namespace heed
