#include "base/new_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/io_pieces.h"
#include "base/text.h"
#include "base/units.h"

namespace heed {
namespace {

// Where a link leads, so that the link stays one; the path itself when nothing is there.
std::string target_of(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), std::free);
  return real != nullptr ? std::string(real.get()) : path;
}

bool is_shortage(int code) { return code == ENOSPC || code == EDQUOT || code == EFBIG; }

}  // namespace

Status NewFile::failed(const char* what, int code) const {
  const char* const way_out = is_shortage(code) ? "; free space there or write elsewhere" : "";
  return error(is_shortage(code) ? Code::kResourceExhausted : Code::kIo, path_, ": ", what, ": ",
               std::strerror(code), way_out, "; what was there before is unchanged");
}

// Private unless the one before was not: it may hold what somebody asked.
Result<mode_t> NewFile::old_mode() const {
  struct stat old {};
  if (::stat(path_.c_str(), &old) != 0) return mode_t{0600};
  if (S_ISREG(old.st_mode)) return static_cast<mode_t>(old.st_mode & 0777);
  return error(Code::kInvalidArgument, path_, ": is there and no regular file; name another");
}

std::string NewFile::folder() const {
  const std::string folder = std::filesystem::path(path_).parent_path().string();
  return folder.empty() ? "." : folder;
}

Status NewFile::check_place(const std::string& path) {
  const NewFile file(target_of(path));
  HEED_TRY(file.old_mode());
  const std::string folder = file.folder() + '/';  // and no file of that name
  if (::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) == 0) return Status::ok();
  return file.failed("cannot be written", errno);
}

Result<std::unique_ptr<NewFile>> NewFile::create(const std::string& path, uint64_t bytes,
                                                 const WriteFaults* faults) {
  std::unique_ptr<NewFile> file(new NewFile(target_of(path)));
  file->faults_ = faults;
  HEED_ASSIGN(const mode_t mode, file->old_mode());
  file->fresh_ = file->path_ + ".new";
  HEED_TRY(file->take_place());
  if (::fchmod(file->fd_, mode) != 0) return file->failed("its mode cannot be set", errno);
  HEED_TRY(file->reserve(bytes));
  return file;
}

Status NewFile::take_place() {
  constexpr int kTries = 100;
  for (int i = 0; i < kTries; ++i) {
    if (const int code = before(); code != 0) return failed("cannot be written", code);
    fd_ = ::open(fresh_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd_ < 0) return failed("cannot be written", errno);
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      return error(Code::kIo, path_, ": another process is writing it; try again later");
    }
    // The one who had the lock before may have renamed the file since it was opened here.
    struct stat mine {
    }, there{};
    if (::fstat(fd_, &mine) != 0) return failed("fstat failed", errno);
    if (::lstat(fresh_.c_str(), &there) == 0 && mine.st_ino == there.st_ino &&
        mine.st_dev == there.st_dev) {
      if (!S_ISREG(mine.st_mode)) {
        return error(Code::kIo, fresh_, ": is in the way; remove it");
      }
      named_ = true;
      if (const int code = before(); code != 0) return failed("cannot be written", code);
      if (::ftruncate(fd_, 0) != 0) return failed("cannot be emptied", errno);
      return Status::ok();
    }
    ::close(fd_);
    fd_ = -1;
  }
  return error(Code::kIo, path_, ": others keep writing it; try again later");
}

Status NewFile::reserve(uint64_t bytes) {
  if (bytes == 0) return Status::ok();
  int code = before();
  while (code == 0 && ::fallocate(fd_, 0, 0, static_cast<off_t>(bytes)) != 0) {
    if (errno == EINTR) continue;
    code = errno;
  }
  // A file system that cannot reserve tells when it is written.
  if (!is_shortage(code)) return Status::ok();
  return failed(cat("no room for ", bytes_text(bytes)).c_str(), code);
}

Status NewFile::write(uint64_t offset, std::span<iovec> pieces) {
  for (pieces = behind(pieces, 0); !pieces.empty();) {
    iovec first = pieces.front();
    auto count = static_cast<int>(std::min<size_t>(pieces.size(), IOV_MAX));
    if (faults_ != nullptr) {
      first.iov_len = std::min(first.iov_len, faults_->longest_write);
      count = 1;
    }
    if (const int code = before(); code != 0) return failed("writing failed", code);
    const ssize_t n =
        ::pwritev(fd_, count == 1 ? &first : pieces.data(), count, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("writing failed", errno);
    offset += static_cast<uint64_t>(n);
    pieces = behind(pieces, static_cast<size_t>(n));
  }
  return Status::ok();
}

Status NewFile::write(uint64_t offset, const void* data, size_t size) {
  iovec piece{const_cast<void*>(data), size};
  return write(offset, {&piece, 1});
}

Status NewFile::commit() {
  if (const int code = before(); code != 0) return failed("flushing failed", code);
  if (::fsync(fd_) != 0) return failed("flushing failed", errno);
  if (const int code = before(); code != 0) return failed("renaming failed", code);
  if (::rename(fresh_.c_str(), path_.c_str()) != 0) return failed("renaming failed", errno);
  named_ = false;
  // The name lives in the folder, which has its own way to the disk.
  before();
  const int fd = ::open(folder().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Status::ok();  // a folder that may be written and not read
  ::fsync(fd);                      // some file systems cannot; the rename is done either way
  ::close(fd);
  return Status::ok();
}

NewFile::~NewFile() {
  if (named_) ::unlink(fresh_.c_str());
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace heed
