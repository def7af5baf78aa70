// A file that appears whole or not at all: written beside its place under a name of its own,
// flushed to the disk, then renamed over what was there. A crash at any point leaves the old file
// or the new one, and at most PATH.new, which the next one that writes here takes over.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "heed/status.h"

namespace heed {

// Tests: what happens before each system call that changes something on the disk.
struct WriteFaults {
  std::function<int()> before;     // an errno with which the call fails instead; 0: it is made
  size_t longest_write = 1 << 30;  // bytes of one write
};

class NewFile {
 public:
  // `bytes` are reserved on the disk at once, where its file system can. Errors: a path that is
  // no regular file, another process that writes it, the system's.
  static Result<std::unique_ptr<NewFile>> create(const std::string& path, uint64_t bytes,
                                                 const WriteFaults* faults = nullptr);
  // Whether there is a place for it, before anybody computes what goes there. Errors: a path that
  // is no regular file, a folder that is not there or may not be written.
  static Status check_place(const std::string& path);
  ~NewFile();  // without commit() what was there stays
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  // All of these pieces, one behind the other, from `offset` on. Changes the pieces.
  Status write(uint64_t offset, std::span<iovec> pieces);
  Status write(uint64_t offset, const void* data, size_t size);
  // The file takes its place and survives a loss of power.
  Status commit();

 private:
  explicit NewFile(std::string path) : path_(std::move(path)) {}
  Result<mode_t> old_mode() const;
  std::string folder() const;
  Status take_place();
  Status reserve(uint64_t bytes);
  int before() const { return faults_ != nullptr && faults_->before ? faults_->before() : 0; }
  Status failed(const char* what, int code) const;

  std::string path_, fresh_;
  int fd_ = -1;
  bool named_ = false;  // fresh_ is ours
  const WriteFaults* faults_ = nullptr;
};

}  // namespace heed
