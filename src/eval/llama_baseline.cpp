#include "eval/llama_baseline.h"

#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <llama.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/text.h"
#include "eval/adapter_files.h"
#include "eval/llama_params.h"
#include "model/library_log.h"
#include "model/threads.h"

namespace heed::eval {
namespace {

bool fired(const CancelToken* token) { return token != nullptr && token->cancelled(); }

bool keep_loading(float, void* cancel) { return !fired(static_cast<const CancelToken*>(cancel)); }

bool abort_compute(void* cancel) { return fired(static_cast<const CancelToken*>(cancel)); }

// K and V are reached through views of the cache; weights are leaves of the graph.
bool touches_kv(const ggml_tensor* node) {
  switch (node->op) {
    case GGML_OP_FLASH_ATTN_EXT:
    case GGML_OP_SOFT_MAX:
    case GGML_OP_SET_ROWS:  // the append
    case GGML_OP_CPY:
    case GGML_OP_CONT: return true;
    case GGML_OP_MUL_MAT: return node->src[0]->op != GGML_OP_NONE;
    default: return false;
  }
}

struct Profiler {
  Clock::time_point started;
  LlamaProfile sum;
};

// llama.cpp asks before each node whether its result is wanted; "yes" makes it stop after the node
// and call again, which is what a node's time is taken from.
bool profile_node(ggml_tensor* node, bool ask, void* data) {
  auto& profiler = *static_cast<Profiler*>(data);
  if (ask) {
    profiler.started = Clock::now();
    return true;
  }
  const double seconds = seconds_since(profiler.started);
  profiler.sum.total_s += seconds;
  if (touches_kv(node)) profiler.sum.attention_s += seconds;
  return true;
}

}  // namespace

// --- model ---------------------------------------------------------------------------------------

Result<std::shared_ptr<LlamaModel>> LlamaModel::load(const std::string& path,
                                                     const Options& options) {
  route_library_logs();
  take_library_error();
  llama_model_params params = llama_model_default_params();
  params.n_gpu_layers = 0;
  params.use_extra_bufts = options.repack;
  params.progress_callback = keep_loading;
  params.progress_callback_user_data = const_cast<CancelToken*>(options.cancel);
  llama_model* model = llama_model_load_from_file(path.c_str(), params);
  if (model != nullptr) return std::shared_ptr<LlamaModel>(new LlamaModel(model));
  if (fired(options.cancel)) return error(Code::kCancelled, "loading ", path, " was cancelled");
  return error(Code::kUnsupported, path, ": llama.cpp cannot load it: ", library_reason());
}

LlamaModel::~LlamaModel() { llama_model_free(model_); }

int LlamaModel::vocab() const { return llama_vocab_n_tokens(llama_model_get_vocab(model_)); }

std::string describe(const LlamaOptions& options) {
  return cat("flash ", options.flash ? "on" : "off", ", repack ", options.repack ? "on" : "off",
             ", ubatch ", options.ubatch, ", ", options.f32_kv ? "f32" : "f16", " KV",
             adapters_suffix(options.loras.size(), !options.control.empty()));
}

// --- context -------------------------------------------------------------------------------------

struct LlamaBaseline::Impl {
  std::shared_ptr<LlamaModel> model;
  LlamaOptions options;
  llama_context* context = nullptr;
  ggml_threadpool* pool = nullptr;
  Profiler profiler;
  std::vector<llama_adapter_lora*> loras;
  int64_t length = 0;
  std::vector<int8_t> all_rows;  // [batch] ones: llama.cpp computes the logits of marked tokens

  ~Impl() {
    // The context may not outlive the pool that it computes with.
    if (context != nullptr) llama_free(context);
    for (llama_adapter_lora* lora : loras) llama_adapter_lora_free(lora);
    if (pool != nullptr) ggml_threadpool_free(pool);
  }

  Status decode_batch(std::span<const Token> tokens, bool want_all);
  Status adapt();
};

LlamaBaseline::LlamaBaseline(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LlamaBaseline::~LlamaBaseline() = default;

std::string library_reason() {
  std::string text = take_library_error();
  return text.empty() ? "llama.cpp gave no reason" : text;
}

LlamaOptions within_context(LlamaOptions options) {
  options.batch = static_cast<int>(std::min<int64_t>(options.batch, options.context));
  options.ubatch = std::min(options.ubatch, options.batch);
  return options;
}

void set_rope(const RopeOptions& rope, llama_context_params& params) {
  if (rope.scaling) {
    params.rope_scaling_type = rope.scaling == RopeScaling::kYarn ? LLAMA_ROPE_SCALING_TYPE_YARN
                               : rope.scaling == RopeScaling::kLinear
                                   ? LLAMA_ROPE_SCALING_TYPE_LINEAR
                                   : LLAMA_ROPE_SCALING_TYPE_NONE;
  }
  // 0: the file's, there too.
  params.rope_freq_base = static_cast<float>(rope.base);
  if (rope.factor > 0) params.rope_freq_scale = static_cast<float>(1 / rope.factor);
  params.yarn_orig_ctx = static_cast<uint32_t>(rope.original_context);
}

llama_context_params context_params(const LlamaOptions& options) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<uint32_t>(options.context);
  params.n_batch = static_cast<uint32_t>(options.batch);
  params.n_ubatch = static_cast<uint32_t>(options.ubatch);
  params.n_seq_max = 1;
  params.n_threads = options.threads;
  params.n_threads_batch = options.threads;
  params.flash_attn_type =
      options.flash ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.type_k = params.type_v = options.f32_kv ? GGML_TYPE_F32 : GGML_TYPE_F16;
  set_rope(options.rope, params);
  params.swa_full = false;  // as llama-bench and the command line of llama.cpp
  params.no_perf = true;
  params.abort_callback = abort_compute;
  params.abort_callback_data = const_cast<CancelToken*>(options.cancel);
  return params;
}

Status check_llama_options(const LlamaOptions& options) {
  if (options.context < 1 || options.context > INT32_MAX) {
    return error(Code::kOutOfRange, "llama.cpp context ", options.context, ": 1 to 2147483647");
  }
  if (options.threads < 1 || options.threads > GGML_MAX_N_THREADS) {
    return error(Code::kOutOfRange, "llama.cpp threads ", options.threads, ": 1 to ",
                 GGML_MAX_N_THREADS);
  }
  if (options.ubatch < 1 || options.batch < options.ubatch) {
    return error(Code::kOutOfRange, "llama.cpp batch ", options.batch, ", ubatch ", options.ubatch,
                 ": 1 <= ubatch <= batch");
  }
  return Status::ok();
}

Result<std::unique_ptr<LlamaBaseline>> LlamaBaseline::create(std::shared_ptr<LlamaModel> model,
                                                             const LlamaOptions& options) {
  HEED_TRY(check_llama_options(options));
  HEED_TRY(check_threads_available(options.threads - 1));
  auto impl = std::make_unique<Impl>();
  impl->model = std::move(model);
  impl->options = within_context(options);
  impl->all_rows.assign(static_cast<size_t>(impl->options.batch), 1);
  take_library_error();
  llama_context_params params = context_params(impl->options);
  if (options.profile) {
    params.cb_eval = profile_node;
    params.cb_eval_user_data = &impl->profiler;
  }
  impl->context = llama_init_from_model(impl->model->get(), params);
  if (impl->context == nullptr) {
    return error(Code::kResourceExhausted, "llama.cpp cannot make a context of ", options.context,
                 " tokens (", describe(options), "): ", library_reason());
  }
  HEED_TRY(impl->adapt());
  ggml_threadpool_params pool = ggml_threadpool_params_default(options.threads);
  impl->pool = ggml_threadpool_new(&pool);
  if (impl->pool == nullptr) {
    return error(Code::kResourceExhausted, "no threads for llama.cpp: ", options.threads);
  }
  llama_attach_threadpool(impl->context, impl->pool, nullptr);
  ggml_threadpool_pause(impl->pool);
  return std::unique_ptr<LlamaBaseline>(new LlamaBaseline(std::move(impl)));
}

Result<std::unique_ptr<LlamaBaseline>> LlamaBaseline::load(const std::string& path,
                                                           const LlamaOptions& options) {
  HEED_ASSIGN(auto model, LlamaModel::load(path, {options.repack, options.cancel}));
  return create(std::move(model), options);
}

Status LlamaBaseline::Impl::adapt() {
  std::vector<float> scales;
  for (const ScaledFile& file : options.loras) {
    llama_adapter_lora* const lora = llama_adapter_lora_init(model->get(), file.path.c_str());
    if (lora == nullptr) {
      return error(Code::kUnsupported, file.path,
                   ": llama.cpp refuses the adapter: ", library_reason());
    }
    loras.push_back(lora);
    scales.push_back(file.scale);
  }
  if (llama_set_adapters_lora(context, loras.data(), loras.size(), scales.data()) != 0) {
    return error(Code::kInternal, "llama.cpp applies no adapter: ", library_reason());
  }
  if (options.control.empty()) return Status::ok();
  const int last = llama_model_n_layer(model->get());
  const LayerRange& range = options.control_range;
  if (llama_set_adapter_cvec(context, options.control.data(), options.control.size(),
                             llama_model_n_embd(model->get()), range.first,
                             range.last == 0 ? last : range.last) != 0) {
    return error(Code::kInternal, "llama.cpp applies no control vector: ", library_reason());
  }
  return Status::ok();
}

const LlamaOptions& LlamaBaseline::options() const { return impl_->options; }
int LlamaBaseline::vocab() const { return impl_->model->vocab(); }
int64_t LlamaBaseline::length() const { return impl_->length; }

Status LlamaBaseline::Impl::decode_batch(std::span<const Token> tokens, bool want_all) {
  if (length + static_cast<int64_t>(tokens.size()) > options.context) {
    return error(Code::kResourceExhausted, "llama.cpp holds ", length, " tokens and cannot take ",
                 tokens.size(), " more: its context was made for ", options.context);
  }
  if (fired(options.cancel)) return error(Code::kCancelled, "cancelled");
  // batch_get_one takes a mutable pointer and does not write through it.
  llama_batch batch =
      llama_batch_get_one(const_cast<Token*>(tokens.data()), static_cast<int32_t>(tokens.size()));
  if (want_all) batch.logits = all_rows.data();
  take_library_error();
  const int32_t code = llama_decode(context, batch);
  if (code == 0) {
    length += static_cast<int64_t>(tokens.size());
    return Status::ok();
  }
  if (code == 2 || fired(options.cancel)) return error(Code::kCancelled, "cancelled");
  if (code == 1) {
    return error(Code::kResourceExhausted, "llama.cpp found no room for ", tokens.size(),
                 " tokens behind ", length, " in a context of ", options.context);
  }
  return error(Code::kInternal, "llama.cpp failed on ", tokens.size(), " tokens (code ", code,
               "): ", library_reason());
}

Status LlamaBaseline::prefill(std::span<const Token> tokens, const OnLogits& on_logits) {
  if (tokens.empty()) return error(Code::kInvalidArgument, "prefill of no tokens");
  const int64_t before = impl_->length;
  // With all logits, one graph at a time: more rows only mean a longer output buffer.
  const auto step = static_cast<size_t>(on_logits ? impl_->options.ubatch : impl_->options.batch);
  for (size_t at = 0; at < tokens.size(); at += step) {
    const auto part = tokens.subspan(at, std::min(step, tokens.size() - at));
    Status status = impl_->decode_batch(part, static_cast<bool>(on_logits));
    if (!status.is_ok()) {
      llama_memory_seq_rm(llama_get_memory(impl_->context), 0, static_cast<llama_pos>(before), -1);
      impl_->length = before;
      return status;
    }
    if (!on_logits) continue;
    const float* rows = llama_get_logits(impl_->context);
    if (rows == nullptr) return error(Code::kInternal, "llama.cpp returned no logits");
    on_logits(static_cast<int64_t>(at),
              View<const float, 2>::contiguous(rows, {static_cast<int64_t>(part.size()), vocab()}));
  }
  return Status::ok();
}

Status LlamaBaseline::decode(Token token) {
  return impl_->decode_batch(std::span<const Token>(&token, 1), false);
}

Result<std::span<const float>> LlamaBaseline::logits() {
  const float* row = impl_->length > 0 ? llama_get_logits_ith(impl_->context, -1) : nullptr;
  if (row == nullptr) return error(Code::kInvalidArgument, "no token was evaluated yet");
  return std::span<const float>(row, static_cast<size_t>(vocab()));
}

Status LlamaBaseline::truncate(int64_t n) {
  if (n < 0 || n > impl_->length) {
    return error(Code::kOutOfRange, "truncate to ", n, " of ", impl_->length, " tokens");
  }
  llama_memory_t memory = llama_get_memory(impl_->context);
  if (!llama_memory_seq_rm(memory, 0, static_cast<llama_pos>(n), -1)) {
    return error(Code::kUnsupported, "llama.cpp cannot take back tokens ", n, " to ", impl_->length,
                 " of this model");
  }
  impl_->length = n;
  return Status::ok();
}

void LlamaBaseline::clear() {
  // The data too: cells of an earlier sequence are then never read, not even where masked.
  llama_memory_clear(llama_get_memory(impl_->context), true);
  impl_->length = 0;
}

uint64_t LlamaBaseline::kv_bytes() const { return llama_state_seq_get_size(impl_->context, 0); }

void LlamaBaseline::park() { ggml_threadpool_pause(impl_->pool); }

LlamaProfile LlamaBaseline::take_profile() { return std::exchange(impl_->profiler.sum, {}); }

}  // namespace heed::eval
