#include "eval/file_hash.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "base/text.h"
#include "model/sha256.h"

namespace heed::eval {

Result<std::string> file_sha256(const std::string& path, const CancelToken* cancel) {
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  const std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "rbe"));
  if (file == nullptr) {
    return error(errno == ENOENT ? Code::kNotFound : Code::kIo, path, ": ", std::strerror(errno));
  }
  Sha256 hash;
  std::vector<char> piece(size_t{1} << 20);
  for (;;) {
    if (cancel != nullptr && cancel->cancelled()) return error(Code::kCancelled, "cancelled");
    const size_t got = std::fread(piece.data(), 1, piece.size(), file.get());
    if (got == 0) break;
    hash.update(piece.data(), got);
  }
  if (std::ferror(file.get())) return error(Code::kIo, path, ": ", std::strerror(errno));
  return hash.finish();
}

}  // namespace heed::eval
