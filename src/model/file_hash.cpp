#include "model/file_hash.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "base/text.h"
#include "model/sha256.h"
#include "model/split_set.h"

namespace heed {

namespace {

Status hash_file(Sha256& hash, const std::string& path, const CancelToken* cancel,
                 const std::function<void(uint64_t done)>& progress) {
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  const std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "rbe"));
  if (file == nullptr) {
    return error(errno == ENOENT ? Code::kNotFound : Code::kIo, path, ": ", std::strerror(errno));
  }
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
  return Status::ok();
}

}  // namespace

Result<std::string> file_sha256(const std::string& path, const CancelToken* cancel,
                                const std::function<void(uint64_t done)>& progress) {
  Sha256 hash;
  HEED_TRY(hash_file(hash, path, cancel, progress));
  return hash.finish();
}

Result<std::string> model_sha256(const std::string& path, const CancelToken* cancel) {
  HEED_ASSIGN(const auto file, open_model_file(path));
  Sha256 hash;
  for (const std::string& part : file->paths()) HEED_TRY(hash_file(hash, part, cancel, {}));
  return hash.finish();
}

}  // namespace heed
