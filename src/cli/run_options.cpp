#include "cli/run_options.h"

#include <cstdlib>

#include "base/nearest.h"
#include "base/text.h"
#include "cli/parse.h"
#include "cli/prefill_order.h"

namespace heed::cli {
namespace {

void bind_positional(CLI::App& app, RunOptions& o, const char* name, const char* text) {
  app.add_option_function<std::string>(
      name, [&o](const std::string& word) { o.positional.push_back(word); }, text);
}

// settle() reads HEED_MODEL and HEED_PROMPT: a positional goes before them, which CLI11 cannot
// tell.
void bind_model(CLI::App& app, RunOptions& o) {
  app.add_option(
         "-m,--model", o.model,
         "GGUF file, short name (heed ls) or ollama:NAME; pulled when missing (Env:HEED_MODEL)")
      ->type_name("MODEL");
}

void bind_system(CLI::App& app, RunOptions& o) {
  add(app, "--system", o.system, "System message (-sys)");
}

void bind_prompt(CLI::App& app, RunOptions& o) {
  bind_positional(app, o, "MODEL", "As with -m");
  bind_positional(app, o, "PROMPT", "As with -p; quote it");
  bind_model(app, o);
  app.add_option("-p,--prompt", o.prompt.text,
                 "Prompt; behind a document from -f or stdin, the question (Env:HEED_PROMPT)");
  add(app, "-f,--file", o.prompt.file, "Document to read; - is stdin")->type_name("FILE");
  bind_system(app, o);
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
  o.formats.bind(app);
  add_linear(app, o.linear);
  add_prefill_order(app, o.prefill_order);
  add(app, "--flash-attn", o.flash,
      "Accepted for llama.cpp's sake (-fa): attention is always fused")
      ->check(one_of({"on", "off", "auto", "1", "0", "true", "false"}))
      ->capture_default_str();
  add_flag(app, "--offline", o.offline, "Do not download");
}

void bind_session(CLI::App& app, RunOptions& o) {
  add(app, "--parallel", o.parallel,
      "Answers to the prompt, which is read once; the i-th has the seed of the first + i (-np)")
      ->check(CLI::Range(1, EngineOptions::kMaxSequences))
      ->capture_default_str();
  add(app, "--session,--prompt-cache", o.session,
      "Keep the sequence in this file, and next time compute only what is new of the prompt")
      ->type_name("FILE");
  add_flag(app, "--prompt-cache-ro", o.session_read_only,
           "Use --session's file and leave it as it is");
  add_flag(app, "--prompt-cache-all", o.session_all,
           "Accepted for llama.cpp's sake: the answer is always saved too");
}

void bind_notes(CLI::App& app, RunOptions& o) {
  add_flag(app, "-q,--quiet", o.quiet, "Nothing but the answer and errors");
  add_flag(app, "--progress", o.progress, "Progress even when stderr is no terminal");
}

void bind_output(CLI::App& app, RunOptions& o) {
  add(app, "-o,--output", o.output, "Form of the result")
      ->check(one_of({"text", "json"}))
      ->capture_default_str();
  bind_notes(app, o);
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
  adapters.bind(app);
  sampling.bind(app);
  tools.bind(app);
  bind_session(app, *this);
  draft.bind(app);
  bind_output(app, *this);
}

void RunOptions::bind_chat(CLI::App& app) {
  bind_positional(app, *this, "MODEL", "As with -m");
  bind_model(app, *this);
  bind_system(app, *this);
  add(app, "--session", session,
      "Go on with the conversation in this file where it is there, and keep it there at the end")
      ->type_name("FILE");
  bind_engine(app, *this);
  adapters.bind(app);
  sampling.bind(app);
  draft.bind(app);
  bind_notes(app, *this);
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
  HEED_TRY(tools.settle());
  if (tools.given() && raw) {
    return Status(Code::kInvalidArgument,
                  "--tools are told to the model by its chat template, which --raw leaves out; "
                  "give one");
  }
  if (tools.given() && parallel > 1) {
    return Status(Code::kInvalidArgument,
                  "--tools read one answer for calls; leave out --parallel");
  }
  HEED_TRY(check_peer());
  if (session.empty() && (session_read_only || session_all)) {
    return error(Code::kInvalidArgument,
                 session_read_only ? "--prompt-cache-ro" : "--prompt-cache-all",
                 " needs --session FILE (--prompt-cache)");
  }
  HEED_TRY(settle_rope());
  HEED_TRY(draft.settle());
  HEED_TRY(adapters.settle());
  HEED_TRY(formats.settle(engine));
  HEED_ASSIGN(engine.prefill_order, parse_prefill_order(prefill_order));
  engine.chunk = std::min(batch, ubatch);
  engine.context = context;
  engine.max_sequences = parallel;
  HEED_ASSIGN(sampler, sampling.settle(prompt.escapes));
  if (tools.given() && !sampler.grammar.gbnf.empty()) {
    return Status(Code::kInvalidArgument,
                  "--tools bring a grammar for their calls, so no other can be given");
  }
  return Status::ok();
}

Status RunOptions::check_peer() const {
  if (!expect.empty() && compare.empty()) {
    return Status(Code::kInvalidArgument, "--expect needs --compare llama.cpp");
  }
  if (parallel > 1 && !compare.empty()) {
    return Status(
        Code::kInvalidArgument,
        "--parallel gives several answers, --compare takes one of each engine; give one of "
        "them");
  }
  if (tools.given() && !compare.empty()) {
    return Status(Code::kInvalidArgument,
                  "--tools ends an answer where the template says, which --compare's peer does not "
                  "know; give one of them");
  }
  if (!session.empty() && !compare.empty()) {
    return Status(Code::kInvalidArgument,
                  "--session spares heed a part of the prompt that --compare has the peer compute; "
                  "give one of them");
  }
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
