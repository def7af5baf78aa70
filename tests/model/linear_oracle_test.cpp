// Products of packed weights against ggml: its decoder gives the weights, an fp64 product the
// truth, and its own product the error that heed's may not exceed.
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <ggml.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "base/random.h"
#include "isa_list.h"
#include "linear/product.h"
#include "model/linear_choice.h"

namespace heed {
namespace {

constexpr ggml_type kTypes[] = {GGML_TYPE_Q4_0, GGML_TYPE_Q4_1,   GGML_TYPE_Q5_0, GGML_TYPE_Q5_1,
                                GGML_TYPE_Q8_0, GGML_TYPE_IQ4_NL, GGML_TYPE_Q4_K, GGML_TYPE_Q5_K,
                                GGML_TYPE_Q6_K, GGML_TYPE_MXFP4,  GGML_TYPE_Q3_K, GGML_TYPE_IQ4_XS,
                                GGML_TYPE_F32,  GGML_TYPE_F16,    GGML_TYPE_BF16};
constexpr int64_t kOutputs = 96, kInputs = 1024, kRows = 20;

struct Problem {
  std::vector<uint8_t> file;   // [outputs] rows of the type
  std::vector<float> weights;  // what they decode to
  std::vector<float> x;        // [rows, inputs]
  std::vector<double> truth;   // [rows, outputs]
};

// One input in 97 is 15 times larger when `outliers`: activations of real models look like that.
Problem make_problem(ggml_type type, bool outliers) {
  Problem p;
  std::vector<float> source(static_cast<size_t>(kOutputs * kInputs));
  for (size_t i = 0; i < source.size(); ++i) {
    source[i] = 0.05f * static_cast<float>(random_normal(1, i));
  }
  const size_t row = ggml_row_size(type, kInputs);
  static std::map<ggml_type, std::vector<uint8_t>> files;  // codebooks take a second each
  p.file = files[type];
  if (p.file.empty()) {
    p.file.resize(row * kOutputs);
    const std::vector<float> importance(static_cast<size_t>(kInputs),
                                        1.0f);  // some types ask for it
    ggml_quantize_chunk(type, source.data(), p.file.data(), 0, kOutputs, kInputs,
                        ggml_quantize_requires_imatrix(type) ? importance.data() : nullptr);
    files[type] = p.file;
  }
  p.weights.resize(source.size());
  for (int64_t o = 0; o < kOutputs; ++o) {
    const uint8_t* from = p.file.data() + row * static_cast<size_t>(o);
    float* to = p.weights.data() + o * kInputs;
    const ggml_to_float_t decode = ggml_get_type_traits(type)->to_float;
    if (decode == nullptr) {  // F32
      std::memcpy(to, from, row);
    } else {
      decode(from, to, kInputs);
    }
  }
  p.x.resize(static_cast<size_t>(kRows * kInputs));
  for (size_t i = 0; i < p.x.size(); ++i) {
    const bool large = outliers && i % static_cast<size_t>(kInputs) % 97 == 13;
    p.x[i] = static_cast<float>(random_normal(2, i)) * (large ? 15.0f : 1.0f);
  }
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t o = 0; o < kOutputs; ++o) {
      double sum = 0;
      for (int64_t i = 0; i < kInputs; ++i) {
        sum += static_cast<double>(p.x[static_cast<size_t>(r * kInputs + i)]) *
               static_cast<double>(p.weights[static_cast<size_t>(o * kInputs + i)]);
      }
      p.truth.push_back(sum);
    }
  }
  return p;
}

double relative_error(const std::vector<float>& y, const std::vector<double>& truth) {
  double off = 0, norm = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    off += (static_cast<double>(y[i]) - truth[i]) * (static_cast<double>(y[i]) - truth[i]);
    norm += truth[i] * truth[i];
  }
  return std::sqrt(off / norm);
}

std::vector<float> ggml_product(ggml_type type, const Problem& p) {
  const std::unique_ptr<ggml_context, decltype(&ggml_free)> context(
      ggml_init({.mem_size = size_t{64} << 20, .mem_buffer = nullptr, .no_alloc = false}),
      &ggml_free);
  ggml_tensor* w = ggml_new_tensor_2d(context.get(), type, kInputs, kOutputs);
  ggml_tensor* x = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, kInputs, kRows);
  std::memcpy(w->data, p.file.data(), p.file.size());
  std::memcpy(x->data, p.x.data(), p.x.size() * sizeof(float));
  ggml_tensor* y = ggml_mul_mat(context.get(), w, x);
  ggml_cgraph* graph = ggml_new_graph(context.get());
  ggml_build_forward_expand(graph, y);
  EXPECT_EQ(ggml_graph_compute_with_ctx(context.get(), graph, 1), GGML_STATUS_SUCCESS);
  const auto* out = static_cast<const float*>(y->data);
  return {out, out + kRows * kOutputs};
}

std::vector<float> heed_product(Isa isa, const PackedWeight& weight, const Problem& p) {
  const auto aligned = [](int64_t bytes) {
    return std::unique_ptr<void, decltype(&std::free)>(
        std::aligned_alloc(64, static_cast<size_t>((bytes + 63) / 64 * 64)), &std::free);
  };
  const InputForm form = weight.input_form();
  const auto packed = aligned(packed_input_bytes(form, kRows, kInputs));
  const auto scratch = aligned(product_scratch_bytes(kInputs));
  std::vector<float> y(static_cast<size_t>(kRows * kOutputs));
  ProductCounter counter;
  Input input;
  input.x = p.x.data();
  input.stride = input.inputs = kInputs;
  input.rows = kRows;
  auto* const own = static_cast<uint8_t*>(scratch.get());
  pack_inputs(isa, form, packed.get(), input, own, 0, 1);
  const Product product{&weight, packed.get(), y.data(), kOutputs};
  multiply(isa, {&product, 1}, kRows, {own, &counter, 1});
  return y;
}

std::vector<float> heed_product(Isa isa, ggml_type type, Precision precision, const Problem& p) {
  auto weight = PackedWeight::create(*packed_weight_type(type), kOutputs, kInputs, precision);
  EXPECT_TRUE(weight.is_ok()) << weight.message();
  weight->fill(p.file.data(), 0, weight->groups());
  return heed_product(isa, *weight, p);
}

// One chain of fp32 additions an output.
std::vector<float> plain_product(const Problem& p) {
  std::vector<float> y;
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t o = 0; o < kOutputs; ++o) {
      float sum = 0;
      for (int64_t i = 0; i < kInputs; ++i) {
        sum += p.x[static_cast<size_t>(r * kInputs + i)] *
               p.weights[static_cast<size_t>(o * kInputs + i)];
      }
      y.push_back(sum);
    }
  }
  return y;
}

class LinearOracle : public ::testing::TestWithParam<ggml_type> {};

// Both round the inputs to 8 bits in blocks of 32 (ggml's K types: 256), which is the error; the
// margin is for the luck of two roundings of the same numbers (linear-notes: 0.00537 against
// 0.00537 to 0.00541). BF16: both round the inputs to bf16. F16: ggml rounds them to f16, heed does
// not. F32: ggml sums in many short chains, heed in one; the plain product is the measure there.
TEST_P(LinearOracle, errs_no_more_than_ggml) {
  constexpr double kLuck = 1.02;
  ggml_cpu_init();
  for (const bool outliers : {false, true}) {
    const Problem p = make_problem(GetParam(), outliers);
    const bool exact = GetParam() == GGML_TYPE_F32;
    const double ggml_error =
        relative_error(exact ? plain_product(p) : ggml_product(GetParam(), p), p.truth);
    ASSERT_GT(ggml_error, exact ? 1e-8 : 1e-4);
    for (const Isa isa : test::tested_product_isas()) {
      const double error =
          relative_error(heed_product(isa, GetParam(), Precision::kUsual, p), p.truth);
      EXPECT_LE(error, kLuck * ggml_error) << isa_name(isa) << (outliers ? " outliers" : "");
      if (kernels::input_form(*packed_weight_type(GetParam())) == InputForm::kBytes) {
        EXPECT_GT(error, 1e-4) << "the inputs were not rounded: this is not the product under test";
      }
    }
  }
}

// Inputs and weights in bf16, or not rounded at all: half of ggml's error at most (linear-notes:
// 0.0024 against 0.0054 to 0.0070, with outliers against 0.0108 to 0.0260).
class AccurateOracle : public LinearOracle {};

TEST_P(AccurateOracle, errs_half_as_much_as_ggml) {
  ggml_cpu_init();
  for (const bool outliers : {false, true}) {
    const Problem p = make_problem(GetParam(), outliers);
    const double ggml_error = relative_error(ggml_product(GetParam(), p), p.truth);
    const double plain_error = relative_error(plain_product(p), p.truth);
    for (const Isa isa : test::tested_product_isas()) {
      const double error =
          relative_error(heed_product(isa, GetParam(), Precision::kAccurate, p), p.truth);
      const bool bf16 = isa == Isa::kAvx512Bf16;
      EXPECT_LE(error, bf16 ? 0.5 * ggml_error : 2 * plain_error) << isa_name(isa);
      EXPECT_GT(error, bf16 ? 1e-3 : 1e-8) << isa_name(isa);
    }
  }
}

std::vector<ggml_type> code_types() {
  std::vector<ggml_type> types;
  for (const ggml_type type : kTypes) {
    if (ggml_is_quantized(type)) types.push_back(type);
  }
  return types;
}

INSTANTIATE_TEST_SUITE_P(Types, AccurateOracle, ::testing::ValuesIn(code_types()),
                         [](const auto& info) { return std::string(ggml_type_name(info.param)); });

INSTANTIATE_TEST_SUITE_P(Types, LinearOracle, ::testing::ValuesIn(kTypes),
                         [](const auto& info) { return std::string(ggml_type_name(info.param)); });

// Every other type that ggml quantises, through its decoder. ggml rounds the inputs of all of them
// to 8 bits; heed at most to bf16, weights too.
class DecodedOracle : public ::testing::TestWithParam<ggml_type> {};

TEST_P(DecodedOracle, errs_half_as_much_as_ggml) {
  ggml_cpu_init();
  const auto decoder = row_decoder(GetParam());
  ASSERT_TRUE(decoder.has_value());
  for (const bool outliers : {false, true}) {
    const Problem p = make_problem(GetParam(), outliers);
    const auto weight = PackedWeight::decoded(*decoder, p.file.data(), kOutputs, kInputs);
    ASSERT_TRUE(weight.is_ok()) << weight.message();
    const double ggml_error = relative_error(ggml_product(GetParam(), p), p.truth);
    const double plain_error = relative_error(plain_product(p), p.truth);
    for (const Isa isa : test::tested_product_isas()) {
      const double error = relative_error(heed_product(isa, *weight, p), p.truth);
      const bool bf16 = isa == Isa::kAvx512Bf16;
      EXPECT_LE(error, bf16 ? 0.5 * ggml_error : 2 * plain_error) << isa_name(isa);
      EXPECT_GT(error, bf16 ? 1e-3 : 1e-8) << isa_name(isa);
    }
  }
}

std::vector<ggml_type> decoded_types() {
  std::vector<ggml_type> types;
  for (int i = 0; i < GGML_TYPE_COUNT; ++i) {
    if (row_decoder(static_cast<ggml_type>(i))) types.push_back(static_cast<ggml_type>(i));
  }
  return types;
}

// A model of any quantised type that ggml multiplies is heed's business.
TEST(DecodedTypes, are_all_that_are_quantised_and_not_packed) {
  int quantised = 0, packed = 0;
  for (int i = 0; i < GGML_TYPE_COUNT; ++i) {
    const auto type = static_cast<ggml_type>(i);
    const ggml_type_traits* const traits = ggml_get_type_traits(type);
    if (!traits->is_quantized || traits->to_float == nullptr) continue;
    ++quantised;
    packed += packed_weight_type(type) ? 1 : 0;
  }
  EXPECT_EQ(packed, 12);
  EXPECT_EQ(static_cast<int>(decoded_types().size()), quantised - packed);
  EXPECT_GE(decoded_types().size(), 12u);
}

INSTANTIATE_TEST_SUITE_P(Types, DecodedOracle, ::testing::ValuesIn(decoded_types()),
                         [](const auto& info) { return std::string(ggml_type_name(info.param)); });

}  // namespace
}  // namespace heed
