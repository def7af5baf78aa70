// Pieces of memory that one system call writes or fills.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace heed {

// Leaves what a call that moved `n` bytes did not reach; empty pieces go too.
inline std::span<iovec> behind(std::span<iovec> pieces, size_t n) {
  while (!pieces.empty()) {
    iovec& piece = pieces.front();
    const size_t taken = std::min(n, piece.iov_len);
    piece.iov_base = static_cast<uint8_t*>(piece.iov_base) + taken;
    piece.iov_len -= taken;
    n -= taken;
    if (piece.iov_len > 0) break;
    pieces = pieces.subspan(1);
  }
  return pieces;
}

}  // namespace heed
