#include "cli/run_memory.h"

#include <algorithm>
#include <vector>

#include "base/text.h"
#include "base/units.h"
#include "eval/llama_memory.h"
#include "eval/memory_check.h"
#include "model/hyperparameters.h"

namespace heed::cli {
namespace {

// The tokens a prompt of this text can have at most: one a byte, and the template's own.
int64_t most_tokens(const std::string& text, const std::string& system) {
  constexpr int64_t kTemplateTokens = 256;
  return static_cast<int64_t>(text.size() + system.size()) + kTemplateTokens;
}

// Of all answers: their sequences share the prompt's pages.
int64_t answer_tokens(const RunOptions& options) {
  return std::max<int64_t>(options.predict, 0) * options.parallel;
}

// As far as the context lets it go: the prompt is checked against it later, with its own message.
PlannedRun planned(const RunOptions& options, int64_t prompt) {
  PlannedRun run;
  run.prompt = std::min(options.engine.context, prompt);
  run.answer = std::min({(options.engine.context - run.prompt) * options.parallel,
                         answer_tokens(options), limits::kContext});  // which no memory holds
  if (options.draft.wanted()) run.verified = 1 + options.draft.most();
  run.loras = options.adapters.lora_paths();
  run.control_vector = options.adapters.steers();
  return run;
}

// The draft model reads the same text, as far as its context goes.
PlannedRun planned_draft(const RunOptions& options, const PlannedRun& target) {
  PlannedRun run;
  run.prompt = std::min(options.draft.engine.context, target.prompt);
  run.answer =
      std::min((options.draft.engine.context - run.prompt) * options.parallel, target.answer);
  return run;
}

struct Needs {
  MemoryPlan plan, draft;
  // One engine after the other; the peer only with --compare and where heed fits.
  std::vector<eval::MemoryNeed> heed, peer;

  bool fit() const { return eval::fits_in_memory(heed) && eval::fits_in_memory(peer); }
};

Result<Needs> needs_of(const std::string& path, const RunOptions& options, int64_t prompt) {
  ModelOptions load;
  load.threads = options.threads;
  HEED_ASSIGN(load.linear, parse_linear(options.linear));
  const PlannedRun run = planned(options, prompt);
  Needs needs;
  HEED_ASSIGN(needs.plan, predict_memory(path, load, options.engine, run));
  const MemoryPlan& plan = needs.plan;
  needs.heed = {{"weights", plan.weights},
                {"keys and values", plan.kv},
                {"graphs and the process", plan.peak - plan.weights - plan.kv}};
  if (!options.draft.path.empty()) {
    HEED_ASSIGN(needs.draft, predict_memory(options.draft.path, load, options.draft.engine,
                                            planned_draft(options, run)));
    needs.heed.push_back({"the draft model", needs.draft.peak});
  }
  if (options.compare.empty() || !eval::fits_in_memory(needs.heed)) return needs;
  // heed's pages and graphs are gone by then, its weights stay for the tokenizer.
  HEED_ASSIGN(const auto llama,
              eval::predict_llama_memory(path, llama_for_run(options, prompt, 1)));
  needs.peer = {{"heed's model", plan.peak - plan.kv - plan.compute},
                {"llama.cpp's model", llama.weights},
                {"llama.cpp's context", llama.of_context()}};
  return needs;
}

// By halving the interval; the context bounds it from above. 0: not even one token fits.
Result<int64_t> longest_prompt(const std::string& path, const RunOptions& options) {
  // Each answer has positions of its own behind the prompt.
  int64_t fits = 0, too_long = options.engine.context - std::max<int64_t>(options.predict, 0) + 1;
  // Within a page nothing changes but a few rows of the graph; short prompts are told to the token.
  while (too_long - fits > (fits < kPageTokens ? 1 : kPageTokens)) {
    const int64_t middle = fits + (too_long - fits) / 2;
    HEED_ASSIGN(const Needs needs, needs_of(path, options, middle));
    (needs.fit() ? fits : too_long) = middle;
  }
  return fits;
}

std::string way_out(int64_t longest, const RunOptions& options, bool peer_is_short) {
  const std::string without = peer_is_short ? ", leave --compare out" : "";
  if (longest > 0) {
    const std::string answer =
        options.predict > 0 ? cat(" beside an answer of ", options.predict, " (-n)") : "";
    return cat("the longest prompt that fits has ", longest, " tokens", answer, "; shorten it",
               without, ", or free memory");
  }
  return cat("not even a prompt of one token fits; take a smaller model",
             options.predict > 0 ? ", a smaller -n" : "", without, ", or free memory");
}

}  // namespace

eval::LlamaOptions llama_for_run(const RunOptions& options, int64_t prompt_tokens, int threads) {
  eval::LlamaOptions llama;
  llama.threads = threads;
  llama.ubatch = options.engine.chunk;
  llama.batch = std::max(llama.batch, llama.ubatch);
  llama.rope = options.engine.rope;
  llama.loras = options.adapters.files().loras;
  llama.context = options.engine.context;
  if (options.predict >= 0) {
    llama.context = std::min(llama.context, prompt_tokens + options.predict + 1);
  }
  const bool beyond = options.rope_context > 0 && options.engine.context > options.rope_context;
  if (beyond) llama.context = std::max(llama.context, options.rope_context + 1);
  return llama;
}

Result<MemoryPlan> plan_run(const std::string& path, const std::string& user,
                            const RunOptions& options, MemoryPlan* draft) {
  int64_t prompt = most_tokens(user, options.system);
  HEED_ASSIGN(Needs needs, needs_of(path, options, prompt));
  if (!needs.fit()) {
    HEED_ASSIGN(prompt, count_prompt_tokens(path, user, options.system, options.raw));
    HEED_ASSIGN(needs, needs_of(path, options, prompt));
  }
  std::string help;
  if (!needs.fit()) {
    HEED_ASSIGN(const int64_t longest, longest_prompt(path, options));
    help = way_out(longest, options, !needs.peer.empty());
  }
  const auto say = [&options](const std::string& line) {
    if (!options.quiet) note(line);
  };
  const std::string work = cat(path, ": a prompt of ", prompt, " tokens");
  HEED_TRY(eval::check_memory(work, needs.heed, help, say));
  HEED_TRY(eval::check_memory(cat(work, " in llama.cpp (--compare)"), needs.peer, help));
  if (options.verbose) {
    const auto available = needs.plan.available;
    const PlannedRun run = planned(options, prompt);
    note(cat("predicted peak ", bytes_text(needs.plan.peak + needs.draft.peak), " of ",
             available ? bytes_text(*available) : "an unknown amount", " available, for at most ",
             run.prompt + run.answer, " tokens; the prompt in ",
             prefill_order_name(needs.plan.order), "-major order"));
  }
  if (draft != nullptr) *draft = needs.draft;
  return needs.plan;
}

void limit_kv(const MemoryPlan& plan, const MemoryPlan& draft, RunOptions& options) {
  const auto besides = [](const MemoryPlan& p) { return p.peak - std::min(p.kv, p.peak); };
  const uint64_t fixed = besides(plan) + besides(draft);
  if (!plan.available || *plan.available <= fixed) return;
  const uint64_t left = *plan.available - fixed;
  // Both hold the same tokens, so they grow as their plans say.
  const double share = static_cast<double>(draft.kv) /
                       static_cast<double>(std::max<uint64_t>(plan.kv + draft.kv, 1));
  options.draft.engine.max_kv_bytes = static_cast<uint64_t>(share * static_cast<double>(left));
  options.engine.max_kv_bytes = left - options.draft.engine.max_kv_bytes;
}

Status plan_chat(const std::string& path, RunOptions& options) {
  // Layer by layer the residual of a whole message stays in memory, token by token that of a chunk.
  const bool by_layers = options.engine.prefill_order == PrefillOrder::kLayerMajor;
  const int64_t message = by_layers ? options.engine.context : options.engine.chunk;
  HEED_ASSIGN(const Needs needs, needs_of(path, options, message));
  HEED_TRY(
      eval::check_memory(path, needs.heed, "take a smaller model, a smaller -ub or free memory"));
  limit_kv(needs.plan, needs.draft, options);
  return Status::ok();
}

}  // namespace heed::cli
