// ggml's CPU backend with a thread pool of its own, as llama.cpp uses it.
#pragma once

#include <ggml-backend.h>
#include <ggml.h>

#include "heed/status.h"

namespace heed::eval {

class GgmlRunner {
 public:
  GgmlRunner() = default;
  ~GgmlRunner();
  GgmlRunner(const GgmlRunner&) = delete;
  GgmlRunner& operator=(const GgmlRunner&) = delete;

  Status start(int threads);
  Status compute(ggml_cgraph* graph);
  void park();  // the pool's threads sleep until the next graph
  ggml_backend_t backend() const { return backend_; }

 private:
  ggml_backend_t backend_ = nullptr;
  ggml_threadpool* pool_ = nullptr;
};

}  // namespace heed::eval
