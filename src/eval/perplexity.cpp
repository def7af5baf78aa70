#include "eval/perplexity.h"

#include <llama.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/guard.h"
#include "base/text.h"
#include "cpu/team.h"
#include "eval/kl_math.h"
#include "eval/llama_memory.h"
#include "eval/llama_params.h"
#include "eval/logit_source.h"
#include "eval/memory_check.h"
#include "model/model_impl.h"
#include "model/sha256.h"

namespace heed::eval {
namespace {

void tell(const PerplexityOptions& options, const std::string& what, double fraction) {
  if (options.progress) options.progress(what, fraction);
}

LlamaOptions llama_options(const PerplexityOptions& options, const EngineOptions& engine) {
  LlamaOptions llama;
  llama.context = engine.context;
  llama.batch = llama.ubatch = engine.chunk;
  llama.cancel = options.cancel;
  llama.loras = options.adapters.loras;
  return within_context(llama);
}

Result<std::vector<MemoryNeed>> needs_of(const PerplexityOptions& options,
                                         const EngineOptions& engine) {
  ModelOptions load;
  load.threads = options.threads;
  load.linear = options.linear;
  const std::vector<std::string> loras = options.adapters.lora_paths();
  const PlannedRun run{.prompt = engine.context,
                       .all_logits = true,
                       .loras = loras,
                       .control_vector = options.adapters.steers()};
  HEED_ASSIGN(const MemoryPlan heed, predict_memory(options.model, load, engine, run));
  std::vector<MemoryNeed> needs{{"heed", heed.peak}};
  if (options.compare) {
    HEED_ASSIGN(const LlamaMemory llama,
                predict_llama_memory(options.model, llama_options(options, engine), true));
    needs.push_back({"llama.cpp", llama.total()});
  }
  return needs;
}

Status check_perplexity(const PerplexityOptions& options, const EngineOptions& engine) {
  HEED_ASSIGN(const ModelInfo info, Model::inspect(options.model));
  if (engine.context > info.trained_context) {
    return error(Code::kOutOfRange, "windows of ", engine.context,
                 " tokens: the model was trained for ", info.trained_context, "; use -c ",
                 info.trained_context - options.stride / 2, " or less");
  }
  HEED_ASSIGN(const auto needs, needs_of(options, engine));
  return check_memory(cat("scoring windows of ", engine.context, " tokens"), needs,
                      options.compare ? "use a smaller -c, leave --compare out or free memory"
                                      : "use a smaller -c, take a smaller model or free memory",
                      options.say);
}

struct TextTokens {
  std::vector<Token> tokens;
  Token bos = -1;
};

// As llama.cpp's tool reads it: special tokens of the vocabulary in front, none out of the text.
Result<TextTokens> tokens_of(const Model& model, const std::string& text) {
  TextTokens out;
  HEED_ASSIGN(out.tokens, model.tokenize(text, true, false));
  const llama_vocab* vocab = llama_model_get_vocab(model.impl().vocab);
  if (llama_vocab_get_add_bos(vocab)) out.bos = llama_vocab_bos(vocab);
  // It refuses such models; a closing token belongs to no window.
  if (llama_vocab_get_add_eos(vocab) && !out.tokens.empty()) out.tokens.pop_back();
  return out;
}

// One window through one engine.
Status score(LogitSource& source, const ScoredWindow& window, cpu::Team& team, Perplexity& sums) {
  const Clock::time_point start = Clock::now();
  HEED_TRY(source.start());
  const std::span<const Token> tokens = window.tokens;
  const auto last = static_cast<int64_t>(tokens.size()) - 2;
  // No row before the first score is needed, and none of them is computed.
  HEED_TRY(source.pass(tokens.first(static_cast<size_t>(window.first)), {}));
  std::vector<double> nll(tokens.size(), 0);
  const auto rows = [&](int64_t first_row, View<const float, 2> logits) {
    team.run([&](int member, int members) {
      for (int64_t r = member; r < logits.shape[0]; r += members) {
        const int64_t at = window.first + first_row + r;
        if (at > last) continue;
        const std::span<const float> row(&logits(r, 0), static_cast<size_t>(logits.shape[1]));
        const auto target = static_cast<size_t>(window.targets[static_cast<size_t>(at)]);
        nll[static_cast<size_t>(at)] = row_softmax(row).log_sum_exp - row[target];
      }
    });
  };
  HEED_TRY(source.pass(tokens.subspan(static_cast<size_t>(window.first)), rows));
  for (int64_t at = window.first; at <= last; ++at) {
    const double value = nll[static_cast<size_t>(at)];
    if (std::isnan(value)) {
      return error(Code::kCorrupt, "the logits of position ", at, " of a window are not numbers");
    }
    sums.add(value);
  }
  sums.seconds += seconds_since(start);
  return Status::ok();
}

struct Contestants {
  std::shared_ptr<Model> model;
  std::shared_ptr<const Adaptation> adaptation;
  std::unique_ptr<LogitSource> heed, llama;
  std::string llama_config;
};

Result<Contestants> load(const PerplexityOptions& options, const EngineOptions& engine) {
  Contestants out;
  ModelOptions loading;
  loading.threads = options.threads;
  loading.linear = options.linear;
  loading.cancel = options.cancel;
  loading.progress = [&](double fraction) { tell(options, "loading", fraction); };
  HEED_ASSIGN(out.model, Model::load(options.model, loading));
  HEED_ASSIGN(out.adaptation, options.adapters.load(*out.model));
  HEED_ASSIGN(out.heed, make_heed_source(out.model, engine, options.cancel, out.adaptation));
  if (!options.compare) return out;
  LlamaOptions llama = llama_options(options, engine);
  llama.threads = out.model->threads();
  HEED_TRY(
      adapt_peer(options.adapters, out.adaptation.get(), *out.model, "leave out --compare", llama));
  out.llama_config = describe(llama);
  tell(options, "loading into llama.cpp", 0);
  HEED_ASSIGN(auto llama_model, LlamaModel::load(options.model, {.cancel = options.cancel}));
  HEED_ASSIGN(out.llama, make_llama_source(std::move(llama_model), llama));
  return out;
}

// Both engines on a window before the next one, so that an interrupt leaves comparable sums.
Status score_all(const PerplexityOptions& options, const Contestants& engines,
                 std::span<const ScoredWindow> windows, PerplexityReport& report) {
  cpu::Team team(engines.model->threads());
  for (const ScoredWindow& window : windows) {
    Perplexity heed = report.heed;
    std::optional<Perplexity> llama = report.llama;
    HEED_TRY(score(*engines.heed, window, team, heed));
    if (llama) HEED_TRY(score(*engines.llama, window, team, *llama));
    report.heed = heed;
    report.llama = llama;
    ++report.done;
    if (options.on_window) options.on_window(report);
  }
  return Status::ok();
}

nlohmann::ordered_json sums_json(const Perplexity& p) {
  return {{"ppl", p.value()},
          {"margin", p.margin()},
          {"mean_nll", p.tokens > 0 ? p.nll / static_cast<double>(p.tokens) : std::nan("")},
          {"tokens", p.tokens},
          {"seconds", p.seconds}};
}

Result<PerplexityReport> run_unguarded(const PerplexityOptions& options) {
  if (options.context < 4) {
    return error(Code::kOutOfRange, "-c ", options.context, ": a window has at least 4 tokens");
  }
  EngineOptions engine = options.engine;
  engine.context = options.context + options.stride / 2;
  engine.max_sequences = 1;
  HEED_TRY(check_perplexity(options, engine));
  HEED_ASSIGN(const Contestants engines, load(options, engine));
  const Model& model = *engines.model;
  HEED_ASSIGN(const TextTokens text, tokens_of(model, options.text));
  HEED_ASSIGN(const auto windows, scored_windows(text.tokens, text.bos, engine.context,
                                                 options.stride, options.chunks));
  PerplexityReport report;
  report.model = options.model_label.empty() ? options.model : options.model_label;
  report.text_sha256 = sha256_hex(options.text);
  report.linear = model.info().linear;
  report.k_type = format_name(engine.k.value_or(model.info().default_k));
  report.v_type = format_name(engine.v.value_or(model.info().default_v));
  report.threads = model.threads();
  report.text_tokens = static_cast<int64_t>(text.tokens.size());
  report.context = engine.context;
  report.stride = options.stride;
  report.windows = static_cast<int64_t>(windows.size());
  if (engines.adaptation) report.adaptation = adaptation_text(*engines.adaptation);
  if (options.compare) {
    report.llama.emplace();
    report.llama_config = engines.llama_config;
  }
  const Status status = score_all(options, engines, windows, report);
  report.interrupted = status.code() == Code::kCancelled;
  if (!report.interrupted) HEED_TRY(status);
  return report;
}

}  // namespace

void Perplexity::add(double minus_log_p) {
  nll += minus_log_p;
  nll2 += minus_log_p * minus_log_p;
  ++tokens;
}

double Perplexity::value() const {
  return tokens == 0 ? std::nan("") : std::exp(nll / static_cast<double>(tokens));
}

double Perplexity::margin() const {
  if (tokens < 2) return 0;
  const auto n = static_cast<double>(tokens);
  const double variance = nll2 / n - (nll / n) * (nll / n);
  return variance > 0 ? std::sqrt(variance / (n - 1)) * value() : 0;
}

Result<std::vector<ScoredWindow>> scored_windows(std::span<const Token> tokens, Token bos,
                                                 int64_t context, int64_t stride, int64_t chunks) {
  const auto total = static_cast<int64_t>(tokens.size());
  if (stride < 0 || stride >= context) {
    return error(Code::kOutOfRange, "a stride of ", stride, " with windows of ", context, ": 0 to ",
                 context - 1);
  }
  if (total < 2 * context) {
    return error(Code::kOutOfRange, "the text has ", total, " tokens and windows of ", context,
                 " need at least ", 2 * context, ": give a longer text, or -c ", total / 2,
                 " or less");
  }
  const int64_t step = stride > 0 ? stride : context;
  int64_t count = stride > 0 ? (total - context + stride - 1) / stride : total / context;
  if (chunks >= 0) count = std::min(count, chunks);
  std::vector<ScoredWindow> windows;
  for (int64_t w = 0; w < count; ++w) {
    const std::span<const Token> cut =
        tokens.subspan(static_cast<size_t>(w * step), static_cast<size_t>(context));
    ScoredWindow window;
    window.tokens.assign(cut.begin(), cut.end());
    window.targets.assign(cut.begin() + 1, cut.end());
    window.targets.push_back(cut.back());
    window.first = stride > 0 ? context - stride - 1 : context / 2;
    if (bos >= 0 && stride == 0) window.tokens[0] = bos;
    windows.push_back(std::move(window));
  }
  return windows;
}

Result<PerplexityReport> run_perplexity(const PerplexityOptions& options) {
  return guarded("perplexity", [&] { return run_unguarded(options); });
}

nlohmann::ordered_json to_json(const PerplexityReport& r) {
  nlohmann::ordered_json out = {
      {"model", r.model},
      {"text_sha256", r.text_sha256},
      {"text_tokens", r.text_tokens},
      {"context", r.context},
      {"stride", r.stride},
      {"windows", r.windows},
      {"windows_done", r.done},
      {"interrupted", r.interrupted},
      {"config",
       {{"linear", r.linear}, {"k_type", r.k_type}, {"v_type", r.v_type}, {"threads", r.threads}}}};
  if (!r.adaptation.empty()) out["config"]["adaptation"] = r.adaptation;
  out.update(sums_json(r.heed));
  if (r.llama) {
    out["compare"] = sums_json(*r.llama);
    out["compare"]["engine"] = "llama.cpp";
    out["compare"]["config"] = r.llama_config;
  }
  return out;
}

}  // namespace heed::eval
