// A model in parts answers as the same model in one file, with heed and with llama.cpp.
#include <gtest/gtest.h>

#include "oracle_rows.h"
#include "split_files.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

TEST(SplitModel, logits_equal_those_of_one_file) {
  for (const uint32_t type : {tiny::kTensorF32, tiny::kTensorQ4_0}) {
    tiny::Spec spec;
    spec.weight_type = type;
    spec.vocab = 96;
    const tiny::File whole = tiny::make_file(spec);
    const tiny::TemporaryFile single(whole);
    const tiny::SplitFiles set(whole, 4);
    const std::vector<Token> tokens = test::random_tokens(40, spec.vocab, 3);
    const auto from = [&](const std::string& path) {
      const auto engine = test::make_engine(path, test::exact_options(), 1);
      return test::heed_rows(*engine, tokens, 37);
    };
    const auto expected = from(single.path());
    ASSERT_EQ(expected.size(), tokens.size());
    EXPECT_EQ(from(set.path(1)), expected);
    EXPECT_EQ(from(set.path(3)), expected);
    const auto theirs = test::llama_rows(single.path(), false, tokens, 37);
    EXPECT_EQ(test::llama_rows(set.path(1), false, tokens, 37), theirs);
  }
}

}  // namespace
}  // namespace heed
