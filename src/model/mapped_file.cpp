#include "model/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/text.h"
#include "model/mapped_guard.h"

namespace heed {
namespace {

int64_t nanoseconds(const struct timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

int64_t modified_ns(const struct stat& info) { return nanoseconds(info.st_mtim); }

// Weights are read with vector loads and handed to ggml, which wants 64 bytes.
constexpr size_t kAlignment = 64;

// For the whole pages within.
void advise(const uint8_t* data, size_t bytes, int advice) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t first = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) / page * page;
  // Advice: failure changes nothing but speed or size.
  if (end > first) ::madvise(reinterpret_cast<void*>(first), end - first, advice);
}

// Bytes from `offset` on.
Status read_all(int fd, uint8_t* out, size_t size, size_t offset, const std::string& path) {
  for (size_t done = 0; done < size;) {
    const ssize_t n = ::pread(fd, out + done, std::min<size_t>(size - done, size_t{1} << 30),
                              static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error(Code::kIo, path, ": reading failed: ", std::strerror(errno));
    if (n == 0) {
      return error(Code::kIo, path, ": ended at byte ", offset + done, ", ", size - done,
                   " bytes early: it was truncated while it was read");
    }
    done += static_cast<size_t>(n);
  }
  return Status::ok();
}

}  // namespace

Result<std::unique_ptr<MappedFile>> MappedFile::open(const std::string& path, FileAccess access) {
  std::unique_ptr<MappedFile> file(new MappedFile);
  file->path_ = path;
  file->fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file->fd_ < 0) {
    const Code code = errno == ENOENT ? Code::kNotFound : Code::kIo;
    return error(code, path, ": cannot be opened: ", std::strerror(errno));
  }
  struct stat info {};
  if (::fstat(file->fd_, &info) != 0) {
    return error(Code::kIo, path, ": fstat failed: ", std::strerror(errno));
  }
  if (!S_ISREG(info.st_mode)) {
    return error(Code::kInvalidArgument, path, ": is not a regular file");
  }
  if (info.st_size == 0) return error(Code::kCorrupt, path, ": is empty");
  file->size_ = static_cast<size_t>(info.st_size);
  file->modified_ns_ = modified_ns(info);
  if (access == FileAccess::kMap) {
    void* map = ::mmap(nullptr, file->size_, PROT_READ, MAP_PRIVATE, file->fd_, 0);
    const bool guarded =
        map != MAP_FAILED && guard_mapping(static_cast<uint8_t*>(map), file->size_);
    if (map != MAP_FAILED && !guarded) ::munmap(map, file->size_);
    if (guarded) {
      file->data_ = static_cast<uint8_t*>(map);
      file->mapped_ = true;
      // Where the page cache holds huge pages a fault would map 2 MiB: parts of the file that
      // nothing reads, and that count as this process's until it ends. Advice: failure changes
      // nothing.
      ::madvise(map, file->size_, MADV_NOHUGEPAGE);
      return file;
    }
  }
  file->copy_ = allocate_aligned(file->size_, kAlignment);
  if (file->copy_ == nullptr) {
    return error(Code::kResourceExhausted, path, ": no memory for its ", file->size_, " bytes");
  }
  file->data_ = file->copy_.get();
  HEED_TRY(read_all(file->fd_, file->data_, file->size_, 0, path));
  return file;
}

MappedFile::~MappedFile() {
  if (mapped_) {
    unguard_mapping(data_);
    ::munmap(data_, size_);
  }
  if (fd_ >= 0) ::close(fd_);
}

void MappedFile::prefetch() const {
  if (mapped_) ::madvise(data_, size_, MADV_WILLNEED);  // advice: failure changes nothing
}

void MappedFile::release(const uint8_t* data, size_t bytes) const {
  if (!mapped_) return;  // private memory would not come back
  advise(data, bytes, MADV_DONTNEED);
}

void MappedFile::looked_up(const uint8_t* data, size_t bytes) const {
#ifdef MADV_NOHUGEPAGE
  if (mapped_) advise(data, bytes, MADV_NOHUGEPAGE);
#endif
}

Status MappedFile::unchanged() const {
  if (!mapped_) return Status::ok();
  struct stat info {};
  if (::fstat(fd_, &info) != 0) {
    return error(Code::kIo, path_, ": fstat failed: ", std::strerror(errno));
  }
  if (static_cast<size_t>(info.st_size) != size_) {
    return error(Code::kCorrupt, path_, ": had ", size_, " bytes when it was loaded and has ",
                 info.st_size, " now; load the model again");
  }
  if (modified_ns(info) != modified_ns_) {
    return error(Code::kCorrupt, path_,
                 ": was written to since it was loaded; load the model again");
  }
  if (mapping_is_lost(data_)) {
    return error(Code::kCorrupt, path_,
                 ": a part of it could not be read; it was cut while it was in use or its disk "
                 "fails; load the model again");
  }
  return Status::ok();
}

Status MappedFile::read_through(const std::function<void(std::span<const uint8_t>)>& take) const {
  if (!mapped_) {
    take(bytes());
    return Status::ok();
  }
  constexpr size_t kPiece = size_t{1} << 20;  // stays in the cache between reading and taking
  std::vector<uint8_t> piece(std::min(kPiece, size_));
  for (size_t at = 0; at < size_; at += piece.size()) {
    const size_t n = std::min(piece.size(), size_ - at);
    HEED_TRY(read_all(fd_, piece.data(), n, at, path_));
    take({piece.data(), n});
  }
  return unchanged();
}

std::string MappedFile::stamp() const {
  struct stat info {};
  if (!mapped_ || ::fstat(fd_, &info) != 0) return {};
  return cat("device ", info.st_dev, " inode ", info.st_ino, " bytes ", info.st_size, " modified ",
             modified_ns(info), " changed ", nanoseconds(info.st_ctim));
}

}  // namespace heed
