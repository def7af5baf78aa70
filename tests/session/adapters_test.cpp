// What adapters may not do: touch rows without them, depend on the schedule, outlive or change
// what they were set for.
#include "heed/adapters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "adapter_fixture.h"
#include "expert_variants.h"
#include "oracle_variants.h"
#include "quantized_file.h"
#include "session_fixture.h"
#include "tiny_adapter.h"

namespace heed {
namespace {

using test::adaptation_with;

// Q4_0 with inputs in whole blocks: products, gated pairs and packing are heed's.
tiny::Spec packed_spec() {
  tiny::Spec spec;
  spec.weight_type = tiny::kTensorQ4_0;
  spec.tied = false;
  spec.layers = 3;
  return spec;
}

SeqId adapted_sequence(Engine& engine, const std::shared_ptr<const Adaptation>& adaptation,
                       const std::vector<Token>& prompt) {
  const auto seq = engine.create_sequence();
  EXPECT_TRUE(seq.is_ok()) << seq.message();
  Status status = set_adaptation(engine, *seq, adaptation);
  EXPECT_TRUE(status.is_ok()) << status.message();
  status = engine.prefill(*seq, prompt);
  EXPECT_TRUE(status.is_ok()) << status.message();
  return *seq;
}

struct Files {
  explicit Files(const tiny::Spec& spec)
      : model(spec),
        a(tiny::make_adapter(spec, {.seed = 1})),
        b(tiny::make_adapter(spec, {.rank = 9, .seed = 2})),
        control(tiny::make_control(spec, tiny::directions(spec, 3))) {}
  tiny::TemporaryFile model, a, b, control;

  std::shared_ptr<const Adaptation> all(const Engine& engine) const {
    auto both =
        std::make_shared<Adaptation>(*adaptation_with(engine, {{a.path(), 0.5f}, {b.path(), 1}}));
    const ScaledFile one[] = {{control.path(), 1}};
    const auto vector = load_control_vector(engine.model(), one);
    EXPECT_TRUE(vector.is_ok()) << vector.message();
    both->control = *vector;
    return both;
  }
};

class Adapters : public testing::TestWithParam<tiny::TensorType> {
 protected:
  tiny::Spec spec() const {
    tiny::Spec spec = packed_spec();
    spec.weight_type = GetParam();
    return spec;
  }
};

TEST_P(Adapters, rows_without_one_keep_their_bits) {
  const Files files(spec());
  const std::vector<Token> prompt = test::random_tokens(37, 80, 1);
  const auto alone = test::make_engine(files.model.path(), {}, 2);
  const SeqId expected = test::prefilled(*alone, prompt);
  const auto engine = test::make_engine(files.model.path(), {}, 2);
  const SeqId plain = test::prefilled(*engine, prompt);
  std::vector<SeqToken> batch;
  for (int i = 0; i < 5; ++i) {
    const auto one =
        i % 2 == 0 ? files.all(*engine) : adaptation_with(*engine, {{files.b.path(), 1}});
    batch.push_back({adapted_sequence(*engine, one, prompt), 0});
    if (i == 2) batch.push_back({plain, 0});
  }
  for (Token token = 3; token < 9; ++token) {
    for (SeqToken& next : batch) next.token = token;
    ASSERT_TRUE(engine->decode(batch).is_ok());
    EXPECT_EQ(test::logits_of(*engine, plain), test::step(*alone, expected, token)) << token;
  }
  EXPECT_NE(test::logits_of(*engine, batch[0].seq), test::logits_of(*engine, plain));
}

TEST_P(Adapters, adapted_rows_have_their_bits_in_every_schedule) {
  const Files files(spec());
  const std::vector<Token> prompt = test::random_tokens(150, 80, 1);
  std::vector<float> first, second;
  for (const auto& [chunk, threads] : {std::pair(512, 1), {512, 3}, {7, 2}, {64, 2}, {1, 4}}) {
    EngineOptions options;
    options.chunk = chunk;
    const auto engine = test::make_engine(files.model.path(), options, threads);
    const auto adaptation = files.all(*engine);
    const SeqId seq = adapted_sequence(*engine, adaptation, prompt);
    const SeqId other = adapted_sequence(*engine, nullptr, {1, 2, 3});
    const SeqId third = adapted_sequence(*engine, adaptation, {5});
    const std::vector<float> behind_prompt = test::logits_of(*engine, seq);
    const SeqToken batch[] = {{third, 9}, {seq, 7}, {other, 8}};
    ASSERT_TRUE(engine->decode(batch).is_ok());
    if (first.empty()) {
      first = behind_prompt;
      second = test::logits_of(*engine, seq);
    }
    EXPECT_EQ(behind_prompt, first) << chunk << " " << threads;
    EXPECT_EQ(test::logits_of(*engine, seq), second) << chunk << " " << threads;
  }
}

TEST_P(Adapters, a_scale_of_zero_is_none) {
  const Files files(spec());
  const auto engine = test::make_engine(files.model.path(), {}, 1);
  const std::vector<Token> prompt = test::random_tokens(40, 80, 1);
  const SeqId plain = test::prefilled(*engine, prompt);
  const auto none = adaptation_with(*engine, {{files.a.path(), 0}});
  const SeqId seq = adapted_sequence(*engine, none, prompt);
  EXPECT_EQ(test::logits_of(*engine, seq), test::logits_of(*engine, plain));
  EXPECT_EQ(adaptation_text(*none), "");
}

INSTANTIATE_TEST_SUITE_P(Types, Adapters,
                         testing::Values(tiny::kTensorF32, tiny::kTensorF16, tiny::kTensorQ4_0),
                         [](const auto& info) {
                           return info.param == tiny::kTensorF32   ? "F32"
                                  : info.param == tiny::kTensorF16 ? "F16"
                                                                   : "Q4_0";
                         });

// An adapter that a graph forgets would answer as the model alone.
TEST(Adapter, every_matrix_of_every_description_is_adapted) {
  std::string arch;
  const auto check = [&](const test::OracleVariant& variant) {
    if (variant.spec.arch == arch) return;
    arch = variant.spec.arch;
    const tiny::TemporaryFile model(variant.spec);
    const auto engine = test::make_engine(model.path(), {}, 1);
    ASSERT_NE(engine, nullptr);
    const std::vector<Token> prompt = {3, 1, 4, 1, 5};
    const std::vector<float> plain = test::logits_of(*engine, test::prefilled(*engine, prompt));
    for (const std::string& name : tiny::matrices_of(tiny::make_file(variant.spec))) {
      tiny::AdapterSpec one;
      one.takes = [&](const std::string& other) { return other == name; };
      const tiny::TemporaryFile file(tiny::make_adapter(variant.spec, one));
      const SeqId seq =
          adapted_sequence(*engine, adaptation_with(*engine, {{file.path(), 1}}), prompt);
      EXPECT_GT(test::distance(test::logits_of(*engine, seq), plain), 1e-4)
          << variant.name << " " << name;
      ASSERT_TRUE(engine->drop(seq).is_ok());
    }
  };
  for (const test::OracleVariant& variant : test::kOracleVariants) check(variant);
  for (const test::OracleVariant& variant : test::kExpertVariants) check(variant);
}

TEST(Adapter, forks_have_their_sequences_and_only_empty_sequences_change) {
  const Files files(packed_spec());
  const auto engine = test::make_engine(files.model.path(), {}, 1);
  const auto a = adaptation_with(*engine, {{files.a.path(), 1}});
  const std::vector<Token> prompt = test::random_tokens(20, 80, 1);
  const SeqId seq = adapted_sequence(*engine, a, prompt);
  const auto copy = engine->fork(seq);
  ASSERT_TRUE(copy.is_ok());
  EXPECT_EQ(adaptation_of(*engine, *copy), a);
  EXPECT_EQ(test::step(*engine, *copy, 5), test::step(*engine, seq, 5));
  const Status held = set_adaptation(*engine, seq, nullptr);
  EXPECT_EQ(held.code(), Code::kInvalidArgument);
  EXPECT_NE(held.message().find("21 tokens"), std::string::npos) << held.message();
  EXPECT_EQ(adaptation_of(*engine, seq), a);
  ASSERT_TRUE(engine->truncate(seq, 0).is_ok());
  ASSERT_TRUE(set_adaptation(*engine, seq, nullptr).is_ok());
  EXPECT_EQ(adaptation_of(*engine, seq), nullptr);
  ASSERT_TRUE(engine->prefill(seq, prompt).is_ok());
  EXPECT_EQ(test::logits_of(*engine, seq),
            test::logits_of(*engine, test::prefilled(*engine, prompt)));
  ASSERT_TRUE(engine->drop(*copy).is_ok());
  EXPECT_EQ(adaptation_of(*engine, *copy), nullptr);
  EXPECT_EQ(set_adaptation(*engine, *copy, a).code(), Code::kNotFound);
}

TEST(Adapter, of_another_model_is_refused_before_anything_reads_it) {
  tiny::Spec other = packed_spec();
  other.ff = 128;
  const Files files(packed_spec()), others(other);
  const auto engine = test::make_engine(files.model.path(), {}, 1);
  const auto theirs = test::make_engine(others.model.path(), {}, 1);
  const SeqId seq = *engine->create_sequence();
  const auto foreign = others.all(*theirs);
  const Status lora = set_adaptation(*engine, seq, foreign);
  EXPECT_EQ(lora.code(), Code::kInvalidArgument);
  EXPECT_NE(lora.message().find("another model"), std::string::npos) << lora.message();
  auto control = std::make_shared<Adaptation>();
  tiny::Spec deeper = packed_spec();
  deeper.layers = 5;
  const Files deep(deeper);
  control->control = deep.all(*test::make_engine(deep.model.path(), {}, 1))->control;
  EXPECT_EQ(set_adaptation(*engine, seq, control).code(), Code::kInvalidArgument);
  auto many = std::make_shared<Adaptation>();
  many->loras.assign(Adaptation::kMostLoras + 1, files.all(*engine)->loras[0]);
  EXPECT_EQ(set_adaptation(*engine, seq, many).code(), Code::kOutOfRange);
  many->loras = {{files.all(*engine)->loras[0].adapter, std::nanf("")}};
  EXPECT_EQ(set_adaptation(*engine, seq, many).code(), Code::kInvalidArgument);
  many->loras = {{nullptr, 1}};
  EXPECT_EQ(set_adaptation(*engine, seq, many).code(), Code::kInvalidArgument);
  EXPECT_EQ(adaptation_of(*engine, seq), nullptr);
  ASSERT_TRUE(engine->prefill(seq, std::vector<Token>{1, 2}).is_ok());
}

TEST(Adapter, text_names_contents_scales_and_layers) {
  const Files files(packed_spec());
  const auto engine = test::make_engine(files.model.path(), {}, 1);
  const auto load = [&](float scale) {
    return adaptation_text(*adaptation_with(*engine, {{files.a.path(), scale}}));
  };
  EXPECT_EQ(load(1), load(1));
  EXPECT_NE(load(1), load(0.999999f));
  const std::string one = load(1);
  files.a.rewrite(tiny::make_adapter(packed_spec(), {.seed = 9}).encode().bytes);
  EXPECT_NE(load(1), one);
  const ScaledFile file[] = {{files.control.path(), 1}};
  Adaptation first, second;
  first.control = *load_control_vector(engine->model(), file, {1, 1});
  second.control = *load_control_vector(engine->model(), file, {1, 2});
  EXPECT_NE(adaptation_text(first), adaptation_text(second));
}

TEST(Adapter, sequences_with_the_same_targets_share_graphs) {
  const Files files(packed_spec());
  const auto engine = test::make_engine(files.model.path(), {}, 1);
  const auto a = adaptation_with(*engine, {{files.a.path(), 1}});
  const auto b = adaptation_with(*engine, {{files.b.path(), 1}});
  const SeqId one = adapted_sequence(*engine, a, {1}), two = adapted_sequence(*engine, b, {1});
  test::step(*engine, one, 2);
  const int64_t builds = engine->report().graph_builds;
  test::step(*engine, two, 2);
  test::step(*engine, one, 3);
  EXPECT_EQ(engine->report().graph_builds, builds);
}

TEST(Adapter, a_prompt_takes_the_order_that_is_planned_with_its_adapters) {
  tiny::Spec spec;
  spec.layers = 2;
  spec.ff = 12288;
  spec.context = 2048;
  spec.weight_type = tiny::kTensorQ4_0;
  const tiny::TemporaryFile model(spec);
  const tiny::TemporaryFile lora(tiny::make_adapter(
      spec, {.takes = [](const std::string& name) { return name.starts_with("blk.0.ffn_"); }}));
  EngineOptions options;
  options.chunk = 128;
  options.max_sequences = 1;
  const auto engine = test::make_engine(model.path(), options, 2);
  ModelOptions load;
  load.threads = 2;
  const std::string paths[] = {lora.path()};
  for (const int prompt : {100, 600, 2000}) {
    uint64_t peaks[2];
    for (const bool adapted : {false, true, false}) {
      PlannedRun run{.prompt = prompt};
      if (adapted) run.loras = paths;
      const auto plan = predict_memory(model.path(), load, options, run);
      ASSERT_TRUE(plan.is_ok()) << plan.message();
      peaks[adapted] = plan->layer_major_peak;
      const SeqId seq = adapted_sequence(
          *engine, adapted ? adaptation_with(*engine, {{lora.path(), 1}}) : nullptr,
          test::random_tokens(prompt, 80, 1));
      EXPECT_EQ(engine->report().prefill_order, plan->order) << adapted << ' ' << prompt;
      ASSERT_TRUE(engine->drop(seq).is_ok());
    }
    EXPECT_GT(peaks[1], peaks[0]) << prompt;
  }
}

TEST(Adapter, predicted_memory_holds_the_factors) {
  const Files files(packed_spec());
  const PlannedRun plain{.prompt = 200, .answer = 10};
  PlannedRun adapted = plain;
  const std::string loras[] = {files.a.path(), files.b.path()};
  adapted.loras = loras;
  adapted.control_vector = true;
  ModelOptions load;
  load.threads = 1;
  const auto without = predict_memory(files.model.path(), load, {}, plain);
  const auto with = predict_memory(files.model.path(), load, {}, adapted);
  ASSERT_TRUE(with.is_ok()) << with.message();
  const uint64_t stored = inspect_adapter(loras[0])->parameters * sizeof(float) +
                          inspect_adapter(loras[1])->parameters * sizeof(float);
  EXPECT_GE(with->weights, without->weights + stored);
  EXPECT_GT(with->compute, without->compute);
  const std::string wrong[] = {files.model.path()};
  adapted.loras = wrong;
  const auto refused = predict_memory(files.model.path(), load, {}, adapted);
  EXPECT_EQ(refused.code(), Code::kUnsupported);
  EXPECT_TRUE(refused.message().starts_with(files.model.path())) << refused.message();
}

}  // namespace
}  // namespace heed
