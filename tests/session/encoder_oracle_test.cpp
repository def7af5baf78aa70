// Encoders' rows against llama.cpp's and against the formula in fp64, on tiny models with random
// weights of every description.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "encoder_variants.h"
#include "heed/embed.h"
#include "llama_embeddings.h"
#include "oracle_rows.h"
#include "quantized_file.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

using test::EncoderVariant;
using test::Rows;
using test::worst_row;

using Texts = std::vector<std::vector<Token>>;

Texts random_texts(const std::vector<int>& lengths, int vocab) {
  Texts texts;
  for (size_t i = 0; i < lengths.size(); ++i) {
    texts.push_back(test::random_tokens(lengths[i], vocab, 100 + i));
  }
  return texts;
}

std::unique_ptr<Engine> exact_engine(const std::string& path, Linear linear = Linear::kHeed) {
  return test::make_engine(path, test::exact_options(), 1, linear);
}

// llama.cpp's GELU is a table over f16, heed's is not; see tests/session/llama_oracle_test.cpp.
bool rounds_to_half(const tiny::EncoderSpec& spec) {
  return spec.weight_type == tiny::kTensorF16 || spec.arch == "bert";
}

// Sums in another order, where everything is fp32: 0.3e-6 to 0.7e-6 from the formula and up to
// 3.4e-6 from llama.cpp (the longest text) measured on these models.
constexpr double kExact = 2e-6;
// Of roundings to half precision, one more or less lucky row: 0.6 to 1.02 of the yardstick.
constexpr double kLuck = 1.25;

class EncoderOracle : public testing::TestWithParam<EncoderVariant> {
 protected:
  void expect_equal(const Texts& texts) {
    const tiny::EncoderSpec& spec = GetParam().spec;
    const tiny::TemporaryFile file(tiny::make_encoder(spec));
    const auto engine = exact_engine(file.path());
    ASSERT_NE(engine, nullptr);
    test::LargestDelta delta;
    double all_rows = 0;
    for (const Pooling pooling : {Pooling::kNone, Pooling::kMean, Pooling::kCls, Pooling::kLast}) {
      SCOPED_TRACE(pooling_name(pooling));
      const Rows plain = test::llama_embeddings(file.path(), texts, {.pooling = pooling});
      const Rows flash =
          test::llama_embeddings(file.path(), texts, {.flash = true, .pooling = pooling});
      const Rows rows = test::embeddings(*engine, texts, pooling);
      const double error = worst_row(rows, plain), yardstick = worst_row(flash, plain);
      // A pool of one row is one of the rows: all of them are the yardstick, which come first.
      all_rows = std::max(all_rows, yardstick);
      EXPECT_LE(error, rounds_to_half(spec) ? kLuck * all_rows : 2 * kExact);
      RecordProperty(std::string(pooling_name(pooling)) + "_error", std::to_string(error * 1e6));
      RecordProperty(std::string(pooling_name(pooling)) + "_yardstick",
                     std::to_string(yardstick * 1e6));
      delta.add(rows, plain, flash);
    }
    delta.record(spec.arch, rounds_to_half(spec));
  }
};

// Lengths around a page and a tile of rows.
TEST_P(EncoderOracle, rows_and_pools_of_several_texts_equal_llama_cpp) {
  expect_equal(random_texts({1, 7, 64, 130, 2}, GetParam().spec.vocab));
}

TEST_P(EncoderOracle, the_longest_text_equals_llama_cpp) {
  expect_equal(random_texts({GetParam().spec.context}, GetParam().spec.vocab));
}

constexpr auto kVariantName = [](const auto& info) { return std::string(info.param.name); };
INSTANTIATE_TEST_SUITE_P(TinyEncoders, EncoderOracle, testing::ValuesIn(test::kEncoderVariants),
                         kVariantName);

Rows reference_rows(const tiny::EncoderSpec& spec, const Texts& texts) {
  tiny::EncoderReference reference(spec);
  Rows rows;
  for (const auto& text : texts) {
    for (const auto& row : reference.rows(text)) rows.emplace_back(row.begin(), row.end());
  }
  return rows;
}

class EncoderFormula : public testing::TestWithParam<const char*> {};

TEST_P(EncoderFormula, rows_equal_fp64) {
  tiny::EncoderSpec spec;
  spec.arch = GetParam();
  const tiny::TemporaryFile file(tiny::make_encoder(spec));
  const Texts texts = random_texts({1, 9, 70, 131}, spec.vocab);
  const Rows truth = reference_rows(spec, texts);
  for (const Linear linear : {Linear::kHeed, Linear::kGgml}) {
    const double error = worst_row(
        test::embeddings(*exact_engine(file.path(), linear), texts, Pooling::kNone), truth);
    EXPECT_LE(error, kExact) << linear_name(linear);
    RecordProperty(linear_name(linear), std::to_string(error * 1e6));
  }
  // Pages in decoders' usual format round keys and values to 8 bits; an encoder's are exact.
  EXPECT_EQ(exact_engine(file.path())->model().info().default_k, Format::kF32);
  EngineOptions coarse;
  coarse.k = coarse.v = Format::kBf16;
  const auto usual = test::make_engine(file.path(), coarse, 2);
  const double rounded = worst_row(test::embeddings(*usual, texts, Pooling::kNone), truth);
  EXPECT_GT(rounded, kExact);
  EXPECT_LE(rounded, 1e-2);
  RecordProperty("usual_pages", std::to_string(rounded * 1e6));
}

INSTANTIATE_TEST_SUITE_P(TinyEncoders, EncoderFormula, testing::Values("bert", "nomic-bert"),
                         [](const auto& info) {
                           return std::string(info.param[0] == 'b' ? "bert" : "nomic_bert");
                         });

// Quantised products round their inputs to 8 bits, in both engines: as in
// tests/session/quantized_oracle_test.cpp, llama.cpp's distance from exact products is the measure.
TEST(EncoderOracle, quantised_weights_err_no_more_than_llama_cpps) {
  constexpr double kLuck = 1.02;
  for (const char* arch : {"bert", "nomic-bert"}) {
    tiny::EncoderSpec spec;
    spec.arch = arch;
    spec.embd = 128;
    spec.ff = 256;
    spec.weight_type = tiny::kTensorQ4_0;
    const tiny::File quantised = tiny::make_encoder(spec);
    const tiny::TemporaryFile stored(quantised), exact(tiny::dequantized(quantised));
    const Texts texts = random_texts({12, 77, 140}, spec.vocab);
    const auto rms = [](const Rows& a, const Rows& b) {
      double sum = 0;
      for (size_t i = 0; i < a.size(); ++i) sum += std::pow(test::distance(a[i], b[i]), 2);
      return std::sqrt(sum / static_cast<double>(a.size()));
    };
    const Rows truth = test::llama_embeddings(exact.path(), texts, {});
    double limit = 0;
    for (const bool flash : {false, true}) {
      for (const bool repack : {false, true}) {
        const Rows rows =
            test::llama_embeddings(stored.path(), texts, {.flash = flash, .repack = repack});
        limit = std::max(limit, rms(rows, truth));
      }
    }
    const double error =
        rms(test::embeddings(*exact_engine(stored.path()), texts, Pooling::kNone), truth);
    EXPECT_LE(error, kLuck * limit) << arch;
    EXPECT_GT(error, 1e-4) << arch << ": nothing was rounded";
    RecordProperty(arch, std::to_string(error / limit));
  }
}

// The rows that the head reads, pooled. The long text is cut at the chunk.
TEST(EncoderOracle, a_decoders_embeddings_equal_llama_cpp) {
  for (const char* arch : {"llama", "qwen3"}) {
    tiny::Spec spec;
    spec.arch = arch;
    const tiny::TemporaryFile file(spec);
    const Texts texts = random_texts({5, 300, 64}, spec.vocab);
    EngineOptions options = test::exact_options();
    options.chunk = 100;
    const auto engine = test::make_engine(file.path(), options, 1);
    for (const Pooling pooling : {Pooling::kNone, Pooling::kMean, Pooling::kCls, Pooling::kLast}) {
      const Rows theirs = test::llama_embeddings(file.path(), texts, {.pooling = pooling});
      const double error = worst_row(test::embeddings(*engine, texts, pooling), theirs);
      EXPECT_LE(error, 2 * kExact) << arch << " " << pooling_name(pooling);
      RecordProperty(std::string(arch) + pooling_name(pooling), std::to_string(error * 1e6));
    }
  }
}

}  // namespace
}  // namespace heed
