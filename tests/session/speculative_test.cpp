// Speculative decoding: whatever a drafter guesses, the answer is that of plain decoding.
#include <gtest/gtest.h>

#include <functional>

#include "heed/generate.h"
#include "session_fixture.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

// Guesses by a function of the text.
class TestDrafter final : public Drafter {
 public:
  using Propose = std::function<Status(std::span<const Token>, int, std::vector<Token>&)>;
  explicit TestDrafter(Propose propose) : propose_(std::move(propose)) {}
  std::string name() const override { return "test"; }
  Status propose(std::span<const Token> text, int most, const CancelToken*,
                 std::vector<Token>& draft) override {
    return propose_(text, most, draft);
  }

 private:
  Propose propose_;
};

tiny::Spec text_spec() {
  tiny::Spec spec;
  spec.vocab = 300;
  spec.text_vocabulary = true;
  return spec;
}

// What is left of an answer: the text, why it ended, and the sequence as the next call finds it.
struct Answer {
  Generation generation;
  std::string streamed;
  int64_t length = 0;
  std::vector<float> logits;
};

Answer answer_of(Engine& engine, const std::vector<Token>& prompt, GenerateOptions options) {
  Answer out;
  const auto seq = engine.create_sequence();
  EXPECT_TRUE(seq.is_ok()) << seq.message();
  const auto on_token = options.on_token;
  options.on_token = [&](Token token, std::string_view text) {
    out.streamed += std::to_string(token) + ":" + std::string(text) + "\n";
    if (on_token) on_token(token, text);
  };
  auto made = generate(engine, *seq, prompt, options);
  EXPECT_TRUE(made.is_ok()) << made.message();
  if (!made.is_ok()) return out;
  out.generation = std::move(*made);
  out.length = engine.length(*seq);
  out.logits = test::logits_of(engine, *seq);
  EXPECT_TRUE(engine.drop(*seq).is_ok());
  return out;
}

void expect_equal(const Answer& drafted, const Answer& plain, const std::string& what) {
  EXPECT_EQ(drafted.generation.tokens, plain.generation.tokens) << what;
  EXPECT_EQ(drafted.generation.text, plain.generation.text) << what;
  EXPECT_EQ(drafted.streamed, plain.streamed) << what;
  EXPECT_STREQ(stop_reason_name(drafted.generation.stop), stop_reason_name(plain.generation.stop))
      << what;
  EXPECT_EQ(drafted.length, plain.length) << what;
  EXPECT_EQ(drafted.logits, plain.logits) << what;
}

std::vector<std::pair<std::string, SamplerOptions>> samplers() {
  std::vector<std::pair<std::string, SamplerOptions>> all;
  SamplerOptions o;
  all.emplace_back("default", o);
  o.temperature = 0;
  all.emplace_back("greedy", o);
  o.repeat_penalty = 1.3f;
  o.presence_penalty = 0.4f;
  o.frequency_penalty = 0.2f;
  all.emplace_back("greedy with penalties", o);
  o.temperature = 1.2f;
  o.top_k = 0;
  o.min_p = 0;
  all.emplace_back("penalties", o);
  o.dry_multiplier = 0.8f;
  o.dry_allowed_length = 1;
  all.emplace_back("dry", o);
  o = {};
  o.xtc_probability = 0.5f;
  all.emplace_back("xtc", o);
  o = {};
  o.mirostat = 1;
  all.emplace_back("mirostat 1", o);
  o.mirostat = 2;
  all.emplace_back("mirostat 2", o);
  return all;
}

class Speculative : public testing::Test {
 protected:
  // Continues text after the plain answer, but for every `wrong`-th token.
  static TestDrafter knowing(const Answer& plain, const std::vector<Token>& prompt,
                             uint64_t wrong) {
    std::vector<Token> all = prompt;
    all.insert(all.end(), plain.generation.tokens.begin(), plain.generation.tokens.end());
    return TestDrafter([all, wrong](std::span<const Token> text, int most, auto& draft) {
      for (size_t i = text.size(); i < all.size() && static_cast<int>(draft.size()) < most; ++i) {
        const bool lie = random_below(wrong, i, wrong) == 0;
        draft.push_back(lie ? (all[i] + 1) % 300 : all[i]);
      }
      return Status::ok();
    });
  }

  static Result<std::shared_ptr<Model>> load(const std::string& path, int threads) {
    ModelOptions options;
    options.threads = threads;
    return Model::load(path, options);
  }

  tiny::TemporaryFile file_{text_spec()};
  std::unique_ptr<Engine> engine_ = test::make_engine(file_.path(), {});
  std::vector<Token> prompt_ = test::random_tokens(50, 300, 3);
};

TEST_F(Speculative, every_sampler_and_seed_gives_the_plain_answer) {
  const auto lookup = make_lookup_drafter({.ngram = 1});
  ASSERT_TRUE(lookup.is_ok());
  int64_t accepted = 0, refused = 0;
  for (const auto& [name, sampler] : samplers()) {
    for (uint32_t seed = 1; seed <= 8; ++seed) {
      GenerateOptions options;
      options.sampler = sampler;
      options.sampler.seed = seed;
      options.max_tokens = 40;
      const Answer plain = answer_of(*engine_, prompt_, options);
      TestDrafter half = knowing(plain, prompt_, 3);
      for (Drafter* drafter : {lookup->get(), static_cast<Drafter*>(&half)}) {
        options.draft = {.drafter = drafter, .max = 1 + static_cast<int>(seed % 9)};
        const Answer drafted = answer_of(*engine_, prompt_, options);
        const DraftReport& report = drafted.generation.draft;
        expect_equal(drafted, plain, name + " " + drafter->name() + " " + std::to_string(seed));
        EXPECT_EQ(report.stopped, "");
        EXPECT_LE(report.accepted, report.drafted);
        accepted += report.accepted;
        refused += report.drafted - report.accepted;
      }
    }
  }
  // Both ways were taken, often.
  EXPECT_GT(accepted, 300);
  EXPECT_GT(refused, 300);
}

TEST_F(Speculative, every_limit_ends_the_answer_where_plain_decoding_ends_it) {
  GenerateOptions options;
  options.sampler.temperature = 0;
  options.ignore_eos = true;
  EngineOptions short_context;
  short_context.context = 64;  // 14 tokens behind the prompt
  const auto small = test::make_engine(file_.path(), short_context);
  for (Engine* engine : {engine_.get(), small.get()}) {
    for (const int64_t limit : {0, 1, 2, 3, 5, 8, 13, 14, 15, 16, 30}) {
      options.draft = {};
      options.max_tokens = limit;
      const Answer plain = answer_of(*engine, prompt_, options);
      TestDrafter all = knowing(plain, prompt_, 1000), none = knowing(plain, prompt_, 1);
      for (TestDrafter* drafter : {&all, &none}) {
        options.draft = {.drafter = drafter, .max = 6};
        expect_equal(answer_of(*engine, prompt_, options), plain, std::to_string(limit));
      }
    }
  }
}

TEST_F(Speculative, an_end_token_that_was_guessed_ends_the_answer) {
  tiny::Spec spec = text_spec();
  spec.tied = false;  // a tied model of random weights says its last token again and again
  const tiny::TemporaryFile varied(spec);
  const auto engine = test::make_engine(varied.path(), {});
  GenerateOptions options;
  options.sampler.temperature = 1.5f;
  options.sampler.top_k = 0;
  options.sampler.top_p = 1;
  options.sampler.min_p = 0;
  int ends = 0;
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    options.sampler.seed = seed;
    options.sampler.logit_bias = {
        {2, 4.0f + 0.2f * static_cast<float>(seed)}};  // the end comes soon
    options.max_tokens = 60;
    options.draft = {};
    const Answer plain = answer_of(*engine, prompt_, options);
    const bool behind_others = plain.generation.tokens.size() > 2;
    ends += plain.generation.stop == StopReason::kEnd && behind_others ? 1 : 0;
    Answer with_end = plain;
    with_end.generation.tokens.push_back(2);
    with_end.generation.tokens.push_back(7);
    TestDrafter drafter = knowing(with_end, prompt_, 1000);
    options.draft = {.drafter = &drafter, .max = 8};
    expect_equal(answer_of(*engine, prompt_, options), plain, std::to_string(seed));
  }
  EXPECT_GT(ends, 2);
}

TEST_F(Speculative, a_cancel_leaves_what_plain_decoding_leaves) {
  for (int64_t at = 1; at < 12; ++at) {
    CancelToken cancel;
    int64_t seen = 0;
    GenerateOptions options;
    options.sampler.temperature = 0;
    options.ignore_eos = true;
    options.max_tokens = 30;
    options.cancel = &cancel;
    options.on_token = [&](Token, std::string_view) {
      if (++seen == at) cancel.cancel();
    };
    const Answer plain = answer_of(*engine_, prompt_, options);
    EXPECT_EQ(plain.generation.stop, StopReason::kCancelled);
    GenerateOptions whole = options;
    whole.cancel = nullptr;
    TestDrafter drafter = knowing(answer_of(*engine_, prompt_, whole), prompt_, 4);
    cancel.reset();
    seen = 0;
    options.draft = {.drafter = &drafter, .max = 5};
    expect_equal(answer_of(*engine_, prompt_, options), plain, std::to_string(at));
  }
}

TEST_F(Speculative, a_model_that_drafts_for_itself_is_always_right) {
  const auto draft = load(file_.path(), 2);
  ASSERT_TRUE(draft.is_ok()) << draft.message();
  const auto drafter = make_model_drafter(*draft, *engine_, {});
  ASSERT_TRUE(drafter.is_ok()) << drafter.message();
  GenerateOptions options;
  options.sampler.temperature = 0;
  options.ignore_eos = true;
  options.max_tokens = 41;
  const Answer plain = answer_of(*engine_, prompt_, options);
  options.draft = {.drafter = drafter->get(), .max = 4};
  const Answer drafted = answer_of(*engine_, prompt_, options);
  expect_equal(drafted, plain, "itself");
  // The prompt gives one token, and each of 8 steps five: one drawn and four guessed.
  EXPECT_EQ(drafted.generation.draft.steps, 8);
  EXPECT_EQ(drafted.generation.draft.drafted, 32);
  EXPECT_EQ(drafted.generation.draft.accepted, 32);
  EXPECT_EQ(plain.generation.draft.steps, 40);
}

TEST_F(Speculative, another_model_drafts_and_the_answers_stay) {
  tiny::Spec spec = text_spec();
  spec.seed = 77;
  spec.layers = 1;
  spec.embd = 32;
  spec.context = 90;  // guesses end before the answer does
  const tiny::TemporaryFile small(spec);
  const auto draft = load(small.path(), 1);
  ASSERT_TRUE(draft.is_ok()) << draft.message();
  for (const float p_min : {0.0f, 0.05f}) {
    const auto drafter = make_model_drafter(*draft, *engine_, {.engine = {}, .p_min = p_min});
    ASSERT_TRUE(drafter.is_ok()) << drafter.message();
    for (uint32_t seed = 1; seed <= 6; ++seed) {
      GenerateOptions options;
      options.sampler.seed = seed;
      options.max_tokens = 60;
      const Answer plain = answer_of(*engine_, prompt_, options);
      options.draft = {.drafter = drafter->get(), .max = 4, .min = seed % 2 == 0 ? 2 : 0};
      const Answer drafted = answer_of(*engine_, prompt_, options);
      expect_equal(drafted, plain, std::to_string(seed));
      EXPECT_EQ(drafted.generation.draft.stopped, "");
    }
  }
}

TEST_F(Speculative, no_guess_and_no_error_of_a_drafter_can_harm_an_answer) {
  GenerateOptions options;
  options.sampler.seed = 5;
  options.max_tokens = 25;
  const Answer plain = answer_of(*engine_, prompt_, options);
  TestDrafter foreign([](auto, int most, auto& draft) {
    draft.assign(static_cast<size_t>(most) + 50, -1);
    draft[1] = 1 << 20;
    return Status::ok();
  });
  TestDrafter many([](auto, int most, auto& draft) {
    draft.assign(static_cast<size_t>(most) + 50, 7);
    return Status::ok();
  });
  TestDrafter broken([calls = 0](auto, int, auto& draft) mutable {
    draft.assign(2, 7);
    return ++calls < 3 ? Status::ok() : Status(Code::kResourceExhausted, "the draft is short");
  });
  for (TestDrafter* drafter : {&foreign, &many, &broken}) {
    options.draft = {.drafter = drafter, .max = 5};
    const Answer drafted = answer_of(*engine_, prompt_, options);
    expect_equal(drafted, plain, "");
    EXPECT_EQ(drafted.generation.draft.stopped, drafter == &broken ? "the draft is short" : "");
  }
  options.draft = {.drafter = &many, .max = 64};
  EXPECT_NE(generate(*engine_, 0, prompt_, options).message().find("1 to 63"), std::string::npos);
  options.draft = {.drafter = &many, .max = 4, .min = 5};
  EXPECT_NE(generate(*engine_, 0, prompt_, options).message().find("0 to 4"), std::string::npos);
}

TEST_F(Speculative, guesses_give_way_where_the_pages_end) {
  // Room for the prompt's page and one more in each of the lists, and for no third.
  EngineOptions limited;
  limited.max_kv_bytes = 1;
  const auto probe = Engine::create(Model::load(file_.path(), {}).value(), {});
  ASSERT_TRUE(probe.is_ok());
  test::prefilled(**probe, prompt_);
  limited.max_kv_bytes = 2 * (*probe)->report().kv.committed;
  const auto engine = test::make_engine(file_.path(), limited);
  GenerateOptions options;
  options.sampler.temperature = 0;
  options.ignore_eos = true;
  options.max_tokens = 128 - 50 + 1;  // both pages to the last entry
  const Answer plain = answer_of(*engine, prompt_, options);
  EXPECT_EQ(plain.length, 128);
  GenerateOptions longer = options;
  longer.max_tokens += 10;
  Answer whole = answer_of(**probe, prompt_, longer);
  TestDrafter drafter = knowing(whole, prompt_, 1000);
  options.max_tokens += 1;  // one token more than fits: guesses reach over the end
  const auto seq = engine->create_sequence();
  ASSERT_TRUE(seq.is_ok());
  options.draft = {.drafter = &drafter, .max = 7};
  const auto made = generate(*engine, *seq, prompt_, options);
  EXPECT_EQ(made.code(), Code::kResourceExhausted);
  EXPECT_EQ(engine->length(*seq), 128) << "as far as plain decoding comes";
}

TEST_F(Speculative, held_tokens_are_text_for_penalties_and_drafters) {
  GenerateOptions options;
  options.sampler.temperature = 0;
  options.sampler.repeat_penalty = 1.5f;
  options.ignore_eos = true;
  options.max_tokens = 20;
  const Answer whole = answer_of(*engine_, prompt_, options);
  const auto seq = engine_->create_sequence();
  ASSERT_TRUE(seq.is_ok());
  ASSERT_TRUE(engine_->prefill(*seq, {prompt_.data(), 30}).is_ok());
  std::vector<size_t> sizes;
  TestDrafter drafter([&](std::span<const Token> text, int, auto&) {
    sizes.push_back(text.size());
    return Status::ok();
  });
  options.draft = {.drafter = &drafter};
  const auto made = generate(*engine_, *seq, {prompt_.data() + 30, 20}, options);
  ASSERT_TRUE(made.is_ok()) << made.message();
  EXPECT_EQ(made->tokens, whole.generation.tokens);
  ASSERT_FALSE(sizes.empty());
  EXPECT_EQ(sizes.front(), 51u);
}

std::vector<Token> looked_up(Drafter& drafter, std::vector<Token> text, int most) {
  std::vector<Token> draft;
  EXPECT_TRUE(drafter.propose(text, most, nullptr, draft).is_ok());
  return draft;
}

TEST(Lookup, takes_the_place_that_agrees_most_and_of_equals_the_latest) {
  const auto made = make_lookup_drafter({.ngram = 2});
  ASSERT_TRUE(made.is_ok());
  Drafter& lookup = **made;
  using Tokens = std::vector<Token>;
  EXPECT_EQ(looked_up(lookup, {1, 2, 3, 4, 9, 1, 2}, 2), (Tokens{3, 4}));
  EXPECT_EQ(looked_up(lookup, {1, 2, 3, 8, 1, 2, 4, 9, 1, 2}, 1), (Tokens{4})) << "the latest";
  EXPECT_EQ(looked_up(lookup, {7, 1, 2, 3, 8, 1, 2, 4, 7, 1, 2}, 1), (Tokens{3})) << "the longest";
  EXPECT_EQ(looked_up(lookup, {1, 2, 3, 4, 9, 5, 2}, 2), Tokens{}) << "one token is not two";
  EXPECT_EQ(looked_up(lookup, {1, 2, 1, 2}, 5), (Tokens{1, 2, 1, 2, 1})) << "beyond the end";
  EXPECT_EQ(looked_up(lookup, {5, 5, 5}, 4), (Tokens{5, 5, 5, 5}));
  EXPECT_EQ(looked_up(lookup, {5}, 4), Tokens{});
  // The text grows, and then another one begins.
  EXPECT_EQ(looked_up(lookup, {5, 6, 7}, 4), Tokens{});
  EXPECT_EQ(looked_up(lookup, {5, 6, 7, 5, 6}, 2), (Tokens{7, 5}));
  EXPECT_EQ(looked_up(lookup, {6, 7, 5, 6}, 2), Tokens{});
  EXPECT_FALSE(make_lookup_drafter({.ngram = 0}).is_ok());
  EXPECT_FALSE(make_lookup_drafter({.ngram = 65}).is_ok());
}

TEST(DraftVocabulary, another_one_is_refused_with_what_differs) {
  const tiny::TemporaryFile target_file(text_spec());
  const auto target = test::make_engine(target_file.path(), {});
  const auto refusal = [&](const tiny::File& file) {
    const tiny::TemporaryFile other(file);
    const auto model = Model::load(other.path(), {});
    EXPECT_TRUE(model.is_ok()) << model.message();
    return make_model_drafter(*model, *target, {}).message();
  };
  EXPECT_EQ(refusal(tiny::make_file(text_spec())), "");
  tiny::Spec spec = text_spec();
  spec.vocab = 300 + 128;  // a padding
  EXPECT_EQ(refusal(tiny::make_file(spec)), "");
  spec.vocab = 300 + 129;
  EXPECT_NE(refusal(tiny::make_file(spec)).find("429 and 300"), std::string::npos);
  spec = text_spec();
  spec.text_vocabulary = false;
  EXPECT_NE(refusal(tiny::make_file(spec)).find("different kinds"), std::string::npos);
  spec = text_spec();
  spec.space_token = true;  // one token more in the middle
  const std::string shifted = refusal(tiny::make_file(spec));
  EXPECT_NE(shifted.find("token 259"), std::string::npos) << shifted;
  tiny::File begins = tiny::make_file(text_spec());
  begins.set(tiny::u32_key("tokenizer.ggml.bos_token_id", 7));
  EXPECT_NE(refusal(begins).find("token 7 of the one and 1"), std::string::npos);
  tiny::File ends = tiny::make_file(text_spec());
  ends.set(tiny::bool_key("tokenizer.ggml.add_eos_token", true));
  EXPECT_NE(refusal(ends).find("the end of a text"), std::string::npos);
}

}  // namespace
}  // namespace heed
