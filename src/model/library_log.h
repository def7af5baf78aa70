// ggml and llama.cpp log to stderr unless told otherwise; heed keeps their last error for its own
// messages instead.
#pragma once

#include <string>

namespace heed {

class CancelToken;

// Idempotent; call before anything of ggml or llama.cpp.
void route_library_logs();

// The first error that ggml or llama.cpp logged on this thread since the previous call of this,
// without its line end; empty if none.
std::string take_library_error();

// While one lives, a call of llama.cpp on this thread that loads a file ends soon after the cancel,
// as if the load had failed: llama.cpp asks nobody while it reads a vocabulary (half a second for
// 262K tokens), but it logs at least every 150 ms of it (both measured).
class StopLibraryLoad {
 public:
  explicit StopLibraryLoad(const CancelToken* cancel);
  ~StopLibraryLoad();
  StopLibraryLoad(const StopLibraryLoad&) = delete;
  StopLibraryLoad& operator=(const StopLibraryLoad&) = delete;
};

}  // namespace heed
