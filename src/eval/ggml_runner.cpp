#include "eval/ggml_runner.h"

#include <ggml-cpu.h>

#include "base/text.h"
#include "model/library_log.h"
#include "model/threads.h"

namespace heed::eval {

GgmlRunner::~GgmlRunner() {
  if (backend_ != nullptr) ggml_backend_free(backend_);
  if (pool_ != nullptr) ggml_threadpool_free(pool_);
}

Status GgmlRunner::start(int threads) {
  route_library_logs();
  backend_ = ggml_backend_cpu_init();
  if (backend_ == nullptr) return error(Code::kInternal, "ggml has no CPU backend");
  HEED_TRY(check_threads_available(threads - 1));
  ggml_threadpool_params pool = ggml_threadpool_params_default(threads);
  pool_ = ggml_threadpool_new(&pool);
  if (pool_ == nullptr) return error(Code::kResourceExhausted, "no threads for ggml: ", threads);
  ggml_backend_cpu_set_n_threads(backend_, threads);
  ggml_backend_cpu_set_threadpool(backend_, pool_);
  return Status::ok();
}

Status GgmlRunner::compute(ggml_cgraph* graph) {
  const ggml_status status = ggml_backend_graph_compute(backend_, graph);
  if (status == GGML_STATUS_SUCCESS) return Status::ok();
  return error(Code::kInternal, "ggml: ", ggml_status_to_string(status));
}

void GgmlRunner::park() { ggml_threadpool_pause(pool_); }

}  // namespace heed::eval
