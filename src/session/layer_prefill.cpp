// Layer-major prefill: every chunk of a prompt goes through one layer before any goes through the
// next. Keys and values of the whole prompt are one open transaction until the last layer is done,
// so that a cancel or an error leaves the sequence as it was; other sequences may be served between
// two chunks.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <numeric>

#include "base/clock.h"
#include "base/guard.h"
#include "base/text.h"
#include "session/engine_impl.h"
#include "session/prefill_order.h"

namespace heed {
namespace {

// A filling that ends as it began unless it is committed, also when a callback throws.
class Filling {
 public:
  Filling(Store& store, SeqId seq) : store_(store), seq_(seq) {}
  ~Filling() {
    if (open_) store_.abort(seq_);
  }
  Filling(const Filling&) = delete;
  Filling& operator=(const Filling&) = delete;

  Status begin(int64_t rows) {
    HEED_TRY(store_.begin_filling(seq_, rows));
    open_ = true;
    return Status::ok();
  }
  Status extend(int layer, int rows) { return store_.extend(seq_, layer, rows); }
  void commit() {
    store_.commit(seq_);
    open_ = false;
  }

 private:
  Store& store_;
  SeqId seq_;
  bool open_ = false;
};

class LayerPrefill {
 public:
  LayerPrefill(Engine::Impl& engine, SeqId seq, std::span<const Token> tokens,
               const PrefillOptions& call)
      : engine_(engine), seq_(seq), tokens_(tokens), call_(call), filling_(*engine.store, seq) {}

  Status run() {
    HEED_TRY(filling_.begin(total()));
    HEED_TRY(reserve());
    const SeqSpan all{.id = seq_, .tokens = tokens_};
    engine_.reserve_tokens({&all, 1});
    const int layers = engine_.hyper().layers;
    int64_t steps = 0;
    for (int layer = 0; layer < layers; ++layer) {
      for (int64_t at = 0; at < total(); ++steps) {
        const int64_t n = std::min<int64_t>(engine_.options.chunk, total() - at);
        const auto start = Clock::now();
        const Status status = chunk(layer, at, static_cast<int>(n));
        engine_.prefill_s += seconds_since(start);
        HEED_TRY(status);
        at += n;
        const bool done = layer == layers - 1 && at == total();
        if (call_.progress && !done) call_.progress((layer * total() + at) / layers, total());
      }
    }
    filling_.commit();
    engine_.note_tokens({&all, 1});
    engine_.logits.at(seq_) = std::move(logits_);
    engine_.steps += steps;
    engine_.prompt_tokens += total();
    if (call_.progress) call_.progress(total(), total());
    return Status::ok();
  }

 private:
  int64_t total() const { return static_cast<int64_t>(tokens_.size()); }
  size_t embd() const { return static_cast<size_t>(engine_.hyper().embd); }
  float* hidden(int64_t row) { return hidden_.get() + embd() * static_cast<size_t>(row); }

  Status reserve() {
    try {
      // The last token's logits apart from those that the sequence has until the commit.
      logits_ = std::make_shared<std::vector<float>>(static_cast<size_t>(engine_.hyper().vocab));
      angles_ = engine_.step->rotary();
      for (RotaryTable& table : angles_) table.reserve(total());
      hidden_ = std::make_unique_for_overwrite<float[]>(embd() * tokens_.size());
      return Status::ok();
    } catch (const std::bad_alloc&) {
      return exhausted("no memory for the residual of ", total(),
                       " prompt tokens; read the prompt in token-major order");
    }
  }

  // Angles are computed with the first layer and serve all.
  void turn(int64_t at, int n) {
    positions_.resize(static_cast<size_t>(n));
    std::iota(positions_.begin(), positions_.end(), engine_.store->next_position(seq_) + at);
    for (RotaryTable& table : angles_) table.fill(positions_, at);
  }

  // Rows [at, at + n) of the prompt through one layer.
  Status chunk(int layer, int64_t at, int n) {
    const bool in_last_layer = layer == engine_.hyper().layers - 1;
    const bool ends = in_last_layer && at + n == total();
    const GraphShape shape = chunk_shape(n, ends, static_cast<bool>(call_.on_logits));
    if (layer == 0) turn(at, n);
    const int64_t first = engine_.store->next_position(seq_);
    const SeqSpan span{.id = seq_,
                       .tokens = tokens_.subspan(static_cast<size_t>(at), static_cast<size_t>(n)),
                       .filled = at,
                       .hidden = hidden(at),
                       .angles = &angles_,
                       .prompt = {first, first + total()}};
    HEED_ASSIGN(
        StepGraph * graph,
        engine_.graph_of({&span, 1}, layer_shape(engine_.hyper(), layer, shape), call_.cancel));
    HEED_TRY(filling_.extend(layer, n));
    HEED_TRY(engine_.compute({&span, 1}, *graph, call_.cancel));
    if (!in_last_layer) {
      const size_t bytes = embd() * static_cast<size_t>(n) * sizeof(float);
      std::memcpy(hidden(at), graph->result()->data, bytes);
    } else if (call_.on_logits) {
      HEED_TRY(engine_.emit_logits(*graph, *logits_, call_, at));
    } else if (ends) {
      std::memcpy(logits_->data(), graph->result()->data, logits_->size() * sizeof(float));
    }
    return Status::ok();
  }

  Engine::Impl& engine_;
  SeqId seq_;
  std::span<const Token> tokens_;
  const PrefillOptions& call_;
  Filling filling_;
  std::unique_ptr<float[]> hidden_;  // [T, embd] in front of the layer at hand, behind it for the
                                     // rows that it has done
  std::vector<RotaryTable> angles_;  // of all T positions, by Hyperparameters::ropes
  std::vector<int64_t> positions_;   // of a chunk
  Logits logits_;
};

}  // namespace

Status Engine::Impl::prefill_layers(SeqId seq, std::span<const Token> tokens,
                                    const PrefillOptions& call) {
  return LayerPrefill(*this, seq, tokens, call).run();
}

Result<PrefillOrder> Engine::Impl::order_of(SeqId seq, int64_t tokens, bool all_logits) {
  if (options.prefill_order != PrefillOrder::kAuto) return options.prefill_order;
  if (tokens <= options.chunk) return PrefillOrder::kTokenMajor;
  std::optional<MeasuredGraphs>& held = prompt_graphs[all_logits ? 1 : 0];
  const AdaptedKey adapted = adaptations->measured_key(seq);
  if (!held || !(held->adapted == adapted)) {
    HEED_ASSIGN(const PromptGraphs graphs,
                measure_prompt_graphs(hyper(), *model->impl().weights, model->threads(), options,
                                      options.chunk, all_logits, adapted));
    held = {graphs, adapted};
  }
  return cheaper_order(hyper(), options, held->graphs, tokens);
}

}  // namespace heed
