#include "model/zip_member.h"

#include <gtest/gtest.h>

#include <string>

#include "base/random.h"
#include "model_home.h"
#include "zip_writer.h"

namespace heed {
namespace {

std::string sample(size_t size) {
  Random random(3);
  std::string out(size, '\0');
  // Four letters, so that deflate has something to do.
  for (char& c : out) c = static_cast<char>('a' + random.below(4));
  return out;
}

Result<std::string> read(const ModelHome& home, const std::string& member) {
  std::string out;
  HEED_TRY(read_zip_member(home.path("a.zip"), member, [&](const void* data, size_t size) {
    out.append(static_cast<const char*>(data), size);
    return Status::ok();
  }));
  return out;
}

std::string two_members(const std::string& bytes) {
  ZipWriter zip;
  zip.add("a/stored.bin", bytes, false);
  zip.add("a/deflated.bin", bytes, true);
  return zip.finish();
}

TEST(ZipMember, stored_and_deflated_members_come_back_as_they_were) {
  const ModelHome home;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{70000}, size_t{3000001}}) {
    const std::string bytes = sample(size);
    home.write("a.zip", two_members(bytes));
    for (const char* member : {"a/stored.bin", "a/deflated.bin"}) {
      const auto got = read(home, member);
      ASSERT_TRUE(got.is_ok()) << got.message();
      EXPECT_TRUE(*got == bytes) << member << " " << size;
    }
  }
}

TEST(ZipMember, a_member_that_is_not_there_is_named) {
  const ModelHome home;
  home.write("a.zip", two_members("x"));
  const auto got = read(home, "a/other.bin");
  EXPECT_EQ(got.code(), Code::kNotFound);
  EXPECT_NE(got.message().find("a/other.bin"), std::string::npos);
}

TEST(ZipMember, the_error_of_the_sink_ends_the_reading) {
  const ModelHome home;
  home.write("a.zip", two_members(sample(100)));
  const Status status =
      read_zip_member(home.path("a.zip"), "a/deflated.bin",
                      [](const void*, size_t) { return Status(Code::kIo, "full"); });
  EXPECT_EQ(status.message(), "full");
}

TEST(ZipMember, every_truncation_is_refused) {
  const ModelHome home;
  const std::string zip = two_members(sample(500));
  for (size_t size = 0; size < zip.size(); ++size) {
    home.write("a.zip", zip.substr(0, size));
    EXPECT_FALSE(read(home, "a/deflated.bin").is_ok()) << size;
  }
}

TEST(ZipMember, a_changed_byte_gives_the_right_bytes_or_an_error) {
  const ModelHome home;
  const std::string bytes = sample(500);
  const std::string zip = two_members(bytes);
  Random random(9);
  int errors = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = zip;
    damaged[random.below(zip.size())] = static_cast<char>(random.below(256));
    home.write("a.zip", damaged);
    const auto got = read(home, i % 2 == 0 ? "a/stored.bin" : "a/deflated.bin");
    if (got.is_ok()) {
      ASSERT_TRUE(*got == bytes) << i;
    } else {
      ++errors;
    }
  }
  EXPECT_GT(errors, 300);
}

}  // namespace
}  // namespace heed
