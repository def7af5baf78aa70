#include "session/step_graph.h"

#include <ggml-backend.h>

#include <new>

#include "base/text.h"
#include "model/linear.h"

namespace heed {
namespace {

// Nodes and leaves of one layer, bias and post-norm included, with room; and of the ends.
constexpr size_t kNodesPerLayer = 64;
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
        linear_(c_, weights, linears, graph.linear_ops_),
        rows_(graph.shape_.rows) {}

  void build() {
    const GraphShape& shape = graph_.shape_;
    graph_.tokens_ = input(GGML_TYPE_I32, rows_);
    if (shape.output == StepOutput::kLogits && shape.outputs < rows_) {
      graph_.out_rows_ = input(GGML_TYPE_I32, shape.outputs);
    }
    ggml_tensor* x = ggml_get_rows(c_, weights_.embeddings, graph_.tokens_);  // [T, embd]
    if (hyper_.embedding_scale != 1.0f) x = ggml_scale(c_, x, hyper_.embedding_scale);
    for (int i = 0; i < hyper_.layers; ++i) {
      x = layer(i, x);
      if (x == nullptr) return;  // a step without outputs is done at the last append
    }
    x = norm(x, weights_.output_norm);
    finish(shape.output == StepOutput::kHidden ? x : head(x));
  }

  void build_head() {
    graph_.hidden_in_ = ggml_new_tensor_2d(c_, GGML_TYPE_F32, hyper_.embd, rows_);
    ggml_set_input(graph_.hidden_in_);
    finish(head(graph_.hidden_in_));
  }

 private:
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
  ggml_tensor* head(ggml_tensor* x) {
    LinearInput in(x);
    return linear_.product(in, weights_.head, weights_.head_bias);
  }

  // The residual behind layer i, or null when nothing behind its append is needed.
  ggml_tensor* layer(int i, ggml_tensor* x) {
    const LayerWeights& w = weights_.layers[i];
    const bool last = i == hyper_.layers - 1;
    LinearInput h(norm(x, w[LayerTensor::kAttnNorm]));
    ggml_tensor* stored = append(i, h);
    if (last && graph_.shape_.output == StepOutput::kNothing) {
      ggml_build_forward_expand(graph_.graph_, stored);
      return nullptr;
    }
    LinearInput read(attend(i, h, stored));
    ggml_tensor* o = linear_.product(read, w[LayerTensor::kOut], w[LayerTensor::kOutBias]);
    if (last && graph_.out_rows_ != nullptr) {
      o = ggml_get_rows(c_, o, graph_.out_rows_);
      x = ggml_get_rows(c_, x, graph_.out_rows_);
    }
    x = ggml_add(c_, x, maybe_norm(o, w[LayerTensor::kPostAttnNorm]));
    ggml_tensor* f = feed_forward(w, norm(x, w[LayerTensor::kFfnNorm]));
    return ggml_add(c_, x, maybe_norm(f, w[LayerTensor::kPostFfnNorm]));
  }

  // k and v of the rows into the store. The result is a dummy whose only use is the edge that
  // orders attend behind it.
  ggml_tensor* append(int i, LinearInput& h) {
    const LayerWeights& w = weights_.layers[i];
    const LayerHyper& layer = hyper_.layer[i];
    ggml_tensor* k = linear_.product(h, w[LayerTensor::kK], w[LayerTensor::kKBias]);
    ggml_tensor* v = linear_.product(h, w[LayerTensor::kV], w[LayerTensor::kVBias]);
    k = ggml_reshape_3d(c_, k, hyper_.dk, layer.kv_heads, rows_);  // [T, G, dk]
    v = ggml_reshape_3d(c_, v, hyper_.dv, layer.kv_heads, rows_);  // [T, G, dv]
    k = maybe_norm(k, w[LayerTensor::kKNorm]);
    ggml_tensor* args[] = {k, v};
    return ggml_custom_4d(c_, GGML_TYPE_F32, 1, 1, 1, 1, args, 2, append_node, GGML_N_TASKS_MAX,
                          &ops_[i]);
  }

  ggml_tensor* attend(int i, LinearInput& h, ggml_tensor* stored) {
    const LayerWeights& w = weights_.layers[i];
    const LayerHyper& layer = hyper_.layer[i];
    ggml_tensor* q = linear_.product(h, w[LayerTensor::kQ], w[LayerTensor::kQBias]);
    q = ggml_reshape_3d(c_, q, hyper_.dk, layer.heads, rows_);  // [T, H, dk]
    q = maybe_norm(q, w[LayerTensor::kQNorm]);
    ggml_tensor* args[] = {q, stored};
    return ggml_custom_4d(c_, GGML_TYPE_F32, int64_t{layer.heads} * hyper_.dv, rows_, 1, 1, args, 2,
                          attend_node, GGML_N_TASKS_MAX, &ops_[i]);
  }

  ggml_tensor* feed_forward(const LayerWeights& w, ggml_tensor* x) {
    LinearInput h(x);
    ggml_tensor* gate = linear_.product(h, w[LayerTensor::kGate], w[LayerTensor::kGateBias]);
    ggml_tensor* up = linear_.product(h, w[LayerTensor::kUp], w[LayerTensor::kUpBias]);
    LinearInput inner(hyper_.arch->feed_forward == FeedForward::kGeGlu
                          ? ggml_geglu_split(c_, gate, up)
                          : ggml_swiglu_split(c_, gate, up));
    return linear_.product(inner, w[LayerTensor::kDown], w[LayerTensor::kDownBias]);
  }

  const Hyperparameters& hyper_;
  const ModelWeights& weights_;
  LayerOp* ops_;
  StepGraph& graph_;
  ggml_context* c_;
  LinearBuilder linear_;
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
  HEED_TRY(graph->make_context(kNodesPerLayer * static_cast<size_t>(hyper.layers) + kNodesAround));
  GraphBuilder(hyper, weights, ops, linears, *graph).build();
  return graph;
}

Result<std::unique_ptr<StepGraph>> StepGraph::build_head(const Hyperparameters& hyper,
                                                         const ModelWeights& weights,
                                                         LinearWorkspace* linears, int rows) {
  std::unique_ptr<StepGraph> graph(new StepGraph);
  graph->shape_ = {.rows = rows, .outputs = rows, .output = StepOutput::kLogits};
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
