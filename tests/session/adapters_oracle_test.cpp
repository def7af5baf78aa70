// Adapters and control vectors against llama.cpp's on tiny random models: the same yardsticks as
// without them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "adapter_fixture.h"
#include "oracle_rows.h"
#include "quantized_file.h"
#include "tiny_adapter.h"

namespace heed {
namespace {

using test::adaptation_with;
using test::Rows;

constexpr size_t kPrompt = 131, kTokens = 150;

struct Variant {
  const char* name;
  tiny::Spec spec;
};
void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

tiny::Spec with(tiny::Spec spec, const std::function<void(tiny::Spec&)>& edit) {
  edit(spec);
  return spec;
}

const Variant kVariants[] = {
    {"llama_tied", {}},
    {"llama_biases_untied", with({},
                                 [](tiny::Spec& s) {
                                   s.tied = false;
                                   s.biases = s.other_biases = true;
                                 })},
    {"qwen2_biases", with({},
                          [](tiny::Spec& s) {
                            s.arch = "qwen2";
                            s.tied = false;
                            s.biases = true;
                          })},
    {"gemma3_windows", with({},
                            [](tiny::Spec& s) {
                              s.arch = "gemma3";
                              s.layers = 4;
                              s.window = 40;
                              s.window_period = 2;
                            })},
    {"phi3_fused", with({},
                        [](tiny::Spec& s) {
                          s.arch = "phi3";
                          s.fused_qkv = true;
                          s.tied = false;
                        })},
    {"olmo2", with({},
                   [](tiny::Spec& s) {
                     s.arch = "olmo2";
                     s.tied = false;
                   })},
    {"granite_scales",
     with({},
          [](tiny::Spec& s) {
            s.arch = "granite";
            s.numbers = {{"embedding_scale", 12}, {"residual_scale", 0.22f}, {"logit_scale", 8}};
          })},
    {"qwen3moe_router", tiny::expert_spec("qwen3moe")},
};

// llama.cpp takes the table's factors for the head's too where both are one tensor, and aborts.
bool plain_matrix(const tiny::Spec& spec, const std::string& name) {
  return !spec.tied || name != "token_embd.weight";
}

eval::LlamaOptions llama_with(const std::vector<ScaledFile>& loras, bool flash = false) {
  eval::LlamaOptions options;
  options.flash = flash;
  options.repack = false;
  options.loras = loras;
  return options;
}

// GELU reads a table of f16 in llama.cpp: its distance to itself is the measure there. With fp32
// everywhere sums in another order are all that differs (llama_oracle_test.cpp).
double tolerance(const tiny::Spec& spec, double yardstick) {
  return spec.arch == "gemma3" ? yardstick : 4e-6;
}

class AdapterOracle : public testing::TestWithParam<Variant> {};

TEST_P(AdapterOracle, logits_of_prompt_and_decode_equal_llama_cpp) {
  const tiny::Spec& spec = GetParam().spec;
  const tiny::TemporaryFile file(spec);
  tiny::AdapterSpec adapter;
  adapter.takes = [&](const std::string& name) { return plain_matrix(spec, name); };
  const tiny::TemporaryFile first(tiny::make_adapter(spec, adapter));
  adapter.seed = 2;
  adapter.rank = 40;  // two groups of outputs
  adapter.alpha = 16;
  const tiny::TemporaryFile second(tiny::make_adapter(spec, adapter));
  const std::vector<ScaledFile> loras = {{first.path(), 0.7f}, {second.path(), -0.4f}};
  const std::vector<Token> tokens = test::random_tokens(kTokens, spec.vocab, 5);
  const Rows plain = test::llama_rows(file.path(), llama_with(loras), tokens, kPrompt);
  const Rows flash = test::llama_rows(file.path(), llama_with(loras, true), tokens, kPrompt);
  ASSERT_EQ(plain.size(), tokens.size());
  const double yardstick = test::worst_row(flash, plain);
  for (const Linear linear : {Linear::kHeed, Linear::kGgml}) {
    for (const int chunk : {512, 50}) {
      EngineOptions options = test::exact_options();
      options.chunk = chunk;
      const auto engine = test::make_engine(file.path(), options, chunk == 50 ? 3 : 1, linear);
      ASSERT_NE(engine, nullptr);
      const Rows rows = test::heed_rows(*engine, tokens, kPrompt, adaptation_with(*engine, loras));
      const double error = test::worst_row(rows, plain);
      EXPECT_LE(error, tolerance(spec, yardstick)) << linear_name(linear) << ", chunk " << chunk;
      RecordProperty(std::string(linear_name(linear)) + std::to_string(chunk),
                     std::to_string(error * 1e6));
    }
  }
  const Rows without = test::llama_rows(file.path(), llama_with({}), tokens, kPrompt);
  EXPECT_GT(test::worst_row(without, plain), 0.01) << "the adapters do nothing";
}

TEST_P(AdapterOracle, control_vectors_equal_llama_cpps) {
  const tiny::Spec spec = with(GetParam().spec, [](tiny::Spec& s) { s.layers = 5; });
  const tiny::TemporaryFile file(spec);
  const std::vector<float> one = tiny::directions(spec, 1), two = tiny::directions(spec, 2);
  const tiny::TemporaryFile one_file(tiny::make_control(spec, one));
  const tiny::TemporaryFile two_file(tiny::make_control(spec, two));
  const std::vector<Token> tokens = test::random_tokens(kTokens, spec.vocab, 5);
  const auto engine = test::make_engine(file.path(), test::exact_options(), 2);
  ASSERT_NE(engine, nullptr);
  for (const LayerRange range : {LayerRange{}, LayerRange{2, 3}, LayerRange{4, 5}}) {
    eval::LlamaOptions options = llama_with({});
    options.control = one;
    for (size_t i = 0; i < one.size(); ++i) options.control[i] += -0.5f * two[i];
    options.control_range = range;
    const Rows plain = test::llama_rows(file.path(), options, tokens, kPrompt);
    options.flash = true;
    const Rows flash = test::llama_rows(file.path(), options, tokens, kPrompt);
    const ScaledFile files[] = {{one_file.path(), 1}, {two_file.path(), -0.5f}};
    auto adaptation = std::make_shared<Adaptation>();
    const auto control = load_control_vector(engine->model(), files, range);
    ASSERT_TRUE(control.is_ok()) << control.message();
    adaptation->control = *control;
    const double error =
        test::worst_row(test::heed_rows(*engine, tokens, kPrompt, adaptation), plain);
    EXPECT_LE(error, tolerance(spec, test::worst_row(flash, plain))) << range.first;
    RecordProperty("layers" + std::to_string(range.first), std::to_string(error * 1e6));
  }
}

constexpr auto kVariantName = [](const auto& info) { return std::string(info.param.name); };
INSTANTIATE_TEST_SUITE_P(Tiny, AdapterOracle, testing::ValuesIn(kVariants), kVariantName);

// Of a model whose head is its table, llama.cpp adapts neither; of the same numbers in two tensors
// it adapts each by itself.
TEST(AdapterOracle, table_and_head_of_a_tied_model_are_adapted_apart) {
  tiny::Spec spec;
  const tiny::File tied = tiny::make_file(spec);
  tiny::File untied = tied;
  untied.tensors.push_back(*untied.tensor("token_embd.weight"));
  untied.tensors.back().name = "output.weight";
  const tiny::TemporaryFile file(tied), copy(untied);
  const std::vector<Token> tokens = test::random_tokens(kTokens, spec.vocab, 5);
  for (const char* target : {"token_embd.weight", "output.weight"}) {
    tiny::File adapter = tiny::adapter_keys("llama", 8);
    tiny::add_pair(adapter, target, 64, 80, {});
    const tiny::TemporaryFile lora(adapter);
    const std::vector<ScaledFile> loras = {{lora.path(), 1}};
    const Rows plain = test::llama_rows(copy.path(), llama_with(loras), tokens, kPrompt);
    for (const std::string& path : {file.path(), copy.path()}) {
      const auto engine = test::make_engine(path, test::exact_options(), 1);
      const Rows rows = test::heed_rows(*engine, tokens, kPrompt, adaptation_with(*engine, loras));
      EXPECT_LE(test::worst_row(rows, plain), 4e-6) << target;
    }
  }
}

TEST(AdapterOracle, factors_of_every_type_equal_llama_cpp) {
  tiny::Spec spec;
  spec.tied = false;
  const tiny::TemporaryFile file(spec);
  const std::vector<Token> tokens = test::random_tokens(60, spec.vocab, 5);
  const auto engine = test::make_engine(file.path(), test::exact_options(), 1);
  for (const ggml_type type :
       {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0}) {
    tiny::AdapterSpec adapter;
    adapter.rank = 32;
    adapter.type = type;
    const tiny::File stored = tiny::make_adapter(spec, adapter);
    const tiny::TemporaryFile lora(stored), exact(tiny::dequantized(stored));
    // llama.cpp rounds x to the type's partner; what the factors hold is the truth.
    const Rows truth = test::llama_rows(file.path(), llama_with({{exact.path(), 1}}), tokens, 50);
    const Rows rows =
        test::heed_rows(*engine, tokens, 50, adaptation_with(*engine, {{lora.path(), 1}}));
    EXPECT_LE(test::worst_row(rows, truth), 4e-6) << ggml_type_name(type);
  }
}

// As quantized_oracle_test.cpp: what llama.cpp's own products cost on the same file is the limit.
class QuantizedAdapterOracle : public testing::TestWithParam<ggml_type> {};

TEST_P(QuantizedAdapterOracle, heeds_products_err_no_more_than_llama_cpps) {
  tiny::Spec spec;
  spec.tied = false;
  spec.embd = spec.ff = 256;
  spec.dk = 64;
  const tiny::File quantized = tiny::quantized(tiny::make_file(spec), GetParam());
  const tiny::TemporaryFile stored(quantized), exact(tiny::dequantized(quantized));
  const tiny::TemporaryFile lora(tiny::make_adapter(spec, {}));
  const std::vector<ScaledFile> loras = {{lora.path(), 1}};
  const std::vector<Token> tokens = test::random_tokens(kTokens, spec.vocab, 5);
  const Rows truth = test::llama_rows(exact.path(), llama_with(loras), tokens, kPrompt);
  const auto distance = [&](const Rows& rows) {
    double sum = 0;
    for (size_t i = 0; i < rows.size(); ++i) sum += std::pow(test::distance(rows[i], truth[i]), 2);
    return std::sqrt(sum / static_cast<double>(rows.size()));
  };
  double limit = 0;
  for (const bool flash : {false, true}) {
    for (const bool repack : {false, true}) {
      eval::LlamaOptions options = llama_with(loras, flash);
      options.repack = repack;
      limit = std::max(limit, distance(test::llama_rows(stored.path(), options, tokens, kPrompt)));
    }
  }
  const auto engine = test::make_engine(stored.path(), test::exact_options(), 1);
  ASSERT_NE(engine, nullptr);
  const double error =
      distance(test::heed_rows(*engine, tokens, kPrompt, adaptation_with(*engine, loras)));
  EXPECT_LE(error, 1.02 * limit);
  EXPECT_GT(error, 1e-4) << "the inputs were not rounded: these are not the products under test";
  RecordProperty("error_to_limit", std::to_string(error / limit));
}

INSTANTIATE_TEST_SUITE_P(Tiny, QuantizedAdapterOracle,
                         testing::Values(GGML_TYPE_Q4_0, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K),
                         [](const auto& info) { return std::string(ggml_type_name(info.param)); });

// Three sequences in each step, two with adapters of their own.
TEST(AdapterOracle, sequences_with_different_adapters_equal_llama_cpp_alone) {
  tiny::Spec spec;
  spec.arch = "qwen2";
  spec.biases = true;
  spec.tied = false;
  const tiny::TemporaryFile file(spec);
  tiny::AdapterSpec all, attention;
  attention.seed = 3;
  attention.rank = 7;
  attention.takes = [](const std::string& name) { return name.find("attn_") != name.npos; };
  const tiny::TemporaryFile a(tiny::make_adapter(spec, all)),
      b(tiny::make_adapter(spec, attention));
  const std::vector<ScaledFile> loras[] = {{{a.path(), 1}}, {}, {{b.path(), 2}}};
  const auto engine = test::make_engine(file.path(), test::exact_options(), 2);
  constexpr size_t kSteps = 12;
  std::vector<Token> tokens[3];
  std::vector<SeqToken> next;
  for (size_t s = 0; s < 3; ++s) {
    tokens[s] = test::random_tokens(60 + 17 * static_cast<int>(s), spec.vocab, 20 + s);
    const SeqId seq = *engine->create_sequence();
    ASSERT_TRUE(set_adaptation(*engine, seq, adaptation_with(*engine, loras[s])).is_ok());
    const std::vector<Token> prompt(tokens[s].begin(), tokens[s].end() - kSteps);
    ASSERT_TRUE(engine->prefill(seq, prompt).is_ok());
    next.push_back({seq, 0});
  }
  Rows rows[3];
  for (size_t i = 0; i < kSteps; ++i) {
    for (size_t s = 0; s < 3; ++s) next[s].token = tokens[s][tokens[s].size() - kSteps + i];
    ASSERT_TRUE(engine->decode(next).is_ok());
    for (size_t s = 0; s < 3; ++s) rows[s].push_back(test::logits_of(*engine, next[s].seq));
  }
  for (size_t s = 0; s < 3; ++s) {
    const size_t prompt = tokens[s].size() - kSteps;
    Rows alone = test::llama_rows(file.path(), llama_with(loras[s]), tokens[s], prompt);
    alone.erase(alone.begin(), alone.begin() + static_cast<std::ptrdiff_t>(prompt));
    EXPECT_LE(test::worst_row(rows[s], alone), 4e-6) << s;
  }
}

}  // namespace
}  // namespace heed
