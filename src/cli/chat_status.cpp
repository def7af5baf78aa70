#include "cli/chat_status.h"

#include <fmt/format.h>

#include "cli/model_source.h"
#include "cli/run_report.h"
#include "cli/terminal.h"

namespace heed::cli {
namespace {

std::string speed(int64_t tokens, double seconds) {
  const double rate = seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
  return fmt::format("{}, {:.1f} tokens/s", seconds_text(seconds), rate);
}

}  // namespace

std::string chat_status(const ChatStatus& s) {
  std::string out;
  const auto row = [&out](const char* what, const std::string& text) {
    out += fmt::format("  {:<12} {}\n", what, text);
  };
  const EngineOptions& options = s.engine.options();
  const Report report = s.engine.report();
  row("model", model_title(s.engine.model().info()));
  row("messages", fmt::format("{}", s.messages));
  row("context", fmt::format("{} of {} tokens", s.conversation.tokens(), options.context));
  row("KV",
      fmt::format("{}, {}/{}, {} committed", bytes_text(report.kv.live), format_name(*options.k),
                  format_name(*options.v), bytes_text(report.kv.committed)));
  row("memory peak", bytes_text(report.peak_resident));
  if (s.last == nullptr) return out;
  const Generation& last = *s.last;
  row("last prompt",
      fmt::format("{} tokens in {}, {} reused", last.prompt_tokens,
                  speed(last.prompt_tokens, last.prompt_s), s.conversation.reused()));
  const auto made = static_cast<int64_t>(last.tokens.size());
  // As in heed run: the first token is the prompt's.
  row("last answer",
      fmt::format("{} tokens in {}, stopped: {}", made,
                  speed(made > 0 ? made - 1 : 0, last.decode_s), stop_reason_name(last.stop)));
  if (const std::string drafts = draft_text(last.draft); !drafts.empty()) row("drafts", drafts);
  return out;
}

}  // namespace heed::cli
