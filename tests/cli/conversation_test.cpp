// A conversation computes what is new, and answers as one that began afresh would.
#include "cli/conversation.h"

#include <gtest/gtest.h>

#include "process.h"
#include "tiny_chat.h"

namespace heed::cli {
namespace {

class Conversations : public testing::Test {
 protected:
  Conversations() {
    options_.max_tokens = 12;
    options_.sampler.logit_bias = tiny::letters_only();
    options_.sampler.seed = 11;
    options_.sampler.repeat_penalty = 1.2f;
  }

  std::unique_ptr<Engine> make_engine(int64_t context = 0) {
    ModelOptions load;
    load.threads = 1;
    const auto model = Model::load(file_.path(), load);
    EXPECT_TRUE(model.is_ok()) << model.message();
    EngineOptions options;
    options.context = context;
    auto engine = Engine::create(*model, options);
    EXPECT_TRUE(engine.is_ok()) << engine.message();
    return std::move(*engine);
  }

  static Conversation begin(Engine& engine) {
    return Conversation(engine, engine.create_sequence().value());
  }

  Generation answer(Conversation& conversation, const std::vector<ChatMessage>& messages) {
    auto made = conversation.answer(messages, options_);
    EXPECT_TRUE(made.is_ok()) << made.message();
    return made.is_ok() ? *made : Generation();
  }

  Generation fresh(const std::vector<ChatMessage>& messages) {
    const auto engine = make_engine();
    Conversation conversation = begin(*engine);
    return answer(conversation, messages);
  }

  tiny::TemporaryFile file_{tiny::chat_file()};
  GenerateOptions options_;
};

TEST_F(Conversations, a_turn_reads_only_what_the_sequence_does_not_hold) {
  const auto engine = make_engine();
  Conversation conversation = begin(*engine);
  std::vector<ChatMessage> messages = {{"system", "be brief"}};
  int64_t held = 0;
  for (const char* text : {"hello there", "go on", "and now the end of it"}) {
    messages.push_back({"user", text});
    const Generation made = answer(conversation, messages);
    EXPECT_EQ(conversation.reused(), held) << "all but the last drawn token is there";
    EXPECT_EQ(conversation.tokens(), held + made.prompt_tokens + 11);
    EXPECT_EQ(made.tokens, fresh(messages).tokens) << text;
    held = conversation.tokens();
    messages.push_back({"assistant", made.text});
  }
  EXPECT_GT(held, 60);
}

TEST_F(Conversations, asking_again_and_taking_back_answer_as_a_fresh_conversation) {
  const auto engine = make_engine();
  Conversation conversation = begin(*engine);
  std::vector<ChatMessage> messages = {{"user", "one"}};
  const Generation first = answer(conversation, messages);
  EXPECT_EQ(answer(conversation, messages).tokens, first.tokens) << "again";
  EXPECT_EQ(conversation.reused(), conversation.tokens() - 12) << "all of the prompt but its end";
  messages.push_back({"assistant", first.text});
  messages.push_back({"user", "two"});
  answer(conversation, messages);
  messages.resize(2);
  ASSERT_TRUE(conversation.keep(messages).is_ok());
  messages.push_back({"user", "three"});
  EXPECT_EQ(answer(conversation, messages).tokens, fresh(messages).tokens) << "taken back";
  messages.insert(messages.begin(), {"system", "speak"});
  EXPECT_EQ(answer(conversation, messages).tokens, fresh(messages).tokens) << "another beginning";
  ASSERT_TRUE(conversation.keep({}).is_ok());
  EXPECT_EQ(conversation.tokens(), 0);
  EXPECT_EQ(answer(conversation, messages).tokens, fresh(messages).tokens) << "cleared";
}

TEST_F(Conversations, a_full_context_is_said_with_the_way_out_and_can_be_left) {
  const auto engine = make_engine(64);
  Conversation conversation = begin(*engine);
  std::vector<ChatMessage> messages = {{"user", "short"}};
  const Generation first = answer(conversation, messages);
  messages.push_back({"assistant", first.text});
  messages.push_back({"user", std::string(60, 'x')});
  const auto refused = conversation.answer(messages, options_);
  EXPECT_EQ(refused.code(), Code::kOutOfRange);
  for (const char* needle : {"64", "/undo", "/clear", "-c"}) {
    EXPECT_NE(refused.message().find(needle), std::string::npos) << refused.message();
  }
  messages.pop_back();
  messages.push_back({"user", "y"});
  // The context ends before the answer would.
  const std::vector<Token> here = answer(conversation, messages).tokens;
  std::vector<Token> elsewhere = fresh(messages).tokens;
  ASSERT_FALSE(here.empty());
  ASSERT_LE(here.size(), elsewhere.size());
  elsewhere.resize(here.size());
  EXPECT_EQ(here, elsewhere);
  options_.max_tokens = -1;
  options_.ignore_eos = true;
  EXPECT_EQ(answer(conversation, messages).stop, StopReason::kContext);
}

TEST_F(Conversations, what_was_saved_is_taken_up_as_far_as_the_messages_agree) {
  const test::EmptyHome folder;
  const std::string path = folder.path() + "/talk.kv";
  std::vector<ChatMessage> messages = {{"user", "remember this"}};
  {
    const auto engine = make_engine();
    Conversation conversation = begin(*engine);
    messages.push_back({"assistant", answer(conversation, messages).text});
    ASSERT_TRUE(conversation.save(path).is_ok());
  }
  const auto engine = make_engine();
  Conversation conversation = begin(*engine);
  const auto none = conversation.take_up(folder.path() + "/none.kv", messages);
  ASSERT_TRUE(none.is_ok()) << none.message();
  EXPECT_FALSE(*none);
  CancelToken stopped;
  stopped.cancel();
  EXPECT_EQ(conversation.take_up(path, messages, &stopped).code(), Code::kCancelled);
  EXPECT_EQ(conversation.tokens(), 0) << "the sequence that was there stays";
  const auto taken = conversation.take_up(path, messages);
  ASSERT_TRUE(taken.is_ok()) << taken.message();
  EXPECT_TRUE(*taken);
  const int64_t held = conversation.tokens();
  EXPECT_GT(held, 20);
  messages.push_back({"user", "what was it"});
  EXPECT_EQ(answer(conversation, messages).tokens, fresh(messages).tokens);
  EXPECT_EQ(conversation.reused(), held);
  messages[0].content = "remember that";
  ASSERT_TRUE(conversation.take_up(path, messages).is_ok());
  EXPECT_LT(conversation.tokens(), held);
  EXPECT_EQ(answer(conversation, messages).tokens, fresh(messages).tokens);
}

}  // namespace
}  // namespace heed::cli
