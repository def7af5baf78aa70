// Texts that end an answer: cut off wherever they begin, with and without guesses.
#include <gtest/gtest.h>

#include "heed/generate.h"
#include "session_fixture.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

tiny::Spec text_spec() {
  tiny::Spec spec;
  spec.vocab = 300;
  spec.text_vocabulary = true;
  return spec;
}

// Says what it was told, whatever the text is.
class Prompter final : public Drafter {
 public:
  explicit Prompter(std::vector<Token> all) : all_(std::move(all)) {}
  std::string name() const override { return "prompter"; }
  Status propose(std::span<const Token> text, int most, const CancelToken*,
                 std::vector<Token>& draft) override {
    for (size_t i = text.size(); i < all_.size() && static_cast<int>(draft.size()) < most; ++i) {
      draft.push_back(all_[i]);
    }
    return Status::ok();
  }

 private:
  std::vector<Token> all_;
};

class Stops : public testing::Test {
 protected:
  struct Said {
    Generation generation;
    int64_t length = 0;
    std::vector<float> logits;
  };

  Said say(const GenerateOptions& options) const {
    Said out;
    const SeqId seq = engine_->create_sequence().value();
    auto made = generate(*engine_, seq, prompt_, options);
    EXPECT_TRUE(made.is_ok()) << made.message();
    if (!made.is_ok()) return out;
    out.generation = std::move(*made);
    out.length = engine_->length(seq);
    out.logits = test::logits_of(*engine_, seq);
    return out;
  }

  GenerateOptions greedy() const {
    GenerateOptions options;
    options.sampler.temperature = 0;
    // Small letters alone: a text to look for stops in.
    for (Token t = 0; t < 300; ++t) {
      if (t < 3 + 'a' || t > 3 + 'z') options.sampler.logit_bias.push_back({t, -INFINITY});
    }
    options.sampler.repeat_penalty = 1.4f;
    options.max_tokens = 40;
    return options;
  }

  tiny::TemporaryFile file_{text_spec()};
  std::unique_ptr<Engine> engine_ = test::make_engine(file_.path(), {}, 1);
  std::vector<Token> prompt_ = test::random_tokens(30, 300, 3);
};

TEST_F(Stops, are_cut_off_wherever_they_begin_and_with_guesses_alike) {
  GenerateOptions options = greedy();
  const Said whole = say(options);
  const std::string& text = whole.generation.text;
  ASSERT_EQ(text.size(), 40u);
  std::vector<Token> all = prompt_;
  all.insert(all.end(), whole.generation.tokens.begin(), whole.generation.tokens.end());
  Prompter prompter(all);
  for (size_t at = 0; at < 30; at += 3) {
    for (const size_t length : {1, 2, 5, 9}) {
      const std::string stop = text.substr(at, length);
      options.stops = {"", "no such text", stop};
      options.draft = {};
      const Said plain = say(options);
      EXPECT_EQ(plain.generation.text, text.substr(0, text.find(stop))) << stop;
      EXPECT_EQ(plain.generation.tokens.size(), text.find(stop) + stop.size()) << stop;
      EXPECT_EQ(plain.generation.stop, StopReason::kEnd);
      for (const int most : {1, 3, 7}) {
        options.draft = {.drafter = &prompter, .max = most};
        const Said drafted = say(options);
        EXPECT_EQ(drafted.generation.text, plain.generation.text) << stop;
        EXPECT_EQ(drafted.generation.tokens, plain.generation.tokens) << stop;
        EXPECT_EQ(drafted.length, plain.length) << stop;
        EXPECT_EQ(drafted.logits, plain.logits) << stop;
      }
    }
  }
}

TEST_F(Stops, of_several_that_one_token_ends_the_earliest_counts) {
  GenerateOptions options = greedy();
  const std::string text = say(options).generation.text;
  options.stops = {text.substr(7, 3), text.substr(6, 4), text.substr(8, 2)};
  size_t first = text.size(), ends = text.size();
  for (const std::string& stop : options.stops) {
    const size_t at = text.find(stop);
    if (at + stop.size() > ends) continue;
    first = at + stop.size() < ends ? at : std::min(first, at);
    ends = at + stop.size();
  }
  EXPECT_EQ(say(options).generation.text, text.substr(0, first));
}

// The stop's last byte and the first one of a character come in one token.
TEST(Stop, nothing_follows_a_stop_that_ended_within_a_token) {
  tiny::File file = tiny::make_file(text_spec());
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  for (int i = 3; i < 300; ++i) {
    char name[8];
    std::snprintf(name, sizeof(name), "<0x%02X>", (i - 3) & 0xFF);
    tokens.emplace_back(i < 259 ? name : "w" + std::to_string(i));
  }
  tokens[270] = "END\xE2";
  for (auto& key : file.keys) {
    if (key.name == "tokenizer.ggml.tokens") key = tiny::texts_key(key.name, tokens);
  }
  const tiny::TemporaryFile model(file);
  const auto engine = test::make_engine(model.path(), {}, 1);
  ASSERT_NE(engine, nullptr);
  ASSERT_EQ(engine->model().piece(270).value(), "END\xE2");
  GenerateOptions options;
  options.sampler.temperature = 0;
  options.sampler.logit_bias = {{270, 1e6f}};
  options.max_tokens = 3;
  options.stops = {"END"};
  const SeqId seq = engine->create_sequence().value();
  const auto made = generate(*engine, seq, std::vector<Token>{5, 6}, options);
  ASSERT_TRUE(made.is_ok()) << made.message();
  EXPECT_EQ(made->tokens, std::vector<Token>{270});
  EXPECT_EQ(made->text, "");
}

}  // namespace
}  // namespace heed
