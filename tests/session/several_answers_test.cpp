// Several answers to one prompt equal those of runs alone.
#include <gtest/gtest.h>

#include "heed/generate.h"
#include "session_fixture.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

tiny::Spec text_spec(tiny::TensorType weights) {
  tiny::Spec spec;
  spec.text_vocabulary = true;
  spec.vocab = 280;
  spec.weight_type = weights;
  return spec;
}

GenerateOptions lively(uint32_t seed) {
  GenerateOptions options;
  options.max_tokens = 40;
  // Nearly flat, for a model of noise is very sure of itself.
  options.sampler.temperature = 20;
  options.sampler.top_k = 0;
  options.sampler.top_p = 1;
  options.sampler.min_p = 0;
  options.sampler.repeat_penalty = 1.1f;
  options.sampler.seed = seed;
  return options;
}

std::vector<Token> prompt_of(int n) {
  std::vector<Token> tokens = test::random_tokens(n, 200, 3);
  for (Token& token : tokens) token += 40;
  return tokens;
}

TEST(SeveralAnswers, each_equals_a_run_alone_with_its_seed) {
  for (const tiny::TensorType weights : {tiny::kTensorF32, tiny::kTensorQ4_0}) {
    const tiny::TemporaryFile file(text_spec(weights));
    EngineOptions engine_options;
    engine_options.max_sequences = 4;
    const auto engine = test::make_engine(file.path(), engine_options);
    const std::vector<Token> prompt = prompt_of(100);
    const SeqId seq = engine->create_sequence().value();
    std::string streamed;
    GenerateOptions options = lively(7);
    options.on_token = [&](Token, std::string_view text) { streamed += text; };
    const auto all = generate_several(*engine, seq, prompt, 4, options);
    ASSERT_TRUE(all.is_ok()) << all.message();
    ASSERT_EQ(all->size(), 4u);
    EXPECT_EQ(streamed, (*all)[0].text);
    int different = 0;
    for (uint32_t i = 0; i < 4; ++i) {
      const auto alone = test::make_engine(file.path(), {});
      const auto expected = generate(*alone, *alone->create_sequence(), prompt, lively(7 + i));
      ASSERT_TRUE(expected.is_ok()) << expected.message();
      const Generation& got = (*all)[i];
      EXPECT_EQ(got.tokens, expected->tokens) << i;
      EXPECT_EQ(got.text, expected->text) << i;
      EXPECT_EQ(got.stop, expected->stop) << i;
      EXPECT_EQ(got.seed, 7 + i);
      EXPECT_EQ(got.prompt_tokens, 100);
      different += got.tokens != (*all)[0].tokens;
    }
    EXPECT_GE(different, 2) << "the seeds make no difference, so this shows nothing";
    // Only the first one's sequence is left.
    EXPECT_EQ(engine->length(seq), 100 + static_cast<int64_t>((*all)[0].tokens.size()) -
                                       ((*all)[0].stop == StopReason::kLength ? 1 : 0));
    EXPECT_FALSE(engine->store().has_sequence(seq + 1));
    EXPECT_TRUE(engine->store().check().is_ok());
  }
}

// Guesses change the speed alone, of each answer as of one.
TEST(SeveralAnswers, drafts_change_no_answer) {
  const tiny::TemporaryFile file(text_spec(tiny::kTensorQ4_0));
  tiny::Spec small = text_spec(tiny::kTensorF32);
  small.layers = 1;
  small.seed = 9;
  const tiny::TemporaryFile other(small);
  const std::vector<Token> prompt = prompt_of(100);
  EngineOptions few;
  few.max_sequences = 3;
  const auto engine = test::make_engine(file.path(), few);
  const auto model_drafter = [&](const std::string& path) {
    ModelOptions load;
    load.threads = engine->model().threads();
    return make_model_drafter(Model::load(path, load).value(), *engine, {}).value();
  };
  int64_t accepted = 0, drafted = 0;
  for (const float temperature : {0.0f, 6.0f}) {
    GenerateOptions options = lively(7);
    options.sampler.temperature = temperature;
    const auto answers = [&](Drafter* drafter, int max) {
      options.draft = {.drafter = drafter, .max = max};
      const SeqId seq = engine->create_sequence().value();
      auto all = generate_several(*engine, seq, prompt, 3, options);
      EXPECT_TRUE(all.is_ok()) << all.message();
      const int64_t length = engine->length(seq);
      EXPECT_TRUE(engine->drop(seq).is_ok());
      EXPECT_TRUE(engine->store().check().is_ok());
      return std::pair(std::move(*all), length);
    };
    const auto [plain, length] = answers(nullptr, 3);
    LookupOptions lookup;
    lookup.ngram = 1;
    const std::unique_ptr<Drafter> drafters[] = {make_lookup_drafter(lookup).value(),
                                                 model_drafter(file.path()),
                                                 model_drafter(other.path())};
    for (const auto& drafter : drafters) {
      for (const int max : {3, 63}) {  // the step's rows are shared out
        const auto [got, got_length] = answers(drafter.get(), max);
        EXPECT_EQ(got_length, length);
        for (size_t i = 0; i < plain.size(); ++i) {
          EXPECT_EQ(got[i].tokens, plain[i].tokens) << drafter->name() << " " << i;
          EXPECT_EQ(got[i].text, plain[i].text);
          EXPECT_EQ(got[i].stop, plain[i].stop);
          EXPECT_EQ(got[i].draft.drafter, drafter->name());
          EXPECT_EQ(got[i].draft.stopped, "");
          // Behind the first token each comes from a step or from a guess.
          const auto behind = static_cast<int64_t>(got[i].tokens.size()) - 1;
          EXPECT_GE(got[i].draft.steps + got[i].draft.accepted, behind);
          EXPECT_LE(got[i].draft.steps + got[i].draft.accepted, behind + 1);
          accepted += got[i].draft.accepted;
          drafted += got[i].draft.drafted;
        }
      }
    }
  }
  EXPECT_GT(accepted, 0);
  EXPECT_GT(drafted, accepted) << "no guess was wrong, so this shows little";
}

TEST(SeveralAnswers, answers_share_the_steps_of_their_guesses) {
  const tiny::TemporaryFile file(text_spec(tiny::kTensorF32));
  const auto engine = test::make_engine(file.path(), {});
  ModelOptions load;
  load.threads = engine->model().threads();
  const auto itself = make_model_drafter(Model::load(file.path(), load).value(), *engine, {});
  ASSERT_TRUE(itself.is_ok()) << itself.message();
  GenerateOptions options = lively(1);
  options.sampler = {};
  options.sampler.temperature = 0;
  options.ignore_eos = true;
  options.max_tokens = 41;
  options.draft = {.drafter = itself->get(), .max = 4};
  const SeqId seq = engine->create_sequence().value();
  engine->reset_report();
  const auto all = generate_several(*engine, seq, prompt_of(60), 3, options);
  ASSERT_TRUE(all.is_ok()) << all.message();
  // One step reads the prompt; each of eight gives every answer a token and four guesses.
  EXPECT_EQ(engine->report().steps, 1 + 8);
  for (const Generation& one : *all) {
    EXPECT_EQ(one.draft.steps, 8);
    EXPECT_EQ(one.draft.accepted, 32);
  }
}

TEST(SeveralAnswers, the_prompt_is_read_once) {
  const tiny::TemporaryFile file(text_spec(tiny::kTensorF32));
  const auto engine = test::make_engine(file.path(), {});
  GenerateOptions options = lively(1);
  options.max_tokens = 2;
  options.ignore_eos = true;
  const SeqId seq = engine->create_sequence().value();
  ASSERT_TRUE(generate_several(*engine, seq, prompt_of(100), 3, options).is_ok());
  EXPECT_EQ(engine->report().prompt_tokens, 100);
  EXPECT_EQ(engine->report().generated_tokens, 3);  // the second token of each is not decoded
  EXPECT_EQ(engine->report().steps, 2);
}

TEST(SeveralAnswers, limits_are_refused_before_anything_is_computed) {
  const tiny::TemporaryFile file(text_spec(tiny::kTensorF32));
  EngineOptions engine_options;
  engine_options.max_sequences = 2;
  const auto engine = test::make_engine(file.path(), engine_options);
  const SeqId seq = engine->create_sequence().value();
  EXPECT_EQ(generate_several(*engine, seq, prompt_of(5), 0, lively(1)).code(), Code::kOutOfRange);
  EXPECT_EQ(generate_several(*engine, seq, prompt_of(5), 3, lively(1)).code(), Code::kOutOfRange);
  EXPECT_EQ(generate_several(*engine, seq, {}, 2, lively(1)).code(), Code::kInvalidArgument);
  EXPECT_EQ(engine->length(seq), 0);
  GenerateOptions none = lively(1);
  none.max_tokens = 0;
  const auto empty = generate_several(*engine, seq, prompt_of(5), 2, none);
  ASSERT_TRUE(empty.is_ok());
  EXPECT_EQ((*empty)[1].stop, StopReason::kLength);
  EXPECT_EQ(engine->length(seq), 5);
}

TEST(SeveralAnswers, a_cancel_keeps_what_each_has) {
  const tiny::TemporaryFile file(text_spec(tiny::kTensorF32));
  const auto engine = test::make_engine(file.path(), {});
  CancelToken cancel;
  int tokens = 0;
  GenerateOptions options = lively(1);
  options.ignore_eos = true;
  options.cancel = &cancel;
  options.on_token = [&](Token, std::string_view) {
    if (++tokens == 5) cancel.cancel();
  };
  const auto all = generate_several(*engine, *engine->create_sequence(), prompt_of(5), 3, options);
  ASSERT_TRUE(all.is_ok()) << all.message();
  for (const Generation& g : *all) {
    EXPECT_EQ(g.stop, StopReason::kCancelled);
    EXPECT_EQ(g.tokens.size(), 5u);
  }
}

TEST(SeveralAnswers, penalties_see_what_the_sequence_held_before) {
  const tiny::TemporaryFile file(text_spec(tiny::kTensorF32));
  const auto engine = test::make_engine(file.path(), {});
  const std::vector<Token> prompt = prompt_of(60);
  GenerateOptions options = lively(5);
  options.sampler.repeat_penalty = 3;
  const auto whole = generate(*engine, *engine->create_sequence(), prompt, options);
  const SeqId seq = test::prefilled(*engine, {prompt.begin(), prompt.begin() + 59});
  const auto rest = generate(*engine, seq, std::span(prompt).subspan(59), options);
  ASSERT_TRUE(whole.is_ok() && rest.is_ok());
  EXPECT_EQ(rest->tokens, whole->tokens);
}

}  // namespace
}  // namespace heed
