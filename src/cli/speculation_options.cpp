#include "cli/speculation_options.h"

#include <algorithm>

#include "base/text.h"
#include "cli/model_source.h"
#include "cli/parse.h"

namespace heed::cli {
namespace {

// With the token before them, four rows: a step of heed's products that reads the weights once and
// packs one tile. A guess from the text costs nothing, so one tile more is tried.
constexpr int kMostOfModel = 3;
constexpr int kMostOfLookup = 7;

void note_products(const ModelInfo& target) {
  if (target.linear.find("ggml") == std::string::npos) return;
  note(cat("some products are ggml's (", target.linear,
           "), whose bits depend on how many tokens a ",
           "step has: where two tokens are as good as equally likely, a drafted answer may take ",
           "the other one"));
}

}  // namespace

void SpeculationOptions::bind(CLI::App& app) {
  add(app, "--model-draft,--spec-draft-model", model,
      "Smaller model of the same family that guesses tokens (-md); the answer stays the same")
      ->type_name("MODEL");
  add_flag(app, "--lookup", lookup, "Guess what followed the last tokens earlier in the text");
  add(app, "--draft-max,--draft,--draft-n,--spec-draft-n-max", max,
      cat("Tokens to guess at a time; default: ", kMostOfModel, " with -md, ", kMostOfLookup,
          " with --lookup"))
      ->check(CLI::Range(1, DraftOptions::kMostDrafted));
  add(app, "--draft-min,--draft-n-min,--spec-draft-n-min", min, "Shorter guesses are not tried")
      ->check(CLI::Range(0, DraftOptions::kMostDrafted))
      ->capture_default_str();
  add(app, "--draft-p-min,--spec-draft-p-min", p_min,
      "The draft model stops at a token less likely than this")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  add(app, "--ctx-size-draft", context,
      "Positions that the draft model may reach (-cd); 0: those of the answer")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 31))
      ->capture_default_str();
  add(app, "--lookup-ngram,--spec-ngram-simple-size-n", ngram,
      cat("Last tokens that must agree; default: ", LookupOptions().ngram))
      ->check(CLI::Range(1, LookupOptions::kMaxNgram));
}

int SpeculationOptions::most() const {
  if (max > 0) return max;
  return lookup ? kMostOfLookup : kMostOfModel;
}

Status SpeculationOptions::settle() const {
  if (lookup && !model.empty()) {
    return Status(Code::kInvalidArgument, "--lookup and -md both guess; give one");
  }
  if (!wanted() && (max > 0 || min > 0)) {
    return error(Code::kInvalidArgument, max > 0 ? "--draft-max" : "--draft-min",
                 ": nothing guesses; give a draft model with -md, or --lookup");
  }
  if (model.empty() && (p_min > 0 || context > 0)) {
    return error(Code::kInvalidArgument, p_min > 0 ? "--draft-p-min" : "--ctx-size-draft",
                 " is about a draft model; give one with -md");
  }
  if (!lookup && ngram > 0) {
    return Status(Code::kInvalidArgument, "--lookup-ngram needs --lookup");
  }
  if (min > most()) {
    return error(Code::kInvalidArgument, "--draft-min ", min, " is more than --draft-max ", most());
  }
  return Status::ok();
}

Status SpeculationOptions::find_model(bool offline, ProgressLine::Mode progress,
                                      int64_t target_context, int chunk) {
  if (model.empty()) return Status::ok();
  HEED_ASSIGN(path, model_path(model, offline, progress));
  HEED_ASSIGN(const ModelInfo info, Model::inspect(path));
  if (context > info.trained_context) {
    return error(Code::kOutOfRange, "--ctx-size-draft ", context, ": ", path, " was trained for ",
                 info.trained_context, " tokens; use that or less");
  }
  engine.context = std::min(context > 0 ? context : target_context, info.trained_context);
  engine.chunk = chunk;
  engine.max_sequences = 1;
  return Status::ok();
}

Result<std::unique_ptr<Drafter>> SpeculationOptions::open(const Engine& target,
                                                          const ModelOptions& load,
                                                          ProgressLine::Mode progress) const {
  if (wanted() && progress != ProgressLine::Mode::kOff) note_products(target.model().info());
  if (lookup) {
    LookupOptions options;
    if (ngram > 0) options.ngram = ngram;
    return make_lookup_drafter(options);
  }
  if (model.empty()) return std::unique_ptr<Drafter>();
  HEED_ASSIGN(auto draft, open_model(path, load, progress));
  DraftModelOptions options;
  options.engine = engine;
  options.p_min = p_min;
  return make_model_drafter(std::move(draft), target, options);
}

DraftOptions SpeculationOptions::limits(Drafter* drafter) const {
  DraftOptions options;
  options.drafter = drafter;
  options.max = most();
  options.min = min;
  return options;
}

}  // namespace heed::cli
