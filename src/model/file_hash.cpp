#include "model/file_hash.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "base/text.h"
#include "model/sha256.h"

namespace heed {

Result<std::string> file_sha256(const std::string& path, const CancelToken* cancel,
                                const std::function<void(uint64_t done)>& progress) {
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  const std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "rbe"));
  if (file == nullptr) {
    return error(errno == ENOENT ? Code::kNotFound : Code::kIo, path, ": ", std::strerror(errno));
  }
  Sha256 hash;
  uint64_t done = 0;
  std::vector<char> piece(size_t{1} << 20);
  for (;;) {
    if (cancel != nullptr && cancel->cancelled())
      return error(Code::kCancelled, "hashing ", path, " was stopped");
    const size_t got = std::fread(piece.data(), 1, piece.size(), file.get());
    if (got == 0) break;
    hash.update(piece.data(), got);
    done += got;
    if (progress) progress(done);
  }
  if (std::ferror(file.get())) return error(Code::kIo, path, ": ", std::strerror(errno));
  return hash.finish();
}

}  // namespace heed
