// A GGUF file through every way of reading, with the heap that each may take. For programs that
// count their heap (counting_heap.h).
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "heap_counters.h"
#include "model/gguf_file.h"
#include "model/hyperparameters.h"
#include "tiny_gguf.h"

namespace heed::test {

// The verdict of one way of reading a file of `size` bytes, which may take four times that and a
// MiB of heap whatever the file says about itself.
template <class Open>
Status accept(size_t size, const Open& open) {
  const PeakMeter peak;
  const auto read = [&]() -> Status {
    HEED_ASSIGN(const auto file, open());
    return Hyperparameters::read(*file).status();
  };
  const Status status = read();
  EXPECT_LE(peak.bytes(), static_cast<int64_t>(4 * size + (size_t{1} << 20))) << status.message();
  return status;
}

// The file with a tensor that is larger by one in one of its dimensions.
inline tiny::File with_one_more(tiny::File file, size_t tensor, size_t dimension) {
  tiny::Tensor& t = file.tensors[tensor];
  const size_t row = t.data.size() / t.ne[dimension];
  ++t.ne[dimension];
  t.data.resize(t.data.size() + row);
  return file;
}

inline Status read_bytes(const std::vector<uint8_t>& bytes) {
  return accept(bytes.size(), [&] { return GgufFile::from_bytes(bytes, "memory"); });
}

// The verdict, after checking that all readers agree and that errors speak.
inline Status read_everywhere(const std::vector<uint8_t>& bytes) {
  const Status memory = read_bytes(bytes);
  EXPECT_EQ(memory.is_ok(), memory.message().empty());
  if (bytes.empty()) return memory;
  const tiny::TemporaryFile file(bytes);
  for (const FileAccess access : {FileAccess::kMap, FileAccess::kRead}) {
    const Status other = accept(bytes.size(), [&] { return GgufFile::open(file.path(), access); });
    EXPECT_EQ(other.code(), memory.code()) << other.message() << " / " << memory.message();
  }
  return memory;
}

}  // namespace heed::test
