// Shortages in what is built from loads and steps: encoders, models with experts and with latent
// attention, several answers, drafts, checks of guesses. Each allocation of a call fails once; the
// call answers with a Status and the engine goes on. shortage_test.cpp has the calls beneath.
#include <gtest/gtest.h>

#include "heap_counters.h"
#include "heed/embed.h"
#include "heed/generate.h"
#include "session_fixture.h"
#include "tiny_encoder.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

using test::Untouched;
using test::with_each_allocation_failing;

// Calls with each allocation failing; those that are refused say why. Returns how many were.
template <class Call>
int refusals(const std::string& what, Call&& call) {
  int refused = 0;
  with_each_allocation_failing([&] {
    const Status status = call();
    const Untouched rest;
    if (status.is_ok()) return;
    ++refused;
    EXPECT_EQ(status.code(), Code::kResourceExhausted) << what << ": " << status.message();
  });
  return refused;
}

TEST(ShortageCalls, models_of_every_kind_load_or_are_refused) {
  tiny::Spec latent = tiny::expert_spec("deepseek2"), sinks = tiny::expert_spec("gpt-oss");
  for (tiny::Spec* spec : {&latent, &sinks}) spec->layers = 2;
  const std::pair<const char*, tiny::File> kFiles[] = {
      {"bert", tiny::make_encoder({})},
      {"deepseek2", tiny::make_file(latent)},
      {"gpt-oss", tiny::make_file(sinks)},
  };
  ModelOptions options;
  options.threads = 1;
  for (const auto& [name, file] : kFiles) {
    const tiny::TemporaryFile written(file);
    const auto call = [&] { return Model::load(written.path(), options).status(); };
    EXPECT_GT(refusals(name, call), 50) << name;
    EXPECT_TRUE(call().is_ok()) << name << ": " << call().message();
  }
}

TEST(ShortageCalls, embedding_leaves_nothing_behind_and_gives_the_same_afterwards) {
  for (const bool decoder : {false, true}) {
    const tiny::TemporaryFile file(decoder ? tiny::make_file(tiny::Spec{})
                                           : tiny::make_encoder({}));
    EngineOptions options;
    options.chunk = 40;
    options.max_sequences = 2;
    const std::vector<std::vector<Token>> texts = {test::random_tokens(3, 80, 1),
                                                   test::random_tokens(70, 80, 2),
                                                   test::random_tokens(17, 80, 3)};
    const auto model = Model::load(file.path(), {});
    ASSERT_TRUE(model.is_ok()) << model.message();
    std::vector<float> expected;
    {
      const auto engine = Engine::create(*model, options);
      ASSERT_TRUE(engine.is_ok()) << engine.message();
      const auto all = embed(**engine, texts);
      ASSERT_TRUE(all.is_ok()) << all.message();
      expected = (*all)[1].values;
    }
    // A fresh engine each time: its first steps build graphs and take pages.
    int refused = 0;
    const int failures = with_each_allocation_failing([&] {
      std::unique_ptr<Engine> engine;
      {
        const Untouched rest;
        engine = std::move(*Engine::create(*model, options));
      }
      const auto all = embed(*engine, texts);
      const Untouched rest;
      refused += all.is_ok() ? 0 : 1;
      if (!all.is_ok()) {
        EXPECT_EQ(all.code(), Code::kResourceExhausted) << all.message();
      }
      EXPECT_EQ(engine->store().bytes().pages, 0u);
      const auto again = embed(*engine, texts);
      ASSERT_TRUE(again.is_ok()) << again.message();
      ASSERT_EQ((*again)[1].values, expected);
    });
    EXPECT_GT(failures, 20) << decoder;
    EXPECT_GT(refused, failures / 2) << decoder;
  }
}

tiny::Spec text_spec() {
  tiny::Spec spec;
  spec.text_vocabulary = true;
  spec.vocab = 280;
  spec.layers = 1;
  return spec;
}

GenerateOptions some_tokens() {
  GenerateOptions options;
  options.max_tokens = 6;
  options.ignore_eos = true;
  options.sampler.seed = 1;
  return options;
}

// Answers of every kind into a sequence of their own, which can be dropped whatever happened.
TEST(ShortageCalls, answers_of_every_kind_survive_every_failing_allocation) {
  const tiny::TemporaryFile file(text_spec());
  ModelOptions load;
  load.threads = 1;
  const auto model = Model::load(file.path(), load);
  ASSERT_TRUE(model.is_ok()) << model.message();
  EngineOptions options;
  options.max_sequences = 3;
  const auto engine = Engine::create(*model, options);
  ASSERT_TRUE(engine.is_ok()) << engine.message();
  Engine& e = **engine;
  const std::vector<Token> prompt = {5, 70, 71, 72, 70, 71};
  // Options allocate, which is not what is tested.
  const GenerateOptions plain = some_tokens();
  GenerateOptions by_drafts = plain, by_grammar = plain;
  by_grammar.ignore_eos = false;
  by_grammar.sampler.grammar.gbnf = "root ::= [a-f]{2,8}";
  const auto drafted = [&](SeqId seq, Result<std::unique_ptr<Drafter>> drafter) -> Status {
    HEED_TRY(drafter.status());
    by_drafts.draft.drafter = drafter->get();
    return generate(e, seq, prompt, by_drafts).status();
  };
  const std::pair<const char*, std::function<Status(SeqId)>> kCalls[] = {
      {"several", [&](SeqId seq) { return generate_several(e, seq, prompt, 3, plain).status(); }},
      {"lookup", [&](SeqId seq) { return drafted(seq, make_lookup_drafter({.ngram = 2})); }},
      {"draft model", [&](SeqId seq) { return drafted(seq, make_model_drafter(*model, e, {})); }},
      {"grammar", [&](SeqId seq) { return generate(e, seq, prompt, by_grammar).status(); }},
  };
  for (const auto& [name, call] : kCalls) {
    const int refused = refusals(name, [&, &call = call]() -> Status {
      SeqId seq = -1;
      {
        const Untouched rest;
        seq = e.create_sequence().value();
      }
      const Status status = call(seq);
      const Untouched rest;
      EXPECT_TRUE(e.store().check().is_ok()) << name;
      EXPECT_TRUE(e.drop(seq).is_ok()) << name;
      EXPECT_EQ(e.store().bytes().pages, 0u) << name;
      return status;
    });
    EXPECT_GT(refused, 10) << name;
    const SeqId seq = e.create_sequence().value();
    EXPECT_TRUE(call(seq).is_ok()) << name << ": " << call(seq).message();
    EXPECT_TRUE(e.drop(seq).is_ok());
  }
}

TEST(ShortageCalls, checking_and_truncating_survive_every_failing_allocation) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const auto engine = test::make_engine(file.path(), {}, 1);
  const std::vector<Token> text = test::random_tokens(40, 80, 1);
  const std::vector<Token> more = test::random_tokens(5, 80, 2);
  const SeqId seq = test::prefilled(*engine, text);
  const std::vector<float> expected = test::logits_of(*engine, seq);
  with_each_allocation_failing([&] {
    const auto rows = engine->verify(seq, more);
    Status status = rows.status();
    if (rows.is_ok()) status = engine->truncate(seq, 42);
    const Untouched rest;
    if (!status.is_ok()) {
      EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
    }
    EXPECT_TRUE(engine->store().check().is_ok());
    ASSERT_TRUE(engine->truncate(seq, 39).is_ok());
    ASSERT_TRUE(engine->prefill(seq, {&text[39], 1}).is_ok());
    EXPECT_EQ(test::logits_of(*engine, seq), expected);
  });
}

}  // namespace
}  // namespace heed
