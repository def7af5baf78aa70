#include "cli/run_session.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/new_file.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"

namespace heed::cli {

Status RunSession::start(Engine& engine, std::span<const Token> tokens, const RunOptions& options,
                         std::shared_ptr<const Adaptation> adaptation) {
  path = options.session;
  prompt = static_cast<int64_t>(tokens.size());
  StartOptions start;
  start.session = path;
  start.cancel = &interrupt_token();
  const Clock::time_point begin = Clock::now();
  HEED_ASSIGN(const SeqId like, engine.create_sequence());
  HEED_TRY(set_adaptation(engine, like, std::move(adaptation)));
  start.like = like;
  HEED_ASSIGN(started, start_sequence(engine, tokens, start));
  HEED_TRY(engine.drop(like));
  restore_s = seconds_since(begin);
  if (!options.quiet && started.from_file) {
    note(fmt::format("session {}: {} of {} prompt tokens reused, read in {}", path, started.reused,
                     prompt, seconds_text(restore_s)));
  } else if (!options.quiet && !path.empty()) {
    note(fmt::format("session {}: nothing to reuse", path));
  }
  return Status::ok();
}

Status RunSession::save(Engine& engine, const RunOptions& options) {
  if (path.empty() || options.session_read_only) return Status::ok();
  const Clock::time_point begin = Clock::now();
  HEED_ASSIGN(saved, save_session(engine, started.seq, path));
  save_s = seconds_since(begin);
  kept = true;
  if (options.quiet) return Status::ok();
  if (saved.written) {
    note(fmt::format("session {}: {} tokens saved, {} in {}", path, saved.tokens,
                     bytes_text(saved.bytes), seconds_text(save_s)));
  } else {
    note(fmt::format("session {}: holds this already, not written", path));
  }
  return Status::ok();
}

Status check_session_place(const RunOptions& options) {
  if (options.session.empty() || options.session_read_only) return Status::ok();
  return NewFile::check_place(options.session).with_context("--session");
}

nlohmann::ordered_json to_json(const RunSession& s) {
  nlohmann::ordered_json out = {
      {"path", s.path}, {"reused_tokens", s.started.reused}, {"restore_s", s.restore_s}};
  if (s.kept) {
    out["saved_tokens"] = s.saved.tokens;
    out["bytes"] = s.saved.bytes;
    out["written"] = s.saved.written;
    out["save_s"] = s.save_s;
  }
  return out;
}

}  // namespace heed::cli
