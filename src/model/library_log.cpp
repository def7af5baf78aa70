#include "model/library_log.h"

#include <llama.h>

#include <mutex>
#include <new>

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

}  // namespace

void route_library_logs() {
  static std::once_flag once;
  std::call_once(once, [] { llama_log_set(keep_error, nullptr); });  // sets ggml's as well
}

std::string take_library_error() {
  std::string text;
  text.swap(last_error);
  return text;
}

}  // namespace heed
