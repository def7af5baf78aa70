// What descriptions with experts have beyond llama_oracle_test.cpp, against llama.cpp: quantised
// experts, and what a tensor that is dropped would do.
#include <gtest/gtest.h>

#include "oracle_rows.h"
#include "quantized_file.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

using test::heed_rows;
using test::llama_rows;
using test::Rows;
using test::worst_row;

// Sums in another order: 0.3e-6 to 3.1e-6 measured on these models.
constexpr double kTolerance = 4e-6;

tiny::Spec whole_blocks(const char* arch) {
  tiny::Spec spec = tiny::expert_spec(arch);
  spec.embd = spec.ff = 256;
  spec.dk = 64;
  // All take part: where two logits of a router nearly tie, which expert is chosen is luck.
  spec.experts = spec.experts_used = 4;
  return spec;
}

// As OpenAI's files are: experts in MXFP4, the rest in another type.
TEST(ExpertsOracle, mxfp4_experts_beside_q8_0_err_no_more_than_llama_cpps) {
  tiny::File file = tiny::quantized(
      tiny::quantized(tiny::make_file(whole_blocks("gpt-oss")), GGML_TYPE_MXFP4, "_exps.weight"),
      GGML_TYPE_Q8_0, "attn_");
  ASSERT_EQ(file.tensor("blk.0.ffn_up_exps.weight")->type, GGML_TYPE_MXFP4);
  ASSERT_EQ(file.tensor("blk.0.attn_q.weight")->type, GGML_TYPE_Q8_0);
  const tiny::TemporaryFile stored(file), exact(tiny::dequantized(file));
  const std::vector<Token> tokens = test::random_tokens(150, 80, 5);
  const Rows truth = llama_rows(exact.path(), false, tokens, 131);
  const double llama = worst_row(llama_rows(stored.path(), false, tokens, 131), truth);
  const auto engine = test::make_engine(stored.path(), test::exact_options(), 1);
  ASSERT_NE(engine, nullptr);
  EXPECT_EQ(engine->model().info().linear, "heed");
  const double error = worst_row(heed_rows(*engine, tokens, 131), truth);
  EXPECT_GT(error, 1e-4) << "the inputs were not rounded: these are not the products under test";
  EXPECT_LE(error, 1.05 * llama);
  RecordProperty("error_to_llama", std::to_string(error / llama));
}

// A type that heed does not pack: ggml multiplies, or heed decodes group by group.
TEST(ExpertsOracle, experts_of_a_type_that_is_not_packed_equal_llama_cpp) {
  const tiny::File file =
      tiny::quantized(tiny::make_file(whole_blocks("qwen3moe")), GGML_TYPE_IQ3_S, "_exps.weight");
  const tiny::TemporaryFile stored(file), exact(tiny::dequantized(file));
  const std::vector<Token> tokens = test::random_tokens(150, 80, 5);
  const Rows truth = llama_rows(exact.path(), false, tokens, 131);
  const double llama = worst_row(llama_rows(stored.path(), false, tokens, 131), truth);
  for (const auto& [linear, most] :
       {std::pair{Linear::kHeed, 1.05 * llama}, std::pair{Linear::kAccurate, 0.6 * llama}}) {
    const auto engine = test::make_engine(stored.path(), test::exact_options(), 1, linear);
    ASSERT_NE(engine, nullptr);
    EXPECT_LE(worst_row(heed_rows(*engine, tokens, 131), truth), most) << linear_name(linear);
  }
}

// The reference of heed kl: every matrix widened to fp32 when it is loaded.
TEST(ExpertsOracle, widened_experts_equal_llama_cpp_on_the_same_numbers) {
  const tiny::File file =
      tiny::quantized(tiny::make_file(whole_blocks("gpt-oss")), GGML_TYPE_MXFP4);
  const tiny::TemporaryFile stored(file), exact(tiny::dequantized(file));
  const std::vector<Token> tokens = test::random_tokens(150, 80, 5);
  ModelOptions load;
  load.threads = 2;
  load.weights = Weights::kF32;
  const auto model = Model::load(stored.path(), load);
  ASSERT_TRUE(model.is_ok()) << model.message();
  const auto engine = Engine::create(*model, test::exact_options());
  ASSERT_TRUE(engine.is_ok()) << engine.message();
  EXPECT_LE(
      worst_row(heed_rows(**engine, tokens, 131), llama_rows(exact.path(), false, tokens, 131)),
      kTolerance);
}

// What the comparisons above are worth: each number of the file that only these descriptions have
// moves the logits far beyond the tolerance.
TEST(ExpertsOracle, a_sink_a_bias_or_an_expert_that_is_dropped_is_seen) {
  const tiny::File file = tiny::make_file(tiny::expert_spec("gpt-oss"));
  const tiny::TemporaryFile whole(file);
  const std::vector<Token> tokens = test::random_tokens(60, 80, 5);
  const auto engine = test::make_engine(whole.path(), test::exact_options(), 1);
  ASSERT_NE(engine, nullptr);
  const Rows rows = heed_rows(*engine, tokens, 50);
  for (const char* name :
       {"attn_sinks.weight", "ffn_gate_inp.bias", "ffn_gate_exps.bias", "ffn_up_exps.bias",
        "ffn_down_exps.bias", "ffn_gate_exps.weight", "attn_output.bias"}) {
    tiny::File without = file;
    tiny::Tensor* const tensor = without.tensor(std::string("blk.1.") + name);
    ASSERT_NE(tensor, nullptr) << name;
    std::ranges::fill(tensor->data, uint8_t{0});
    const tiny::TemporaryFile changed(without);
    const auto other = test::make_engine(changed.path(), test::exact_options(), 1);
    ASSERT_NE(other, nullptr);
    EXPECT_GT(worst_row(heed_rows(*other, tokens, 50), rows), 1000 * kTolerance) << name;
  }
}

}  // namespace
}  // namespace heed
