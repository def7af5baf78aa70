#include "cli/run_report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/run_tools.h"
#include "cli/sampling_report.h"
#include "cli/terminal.h"
#include "heed/cpu.h"

namespace heed::cli {
namespace {

double rate(int64_t tokens, double seconds) {
  return tokens > 0 && seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
}

std::string rate_text(double tokens_per_second) {
  return tokens_per_second > 0 ? fmt::format("{:.1f} tokens/s", tokens_per_second) : "-";
}

std::string ratio_text(double heed_over_peer) {
  return heed_over_peer > 0 ? fmt::format("{:.2f}x", heed_over_peer) : "";
}

std::string verdict(const std::optional<bool>& correct) {
  return !correct ? "-" : *correct ? "yes" : "no";
}

// null where the system does not tell.
nlohmann::ordered_json run_json(const EngineRun& r) {
  nlohmann::ordered_json out = {{"engine", r.engine},
                                {"config", r.config},
                                {"prompt_tokens", r.prompt_tokens},
                                {"generated_tokens", r.generated},
                                {"prompt_s", r.prompt_s},
                                {"first_token_s", r.first_token_s},
                                {"decode_s", r.decode_s},
                                {"prompt_per_second", r.prompt_rate()},
                                {"generated_per_second", r.decode_rate()},
                                {"kv_bytes", r.kv_bytes},
                                {"text", r.text}};
  if (r.correct) out["correct"] = *r.correct;
  return out;
}

std::string all_tokens(const RunResult& r) {
  size_t tokens = r.generation.tokens.size();
  for (const Generation& other : r.others) tokens += other.tokens.size();
  return fmt::format("{}: {} tokens", r.others.size() + 1, tokens);
}

// Of the steps behind the prompt: one token that is drawn, and the guesses that came true.
double tokens_a_step(const DraftReport& draft) {
  return draft.steps > 0
             ? static_cast<double>(draft.steps + draft.accepted) / static_cast<double>(draft.steps)
             : 0;
}

double acceptance(const DraftReport& draft) {
  return draft.drafted > 0
             ? static_cast<double>(draft.accepted) / static_cast<double>(draft.drafted)
             : 0;
}

nlohmann::ordered_json draft_json(const DraftReport& draft) {
  return {{"drafter", draft.drafter},        {"steps", draft.steps},
          {"drafted_tokens", draft.drafted}, {"accepted_tokens", draft.accepted},
          {"acceptance", acceptance(draft)}, {"tokens_per_step", tokens_a_step(draft)},
          {"draft_s", draft.draft_s},        {"stopped", draft.stopped}};
}

nlohmann::ordered_json answer_json(const Generation& g) {
  nlohmann::ordered_json out = {{"text", g.text},
                                {"stop", stop_reason_name(g.stop)},
                                {"generated_tokens", g.tokens.size()},
                                {"seed", g.seed},
                                {"decode_s", g.decode_s}};
  if (!g.draft.drafter.empty()) out["draft"] = draft_json(g.draft);
  return out;
}

// Of all answers: steps are those of each.
DraftReport all_drafts(const RunResult& r) {
  DraftReport sum = r.generation.draft;
  for (const Generation& other : r.others) {
    sum.steps += other.draft.steps;
    sum.drafted += other.draft.drafted;
    sum.accepted += other.draft.accepted;
    sum.draft_s += other.draft.draft_s;
    if (sum.stopped.empty()) sum.stopped = other.draft.stopped;
  }
  return sum;
}

}  // namespace

std::string draft_text(const DraftReport& draft) {
  if (draft.drafter.empty()) return {};
  return fmt::format("{} tokens drafted, {} accepted ({:.0f} %), {:.2f} tokens a step",
                     draft.drafted, draft.accepted, 100 * acceptance(draft), tokens_a_step(draft));
}

double EngineRun::prompt_rate() const { return rate(prompt_tokens - reused, prompt_s); }
double EngineRun::decode_rate() const { return rate(generated - 1, decode_s); }

bool RunResult::cancelled() const {
  const auto was = [](const Generation& g) { return g.stop == StopReason::kCancelled; };
  return was(generation) || std::any_of(others.begin(), others.end(), was);
}

EngineRun RunResult::run() const {
  EngineRun out;
  out.engine = "heed";
  out.config = fmt::format("{}/{} KV, {} threads, chunks of {}", format_name(*engine.k),
                           format_name(*engine.v), threads, engine.chunk);
  out.text = generation.text;
  out.reused = session.started.reused;
  out.prompt_tokens = out.reused + generation.prompt_tokens;
  out.generated = static_cast<int64_t>(generation.tokens.size());
  out.prompt_s = generation.prompt_s;
  out.first_token_s = generation.first_token_s;
  out.decode_s = generation.decode_s;
  out.kv_bytes = report.kv.live;
  out.correct = correct;
  return out;
}

void print_timings(const RunResult& r) {
  const EngineRun own = r.run();
  std::string t = "\n";
  auto row = [&t](const char* what, const std::string& amount, const std::string& time,
                  const std::string& speed) {
    std::string line = fmt::format("  {:<12} {:>14} {:>10} {:>18}", what, amount, time, speed);
    line.erase(line.find_last_not_of(' ') + 1);
    t += line + '\n';
  };
  row("load", bytes_text(r.model.file_bytes), seconds_text(r.load_s), "");
  if (own.reused > 0) {
    row("reused", fmt::format("{} tokens", own.reused), seconds_text(r.session.restore_s), "");
  }
  row("prompt", fmt::format("{} tokens", own.prompt_tokens - own.reused),
      seconds_text(own.prompt_s), rate_text(own.prompt_rate()));
  if (own.generated > 0) {
    row("first token", "", seconds_text(own.first_token_s), "");
    row("answer", fmt::format("{} tokens", own.generated), seconds_text(own.decode_s),
        rate_text(own.decode_rate()));
    if (!r.others.empty()) row("answers", all_tokens(r), "", "");
  }
  row("KV", bytes_text(r.report.kv.live), "",
      fmt::format("{}/{}, {} committed", format_name(*r.engine.k), format_name(*r.engine.v),
                  bytes_text(r.report.kv.committed)));
  row("memory peak", bytes_text(r.report.peak_resident), "", "");
  if (const DraftReport draft = all_drafts(r); !draft.drafter.empty()) {
    t += fmt::format("  {:<12} {} in {} by {}\n", "drafts", draft_text(draft),
                     seconds_text(draft.draft_s), printable(draft.drafter));
    if (!draft.stopped.empty()) {
      t += fmt::format("  {:<12} {}\n", "", printable("then none: " + draft.stopped));
    }
    for (size_t i = 0; !r.others.empty() && i <= r.others.size(); ++i) {
      const Generation& answer = i == 0 ? r.generation : r.others[i - 1];
      t +=
          fmt::format("  {:<12} {}\n", fmt::format("- answer {}", i + 1), draft_text(answer.draft));
    }
  }
  row("stopped", stop_reason_name(r.generation.stop), "", "");
  std::fwrite(t.data(), 1, t.size(), stderr);
  std::fflush(stderr);
}

void print_comparison(const EngineRun& peer, const EngineRun& own) {
  const bool color = use_color(STDOUT_FILENO);
  const char* bold = color ? "\x1b[1m" : "";
  const char* plain = color ? "\x1b[0m" : "";
  fmt::print("\n{}  {:<24} {:>16} {:>16} {:>8}{}\n", bold, "", peer.engine, own.engine, "ratio",
             plain);
  auto row = [](const char* what, const std::string& a, const std::string& b,
                const std::string& ratio) {
    std::string line = fmt::format("  {:<24} {:>16} {:>16} {:>8}", what, a, b, ratio);
    line.erase(line.find_last_not_of(' ') + 1);
    fmt::print("{}\n", line);
  };
  auto over = [](double a, double b) { return a > 0 && b > 0 ? a / b : 0.0; };
  row("time to first token", seconds_text(peer.first_token_s), seconds_text(own.first_token_s),
      ratio_text(over(peer.first_token_s, own.first_token_s)));
  row("prompt tokens/s", fmt::format("{:.1f}", peer.prompt_rate()),
      fmt::format("{:.1f}", own.prompt_rate()),
      ratio_text(over(own.prompt_rate(), peer.prompt_rate())));
  row("answer tokens/s", fmt::format("{:.1f}", peer.decode_rate()),
      fmt::format("{:.1f}", own.decode_rate()),
      ratio_text(over(own.decode_rate(), peer.decode_rate())));
  row("KV bytes of the tokens", bytes_text(peer.kv_bytes), bytes_text(own.kv_bytes), "");
  row("answer correct", verdict(peer.correct), verdict(own.correct), "");
  fmt::print(
      "\n  {} prompt tokens, {} and {} answer tokens; the first token counts from the "
      "tokenised prompt.\n  One run each, heed first; llama.cpp at its own defaults, not at its "
      "best for this "
      "machine (heed bench finds that).\n  llama.cpp: {}\n  heed: {}\n",
      own.prompt_tokens, peer.generated, own.generated, peer.config, own.config);
  if (peer.text != own.text) fmt::print("  llama.cpp answered: {}\n", printable(peer.text));
  std::fflush(stdout);
}

nlohmann::ordered_json to_json(const RunResult& r) {
  const EngineRun own = r.run();
  const Result<Isa> isa = choose_isa();
  nlohmann::ordered_json out = {{"model",
                                 {{"path", r.model.path},
                                  {"name", r.model.name},
                                  {"architecture", r.model.architecture},
                                  {"file_type", r.model.file_type},
                                  {"file_bytes", r.model.file_bytes},
                                  {"trained_context", r.model.trained_context}}},
                                {"text", r.generation.text},
                                {"stop", stop_reason_name(r.generation.stop)},
                                {"template", r.templated},
                                {"prompt_tokens", own.prompt_tokens},
                                {"reused_tokens", own.reused},
                                {"generated_tokens", own.generated},
                                {"timings",
                                 {{"load_s", r.load_s},
                                  {"prompt_s", own.prompt_s},
                                  {"first_token_s", own.first_token_s},
                                  {"decode_s", own.decode_s},
                                  {"prompt_per_second", own.prompt_rate()},
                                  {"generated_per_second", own.decode_rate()},
                                  {"attention_s", r.report.attention_s},
                                  {"append_s", r.report.append_s}}},
                                {"kv",
                                 {{"k_type", format_name(*r.engine.k)},
                                  {"v_type", format_name(*r.engine.v)},
                                  {"live_bytes", r.report.kv.live},
                                  {"committed_bytes", r.report.kv.committed}}},
                                {"memory",
                                 {{"predicted_peak_bytes", r.plan.peak},
                                  {"available_bytes", known(r.plan.available)},
                                  {"peak_resident_bytes", r.report.peak_resident}}},
                                {"config",
                                 {{"linear", r.model.linear},
                                  {"isa", isa.is_ok() ? isa_name(*isa) : "none"},
                                  {"threads", r.threads},
                                  {"chunk", r.engine.chunk},
                                  {"prefill_order", prefill_order_name(r.report.prefill_order)},
                                  {"context", r.engine.context},
                                  {"seed", r.generation.seed},
                                  {"file_sampling", sampling_json(r.recommended)}}},
                                {"graph_builds", r.report.graph_builds},
                                {"decode_graph_builds", r.report.decode_graph_builds}};
  if (r.turn) {
    out["content"] = r.turn->content;
    out["reasoning"] = r.turn->reasoning;
    out["tool_calls"] = calls_json(r.turn->tool_calls);
  }
  if (!r.others.empty()) {
    out["answers"] = {answer_json(r.generation)};
    for (const Generation& other : r.others) out["answers"].push_back(answer_json(other));
  }
  if (!r.session.path.empty()) out["session"] = to_json(r.session);
  if (!r.generation.draft.drafter.empty()) out["draft"] = draft_json(all_drafts(r));
  if (r.adaptation) out["config"]["adaptation"] = adaptation_text(*r.adaptation);
  if (r.peer) out["compare"] = {run_json(*r.peer), run_json(own)};
  return out;
}

}  // namespace heed::cli
