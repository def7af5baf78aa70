#include "model/sha256.h"

#include <gtest/gtest.h>

#include <string>

#include "base/random.h"

namespace heed {
namespace {

// The examples of FIPS 180-4 and of NIST's long-message vector.
TEST(Sha256, gives_the_published_digests) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, does_not_depend_on_how_the_bytes_are_cut) {
  Random random(5);
  for (size_t size = 0; size < 300; ++size) {
    std::string text(size, '\0');
    for (char& c : text) c = static_cast<char>(random.below(256));
    Sha256 sha;
    for (size_t at = 0; at < size;) {
      const size_t piece = std::min<size_t>(size - at, random.below(90));
      sha.update(text.data() + at, piece);
      at += piece;
    }
    ASSERT_EQ(sha.finish(), sha256_hex(text)) << size;
  }
}

}  // namespace
}  // namespace heed
