// A model, in one file or in parts, with every tensor dequantised to F32, in one file: for
// comparisons in which quantised products (whose activations are re-quantised) must play no part.
#pragma once

#include <functional>
#include <string>

#include "heed/engine.h"
#include "heed/status.h"

namespace heed::eval {

// The copy has no name: it lives in an unlinked file in the temporary directory ($TMPDIR) and is
// gone with this object or with the process, however that ends.
class F32Copy {
 public:
  struct Options {
    const CancelToken* cancel = nullptr;
    std::function<void(double fraction)> progress;
  };
  // Errors: not a model that heed reads, no room (with the bytes needed).
  static Result<F32Copy> make(const std::string& path, const Options& options);
  ~F32Copy();
  F32Copy(F32Copy&& other) noexcept;
  F32Copy& operator=(F32Copy&& other) noexcept;

  // Opens the copy in this process.
  const std::string& path() const { return path_; }

 private:
  explicit F32Copy(int fd);
  int fd_;
  std::string path_;
};

}  // namespace heed::eval
