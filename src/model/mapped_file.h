// The bytes of a file: mapped, or read into memory where mapping is not wanted or refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/aligned.h"
#include "heed/status.h"

namespace heed {

enum class FileAccess : uint8_t {
  kMap,   // falls back to kRead where the file system cannot map
  kRead,  // a private copy: immune to changes of the file
};

class MappedFile {
 public:
  static Result<std::unique_ptr<MappedFile>> open(const std::string& path, FileAccess access);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const uint8_t> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }
  bool mapped() const { return mapped_; }

  // Asks the system to read the file ahead, so that the first pass over it does not wait per page.
  void prefetch() const;

  // The bytes were copied: their pages need not stay resident, and a later read brings them back.
  void release(const uint8_t* data, size_t bytes) const;

  // Single rows of these bytes will be read: a read must not map the 2 MiB around it, which the
  // system does where its cache holds the file in huge pages.
  void looked_up(const uint8_t* data, size_t bytes) const;

  // The file still has the size and modification time it had at open, and no page of it was missing
  // when it was read: such a page reads as zeros (mapped_guard.h). So callers ask behind what they
  // made of the bytes, and before it where that saves work.
  Status unchanged() const;

  // Every byte in order, a piece after the other, without a mapped page that becomes resident.
  Status read_through(const std::function<void(std::span<const uint8_t>)>& take) const;
  // Which file this is and when it was last changed; empty for a private copy.
  std::string stamp() const;

 private:
  MappedFile() = default;

  std::string path_;
  int fd_ = -1;
  bool mapped_ = false;
  uint8_t* data_ = nullptr;
  AlignedMemory copy_;  // what data_ points to when nothing is mapped
  size_t size_ = 0;
  int64_t modified_ns_ = 0;
};

}  // namespace heed
