// Rotations that the caller chooses in place of the file's, with llama.cpp as the judge.
#include <gtest/gtest.h>

#include <cmath>

#include "attention/rotation.h"
#include "oracle_rows.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

struct Choice {
  const char* name;
  tiny::Spec spec;
  RopeOptions rope;
};
void PrintTo(const Choice& choice, std::ostream* out) { *out << choice.name; }

tiny::Spec of(const char* arch, int layers = 2, int window = 0) {
  tiny::Spec spec;
  spec.arch = arch;
  spec.layers = layers;
  spec.window = window;
  spec.tied = spec.arch != "olmo2";
  return spec;
}

tiny::Spec scaled(tiny::Spec spec, const char* scaling, float factor) {
  spec.rope_scaling = scaling;
  spec.rope_factor = factor;
  return spec;
}

const Choice kChoices[] = {
    {"linear", of("llama"), {.scaling = RopeScaling::kLinear, .factor = 4}},
    {"yarn", of("qwen2"), {.scaling = RopeScaling::kYarn, .factor = 4, .original_context = 128}},
    {"base", of("llama"), {.base = 5e5}},
    {"ntk", of("llama"), {.scaling = RopeScaling::kNtk, .factor = 4}},
    {"none_of_a_scaled_file", scaled(of("llama"), "linear", 8), {.scaling = RopeScaling::kNone}},
    {"factor_of_a_scaled_file", scaled(of("qwen3"), "yarn", 8), {.factor = 2}},
    {"yarn_of_a_linear_file", scaled(of("mistral3"), "linear", 4), {.scaling = RopeScaling::kYarn}},
    {"yarn_beside_layers_that_do_not_turn",
     of("smollm3", 4),
     {.scaling = RopeScaling::kYarn, .factor = 4}},
    {"linear_beside_windows_with_a_base",
     of("gemma3", 6, 40),
     {.scaling = RopeScaling::kLinear, .factor = 4, .base = 1e5}},
    {"yarn_of_latent_attention",
     tiny::expert_spec("deepseek2"),
     {.scaling = RopeScaling::kYarn, .factor = 4, .original_context = 128}},
    {"factor_of_stretched_latent_attention",
     scaled(tiny::expert_spec("deepseek2"), "yarn", 8),
     {.factor = 2}},
    {"base_of_windows_too", of("olmo2", 4, 40), {.base = 1e5}},
};

class RopeChoice : public testing::TestWithParam<Choice> {};

TEST_P(RopeChoice, logits_equal_llama_cpps_with_the_same_choice) {
  const auto& [name, spec, rope] = GetParam();
  const tiny::TemporaryFile file(spec);
  const std::vector<Token> tokens = test::random_tokens(150, spec.vocab, 5);
  RopeOptions theirs = rope;
  if (rope.scaling == RopeScaling::kNtk) {
    theirs = {.base = 10000 * std::pow(rope.factor, spec.dk / (spec.dk - 2.0))};
  }
  const auto plain = test::llama_rows(file.path(), false, tokens, 131, false, theirs);
  const auto flash = test::llama_rows(file.path(), true, tokens, 131, false, theirs);
  EngineOptions options = test::exact_options();
  options.rope = rope;
  const auto engine = test::make_engine(file.path(), options, 1);
  const double error = test::worst_row(test::heed_rows(*engine, tokens, 131), plain);
  // GELU of half precision: llama_oracle_test.cpp.
  const bool halves = spec.arch == "gemma3";
  EXPECT_LE(error, halves ? test::worst_row(flash, plain) : 4e-6);
  const auto without = test::make_engine(file.path(), test::exact_options(), 1);
  EXPECT_GT(test::worst_row(test::heed_rows(*without, tokens, 131), plain), 1e-3)
      << "the choice has no effect here";
}

INSTANTIATE_TEST_SUITE_P(Tiny, RopeChoice, testing::ValuesIn(kChoices),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(RopeChoice, a_factor_makes_room_for_a_longer_context_and_no_more) {
  const tiny::TemporaryFile file(of("llama"));  // trained for 512
  ModelOptions load;
  load.threads = 1;
  const auto model = Model::load(file.path(), load);
  ASSERT_TRUE(model.is_ok()) << model.message();
  const auto create = [&](const RopeOptions& rope, int64_t context) {
    EngineOptions options;
    options.rope = rope;
    options.context = context;
    return Engine::create(*model, options).status();
  };
  EXPECT_FALSE(create({}, 513).is_ok());
  const RopeOptions yarn{.scaling = RopeScaling::kYarn, .factor = 4};
  EXPECT_TRUE(create(yarn, 2048).is_ok()) << create(yarn, 2048).message();
  EXPECT_NE(create(yarn, 2049).message().find("2048"), std::string::npos);
  EXPECT_FALSE(create({.scaling = RopeScaling::kNone, .factor = 4}, 513).is_ok());
  for (const RopeOptions& wrong :
       {RopeOptions{.factor = -1}, RopeOptions{.factor = NAN}, RopeOptions{.base = INFINITY},
        RopeOptions{.original_context = -1}}) {
    EXPECT_EQ(create(wrong, 0).code(), Code::kOutOfRange);
  }
}

TEST(RopeChoice, ntk_slows_the_slowest_pair_by_the_factor_and_the_fastest_not) {
  RotarySpec spec{.layout = RotaryLayout::kHalves, .n_rot = 64};
  const auto before = rotary_frequencies(spec);
  spec.base = ntk_base(spec.base, 8, spec.n_rot);
  const auto after = rotary_frequencies(spec);
  EXPECT_DOUBLE_EQ(after->front(), before->front());
  EXPECT_NEAR(before->back() / after->back(), 8, 1e-9);
}

}  // namespace
}  // namespace heed
