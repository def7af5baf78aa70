// Every number and every bit of the headers of a model in parts, broken: the set is read or refused
// by name, and takes no more heap than its files allow.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "field_damage.h"
#include "heap_counters.h"
#include "model/hyperparameters.h"
#include "model/split_set.h"
#include "split_files.h"

namespace heed {
namespace {

class SplitMalformed : public ::testing::Test {
 protected:
  // The verdict on the set, which must speak and hold to its heap.
  Status read(const std::string& what, FileAccess access = FileAccess::kMap) {
    uint64_t size = 0;
    for (int i = 1; i <= 2; ++i) size += std::filesystem::file_size(set_.path(i));
    const test::PeakMeter peak;
    const auto open = [&]() -> Status {
      HEED_ASSIGN(const auto file, open_model_file(set_.path(1), access));
      return Hyperparameters::read(*file).status();
    };
    const Status status = open();
    EXPECT_LE(peak.bytes(), static_cast<int64_t>(4 * size + (uint64_t{1} << 20))) << what;
    EXPECT_EQ(status.is_ok(), status.message().empty()) << what;
    EXPECT_NE(status.code(), Code::kInternal) << what << ": " << status.message();
    return status;
  }

  tiny::SplitFiles set_{tiny::make_file(tiny::small_spec()), 2};
};

TEST_F(SplitMalformed, every_field_of_every_part_times_every_damage_is_read_or_refused) {
  for (const size_t part : {1, 2}) {
    int kinds = 0, refused = 0;
    const tiny::Writer good = set_.parts[part - 1].encode();
    test::for_each_damage(good, [&](const std::vector<uint8_t>& bytes, const std::string& what) {
      set_.write(part, bytes);
      const Status mapped = read(what);
      EXPECT_EQ(read(what, FileAccess::kRead).code(), mapped.code()) << what;
      ++kinds;
      refused += mapped.is_ok() ? 0 : 1;
    });
    set_.write();
    EXPECT_GT(kinds, 150);
    EXPECT_GT(refused, kinds / 2);
    EXPECT_TRUE(read("whole").is_ok());
  }
}

// Of the first part, whose keys gguf_malformed_test.cpp flips too, every fifth.
TEST_F(SplitMalformed, flipped_bits_of_the_headers_are_read_or_refused) {
  for (const int part : {1, 2}) {
    const tiny::Writer good = set_.parts[static_cast<size_t>(part) - 1].encode();
    const int fd = ::open(set_.path(part).c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    int refused = 0;
    const size_t bits = 8 * good.fields.back().offset;
    for (size_t bit = 0; bit < bits; bit += part == 1 ? 5 : 1) {
      const auto at = static_cast<off_t>(bit / 8);
      const uint8_t whole = good.bytes[bit / 8];
      const auto bad = static_cast<uint8_t>(whole ^ 1 << bit % 8);
      ASSERT_EQ(::pwrite(fd, &bad, 1, at), 1);
      refused += read("bit " + std::to_string(bit)).is_ok() ? 0 : 1;
      ASSERT_EQ(::pwrite(fd, &whole, 1, at), 1);
    }
    ::close(fd);
    EXPECT_GT(refused, 1000);
    EXPECT_TRUE(read("whole").is_ok());
  }
}

}  // namespace
}  // namespace heed
