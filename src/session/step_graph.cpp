#include "session/step_graph.h"

#include <ggml-backend.h>

#include <new>

#include "base/text.h"
#include "model/linear.h"
#include "session/encoder_graph.h"

namespace heed {
namespace {

// Nodes and leaves of one layer, bias and post-norm included, with room; and of the ends.
constexpr size_t kNodesPerLayer = 96;
constexpr size_t kAdaptedPerLayer = 24;  // more where adapters and control vectors are applied
constexpr size_t kNodesAround = 32;

}  // namespace

class GraphBuilder {
 public:
  GraphBuilder(const Hyperparameters& hyper, const ModelWeights& weights, LayerOp* ops,
               LinearWorkspace* linears, StepGraph& graph)
      : hyper_(hyper),
        weights_(weights),
        ops_(ops),
        graph_(graph),
        c_(graph.context_.get()),
        adapted_(c_, weights, graph.shape_.adapted.targets.get(), graph.adapted_ops_),
        linear_(c_, weights, linears, graph.linear_ops_, adapted_),
        experts_(c_, weights, linear_, linears, graph.expert_ops_),
        rows_(graph.shape_.rows) {}

  void build() {
    const GraphShape& shape = graph_.shape_;
    if (shape.output == StepOutput::kLogits && shape.outputs < rows_) {
      graph_.out_rows_ = input(GGML_TYPE_I32, shape.outputs);
    }
    ggml_tensor* x = graph_.layers_.first == 0 ? embedded() : hidden();  // [T, embd]
    for (int i = graph_.layers_.first; i < graph_.layers_.end; ++i) {
      x = layer(i, x);
      if (x == nullptr) return;  // a step without outputs is done at the last append
      x = adapted_.steered(x, i);
    }
    finish(shape.output == StepOutput::kHidden ? x : head(x));
  }

  void build_head() { finish(head(hidden())); }

 private:
  ggml_tensor* embedded() {
    graph_.tokens_ = input(GGML_TYPE_I32, rows_);
    ggml_tensor* x = ggml_get_rows(c_, weights_.embeddings, graph_.tokens_);
    x = adapted_.embeddings(x, graph_.tokens_);
    if (hyper_.arch->encoder) {
      if (weights_.positions != nullptr) graph_.positions_ = input(GGML_TYPE_I32, rows_);
      x = encoder_input(c_, hyper_, weights_, x, graph_.positions_);
    }
    return scaled(x, hyper_.embedding_scale);
  }

  ggml_tensor* hidden() {
    graph_.hidden_in_ = ggml_new_tensor_2d(c_, GGML_TYPE_F32, hyper_.embd, rows_);
    ggml_set_input(graph_.hidden_in_);
    return graph_.hidden_in_;
  }

  ggml_tensor* input(ggml_type type, int64_t n) {
    ggml_tensor* t = ggml_new_tensor_1d(c_, type, n);
    ggml_set_input(t);
    return t;
  }

  void finish(ggml_tensor* result) {
    graph_.result_ = result;
    ggml_set_output(result);
    ggml_build_forward_expand(graph_.graph_, result);
  }

  ggml_tensor* norm(ggml_tensor* x, ggml_tensor* weight) {
    return ggml_mul(c_, ggml_rms_norm(c_, x, hyper_.norm_eps), weight);
  }
  ggml_tensor* maybe_norm(ggml_tensor* x, ggml_tensor* weight) {
    return weight == nullptr ? x : norm(x, weight);
  }
  ggml_tensor* scaled(ggml_tensor* x, float scale) {
    return scale == 1.0f ? x : ggml_scale(c_, x, scale);
  }
  ggml_tensor* head(ggml_tensor* x) {
    LinearInput in(x, weights_.output_norm, hyper_.norm_eps);
    ggml_tensor* logits = linear_.product(in, {weights_.head, weights_.head_bias});
    logits = scaled(logits, hyper_.logit_scale);
    const float cap = hyper_.logit_cap;
    if (cap == 0.0f) return logits;
    return scaled(ggml_tanh(c_, scaled(logits, 1.0f / cap)), cap);
  }

  LinearTerm term(const LayerWeights& w, LayerTensor weight, LayerTensor bias) {
    return {w[weight], w[bias]};
  }

  // The residual behind layer i, or null when nothing behind its append is needed.
  ggml_tensor* layer(int i, ggml_tensor* x) {
    const LayerWeights& w = weights_.layers[i];
    const bool last = i == hyper_.layers - 1;
    const bool ends = last && graph_.shape_.output == StepOutput::kNothing;
    const Projected p = hyper_.latent > 0 ? project_latent(i, x, !ends) : project(w, x, !ends);
    ggml_tensor* stored = append(i, p);
    if (ends) {
      ggml_build_forward_expand(graph_.graph_, stored);
      return nullptr;
    }
    ggml_tensor* read = attend(i, p.q, stored);
    if (last && graph_.out_rows_ != nullptr) {
      read = ggml_get_rows(c_, read, graph_.out_rows_);
      x = ggml_get_rows(c_, x, graph_.out_rows_);
    }
    if (hyper_.latent > 0) read = values_of_heads(i, read);
    LinearInput in(read);
    x = add_product(in, term(w, LayerTensor::kOut, LayerTensor::kOutBias), x,
                    post_attention_norm(w));
    x = encoder_norm(w, LayerTensor::kAttnOutNorm, LayerTensor::kAttnOutNormBias, x);
    LinearInput h(x, w[hyper_.arch->ffn_norm], hyper_.norm_eps);
    if (hyper_.has_experts(i)) return add_shared(w, h, experts_.mixture(h, expert_terms(w), x));
    LinearInput inner = feed_forward(w, h);
    x = add_product(inner, term(w, LayerTensor::kDown, LayerTensor::kDownBias), x,
                    w[LayerTensor::kPostFfnNorm]);
    return encoder_norm(w, LayerTensor::kLayerOutNorm, LayerTensor::kLayerOutNormBias, x);
  }

  // Of what attention leaves, where the model norms that.
  ggml_tensor* post_attention_norm(const LayerWeights& w) {
    const bool elsewhere = hyper_.arch->ffn_norm == LayerTensor::kPostAttnNorm;
    return elsewhere ? nullptr : w[LayerTensor::kPostAttnNorm];
  }

  // The residual itself, where the model norms it.
  ggml_tensor* encoder_norm(const LayerWeights& w, LayerTensor weight, LayerTensor bias,
                            ggml_tensor* x) {
    return w[weight] == nullptr ? x : layer_norm(c_, x, w[weight], w[bias], hyper_.norm_eps);
  }

  // residual + the product, normed and scaled where the model does so.
  ggml_tensor* add_product(LinearInput& in, const LinearTerm& term, ggml_tensor* residual,
                           ggml_tensor* post_norm) {
    const float scale = hyper_.residual_scale;
    if (post_norm == nullptr && scale == 1.0f) return linear_.product(in, term, residual);
    return ggml_add(c_, residual, scaled(maybe_norm(linear_.product(in, term), post_norm), scale));
  }

  struct Projected {
    // [T, outputs], rows apart; v null where it lies inside k, q where nobody asks
    ggml_tensor *k, *v, *q;
  };
  Projected project(const LayerWeights& w, ggml_tensor* x, bool with_q) {
    LinearInput h(x, w[LayerTensor::kAttnNorm], hyper_.norm_eps);
    const LinearTerm terms[] = {term(w, LayerTensor::kK, LayerTensor::kKBias),
                                term(w, LayerTensor::kV, LayerTensor::kVBias),
                                term(w, LayerTensor::kQ, LayerTensor::kQBias)};
    ggml_tensor* out[] = {nullptr, nullptr, nullptr};
    const size_t count = with_q ? 3 : 2;
    linear_.products(h, {terms, count}, {out, count});
    return {out[0], out[1], out[2]};
  }

  // Latent values of a token, normed, with the dims that turn behind them, are its key; its value
  // lies in it. Queries are turned into that space, head by head.
  Projected project_latent(int i, ggml_tensor* x, bool with_q) {
    const LayerWeights& w = weights_.layers[i];
    LinearInput h(x, w[LayerTensor::kAttnNorm], hyper_.norm_eps);
    ggml_tensor* const made = linear_.product(h, {w[LayerTensor::kLatent]});  // [T, dk]
    ggml_tensor* const latent = norm(columns(made, 0, hyper_.latent), w[LayerTensor::kLatentNorm]);
    ggml_tensor* const k = joined(latent, columns(made, hyper_.latent, hyper_.n_rot), 1);
    return {k, nullptr, with_q ? latent_queries(i, h) : nullptr};
  }

  // [T, heads * dk]
  ggml_tensor* latent_queries(int i, LinearInput& h) {
    const LayerWeights& w = weights_.layers[i];
    const int heads = hyper_.layer[i].heads, part = hyper_.head_k - hyper_.n_rot;
    ggml_tensor* q = nullptr;  // [T, heads * head_k]
    if (hyper_.q_rank > 0) {
      LinearInput narrow(linear_.product(h, {w[LayerTensor::kQDown]}), w[LayerTensor::kQDownNorm],
                         hyper_.norm_eps);
      q = linear_.product(narrow, {w[LayerTensor::kQUp]});
    } else {
      q = linear_.product(h, {w[LayerTensor::kQ]});
    }
    ggml_tensor* const each = ggml_reshape_2d(c_, q, hyper_.head_k, heads * rows_);
    ggml_tensor* const latent =
        experts_.by_head(columns(each, 0, part), w[LayerTensor::kKeyUp], heads);
    return joined(latent, columns(each, part, hyper_.n_rot), heads);
  }

  // What heads read, [T, heads * latent], as their values, [T, heads * head_v].
  ggml_tensor* values_of_heads(int i, ggml_tensor* read) {
    const int heads = hyper_.layer[i].heads;
    const int64_t rows = read->ne[1];
    ggml_tensor* const values =
        experts_.by_head(ggml_reshape_2d(c_, read, hyper_.latent, heads * rows),
                         weights_.layers[i][LayerTensor::kValueUp], heads);
    return ggml_reshape_2d(c_, values, int64_t{heads} * hyper_.head_v, rows);
  }

  // [T * heads, a] and [T * heads, b] as [T, heads * (a + b)]. ggml shares the last dimension out.
  ggml_tensor* joined(ggml_tensor* a, ggml_tensor* b, int heads) {
    const auto by_row = [&](ggml_tensor* x) {
      return ggml_view_3d(c_, x, x->ne[0], heads, rows_, x->nb[1],
                          static_cast<size_t>(heads) * x->nb[1], 0);
    };
    ggml_tensor* const both = ggml_concat(c_, by_row(a), by_row(b), 0);
    return ggml_reshape_2d(c_, both, both->ne[0] * heads, rows_);
  }

  // Columns [first, first + count) of [T, n].
  ggml_tensor* columns(ggml_tensor* x, int first, int count) {
    return ggml_view_2d(c_, x, count, x->ne[1], x->nb[1],
                        static_cast<size_t>(first) * sizeof(float));
  }

  // [T, heads * d] as [T, heads, d].
  ggml_tensor* heads_of(ggml_tensor* x, int heads, int d) {
    return ggml_view_3d(c_, x, d, heads, rows_, static_cast<size_t>(d) * sizeof(float), x->nb[1],
                        0);
  }

  // [T, heads * dk] as [T, heads, dk], normed where the model has a weight for it.
  ggml_tensor* normed_heads(ggml_tensor* x, int heads, ggml_tensor* weight) {
    if (hyper_.arch->wide_qk_norm) return heads_of(maybe_norm(x, weight), heads, hyper_.dk);
    return maybe_norm(heads_of(x, heads, hyper_.dk), weight);
  }

  // k and v of the rows into the store. The result is a dummy whose only use is the edge that
  // orders attend behind it.
  ggml_tensor* append(int i, const Projected& p) {
    const LayerWeights& w = weights_.layers[i];
    const LayerHyper& layer = hyper_.layer[i];
    ggml_tensor* k = normed_heads(p.k, layer.kv_heads, w[LayerTensor::kKNorm]);
    ggml_tensor* args[] = {k, nullptr};
    if (p.v != nullptr) args[1] = heads_of(p.v, layer.kv_heads, hyper_.dv);
    return ggml_custom_4d(c_, GGML_TYPE_F32, 1, 1, 1, 1, args, p.v == nullptr ? 1 : 2, append_node,
                          GGML_N_TASKS_MAX, &ops_[i]);
  }

  ggml_tensor* attend(int i, ggml_tensor* q, ggml_tensor* stored) {
    const LayerWeights& w = weights_.layers[i];
    const LayerHyper& layer = hyper_.layer[i];
    q = normed_heads(q, layer.heads, w[LayerTensor::kQNorm]);
    ggml_tensor* const sinks = w[LayerTensor::kSinks];  // [H] or null
    ggml_tensor* args[] = {q, stored, sinks};
    return ggml_custom_4d(c_, GGML_TYPE_F32, int64_t{layer.heads} * hyper_.dv, rows_, 1, 1, args,
                          sinks == nullptr ? 2 : 3, attend_node, GGML_N_TASKS_MAX, &ops_[i]);
  }

  Activation activation() const {
    switch (hyper_.arch->feed_forward) {
      case FeedForward::kSwiGlu: return Activation::kSilu;
      case FeedForward::kGelu:
      case FeedForward::kGeGlu: return Activation::kGelu;
      case FeedForward::kClampedSwiGlu: return Activation::kClampedSilu;
    }
    return Activation::kSilu;
  }

  LinearInput feed_forward(const LayerWeights& w, LinearInput& h) {
    if (hyper_.arch->feed_forward == FeedForward::kGelu) {
      ggml_tensor* const up = linear_.product(h, term(w, LayerTensor::kUp, LayerTensor::kUpBias));
      return linear_.activated(up, nullptr, activation());
    }
    return linear_.gated(h, term(w, LayerTensor::kGate, LayerTensor::kGateBias),
                         term(w, LayerTensor::kUp, LayerTensor::kUpBias), activation(),
                         w[LayerTensor::kDown]);
  }

  // What every row takes, beside its experts.
  ggml_tensor* add_shared(const LayerWeights& w, LinearInput& h, ggml_tensor* x) {
    ggml_tensor* const down = w[LayerTensor::kDownShared];
    if (down == nullptr) return x;
    LinearInput inner = linear_.gated(h, {w[LayerTensor::kGateShared]}, {w[LayerTensor::kUpShared]},
                                      activation(), down);
    return linear_.product(inner, {down}, x);
  }

  ExpertTerms expert_terms(const LayerWeights& w) {
    return {.router = term(w, LayerTensor::kRouter, LayerTensor::kRouterBias),
            .gate = term(w, LayerTensor::kGateExperts, LayerTensor::kGateExpertsBias),
            .up = term(w, LayerTensor::kUpExperts, LayerTensor::kUpExpertsBias),
            .down = term(w, LayerTensor::kDownExperts, LayerTensor::kDownExpertsBias),
            .activation = activation(),
            .experts = hyper_.experts,
            .used = hyper_.experts_used,
            .rule = hyper_.router,
            .choice_bias = w[LayerTensor::kChoiceBias]};
  }

  const Hyperparameters& hyper_;
  const ModelWeights& weights_;
  LayerOp* ops_;
  StepGraph& graph_;
  ggml_context* c_;
  AdaptedBuilder adapted_;
  LinearBuilder linear_;
  ExpertBuilder experts_;
  int64_t rows_;
};

Status StepGraph::make_context(size_t nodes) {
  const size_t bytes = ggml_tensor_overhead() * nodes + ggml_graph_overhead_custom(nodes, false);
  context_.reset(ggml_init({.mem_size = bytes, .mem_buffer = nullptr, .no_alloc = true}));
  if (!context_)
    return error(Code::kResourceExhausted, "no memory for a graph of ", nodes, " nodes");
  graph_ = ggml_new_graph_custom(context_.get(), nodes, false);
  return Status::ok();
}

Result<std::unique_ptr<StepGraph>> StepGraph::build(const Hyperparameters& hyper,
                                                    const ModelWeights& weights, LayerOp* ops,
                                                    LinearWorkspace* linears,
                                                    const GraphShape& shape) {
  std::unique_ptr<StepGraph> graph(new StepGraph);
  graph->shape_ = shape;
  const LayerSlice layers{shape.first_layer, shape.end_layer == 0 ? hyper.layers : shape.end_layer};
  graph->layers_ = layers;
  if (hyper.arch->encoder) {  // it has no head
    graph->shape_.outputs = 0;
    graph->shape_.output = StepOutput::kHidden;
  }
  const auto count = static_cast<size_t>(layers.end - layers.first);
  const size_t a_layer = kNodesPerLayer + (shape.adapted.targets ? kAdaptedPerLayer : 0);
  HEED_TRY(graph->make_context(a_layer * count + kNodesAround));
  GraphBuilder(hyper, weights, ops, linears, *graph).build();
  return graph;
}

Result<std::unique_ptr<StepGraph>> StepGraph::build_head(const Hyperparameters& hyper,
                                                         const ModelWeights& weights,
                                                         LinearWorkspace* linears, int rows,
                                                         const AdaptedKey& adapted) {
  std::unique_ptr<StepGraph> graph(new StepGraph);
  graph->shape_ = {
      .rows = rows, .outputs = rows, .output = StepOutput::kLogits, .adapted = adapted};
  HEED_TRY(graph->make_context(kNodesAround));
  GraphBuilder(hyper, weights, nullptr, linears, *graph).build_head();
  return graph;
}

Status StepGraph::allocate(ggml_gallocr* allocator, int threads, ggml_threadpool* pool) {
  if (!ggml_gallocr_alloc_graph(allocator, graph_)) {
    return error(Code::kResourceExhausted, "no memory for a step of ", shape_.rows,
                 " tokens; use a smaller chunk");
  }
  plan_ = ggml_graph_plan(graph_, threads, pool);
  try {
    work_.resize(plan_.work_size);
  } catch (const std::bad_alloc&) {
    return error(Code::kResourceExhausted, "no memory for ", plan_.work_size,
                 " bytes of products of a step");
  }
  plan_.work_data = work_.data();
  return Status::ok();
}

uint64_t StepGraph::measure(StepGraph& graph, int threads) {
  const std::unique_ptr<ggml_gallocr, GraphFree> allocator(
      ggml_gallocr_new(ggml_backend_cpu_buffer_type()));
  size_t bytes = 0;
  ggml_gallocr_reserve_n_size(allocator.get(), graph.graph_, nullptr, nullptr, &bytes);
  return bytes + ggml_graph_plan(graph.graph_, threads, nullptr).work_size;
}

Status StepGraph::compute(Step* step) {
  plan_.abort_callback = [](void* s) { return static_cast<Step*>(s)->should_stop(); };
  plan_.abort_callback_data = step;
  const ggml_status status = ggml_graph_compute(graph_, &plan_);
  HEED_TRY(step->finish());
  if (status == GGML_STATUS_SUCCESS) return Status::ok();
  return error(Code::kInternal, "ggml: ", ggml_status_to_string(status));
}

Status StepGraph::compute_head(const CancelToken* cancel) {
  // One slice is two or three nodes; between them and between slices is often enough.
  plan_.abort_callback = [](void* c) {
    return c != nullptr && static_cast<const CancelToken*>(c)->cancelled();
  };
  plan_.abort_callback_data = const_cast<CancelToken*>(cancel);
  const ggml_status status = ggml_graph_compute(graph_, &plan_);
  if (cancel != nullptr && cancel->cancelled()) {
    return Status(Code::kCancelled, "the logits of a prompt's rows were cancelled");
  }
  if (status == GGML_STATUS_SUCCESS) return Status::ok();
  return error(Code::kInternal, "ggml: ", ggml_status_to_string(status));
}

}  // namespace heed
