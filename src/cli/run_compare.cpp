#include "cli/run_compare.h"

#include <fmt/format.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/utf8.h"
#include "cli/interrupt.h"
#include "cli/run_memory.h"
#include "eval/llama_baseline.h"

namespace heed::cli {
namespace {

Status answer(eval::LlamaBaseline& llama, const Model& model, Sampler& sampler,
              const RunOptions& options, EngineRun& out, Clock::time_point start) {
  Utf8Assembler assembler;
  const int64_t limit = options.predict < 0 ? INT64_MAX : options.predict;
  Clock::time_point first = start;
  while (out.generated < limit && llama.length() < llama.options().context) {
    HEED_ASSIGN(const std::span<const float> logits, llama.logits());
    HEED_ASSIGN(const Token token, sampler.sample(logits));
    if (out.generated == 0) {
      out.first_token_s = seconds_since(start);
      first = Clock::now();
    }
    if (!options.sampler.ignore_eos && model.is_end(token)) break;
    ++out.generated;
    HEED_ASSIGN(const std::string piece, model.piece(token));
    out.text += assembler.push(piece);
    if (sampler.finished()) break;
    if (out.generated < limit) HEED_TRY(llama.decode(token));
  }
  out.decode_s = seconds_since(first);
  out.text += assembler.finish();
  return Status::ok();
}

}  // namespace

Result<EngineRun> run_llama(const Model& model, std::span<const Token> prompt,
                            const RunOptions& options, const Adaptation* adaptation, int threads,
                            ProgressLine::Mode progress) {
  ProgressLine line(progress);
  line.show("llama.cpp on the same prompt");
  eval::LlamaOptions llama_options =
      llama_for_run(options, static_cast<int64_t>(prompt.size()), threads);
  llama_options.cancel = &interrupt_token();
  HEED_TRY(eval::adapt_peer(options.adapters.files(), adaptation, model, "leave out --compare",
                            llama_options));
  HEED_ASSIGN(auto llama, eval::LlamaBaseline::load(model.info().path, llama_options));
  HEED_ASSIGN(auto sampler, Sampler::create(model, options.sampler));
  for (const Token token : prompt) HEED_TRY(sampler->accept(token));

  EngineRun out;
  out.engine = "llama.cpp";
  out.config = fmt::format("{}, {} threads", eval::describe(llama_options), threads);
  out.prompt_tokens = static_cast<int64_t>(prompt.size());
  const Clock::time_point start = Clock::now();
  HEED_TRY(llama->prefill(prompt));
  out.prompt_s = seconds_since(start);
  HEED_TRY(answer(*llama, model, *sampler, options, out, start));
  out.kv_bytes = llama->kv_bytes();
  if (!options.expect.empty()) out.correct = out.text.find(options.expect) != std::string::npos;
  return out;
}

}  // namespace heed::cli
