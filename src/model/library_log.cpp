#include "model/library_log.h"

#include <llama.h>

#include <cstring>
#include <exception>
#include <mutex>
#include <new>

#include "heed/model.h"

namespace heed {
namespace {

thread_local std::string last_error;

void keep_error(ggml_log_level level, const char* text, void*) {
  // Only the first error of a failing call explains it; those behind it say "failed to load".
  if (level != GGML_LOG_LEVEL_ERROR || !last_error.empty()) return;
  try {
    last_error = text;
  } catch (const std::bad_alloc&) {  // must not fly through the C code that logs
    return;
  }
  while (!last_error.empty() && last_error.back() == '\n') last_error.pop_back();
}

// Set while this thread is inside a load that may be stopped.
thread_local const CancelToken* stop_load = nullptr;

struct LoadStopped : std::exception {
  const char* what() const noexcept override { return "stopped"; }
};

// llama.cpp's loader catches what is thrown inside it. Errors come from there, so they are let
// pass; longer lines lie in memory that the throw would leak; and one throw is enough: destructors
// that log must not meet a second.
void keep_error_or_stop(ggml_log_level level, const char* text, void*) {
  constexpr size_t kLineOnTheStack = 128;
  keep_error(level, text, nullptr);
  if (stop_load == nullptr || level == GGML_LOG_LEVEL_ERROR || !stop_load->cancelled()) return;
  if (std::strlen(text) >= kLineOnTheStack) return;
  stop_load = nullptr;
  throw LoadStopped();
}

}  // namespace

StopLibraryLoad::StopLibraryLoad(const CancelToken* cancel) { stop_load = cancel; }
StopLibraryLoad::~StopLibraryLoad() { stop_load = nullptr; }

void route_library_logs() {
  static std::once_flag once;
  std::call_once(once, [] {
    llama_log_set(keep_error_or_stop, nullptr);
    ggml_log_set(keep_error, nullptr);  // ggml is C, through which nothing may be thrown
  });
}

std::string take_library_error() {
  std::string text;
  text.swap(last_error);
  return text;
}

}  // namespace heed
