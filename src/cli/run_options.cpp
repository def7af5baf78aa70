#include "cli/run_options.h"

#include <cstdlib>

#include "base/nearest.h"
#include "base/text.h"
#include "cli/parse.h"

namespace heed::cli {
namespace {

void bind_prompt(CLI::App& app, RunOptions& o) {
  const auto keep = [&o](const std::string& word) { o.positional.push_back(word); };
  app.add_option_function<std::string>("MODEL", keep, "As with -m");
  app.add_option_function<std::string>("PROMPT", keep, "As with -p; quote it");
  // settle() reads these two variables: a positional goes before them, which CLI11 cannot tell.
  app.add_option(
         "-m,--model", o.model,
         "GGUF file, short name (heed ls) or ollama:NAME; pulled when missing (Env:HEED_MODEL)")
      ->type_name("MODEL");
  app.add_option("-p,--prompt", o.prompt.text,
                 "Prompt; behind a document from -f or stdin, the question (Env:HEED_PROMPT)");
  add(app, "-f,--file", o.prompt.file, "Document to read; - is stdin")->type_name("FILE");
  add(app, "--system", o.system, "System message (-sys)");
  add_flag(app, "--raw,--no-template", o.raw, "Feed the text as it is, without the chat template");
  app.add_flag("-e,--escape,!--no-escape", o.prompt.escapes,
               "Read \\n, \\t, \\\\ and so on in -p (default)");
}

void bind_rope(CLI::App& app, RunOptions& o) {
  const auto positive = CLI::PositiveNumber;
  add(app, "--rope-scaling", o.rope_scaling, "How positions are stretched; default: the file's")
      ->check(one_of({"none", "linear", "ntk", "yarn"}));
  add(app, "--rope-scale", o.engine.rope.factor, "How much longer the context becomes by that")
      ->check(positive);
  add(app, "--rope-freq-scale", o.rope_freq_scale, "The same as its inverse, as in llama.cpp")
      ->check(positive);
  add(app, "--rope-freq-base", o.engine.rope.base, "Base of the frequencies; default: the file's")
      ->check(positive);
  add(app, "--yarn-orig-ctx", o.engine.rope.original_context,
      "Context that YaRN stretches; default: the file's")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 28));
}

void bind_engine(CLI::App& app, RunOptions& o) {
  add(app, "-n,--predict", o.predict, "Tokens to generate; -1: until the end or the context")
      ->check(CLI::Range(int64_t{-1}, int64_t{1} << 31))
      ->capture_default_str();
  add(app, "-c,--ctx-size", o.context, "Positions a sequence may reach; 0: the trained context")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 31))
      ->capture_default_str();
  bind_rope(app, o);
  add(app, "--keep", o.keep, "Accepted as 0 for llama.cpp's sake: heed never drops tokens")
      ->check([](const std::string& value) {
        return value == "0"
                   ? std::string()
                   : cat("'", value,
                         "': heed never drops tokens of a sequence, so there is nothing to "
                         "keep; leave --keep out, and give -c for a longer context");
      });
  add(app, "-b,--batch-size", o.batch, "Limits -ub, as in llama.cpp")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  add(app, "--ubatch-size", o.ubatch, "Prompt tokens a step (-ub)")
      ->check(CLI::Range(1, EngineOptions::kMaxChunk))
      ->capture_default_str();
  add_threads(app, o.threads);
  add(app, "--cache-type-k", o.k_type,
      "Format of keys (-ctk); default: the model's, see docs/numerics.md")
      ->check(one_of({"f32", "f16", "bf16"}));
  add(app, "--cache-type-v", o.v_type, "Format of values (-ctv)")
      ->check(one_of({"f32", "f16", "bf16"}));
  add_linear(app, o.linear);
  add(app, "--flash-attn", o.flash,
      "Accepted for llama.cpp's sake (-fa): attention is always fused")
      ->check(one_of({"on", "off", "auto", "1", "0", "true", "false"}))
      ->capture_default_str();
  add_flag(app, "--offline", o.offline, "Do not download");
}

void bind_output(CLI::App& app, RunOptions& o) {
  add(app, "-o,--output", o.output, "Form of the result")
      ->check(one_of({"text", "json"}))
      ->capture_default_str();
  add_flag(app, "-q,--quiet", o.quiet, "Nothing but the answer and errors");
  add_flag(app, "--progress", o.progress, "Progress even when stderr is no terminal");
  add_flag(app, "-v,--verbose", o.verbose, "Say what was chosen: files, memory, settings");
  add(app, "--compare", o.compare, "Run this engine on the same prompt too, and print both")
      ->check(one_of({"llama.cpp"}));
  add(app, "--expect", o.expect,
      "With --compare: text that a correct answer contains; exit code 1 when heed's lacks it");
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

}  // namespace

void RunOptions::bind(CLI::App& app) {
  bind_prompt(app, *this);
  bind_engine(app, *this);
  sampling.bind(app);
  bind_output(app, *this);
}

Status RunOptions::settle() {
  size_t next = 0;
  if (model.empty() && next < positional.size()) model = positional[next++];
  if (model.empty()) model = environment("HEED_MODEL");
  if (prompt.text.empty() && next == positional.size()) prompt.text = environment("HEED_PROMPT");
  prompt.has_text = !prompt.text.empty();
  if (next < positional.size()) {
    if (prompt.has_text) {
      return error(Code::kInvalidArgument, "'", positional[next],
                   "' and -p are both prompts; give one (and quote it)");
    }
    prompt.text = positional[next++];
    prompt.has_text = true;
  }
  if (next < positional.size()) {
    return error(Code::kInvalidArgument, "unexpected argument '", positional[next], "'");
  }
  if (model.empty()) {
    return Status(Code::kInvalidArgument,
                  "no model; give a GGUF file or a short name (heed ls), for example smollm2:135m");
  }
  if (flash == "off" || flash == "0" || flash == "false") {
    return error(
        Code::kInvalidArgument, "--flash-attn ", flash,
        ": heed has no other attention; fused attention with f32 pages (-ctk f32 -ctv f32) "
        "is the exact one");
  }
  if (raw && !system.empty()) {
    return Status(Code::kInvalidArgument,
                  "--system has no place with --raw: the text goes in as it is; give one");
  }
  if (!expect.empty() && compare.empty()) {
    return Status(Code::kInvalidArgument, "--expect needs --compare llama.cpp");
  }
  HEED_TRY(settle_rope());
  if (!k_type.empty()) {
    HEED_ASSIGN(engine.k, parse_format(k_type));
  }
  if (!v_type.empty()) {
    HEED_ASSIGN(engine.v, parse_format(v_type));
  }
  engine.chunk = std::min(batch, ubatch);
  engine.context = context;
  engine.max_sequences = 1;
  HEED_ASSIGN(sampler, sampling.settle(prompt.escapes));
  return Status::ok();
}

Status RunOptions::settle_rope() {
  RopeOptions& rope = engine.rope;
  if (rope_freq_scale > 0 && rope.factor > 0) {
    return Status(Code::kInvalidArgument,
                  "--rope-freq-scale is the inverse of --rope-scale; give one of them");
  }
  if (rope_freq_scale > 0) rope.factor = 1 / rope_freq_scale;
  if (rope_scaling.empty()) return Status::ok();
  HEED_ASSIGN(rope.scaling, parse_rope_scaling(rope_scaling));
  if (rope.scaling == RopeScaling::kNtk && !compare.empty()) {
    return Status(Code::kInvalidArgument,
                  "--rope-scaling ntk: llama.cpp has no name for it; for --compare give the base "
                  "that it leads to with --rope-freq-base");
  }
  return Status::ok();
}

ProgressLine::Mode RunOptions::progress_mode() const {
  if (quiet) return ProgressLine::Mode::kOff;
  return progress ? ProgressLine::Mode::kAlways : ProgressLine::Mode::kOnTerminal;
}

}  // namespace heed::cli
