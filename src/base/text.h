// Message building without a formatting library: libheed builds with a C++20 compiler alone.
#pragma once

#include <sstream>
#include <string>

#include "heed/status.h"

namespace heed {

// cat("page ", 7, " of ", n): the arguments streamed one after the other.
template <class... Args>
std::string cat(const Args&... args) {
  std::ostringstream out;
  // Without memory a stream keeps quiet and the text ends early: a tensor of that name "is
  // missing".
  out.exceptions(std::ios::badbit);
  (out << ... << args);
  return std::move(out).str();
}

template <class... Args>
Status error(Code code, const Args&... args) {
  return {code, cat(args...)};
}

}  // namespace heed
