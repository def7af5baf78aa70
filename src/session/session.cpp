// Saving, restoring and sharing sequences of an engine.
#include "heed/session.h"

#include <algorithm>

#include "base/guard.h"
#include "base/text.h"
#include "model/sha256.h"
#include "session/engine_impl.h"
#include "session/kv_hash.h"
#include "session/session.h"
#include "session/session_file.h"

namespace heed {
namespace {

int64_t common_prefix(std::span<const Token> a, std::span<const Token> b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

// What a new sequence without adapters would have, or the one that it is to be like.
Result<std::string> wanted_lines(const Engine::Impl& engine, std::optional<SeqId> like) {
  if (!like) return std::string();
  HEED_TRY(engine.check_settled(*like));
  return sequence_lines(engine, *like);
}

// Everything that may be wrong with a file for this engine and a sequence like this.
Status check_fits(Engine::Impl& engine, const SessionFile& file, const std::string& path,
                  const std::string& own_lines) {
  HEED_ASSIGN(const std::string common, engine_lines(engine));
  const std::string difference = kv_difference(file.kv(), kv_text_of(common, own_lines));
  if (!difference.empty()) {
    return error(Code::kUnsupported, "session ", path, ": is of another run: ", difference,
                 kSessionWayOut);
  }
  const Status tokens = engine.check_tokens(file.tokens());
  const size_t logits = file.logits().size();
  if (!tokens.is_ok() || (logits != 0 && logits != static_cast<size_t>(engine.hyper().vocab))) {
    return error(Code::kCorrupt, "session ", path, ": its tokens or logits are not of this model",
                 kSessionWayOut);
  }
  return Status::ok();
}

Status check_room(const Engine::Impl& engine, const std::string& path, int64_t tokens) {
  if (tokens <= engine.options.context || engine.options.beyond_context) return Status::ok();
  return error(Code::kOutOfRange, "session ", path, ": holds ", tokens, " tokens, the context is ",
               engine.options.context, "; raise the context to at least that");
}

std::shared_ptr<const Adaptation> adaptation_of(const Engine::Impl& engine,
                                                std::optional<SeqId> like) {
  return like ? engine.adaptations->of(*like) : nullptr;
}

Result<RestoredSession> restore(Engine::Impl& engine, const SessionFile& file,
                                const std::string& path, int64_t n, std::optional<SeqId> like,
                                const CancelToken* cancel) {
  const std::vector<Token>& saved = file.tokens();
  HEED_TRY(check_room(engine, path, n));
  // Whatever may fail for want of memory comes before the sequence.
  std::vector<Token> tokens(saved.begin(), saved.begin() + n);
  Logits logits;
  if (n == static_cast<int64_t>(saved.size()) && !file.logits().empty()) {
    logits = std::make_shared<std::vector<float>>(file.logits());
  }
  RestoredSession out;
  out.tokens = n;
  out.saved = static_cast<int64_t>(saved.size());
  HEED_ASSIGN(out.seq, file.restore(*engine.store, n, cancel));
  if (const Status cut = engine.store->truncate(out.seq, n); !cut.is_ok()) {
    HEED_TRY(engine.store->drop(out.seq));
    return cut;
  }
  HEED_TRY(
      engine.adopt(out.seq, std::move(logits), std::move(tokens), adaptation_of(engine, like)));
  return out;
}

}  // namespace

std::span<const Token> sequence_tokens(const Engine& engine, SeqId seq) {
  const auto& tokens = engine.impl().tokens;
  const auto at = tokens.find(seq);
  if (at == tokens.end()) return {};
  return at->second;
}

Result<std::string> kv_text(const Engine& engine, SeqId seq) {
  return guarded("describing a sequence", [&]() -> Result<std::string> {
    HEED_TRY(engine.impl().check_settled(seq));
    return kv_text(engine.impl(), seq);
  });
}

Result<std::string> kv_hash(const Engine& engine, SeqId seq) {
  return guarded("describing a sequence", [&]() -> Result<std::string> {
    HEED_ASSIGN(const std::string text, kv_text(engine, seq));
    return sha256_hex(text);
  });
}

Result<SavedSession> save_session_with(Engine& engine, SeqId seq, const std::string& path,
                                       const WriteFaults* faults) {
  return guarded("saving a session", [&]() -> Result<SavedSession> {
    Engine::Impl& impl = engine.impl();
    HEED_TRY(impl.check_settled(seq));
    HEED_ASSIGN(const std::string kv, kv_text(impl, seq));
    const std::vector<Token>& tokens = impl.tokens.at(seq);
    SavedSession out;
    const auto old = SessionFile::open(path);
    if (old.code() == Code::kInvalidArgument) return old.status();  // something of another kind
    if (old.is_ok() && (*old)->kv() == kv) {
      out.tokens = static_cast<int64_t>((*old)->tokens().size());
      out.bytes = (*old)->bytes();
      out.written = common_prefix((*old)->tokens(), tokens) < static_cast<int64_t>(tokens.size());
      if (!out.written) return out;
    }
    const Logits& logits = impl.logits.at(seq);
    SessionContent content{kv, tokens, {}};
    if (logits != nullptr) content.logits = *logits;
    out.tokens = static_cast<int64_t>(tokens.size());
    HEED_ASSIGN(out.bytes, write_session(path, *impl.store, seq, content, faults));
    return out;
  });
}

Result<SavedSession> save_session(Engine& engine, SeqId seq, const std::string& path) {
  return save_session_with(engine, seq, path, nullptr);
}

Result<RestoredSession> restore_session(Engine& engine, const std::string& path,
                                        const RestoreOptions& options) {
  return guarded("restoring a session", [&]() -> Result<RestoredSession> {
    Engine::Impl& impl = engine.impl();
    HEED_ASSIGN(const std::string lines, wanted_lines(impl, options.like));
    HEED_ASSIGN(const auto file, SessionFile::open(path));
    HEED_TRY(check_fits(impl, *file, path, lines));
    auto n = static_cast<int64_t>(file->tokens().size());
    if (options.prefix_of) n = common_prefix(file->tokens(), *options.prefix_of);
    return restore(impl, *file, path, n, options.like, options.cancel);
  });
}

namespace {

struct LivePrefix {
  SeqId seq = -1;
  int64_t tokens = 0, length = 0;

  // The longest; of equal ones the one that ends there, because its logits can be shared too.
  bool better_than(const LivePrefix& other) const {
    if (tokens != other.tokens) return tokens > other.tokens;
    if (length != other.length) return length < other.length;
    return seq < other.seq;
  }
};

LivePrefix longest_live(const Engine::Impl& engine, std::span<const Token> tokens,
                        const std::string& lines) {
  LivePrefix best;
  for (const auto& [seq, held] : engine.tokens) {
    if (engine.filling(seq)) continue;
    const LivePrefix one{seq, common_prefix(held, tokens), static_cast<int64_t>(held.size())};
    if (one.tokens == 0 || (best.tokens > 0 && !one.better_than(best))) continue;
    if (sequence_lines(engine, seq) == lines) best = one;
  }
  return best;
}

}  // namespace

Result<SharedPrefix> share_prefix(Engine& engine, std::span<const Token> tokens,
                                  std::optional<SeqId> like) {
  return guarded("sharing a prefix", [&]() -> Result<SharedPrefix> {
    HEED_ASSIGN(const std::string lines, wanted_lines(engine.impl(), like));
    const LivePrefix live = longest_live(engine.impl(), tokens, lines);
    SharedPrefix out;
    out.tokens = live.tokens;
    if (live.tokens == 0) {
      HEED_ASSIGN(out.seq, engine.impl().store->create_sequence());
      HEED_TRY(engine.impl().adopt(out.seq, nullptr, {}, adaptation_of(engine.impl(), like)));
      return out;
    }
    HEED_ASSIGN(out.seq, engine.fork(live.seq));
    if (const Status cut = engine.truncate(out.seq, live.tokens); !cut.is_ok()) {
      HEED_TRY(engine.drop(out.seq));
      return cut;
    }
    return out;
  });
}

Result<StartedSequence> start_sequence(Engine& engine, std::span<const Token> prompt,
                                       const StartOptions& options) {
  return guarded("starting a sequence", [&]() -> Result<StartedSequence> {
    Engine::Impl& impl = engine.impl();
    // The last token is computed again: what is asked for are the logits behind it.
    const auto most = prompt.first(prompt.empty() ? 0 : prompt.size() - 1);
    HEED_ASSIGN(const std::string lines, wanted_lines(impl, options.like));
    StartedSequence out;
    if (!options.session.empty()) {
      const auto file = SessionFile::open(options.session);
      if (!file.is_ok() && file.code() != Code::kNotFound) return file.status();
      if (file.is_ok()) {
        HEED_TRY(check_fits(impl, **file, options.session, lines));
        const int64_t n = common_prefix((*file)->tokens(), most);
        if (n > longest_live(impl, most, lines).tokens) {
          HEED_ASSIGN(const auto restored,
                      restore(impl, **file, options.session, n, options.like, options.cancel));
          return StartedSequence{restored.seq, n, true};
        }
      }
    }
    HEED_ASSIGN(const SharedPrefix shared, share_prefix(engine, most, options.like));
    out.seq = shared.seq;
    out.reused = shared.tokens;
    return out;
  });
}

}  // namespace heed
