// The text of a block mask: what it says, and what is none.
#include "mechanisms/block_sparse_flash/block_mask.h"

#include <gtest/gtest.h>

#include <fstream>

#include "mechanisms/block_sparse_flash/block_sparse_flash.h"
#include "temporary_folder.h"

namespace heed::test {
namespace {

TEST(BlockMask, says_which_blocks_each_head_reads) {
  const auto mask = BlockMask::parse(
      "heed-block-mask 1\n# a comment\n\nblock 64 32  # rows and keys\nrest all\n"
      "0: 0\n1-2: 0 3-4\n1: 1\nheads 2, 5-6\n0: 7\n3:\n",
      "m");
  ASSERT_TRUE(mask.is_ok()) << mask.message();
  EXPECT_EQ(mask->query_tokens(), 64);
  EXPECT_EQ(mask->key_tokens(), 32);
  EXPECT_TRUE(mask->by_head());
  for (const int head : {0, 2, 5, 6, 7}) {
    const bool own = head == 2 || head == 5 || head == 6;
    for (int column = 0; column < 9; ++column) {
      EXPECT_EQ(mask->at(head, 0, column), column == 0 || (own && column == 7));
      EXPECT_EQ(mask->at(head, 1, column), column <= 1 || column == 3 || column == 4);
      EXPECT_EQ(mask->at(head, 2, column), column == 0 || column == 3 || column == 4);
      EXPECT_EQ(mask->at(head, 3, column), !own) << "a line without key blocks: none";
      EXPECT_TRUE(mask->at(head, 4, column)) << "rest all";
    }
  }
}

TEST(BlockMask, malformed_texts_give_an_error_with_the_line) {
  const std::pair<const char*, const char*> faults[] = {
      {"", "empty"},
      {"block 1 1\n", "must be 'heed-block-mask 1'"},
      {"heed-block-mask 2\n", "must be 'heed-block-mask 1'"},
      {"heed-block-mask 1\n", "there is no 'block"},
      {"heed-block-mask 1\n0: 0\n", "comes before the first row"},
      {"heed-block-mask 1\nblock 64\n", "line 2: block takes two numbers"},
      {"heed-block-mask 1\nblock 0 64\n", "block takes two numbers"},
      {"heed-block-mask 1\nblock 64 99999999999\n", "block takes two numbers"},
      {"heed-block-mask 1\nblock 64 64 64\n", "block takes two numbers"},
      {"heed-block-mask 1\nblock 64 64\nblock 64 64\n", "a second 'block'"},
      {"heed-block-mask 1\nblock 64 64\nrest some\n", "must be none or all"},
      {"heed-block-mask 1\nblock 64 64\nheads x\n", "query head 'x'"},
      {"heed-block-mask 1\nblock 64 64\nheads 70000\n", "query head '70000'"},
      {"heed-block-mask 1\nblock 64 64\nheads\n", "heads takes numbers"},
      {"heed-block-mask 1\nblock 64 64\n3-1: 0\n", "line 3: query block '3-1'"},
      {"heed-block-mask 1\nblock 64 64\n-1: 0\n", "query block '-1'"},
      {"heed-block-mask 1\nblock 64 64\n0: 5 a\n", "key block 'a'"},
      {"heed-block-mask 1\nblock 64 64\n0: 5-\n", "key block '5-'"},
      {"heed-block-mask 1\nblock 64 64\n0: 99999999\n", "key block '99999999'"},
      {"heed-block-mask 1\nblock 64 64\n0-16000000: 1 3\n", "use larger blocks"},
      {"heed-block-mask 1\nblock 64 64\ncolumns 4\n", "must be block, rest, heads"},
  };
  for (const auto& [text, message] : faults) {
    const auto mask = BlockMask::parse(text, "the mask");
    EXPECT_FALSE(mask.is_ok()) << text;
    EXPECT_NE(mask.message().find(message), std::string::npos) << mask.message();
    EXPECT_EQ(mask.message().find("the mask: line "), 0u) << mask.message();
  }
}

TEST(BlockMask, is_read_from_a_file_that_is_there) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/mask.txt";
  EXPECT_EQ(make_block_sparse_flash(path).code(), Code::kNotFound);
  std::ofstream(path) << "heed-block-mask 1\nblock 64 64\n0: 0\n";
  EXPECT_TRUE(make_block_sparse_flash(path).is_ok());
  std::ofstream(path) << "nonsense";
  EXPECT_NE(make_block_sparse_flash(path).message().find(path), std::string::npos);
}

}  // namespace
}  // namespace heed::test
