#include "eval/reference_kl.h"

#include <gguf.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "base/text.h"
#include "eval/llama_memory.h"
#include "eval/memory_check.h"
#include "eval/paired_pass.h"
#include "eval/peer_isa.h"
#include "eval/result_store.h"
#include "heed/cpu.h"
#include "model/file_hash.h"
#include "model/sha256.h"
#include "model/split_set.h"

namespace heed::eval {
namespace {

constexpr int64_t kWindow = 1024;  // tokens

// Test models are marked by whoever writes them: a distribution over noise has no reference.
bool has_random_weights(const std::string& path) {
  gguf_context* file =
      gguf_init_from_file(first_part_path(path).c_str(), {.no_alloc = true, .ctx = nullptr});
  if (file == nullptr) return false;  // loading it will say why
  const int64_t key = gguf_find_key(file, "heed.random_weights");
  const bool random =
      key >= 0 && gguf_get_kv_type(file, key) == GGUF_TYPE_BOOL && gguf_get_val_bool(file, key);
  gguf_free(file);
  return random;
}

struct Keys {
  std::string heed, llama;
};

Result<Keys> make_keys(const ReferenceKlJob& job, int threads) {
  HEED_ASSIGN(const std::string file, model_sha256(job.path, job.cancel));
  HEED_ASSIGN(const std::string revision, program_revision());
  HEED_ASSIGN(const Isa isa, choose_isa());
  const std::string common =
      cat("kl_vs_ref ", file, " text ", sha256_hex(bench_text()), " window ", kWindow, " program ",
          revision, " isa ", isa_name(isa), " threads ", threads,
          job.adaptation ? cat(" adapted ", sha256_hex(adaptation_text(*job.adaptation)))
                         : std::string());
  Keys keys;
  if (job.heed) {
    // The default is a function of the file and the program, which are in the key.
    const auto name = [](std::optional<Format> f) { return f ? format_name(*f) : "default"; };
    keys.heed = cat(common, " heed ", linear_name(job.linear), " ", name(job.heed->k), " ",
                    name(job.heed->v), " chunk ", job.heed->chunk);
  }
  if (job.llama) {
    keys.llama = cat(common, " llama.cpp ", describe(*job.llama), " ", isa_name(peer_isa()));
  }
  return keys;
}

// Mean KL(reference || engine), the engine fed in chunks of its own: what a chunk holds changes an
// engine's rounding, so each is judged as it was timed.
Result<double> pass_of(std::vector<std::unique_ptr<LogitSource>>& sources,
                       std::span<const std::vector<Token>> windows, int64_t chunk, int threads,
                       const CancelToken* cancel) {
  std::array<Pair, 1> pairs{Pair{0, 1, {}}};
  PassOptions pass;
  pass.chunk = static_cast<int>(std::min(chunk, kWindow));
  pass.threads = threads;
  pass.cancel = cancel;
  HEED_TRY(run_pairs(sources, pairs, windows, pass));
  sources.resize(1);
  return pairs[0].stats.mean_kl();
}

EngineOptions window_engine(const ReferenceKlJob& job) {
  EngineOptions engine = job.heed.value_or(EngineOptions{});
  engine.context = kWindow;
  engine.beyond_context = false;
  engine.max_sequences = 1;
  return engine;
}

// The reference is read once more for each engine that is missing.
Status measure(const ReferenceKlJob& job, ReferenceKl& result) {
  ModelOptions load;
  load.threads = job.threads;
  load.linear = job.linear;
  load.cancel = job.cancel;
  const EngineOptions engine = window_engine(job);
  EngineOptions exact = engine;
  exact.k = exact.v = Format::kF32;
  std::vector<std::unique_ptr<LogitSource>> sources;
  load.weights = Weights::kF32;
  HEED_ASSIGN(auto reference_model, Model::load(job.path, load));
  const int threads = reference_model->threads();
  HEED_ASSIGN(const auto windows,
              text_windows(*reference_model, std::string(bench_text()), kWindow, 1));
  HEED_ASSIGN(sources.emplace_back(),
              make_heed_source(reference_model, exact, job.cancel, job.adaptation));
  if (job.heed && !result.heed) {
    load.weights = Weights::kAsStored;
    HEED_ASSIGN(auto model, Model::load(job.path, load));
    HEED_ASSIGN(sources.emplace_back(),
                make_heed_source(std::move(model), engine, job.cancel, job.adaptation));
    HEED_ASSIGN(result.heed, pass_of(sources, windows, engine.chunk, threads, job.cancel));
  }
  if (job.llama && !result.llama) {
    LlamaOptions llama = *job.llama;
    llama.context = kWindow;
    llama.cancel = job.cancel;
    HEED_ASSIGN(auto model, LlamaModel::load(job.path, {llama.repack, job.cancel}));
    HEED_ASSIGN(sources.emplace_back(), make_llama_source(std::move(model), llama));
    HEED_ASSIGN(result.llama, pass_of(sources, windows, llama.ubatch, threads, job.cancel));
  }
  return Status::ok();
}

// The reference beside the engine that takes more; the other models of the process are loaded and
// no longer counted as available.
Status check_room(const ReferenceKlJob& job, const ModelInfo& info) {
  ModelOptions load;
  load.threads = job.threads;
  load.linear = job.linear;
  const PlannedRun run{
      .prompt = kWindow,
      .all_logits = true,
      .loras = job.loras,
      .control_vector = job.adaptation != nullptr && job.adaptation->control != nullptr};
  HEED_ASSIGN(const MemoryPlan heed, predict_memory(job.path, load, window_engine(job), run));
  load.weights = Weights::kF32;
  EngineOptions exact = window_engine(job);
  exact.k = exact.v = Format::kF32;
  HEED_ASSIGN(const MemoryPlan reference, predict_memory(job.path, load, exact, run));
  MemoryNeed peer{"the engine beside it", job.heed ? heed.peak : 0};
  if (job.llama) {
    LlamaOptions llama = *job.llama;
    llama.context = kWindow;
    HEED_ASSIGN(const LlamaMemory memory, predict_llama_memory(job.path, llama, true));
    peer.bytes = std::max(peer.bytes, memory.total());
  }
  const MemoryNeed needs[] = {
      {"the reference in f32", reference.peak},
      peer,
      {"logits", 2 * kWindow * static_cast<uint64_t>(info.vocab) * sizeof(float)}};
  return check_memory("the KL to the reference", needs, "free memory", job.say);
}

void keep(const ReferenceKlJob& job, const std::string& key, const std::optional<double>& value) {
  if (key.empty() || !value) return;
  const Status status = keep_result(key, *value);
  if (!status.is_ok() && job.say) job.say(cat("the result is not kept: ", status.message()));
}

}  // namespace

Result<ReferenceKl> reference_kl(const ReferenceKlJob& job) {
  ReferenceKl result;
  if (has_random_weights(job.path)) {
    result.why_not = "random weights";
    return result;
  }
  HEED_ASSIGN(const ModelInfo info, Model::inspect(job.path));
  if (info.trained_context < kWindow) {
    result.why_not = cat("the model's context of ", info.trained_context,
                         " is shorter than the window of ", kWindow);
    return result;
  }
  HEED_ASSIGN(const Keys keys, make_keys(job, job.threads));
  if (!job.refresh) {
    if (job.heed) result.heed = kept_result(keys.heed);
    if (job.llama) result.llama = kept_result(keys.llama);
  }
  if ((!job.heed || result.heed) && (!job.llama || result.llama)) return result;
  if (const Status room = check_room(job, info); !room.is_ok()) {
    if (room.code() != Code::kResourceExhausted) return room;
    result.why_not = room.message();
    return result;
  }
  if (job.say) job.say("measuring the KL to the reference (kept for the next run)");
  HEED_TRY(measure(job, result));
  keep(job, keys.heed, result.heed);
  keep(job, keys.llama, result.llama);
  return result;
}

}  // namespace heed::eval
