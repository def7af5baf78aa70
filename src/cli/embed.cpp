// heed embed: texts as vectors.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/embed_arguments.h"
#include "cli/embed_output.h"
#include "cli/interrupt.h"
#include "cli/model_source.h"
#include "cli/parse.h"
#include "cli/prompt.h"
#include "eval/memory_check.h"

namespace heed::cli {
namespace {

class EmbedVerb final : public Verb {
 public:
  const char* name() const override { return "embed"; }
  const char* summary() const override { return "Turn texts into vectors; they go to stdout"; }
  const char* examples() const override {
    return "  heed embed -m bge-small.gguf \"a red fox\" \"a brown dog\"\n"
           "  heed embed -m bge-small.gguf -f lines.txt --embd-output-format raw > vectors.txt\n"
           "  heed embed -m bge-small.gguf -p \"one<#>two\" --embd-separator \"<#>\" -o json\n"
           "  cat lines.txt | heed embed -m smollm2:135m --pooling mean --embd-output-format "
           "json+\n";
  }
  void options(CLI::App& app) override { o_.bind(app); }
  int run() override;

 private:
  // Path, header and memory: everything that can refuse before the weights are read.
  Status prepare();
  Status check_memory(const std::string& path);
  Status tokenize();
  Status embed_all();
  void print() const;

  EmbedArguments o_;
  std::string path_;
  std::shared_ptr<Model> model_;
  std::vector<std::vector<Token>> tokens_;
  EmbedResult result_;
};

Status EmbedVerb::prepare() {
  HEED_ASSIGN(path_, model_path(o_.model, o_.offline, o_.progress_mode()));
  HEED_ASSIGN(result_.model, Model::inspect(path_));
  const ModelInfo& model = result_.model;
  result_.pooling = o_.pooling.value_or(model.pooling);
  result_.norm = o_.norm;
  result_.width = model.embd;
  if (result_.pooling == Pooling::kRank) {
    return error(Code::kUnsupported,
                 o_.pooling ? "--pooling rank" : path_ + " asks for pooling rank",
                 ": a classifier of pairs of texts (a reranker), which heed does not compute; "
                 "give --pooling none, mean, cls or last, or run this model with llama.cpp");
  }
  if (o_.context > model.trained_context) {
    return error(Code::kOutOfRange, "-c ", o_.context, ": the model was trained for ",
                 model.trained_context, " tokens; use -c ", model.trained_context, " or less");
  }
  return check_memory(path_);
}

// A text has at most a token a byte. Of a step all texts' keys are held, in pages of their own.
Status EmbedVerb::check_memory(const std::string& path) {
  constexpr int64_t kSpecialTokens = 16;
  const int64_t context = o_.context > 0 ? o_.context : result_.model.trained_context;
  int64_t longest = 0, total = 0;
  for (const std::string& text : result_.texts) {
    const int64_t most = std::min(context, static_cast<int64_t>(text.size()) + kSpecialTokens);
    longest = std::max(longest, most);
    total += most;
  }
  const auto together = std::min(static_cast<int64_t>(result_.texts.size()),
                                 static_cast<int64_t>(o_.engine.max_sequences));
  const int64_t step = result_.model.encoder ? std::max<int64_t>(o_.engine.chunk, context)
                                             : int64_t{o_.engine.chunk};
  PlannedRun run;
  run.prompt = std::max(longest, std::min(total, step)) + kPageTokens * together;
  ModelOptions load;
  load.threads = o_.threads;
  HEED_ASSIGN(load.linear, parse_linear(o_.linear));
  HEED_ASSIGN(result_.plan, predict_memory(path, load, o_.engine, run));
  const auto rows =
      result_.pooling == Pooling::kNone ? total : static_cast<int64_t>(result_.texts.size());
  // JSON holds each number as a value, and then all of them as text.
  const uint64_t vectors = static_cast<uint64_t>(rows) * static_cast<uint64_t>(result_.width) *
                           (o_.output == "json" ? 48 : sizeof(float));
  MemoryPlan& plan = result_.plan;
  plan.peak += vectors;
  const std::vector<eval::MemoryNeed> needs = {
      {"weights", plan.weights},
      {"keys and values", plan.kv},
      {"vectors", vectors},
      {"graphs and the process", plan.peak - plan.weights - plan.kv - vectors}};
  return eval::check_memory(
      fmt::format("{}: texts of up to {} tokens", path, longest), needs,
      "give fewer texts at a time, a smaller -c or -ub, a smaller model, or free memory",
      [this](const std::string& line) {
        if (!o_.quiet) note(line);
      });
}

// Tokens of a text that is too long: its beginning, and at the end what the tokenizer puts behind
// every text.
Status EmbedVerb::tokenize() {
  HEED_ASSIGN(const std::vector<Token> around, model_->tokenize("", true, true));
  const auto context = static_cast<size_t>(result_.engine.context);
  for (size_t i = 0; i < result_.texts.size(); ++i) {
    HEED_ASSIGN(std::vector<Token> tokens, model_->tokenize(result_.texts[i], true, true));
    if (tokens.size() > context) {
      if (!o_.truncate) {
        return error(Code::kOutOfRange, "text ", i, " has ", tokens.size(),
                     " tokens, the context is ", context, "; shorten it, or cut it there with ",
                     "--truncate");
      }
      if (!o_.quiet) note(cat("text ", i, ": ", tokens.size(), " tokens cut to ", context));
      const Token end = tokens.back();
      tokens.resize(context);
      if (!around.empty() && around.back() == end) tokens.back() = end;
    }
    if (tokens.empty()) {
      return error(Code::kInvalidArgument, "text ", i,
                   " is empty, and this model's tokenizer adds ", "nothing to it; leave it out");
    }
    result_.tokens.push_back(static_cast<int64_t>(tokens.size()));
    tokens_.push_back(std::move(tokens));
  }
  return Status::ok();
}

Status EmbedVerb::embed_all() {
  ModelOptions load;
  load.threads = o_.threads;
  HEED_ASSIGN(load.linear, parse_linear(o_.linear));
  const Clock::time_point start = Clock::now();
  HEED_ASSIGN(model_, open_model(path_, load, o_.progress_mode()));
  result_.load_s = seconds_since(start);
  result_.model = model_->info();
  result_.threads = model_->threads();
  HEED_ASSIGN(const auto engine, Engine::create(model_, o_.engine));
  result_.engine = engine->options();
  HEED_TRY(tokenize());
  ProgressLine line(o_.progress_mode());
  EmbedOptions options;
  options.pooling = result_.pooling;
  options.cancel = &interrupt_token();
  options.progress = [&line](int64_t done, int64_t total) {
    line.show(fmt::format("{} of {} tokens", done, total));
  };
  const Clock::time_point begin = Clock::now();
  HEED_ASSIGN(result_.embeddings, embed(*engine, tokens_, options));
  result_.embed_s = seconds_since(begin);
  result_.report = engine->report();
  const auto width = static_cast<size_t>(result_.width);
  for (Embedding& e : result_.embeddings) {
    for (size_t at = 0; at < e.values.size(); at += width) {
      HEED_TRY(normalize_embedding(std::span(e.values).subspan(at, width), o_.norm));
    }
  }
  return Status::ok();
}

void EmbedVerb::print() const {
  if (o_.output == "json") {
    print_json(to_json(result_));
    return;
  }
  if (o_.format.empty()) {
    print_embeddings(result_);
  } else {
    print_form(result_, o_.format);
  }
  std::fflush(stdout);
  if (o_.quiet) return;
  const double rate = static_cast<double>(result_.total_tokens()) / std::max(result_.embed_s, 1e-9);
  note(fmt::format("{} texts, {} tokens in {} ({:.0f} tokens/s), pooling {}", result_.texts.size(),
                   result_.total_tokens(), seconds_text(result_.embed_s), rate,
                   pooling_name(result_.pooling)));
}

int EmbedVerb::run() {
  if (const Status s = o_.settle(); !s.is_ok()) return usage_error(name(), s.message());
  watch_interrupts();
  set_last_words([] { return std::string("\nheed: interrupted; no vector was printed\n"); });
  Result<std::vector<std::string>> texts = o_.texts();
  if (!texts.is_ok()) {
    const bool usage = texts.code() == Code::kInvalidArgument;
    return usage ? usage_error(name(), texts.message()) : fail(texts.status());
  }
  result_.texts = std::move(*texts);
  Status status = prepare();
  if (status.is_ok()) status = embed_all();
  if (status.code() == Code::kCancelled) {
    acknowledge_interrupt();
    note("interrupted; no vector was printed");
    return interrupt_exit_code();
  }
  if (!status.is_ok()) return fail(status);
  print();
  return kDone;
}

}  // namespace

std::unique_ptr<Verb> make_embed() { return std::make_unique<EmbedVerb>(); }

}  // namespace heed::cli
