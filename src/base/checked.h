// Arithmetic on sizes that come from outside: overflow is an error, never a wrap.
#pragma once

#include <concepts>

#include "base/text.h"
#include "heed/status.h"

namespace heed {

template <std::integral T>
Result<T> checked_mul(T a, T b, const char* what) {
  T out;
  if (__builtin_mul_overflow(a, b, &out)) {
    return error(Code::kOutOfRange, what, ": ", a, " x ", b, " overflows");
  }
  return out;
}

template <std::integral T>
Result<T> checked_add(T a, T b, const char* what) {
  T out;
  if (__builtin_add_overflow(a, b, &out)) {
    return error(Code::kOutOfRange, what, ": ", a, " + ", b, " overflows");
  }
  return out;
}

}  // namespace heed
