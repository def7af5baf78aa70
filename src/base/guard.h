// The edge of the public API: what is thrown behind it (a shortage of memory or threads, a bug, a
// caller's callback) leaves as a Status.
#pragma once

#include <exception>
#include <new>
#include <system_error>

#include "base/text.h"
#include "heed/status.h"

namespace heed {

// kResourceExhausted with `args` as its message, for code that handles std::bad_alloc: building a
// message needs memory too. The short one fits into std::string itself.
template <class... Args>
Status exhausted(const Args&... args) {
  try {
    return error(Code::kResourceExhausted, args...);
  } catch (const std::bad_alloc&) {
    return {Code::kResourceExhausted, "out of memory"};
  }
}

inline Status shortage(const char* what) {
  return exhausted(what, ": no memory; use a shorter context, a smaller chunk or fewer sequences");
}

// The Status of the exception that is being handled; `what` is the call that it ended.
inline Status caught(const char* what) {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return shortage(what);
  } catch (const std::system_error& e) {
    const bool scarce = e.code() == std::errc::resource_unavailable_try_again;
    return error(scarce ? Code::kResourceExhausted : Code::kIo, what, ": ", e.what(),
                 scarce ? "; the system has no thread left, use fewer threads" : "");
  } catch (const std::exception& e) {
    return error(Code::kInternal, what, ": ", e.what());
  } catch (...) {
    return error(Code::kInternal, what, ": an exception of unknown type");
  }
}

// Runs `call`, which returns a Status or a Result.
template <class Call>
auto guarded(const char* what, Call&& call) -> decltype(call()) {
  try {
    return call();
  } catch (...) {
    try {
      return caught(what);
    } catch (...) {  // no memory for the message
      return shortage(what);
    }
  }
}

}  // namespace heed
