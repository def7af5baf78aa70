#include "heed/engine.h"

#include <sys/resource.h>

#include <algorithm>

#include "base/guard.h"
#include "base/text.h"
#include "model/threads.h"
#include "model/weights.h"
#include "session/engine_impl.h"
#include "session/rope_options.h"

namespace heed {

Status check_ranges(const EngineOptions& o) {
  if (o.chunk < 1 || o.chunk > EngineOptions::kMaxChunk) {
    return error(Code::kOutOfRange, "chunk is ", o.chunk, " tokens, must be 1 to ",
                 EngineOptions::kMaxChunk);
  }
  if (o.max_sequences < 1 || o.max_sequences > EngineOptions::kMaxSequences) {
    return error(Code::kOutOfRange, "max_sequences is ", o.max_sequences, ", must be 1 to ",
                 EngineOptions::kMaxSequences);
  }
  if (o.context < 0 || o.context > limits::kContext) {
    return error(Code::kOutOfRange, "the context is ", o.context,
                 " positions, must be 0 (that of the model's training) to ", limits::kContext);
  }
  return Status::ok();
}

Status settle_encoder(const Hyperparameters& hyper, EngineOptions& options) {
  if (!hyper.arch->encoder) return Status::ok();
  constexpr int64_t kMost = EngineOptions::kMaxChunk;
  if (options.context == 0) options.context = std::min(hyper.context, kMost);
  const int64_t most = hyper.arch->learned_positions ? std::min(hyper.context, kMost) : kMost;
  if (options.context > most) {
    return error(Code::kOutOfRange, "the context is ", options.context, " positions, but ",
                 most < kMost ? "the model has a learned row for each of "
                              : "an encoder reads a text in one step of at most ",
                 most, "; ask for at most that many");
  }
  options.chunk = std::max(options.chunk, static_cast<int>(options.context));
  return Status::ok();
}
StoreDesc describe_store(const Hyperparameters& hyper, const EngineOptions& options, Isa isa) {
  StoreDesc desc;
  desc.isa = isa;
  desc.max_bytes = options.max_kv_bytes;
  for (int i = 0; i < hyper.stored_layers(); ++i) {
    const LayerHyper& layer = hyper.layer[static_cast<size_t>(i)];
    LayerShape shape;
    shape.kv_heads = layer.kv_heads;
    shape.dk = hyper.dk;
    shape.dv = hyper.dv;
    shape.k = *options.k;
    shape.v = *options.v;
    shape.v_aliases_k = hyper.latent > 0;
    desc.layers.push_back(shape);
  }
  return desc;
}

namespace {

Status check_options(const Model& model, const EngineOptions& o) {
  HEED_TRY(check_ranges(o));
  HEED_TRY(check_rope_options(o.rope));
  const int64_t trained = longest_context(model.info(), o.rope);
  if (o.context > trained && !o.beyond_context) {
    return error(Code::kOutOfRange, "the context is ", o.context, " positions, but the model was ",
                 "trained for ", trained, "; ask for at most that many");
  }
  return Status::ok();
}

Status check_formats(const ModelInfo& model, const EngineOptions& o) {
  if (!model.v_in_k || *o.k == *o.v) return Status::ok();
  return error(Code::kInvalidArgument, "values in ", format_name(*o.v), ", keys in ",
               format_name(*o.k), ": the values of a model of the architecture ",
               model.architecture, " lie inside its keys; ask for one format, or for that of the ",
               "keys alone");
}
uint64_t peak_resident_bytes() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;  // Linux counts KiB
}

}  // namespace

Result<std::unique_ptr<Engine::Impl>> Engine::Impl::create(std::shared_ptr<Model> model,
                                                           const EngineOptions& options) {
  if (!model) return Status(Code::kInvalidArgument, "an engine needs a model");
  HEED_TRY(check_options(*model, options));
  HEED_ASSIGN(const Isa isa, choose_isa());
  auto impl = std::make_unique<Impl>();
  impl->model = std::move(model);
  impl->options = options;
  const ModelInfo& info = impl->model->info();
  impl->options.k = options.k.value_or(info.default_k);
  impl->options.v = options.v.value_or(info.v_in_k ? *impl->options.k : info.default_v);
  HEED_TRY(check_formats(info, impl->options));
  const Hyperparameters& hyper = impl->hyper();
  if (hyper.arch->encoder && impl->options.prefill != nullptr) {
    return error(Code::kUnsupported, "prefill policy ", impl->options.prefill->text(), ": ",
                 info.architecture, " models read in both directions, prefill policies are for ",
                 "models that generate; leave the policy out");
  }
  HEED_TRY(settle_encoder(hyper, impl->options));
  if (impl->options.context == 0) impl->options.context = hyper.context;
  HEED_ASSIGN(impl->store, Store::create(describe_store(hyper, impl->options, isa)));
  const int threads = impl->model->threads();
  const ModelWeights& weights = *impl->model->impl().weights;
  const int max_rows = std::max(impl->options.chunk, options.max_sequences);
  HEED_ASSIGN(std::vector<RotaryTable> rotary,
              rotary_tables(hyper, weights, options.rope, impl->options.context));
  impl->step = std::make_unique<Step>(hyper, std::move(rotary), *impl->store, isa, threads,
                                      max_rows, impl->options.prefill);
  HEED_TRY(check_threads_available(threads - 1));  // this thread works too
  ggml_threadpool_params params = ggml_threadpool_params_default(threads);
  // Workers poll for the next graph before they sleep, 131,072 rounds per unit: about 2 ms, enough
  // for sampling between two tokens. ggml's default of 50 units holds a core for 100 ms after every
  // step, which another engine (or any other process) then waits for.
  params.poll = 1;
  impl->pool.reset(ggml_threadpool_new(&params), ggml_threadpool_free);
  if (!impl->pool) return error(Code::kResourceExhausted, "no memory for ", threads, " threads");
  impl->linears = std::make_unique<LinearWorkspace>(isa, threads);
  HEED_TRY(impl->linears->reserve(weights.most_inputs()));
  impl->adaptations = std::make_unique<Adaptations>(weights, isa, threads, max_rows);
  impl->graphs = std::make_unique<GraphCache>(hyper, weights, impl->step->ops.data(),
                                              impl->linears.get(), threads, impl->pool.get());
  return impl;
}

void Engine::Impl::share_threads(const Impl& other) {
  pool = other.pool;
  graphs->use_threads(pool.get());
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::create(std::shared_ptr<Model> model,
                                               const EngineOptions& options) {
  return guarded("making the engine", [&]() -> Result<std::unique_ptr<Engine>> {
    HEED_ASSIGN(auto impl, Impl::create(std::move(model), options));
    return std::unique_ptr<Engine>(new Engine(std::move(impl)));
  });
}

const Model& Engine::model() const { return *impl_->model; }
const EngineOptions& Engine::options() const { return impl_->options; }
Store& Engine::store() { return *impl_->store; }

Result<SeqId> Engine::create_sequence() {
  return guarded("creating a sequence", [&]() -> Result<SeqId> {
    HEED_ASSIGN(const SeqId seq, impl_->store->create_sequence());
    HEED_TRY(impl_->adopt(seq, nullptr));
    return seq;
  });
}

Result<SeqId> Engine::fork(SeqId seq) {
  return guarded("forking a sequence", [&]() -> Result<SeqId> {
    HEED_TRY(impl_->check_settled(seq));
    std::vector<Token> tokens = impl_->tokens.at(seq);
    HEED_ASSIGN(const SeqId copy, impl_->store->fork(seq));
    HEED_TRY(
        impl_->adopt(copy, impl_->logits.at(seq), std::move(tokens), impl_->adaptations->of(seq)));
    return copy;
  });
}

Status Engine::truncate(SeqId seq, int64_t n) {
  return guarded("truncating a sequence", [&] { return impl_->truncate(seq, n); });
}

Status Engine::drop(SeqId seq) {
  return guarded("dropping a sequence", [&]() -> Status {
    HEED_TRY(impl_->check_settled(seq));
    HEED_TRY(impl_->store->drop(seq));
    impl_->logits.erase(seq);
    impl_->tokens.erase(seq);
    std::erase_if(impl_->verified, [seq](const auto& one) { return one.seq == seq; });
    impl_->adaptations->drop(seq);
    return Status::ok();
  });
}

int64_t Engine::length(SeqId seq) const {
  return impl_->store->has_sequence(seq) ? impl_->store->length(seq) : 0;
}

Result<std::span<const float>> Engine::logits(SeqId seq) const {
  return guarded("reading logits", [&]() -> Result<std::span<const float>> {
    HEED_TRY(impl_->check_sequence(seq));
    const Logits& held = impl_->logits.at(seq);
    if (!held) {
      return error(Code::kInvalidArgument, "sequence ", seq,
                   " has no logits: it got no token since it was created or truncated");
    }
    return std::span<const float>(*held);
  });
}

Status Engine::prefill(SeqId seq, std::span<const Token> tokens, const PrefillOptions& options) {
  return guarded("prefill", [&] { return impl_->prefill(seq, tokens, options); });
}

Status Engine::decode(std::span<const SeqToken> tokens, const CancelToken* cancel) {
  return guarded("decode", [&] { return impl_->decode(tokens, cancel); });
}

Result<View<const float, 2>> Engine::verify(SeqId seq, std::span<const Token> tokens,
                                            const CancelToken* cancel) {
  const SeqSpan span{seq, tokens};
  return guarded("verifying", [&] { return impl_->verify({&span, 1}, cancel); });
}

Report Engine::report() const {
  Report r;
  r.load_s = impl_->model->impl().load_s;
  r.prefill_s = impl_->prefill_s;
  r.decode_s = impl_->decode_s;
  r.attention_s = impl_->step->attention_s;
  r.append_s = impl_->step->append_s;
  r.prompt_tokens = impl_->prompt_tokens;
  r.generated_tokens = impl_->generated_tokens;
  r.steps = impl_->steps;
  r.prefill_order = impl_->last_order;
  r.graph_builds = impl_->graphs->builds() - impl_->builds_at_reset;
  r.decode_graph_builds = impl_->decode_builds;
  r.kv = impl_->store->bytes();
  r.peak_resident = peak_resident_bytes();
  r.attention_tiles = impl_->step->attention_tiles;
  r.selection_s = impl_->step->selection_s;
  r.selection = impl_->step->selections.report();
  return r;
}

void Engine::reset_report() {
  impl_->prefill_s = impl_->decode_s = 0;
  impl_->prompt_tokens = impl_->generated_tokens = impl_->steps = impl_->decode_builds = 0;
  impl_->builds_at_reset = impl_->graphs->builds();
  impl_->last_order = PrefillOrder::kAuto;
  impl_->step->attention_s = impl_->step->append_s = impl_->step->selection_s = 0;
  impl_->step->selections.reset_report();
  impl_->step->attention_tiles = 0;
}

void Engine::park() { ggml_threadpool_pause(impl_->pool.get()); }

void Engine::fail_after_node(int n) { impl_->step->fail_after_node = n; }

}  // namespace heed
