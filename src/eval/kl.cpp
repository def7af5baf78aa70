#include "eval/kl.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "eval/f32_copy.h"
#include "eval/llama_baseline.h"
#include "eval/llama_memory.h"
#include "eval/memory_check.h"
#include "eval/paired_pass.h"
#include "heed/embed.h"
#include "model/file_hash.h"
#include "model/sha256.h"

namespace heed::eval {
namespace {

// Positions in the list of sources.
enum Source : size_t { kHeed, kLlama, kLlamaPlain, kReference };

void tell(const KlOptions& options, const std::string& what, double fraction) {
  if (options.progress) options.progress(what, fraction);
}

// The models stay alive as long as the sources that use them.
struct Passes {
  std::shared_ptr<Model> model;
  std::shared_ptr<const Adaptation> adaptation;
  std::vector<std::unique_ptr<LogitSource>> sources;
};

Result<std::shared_ptr<Model>> load_model(const KlOptions& options, const std::string& path,
                                          Weights weights, const char* what) {
  ModelOptions load;
  load.threads = options.threads;
  load.weights = weights;
  load.linear = options.linear;
  load.cancel = options.cancel;
  load.progress = [&](double fraction) { tell(options, what, fraction); };
  return Model::load(path, load);
}

EngineOptions f32_pages(EngineOptions engine) {
  engine.k = engine.v = Format::kF32;
  return engine;
}

LlamaOptions llama_options(const KlOptions& options, const EngineOptions& engine) {
  LlamaOptions llama;
  llama.context = options.context;
  llama.batch = llama.ubatch = engine.chunk;
  llama.cancel = options.cancel;
  llama.loras = options.adapters.loras;
  return llama;
}

LlamaOptions without_flash(LlamaOptions llama) {
  llama.flash = false;
  llama.f32_kv = true;
  return llama;
}

// All four passes hold their model and a chunk of logits at the same time.
Result<std::vector<MemoryNeed>> needs_of(const KlOptions& options, const EngineOptions& engine,
                                         int vocab) {
  ModelOptions load;
  load.threads = options.threads;
  load.linear = options.linear;
  load.weights = Weights::kF32;
  const std::vector<std::string> loras = options.adapters.lora_paths();
  const PlannedRun run{.prompt = options.context,
                       .all_logits = true,
                       .loras = loras,
                       .control_vector = options.adapters.steers()};
  HEED_ASSIGN(const MemoryPlan reference,
              predict_memory(options.model, load, f32_pages(engine), run));
  load.weights = options.weights_f32 ? Weights::kF32 : Weights::kAsStored;
  HEED_ASSIGN(const MemoryPlan heed, predict_memory(options.model, load, engine, run));
  const LlamaOptions flash = llama_options(options, engine);
  const std::array both{flash, without_flash(flash)};
  HEED_ASSIGN(const auto llama, predict_llama_memory(options.model, both, true));
  const uint64_t weights = options.weights_f32 ? reference.weights : llama[0].weights;
  const auto rows = static_cast<uint64_t>(std::min<int64_t>(engine.chunk, options.context));
  const uint64_t logits = rows * static_cast<uint64_t>(vocab) * sizeof(float);
  return std::vector<MemoryNeed>{
      {"heed", heed.peak + logits},
      {"llama.cpp twice", weights + llama[0].of_context() + llama[1].of_context()},
      {"the reference in f32", reference.peak + logits}};
}

Status check_kl_memory(const KlOptions& options, const EngineOptions& engine) {
  HEED_ASSIGN(const ModelInfo info, Model::inspect(options.model));
  HEED_TRY(check_decoder(info));
  if (options.context > info.trained_context) {
    return error(Code::kOutOfRange, "windows of ", options.context,
                 " tokens: the model was trained for ", info.trained_context, "; use -c ",
                 info.trained_context, " or less");
  }
  HEED_ASSIGN(const auto needs, needs_of(options, engine, info.vocab));
  std::string way_out = "take a smaller model or free memory";
  if (!fits_in_memory(needs)) {
    KlOptions shorter = options;
    while ((shorter.context /= 2) >= 1) {
      HEED_ASSIGN(const auto fewer, needs_of(shorter, engine, info.vocab));
      if (!fits_in_memory(fewer)) continue;
      way_out = cat("windows of ", shorter.context, " fit: -c ", shorter.context);
      break;
    }
  }
  return check_memory(cat("comparing windows of ", options.context, " tokens"), needs, way_out,
                      options.say);
}

Result<Passes> make_passes(const KlOptions& options, const std::string& path,
                           const EngineOptions& engine) {
  Passes passes;
  HEED_ASSIGN(passes.model,
              load_model(options, path, Weights::kAsStored, "loading the model into heed"));
  HEED_ASSIGN(passes.adaptation, options.adapters.load(*passes.model));
  LlamaOptions llama = llama_options(options, engine);
  llama.threads = passes.model->threads();
  HEED_TRY(adapt_peer(options.adapters, passes.adaptation.get(), *passes.model,
                      "leave out this adapter", llama));
  HEED_ASSIGN(auto heed, make_heed_source(passes.model, engine, options.cancel, passes.adaptation));

  tell(options, "loading the model into llama.cpp", 0);
  HEED_ASSIGN(auto llama_model, LlamaModel::load(path, {.cancel = options.cancel}));
  HEED_ASSIGN(auto flash, make_llama_source(llama_model, llama));
  HEED_ASSIGN(auto plain, make_llama_source(llama_model, without_flash(llama)));

  HEED_ASSIGN(auto reference_model,
              load_model(options, path, Weights::kF32, "loading the reference"));
  HEED_ASSIGN(auto reference, make_heed_source(std::move(reference_model), f32_pages(engine),
                                               options.cancel, passes.adaptation));
  passes.sources.push_back(std::move(heed));
  passes.sources.push_back(std::move(flash));
  passes.sources.push_back(std::move(plain));
  passes.sources.push_back(std::move(reference));
  return passes;
}

KlReport describe_run(const KlOptions& options, const Model& model, const EngineOptions& engine) {
  KlReport report;
  report.model = options.model_label.empty() ? options.model : options.model_label;
  report.text_sha256 = sha256_hex(options.text);
  report.context = options.context;
  report.linear = model.info().linear;
  report.k_type = format_name(engine.k.value_or(model.info().default_k));
  report.v_type = format_name(engine.v.value_or(model.info().default_v));
  report.threads = model.threads();
  report.weights_f32 = options.weights_f32;
  LlamaOptions llama;
  llama.ubatch = engine.chunk;
  report.llama = cat(describe(llama),
                     adapters_suffix(options.adapters.loras.size(), options.adapters.steers()));
  return report;
}

nlohmann::ordered_json stats_json(const PairStats& stats) {
  return {{"mean_kl", stats.mean_kl()},
          {"max_kl", stats.max_kl()},
          {"kl_percentiles",
           {{"p50", stats.kl_percentile(0.5)},
            {"p90", stats.kl_percentile(0.9)},
            {"p99", stats.kl_percentile(0.99)}}},
          {"top1_agreement", stats.top1_agreement()},
          {"max_abs_dlogit", stats.max_abs_dlogit()},
          // Beyond the promised keys: each difference of the choices with its gap in llama.cpp's
          // logits, so that near-ties can be told from errors.
          {"top1_differences", stats.top1_gaps().size()},
          {"top1_gaps", stats.top1_gaps()}};
}

}  // namespace

Result<KlReport> run_kl(const KlOptions& options) {
  if (options.context < 1) {
    return error(Code::kOutOfRange, "a window of ", options.context, " tokens: at least 1");
  }
  EngineOptions engine = options.engine;
  engine.context = options.context;
  engine.max_sequences = 1;
  if (options.weights_f32) {
    engine.k = engine.k.value_or(Format::kF32);
    engine.v = engine.v.value_or(Format::kF32);
  }
  HEED_TRY(check_kl_memory(options, engine));
  tell(options, "hashing the model", 0);
  HEED_ASSIGN(const std::string sha256, model_sha256(options.model, options.cancel));
  HEED_ASSIGN(const Isa isa, choose_isa());

  std::optional<F32Copy> copy;
  std::string path = options.model;
  if (options.weights_f32) {
    F32Copy::Options making{.cancel = options.cancel, .progress = [&](double fraction) {
                              tell(options, "writing the F32 copy", fraction);
                            }};
    HEED_ASSIGN(copy, F32Copy::make(options.model, making));
    path = copy->path();
  }
  HEED_ASSIGN(const Passes passes, make_passes(options, path, engine));
  const Model& model = *passes.model;
  HEED_ASSIGN(const auto windows,
              text_windows(model, options.text, options.context, options.windows));

  std::array<Pair, 4> pairs{Pair{kLlama, kHeed, {}}, Pair{kLlama, kLlamaPlain, {}},
                            Pair{kReference, kHeed, {}}, Pair{kReference, kLlama, {}}};
  PassOptions pass;
  pass.chunk = engine.chunk;
  pass.threads = model.threads();
  pass.cancel = options.cancel;
  pass.progress = [&](int64_t done, int64_t total) {
    tell(options, "comparing", static_cast<double>(done) / static_cast<double>(total));
  };
  HEED_TRY(run_pairs(passes.sources, pairs, windows, pass));

  KlReport report = describe_run(options, model, engine);
  report.file_sha256 = sha256;
  if (passes.adaptation) report.adaptation = adaptation_text(*passes.adaptation);
  report.isa = isa_name(isa);
  report.windows = static_cast<int64_t>(windows.size());
  report.heed = std::move(pairs[0].stats);
  report.yardstick = std::move(pairs[1].stats);
  report.tokens = report.heed.tokens();
  report.ref_heed = pairs[2].stats.mean_kl();
  report.ref_llama = pairs[3].stats.mean_kl();
  return report;
}

nlohmann::ordered_json to_json(const KlReport& report) {
  nlohmann::ordered_json json = {{"model", report.model},
                                 {"file_sha256", report.file_sha256},
                                 {"text_sha256", report.text_sha256},
                                 {"context", report.context},
                                 {"windows", report.windows},
                                 {"tokens", report.tokens},
                                 {"config",
                                  {{"linear", report.linear},
                                   {"k_type", report.k_type},
                                   {"v_type", report.v_type},
                                   {"isa", report.isa},
                                   {"threads", report.threads},
                                   {"weights", report.weights_f32 ? "f32" : "as stored"},
                                   {"llama.cpp", report.llama}}}};
  if (!report.adaptation.empty()) json["config"]["adaptation"] = report.adaptation;
  json.update(stats_json(report.heed));
  json["kl_vs_ref"] = {{"heed", report.ref_heed}, {"llama.cpp", report.ref_llama}};
  json["yardstick"] = stats_json(report.yardstick);
  return json;
}

}  // namespace heed::eval
