#include "model/llama_log.h"

#include <mutex>

#include "llama.h"
#include "log.h"  // of llama.cpp's common code

namespace heed {
namespace {

// Enough for the cause; a hostile file must not make the message grow.
constexpr size_t kKeptBytes = 2000;

std::string& kept() {
  thread_local std::string text;
  return text;
}

void keep(ggml_log_level level, const char* text, void*) {
  static thread_local bool continues = false;
  const bool wanted = level == GGML_LOG_LEVEL_ERROR || level == GGML_LOG_LEVEL_WARN ||
                      (level == GGML_LOG_LEVEL_CONT && continues);
  continues = wanted;
  if (!wanted || text == nullptr) return;
  std::string& all = kept();
  for (const char* c = text; *c != '\0' && all.size() < kKeptBytes; ++c) {
    all += *c == '\n' ? ' ' : *c;
  }
}

}  // namespace

void capture_llama_log() {
  static std::once_flag once;
  std::call_once(once, [] {
    llama_log_set(keep, nullptr);
    // The common code reports by exception as well, and its logger would start a thread.
    common_log_set_verbosity_thold(-100);
  });
}

std::string take_llama_log() {
  std::string text = std::move(kept());
  kept().clear();
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

}  // namespace heed
