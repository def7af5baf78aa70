// The heap that reading a file takes is bounded by the file's size, not by what it says about
// itself. gguf_malformed_test.cpp checks the same on each of its damaged files.
#include "counting_heap.h"

#include <gtest/gtest.h>

#include <functional>

#include "gguf_readers.h"

namespace heed {
namespace {

using tiny::File;

// Files of about a megabyte in which the smallest things come in the largest numbers, good and cut
// short.
TEST(GgufMemory, many_small_things_take_no_more_heap_than_the_file_allows) {
  const std::function<void(File&)> kEdits[] = {
      [](File& f) { f.set(tiny::texts_key("x.list", std::vector<std::string>(200'000, "a"))); },
      [](File& f) {
        for (int i = 0; i < 40'000; ++i)
          f.keys.push_back(tiny::u32_key("k" + std::to_string(i), 1));
      },
      [](File& f) {
        const tiny::Tensor one{"", {1}, tiny::kTensorF32, std::vector<uint8_t>(4)};
        for (int i = 0; i < 20'000; ++i) {
          f.tensors.push_back(one);
          f.tensors.back().name = "t" + std::to_string(i);
        }
      }};
  for (const auto& edit : kEdits) {
    File file = tiny::make_file(tiny::small_spec());
    edit(file);
    std::vector<uint8_t> bytes = file.encode().bytes;
    EXPECT_GT(bytes.size(), size_t{500'000});
    const Status whole = test::read_everywhere(bytes);
    EXPECT_EQ(whole.is_ok(), whole.message().empty());
    bytes.resize(bytes.size() * 9 / 10);
    EXPECT_FALSE(test::read_everywhere(bytes).is_ok());
  }
}

// Else the limit proves nothing.
TEST(GgufMemory, the_meter_sees_what_readers_allocate) {
  const std::vector<uint8_t> bytes(size_t{8} << 20, 1);
  const tiny::TemporaryFile file(bytes);
  const test::PeakMeter peak;
  EXPECT_FALSE(GgufFile::open(file.path(), FileAccess::kRead).is_ok());
  EXPECT_GE(peak.bytes(), int64_t{8} << 20);
}

}  // namespace
}  // namespace heed
