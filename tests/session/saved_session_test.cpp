// Saved sessions: what comes back equals what was never away, bit for bit.
#include "heed/session.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "session_fixture.h"
#include "temporary_folder.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

using test::logits_of;
using test::random_tokens;

std::vector<Token> tokens_of(const Engine& engine, SeqId seq) {
  const auto held = sequence_tokens(engine, seq);
  return {held.begin(), held.end()};
}

// Saves a sequence of `tokens`, restores it into another engine, and feeds both the same tokens.
void expect_same_future(const std::string& model, const EngineOptions& options,
                        const std::vector<Token>& tokens, const std::string& what) {
  SCOPED_TRACE(what);
  const test::TemporaryFolder folder;
  const std::string path = folder / "a.session";
  const auto before = test::make_engine(model, options);
  const SeqId seq = test::prefilled(*before, tokens);
  const auto saved = save_session(*before, seq, path);
  ASSERT_TRUE(saved.is_ok()) << saved.message();
  EXPECT_TRUE(saved->written);
  EXPECT_EQ(saved->tokens, static_cast<int64_t>(tokens.size()));
  EXPECT_EQ(saved->bytes, std::filesystem::file_size(path));

  const auto after = test::make_engine(model, options);
  const auto restored = restore_session(*after, path);
  ASSERT_TRUE(restored.is_ok()) << restored.message();
  EXPECT_EQ(restored->tokens, saved->tokens);
  EXPECT_EQ(restored->saved, saved->tokens);
  EXPECT_EQ(tokens_of(*after, restored->seq), tokens);
  const Status sound = after->store().check();
  EXPECT_TRUE(sound.is_ok()) << sound.message();
  EXPECT_EQ(after->store().bytes(restored->seq).live, before->store().bytes(seq).live);
  EXPECT_EQ(logits_of(*after, restored->seq), logits_of(*before, seq));
  for (const Token token : {3, 9, 4}) {
    EXPECT_EQ(test::step(*after, restored->seq, token), test::step(*before, seq, token));
  }
  const std::vector<Token> more = random_tokens(70, 80, 77);
  ASSERT_TRUE(before->prefill(seq, more).is_ok());
  ASSERT_TRUE(after->prefill(restored->seq, more).is_ok());
  EXPECT_EQ(logits_of(*after, restored->seq), logits_of(*before, seq));
}

TEST(SavedSession, equals_never_having_stopped_at_every_edge_of_a_page) {
  const tiny::TemporaryFile file(tiny::Spec{});
  for (const int n : {1, 2, 63, 64, 65, 127, 128, 129, 300}) {
    expect_same_future(file.path(), {}, random_tokens(n, 80, static_cast<uint64_t>(n)),
                       std::to_string(n) + " tokens");
  }
}

TEST(SavedSession, equals_never_having_stopped_in_every_format_of_pages) {
  const tiny::TemporaryFile file(tiny::Spec{});
  for (const Format k : {Format::kF32, Format::kF16, Format::kBf16}) {
    for (const Format v : {Format::kF32, Format::kF16, Format::kBf16}) {
      EngineOptions options;
      options.k = k;
      options.v = v;
      expect_same_future(file.path(), options, random_tokens(150, 80, 5),
                         std::string(format_name(k)) + "/" + format_name(v));
    }
  }
}

TEST(SavedSession, equals_never_having_stopped_with_windows_experts_and_sinks) {
  tiny::Spec windows;
  windows.arch = "gemma3";
  windows.layers = 3;
  windows.window = 40;
  windows.window_pattern = {1, 0, 1};
  tiny::Spec packed;
  packed.weight_type = tiny::kTensorQ4_0;
  for (const tiny::Spec& spec :
       {windows, packed, tiny::expert_spec("qwen3moe"), tiny::expert_spec("gpt-oss")}) {
    const tiny::TemporaryFile file(spec);
    expect_same_future(file.path(), {}, random_tokens(130, 80, 6), spec.arch);
  }
}

class Sessions : public ::testing::Test {
 protected:
  std::unique_ptr<Engine> engine(const EngineOptions& options = {}) const {
    return test::make_engine(file_.path(), options, 1);
  }
  std::string path() const { return folder_ / "a.session"; }

  // A file with these tokens.
  void save(const std::vector<Token>& tokens) const {
    const auto from = engine();
    const auto saved = save_session(*from, test::prefilled(*from, tokens), path());
    ASSERT_TRUE(saved.is_ok()) << saved.message();
  }

  tiny::TemporaryFile file_{tiny::Spec{}};
  test::TemporaryFolder folder_;
};

TEST_F(Sessions, a_fork_is_saved_as_its_own_and_leaves_the_other_alone) {
  const auto from = engine();
  const std::vector<Token> tokens = random_tokens(100, 80, 1);
  const SeqId seq = test::prefilled(*from, tokens);
  const auto fork = from->fork(seq);
  ASSERT_TRUE(fork.is_ok());
  test::step(*from, *fork, 7);
  const std::vector<float> of_fork = test::step(*from, *fork, 8);
  ASSERT_TRUE(save_session(*from, *fork, path()).is_ok());
  const auto restored = restore_session(*from, path());  // beside both
  ASSERT_TRUE(restored.is_ok()) << restored.message();
  EXPECT_EQ(logits_of(*from, restored->seq), of_fork);
  EXPECT_EQ(restored->tokens, 102);
  EXPECT_EQ(from->length(seq), 100);
  EXPECT_EQ(test::step(*from, restored->seq, 9), test::step(*from, *fork, 9));
  EXPECT_TRUE(from->store().check().is_ok());
}

TEST_F(Sessions, a_prefix_comes_back_alone_and_goes_on_as_if_it_had_been_all) {
  const std::vector<Token> tokens = random_tokens(300, 80, 2);
  save(tokens);
  for (const int n : {0, 1, 63, 64, 65, 128, 200, 299}) {
    std::vector<Token> prompt(tokens.begin(), tokens.begin() + n);
    prompt.push_back((tokens[static_cast<size_t>(n)] + 1) % 80);
    const auto to = engine();
    RestoreOptions options;
    options.prefix_of = prompt;
    const auto restored = restore_session(*to, path(), options);
    ASSERT_TRUE(restored.is_ok()) << restored.message();
    EXPECT_EQ(restored->tokens, n);
    EXPECT_EQ(restored->saved, 300);
    EXPECT_FALSE(to->logits(restored->seq).is_ok());
    const Status sound = to->store().check();
    EXPECT_TRUE(sound.is_ok()) << sound.message();
    // Only the pages of the prefix were taken.
    EXPECT_EQ(to->store().bytes().pages, 4u * static_cast<uint64_t>(pages_for(n)));
    const SeqId plain = to->create_sequence().value();
    if (n > 0) {
      ASSERT_TRUE(to->prefill(plain, {tokens.data(), static_cast<size_t>(n)}).is_ok());
    }
    EXPECT_EQ(test::step(*to, restored->seq, 5), test::step(*to, plain, 5)) << n;
  }
}

TEST_F(Sessions, nothing_new_is_not_written_again) {
  const auto from = engine();
  const std::vector<Token> tokens = random_tokens(90, 80, 3);
  const SeqId seq = test::prefilled(*from, tokens);
  ASSERT_TRUE(save_session(*from, seq, path()).is_ok());
  const auto time = std::filesystem::last_write_time(path());
  const auto again = save_session(*from, seq, path());
  ASSERT_TRUE(again.is_ok());
  EXPECT_FALSE(again->written);
  EXPECT_EQ(again->tokens, 90);
  ASSERT_TRUE(from->truncate(seq, 50).is_ok());
  EXPECT_FALSE(save_session(*from, seq, path())->written) << "the file has these tokens and more";
  EXPECT_EQ(std::filesystem::last_write_time(path()), time);
  test::step(*from, seq, (tokens[50] + 1) % 80);
  const auto other = save_session(*from, seq, path());
  EXPECT_TRUE(other->written);
  EXPECT_EQ(other->tokens, 51);
}

TEST_F(Sessions, each_fact_that_differs_is_named) {
  save(random_tokens(70, 80, 4));
  const auto expect_refusal = [&](const std::unique_ptr<Engine>& to, const std::string& text) {
    const auto restored = restore_session(*to, path());
    EXPECT_EQ(restored.code(), Code::kUnsupported) << restored.message();
    EXPECT_NE(restored.message().find(text), std::string::npos) << restored.message();
    EXPECT_NE(restored.message().find(path()), std::string::npos) << restored.message();
  };
  EngineOptions options;
  options.k = Format::kF32;
  expect_refusal(engine(options), "k is bf16 there and f32 here");
  options = {};
  options.v = Format::kF16;
  expect_refusal(engine(options), "v is bf16 there and f16 here");
  options = {};
  options.rope.base = 50000;
  expect_refusal(engine(options), "rotation0 is base 10000, scale 1 there and base 50000");
  options = {};
  options.rope.scaling = RopeScaling::kYarn;
  options.rope.factor = 2;
  expect_refusal(engine(options), "YaRN");
  tiny::Spec other;
  other.seed = 2;
  const tiny::TemporaryFile file(other);
  expect_refusal(test::make_engine(file.path(), {}, 1), "model is llama");
  ModelOptions load;
  load.threads = 1;
  load.weights = Weights::kF32;
  const auto dequantised = Model::load(file_.path(), load);
  ASSERT_TRUE(dequantised.is_ok());
  expect_refusal(std::move(*Engine::create(*dequantised, {})), "products is ");
}

TEST_F(Sessions, options_that_say_what_the_file_says_make_no_difference) {
  save(random_tokens(70, 80, 4));
  EngineOptions options;
  options.k = Format::kBf16;
  options.rope.base = 10000;
  options.chunk = 16;
  options.context = 100;
  const auto restored = restore_session(*engine(options), path());
  EXPECT_TRUE(restored.is_ok()) << restored.message();
}

TEST_F(Sessions, more_tokens_than_the_context_are_refused_with_both_numbers) {
  save(random_tokens(90, 80, 4));
  EngineOptions options;
  options.context = 80;
  const auto restored = restore_session(*engine(options), path());
  EXPECT_EQ(restored.code(), Code::kOutOfRange);
  EXPECT_NE(restored.message().find("90"), std::string::npos) << restored.message();
  EXPECT_NE(restored.message().find("80"), std::string::npos) << restored.message();
}

TEST_F(Sessions, the_stores_limit_holds_for_restored_pages) {
  save(random_tokens(300, 80, 4));
  EngineOptions options;
  options.max_kv_bytes = 40000;
  const auto to = engine(options);
  const auto restored = restore_session(*to, path());
  EXPECT_EQ(restored.code(), Code::kResourceExhausted) << restored.message();
  EXPECT_EQ(to->store().bytes().pages, 0u);
  EXPECT_TRUE(to->store().check().is_ok());
}

TEST_F(Sessions, what_is_no_session_is_refused_and_not_overwritten) {
  const std::string text = "Dear diary,";
  std::ofstream(path()) << text;
  const auto from = engine();
  const SeqId seq = test::prefilled(*from, random_tokens(5, 80, 4));
  EXPECT_EQ(restore_session(*from, path()).code(), Code::kInvalidArgument);
  EXPECT_EQ(save_session(*from, seq, path()).code(), Code::kInvalidArgument);
  EXPECT_EQ(std::filesystem::file_size(path()), text.size());
  EXPECT_EQ(save_session(*from, seq, "/dev/null").code(), Code::kInvalidArgument);
  EXPECT_EQ(save_session(*from, seq, folder_ / "").code(), Code::kInvalidArgument);
  EXPECT_EQ(save_session(*from, seq, folder_ / "none/a").code(), Code::kIo);
  EXPECT_EQ(restore_session(*from, folder_ / "none").code(), Code::kNotFound);
  EXPECT_EQ(save_session(*from, 99, path()).code(), Code::kNotFound);
  EXPECT_TRUE(sequence_tokens(*from, 99).empty());
}

TEST_F(Sessions, a_link_stays_one_and_a_files_mode_is_kept) {
  namespace fs = std::filesystem;
  const auto from = engine();
  const SeqId seq = test::prefilled(*from, random_tokens(5, 80, 4));
  ASSERT_TRUE(save_session(*from, seq, path()).is_ok());
  EXPECT_EQ(fs::status(path()).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  const fs::perms shared = fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read;
  fs::permissions(path(), shared);
  fs::create_symlink(path(), folder_ / "link");
  test::step(*from, seq, 1);
  ASSERT_TRUE(save_session(*from, seq, folder_ / "link").is_ok());
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_EQ(fs::status(path()).permissions(), shared);
  EXPECT_EQ(restore_session(*from, path())->tokens, 6);
  EXPECT_FALSE(fs::exists(path() + ".new"));
}

TEST_F(Sessions, tokens_follow_the_sequence) {
  const auto e = engine();
  const std::vector<Token> tokens = random_tokens(100, 80, 9);
  const SeqId seq = test::prefilled(*e, tokens);
  EXPECT_EQ(tokens_of(*e, seq), tokens);
  const SeqId fork = e->fork(seq).value();
  test::step(*e, fork, 3);
  EXPECT_EQ(tokens_of(*e, fork).size(), 101u);
  EXPECT_EQ(tokens_of(*e, fork).back(), 3);
  EXPECT_EQ(tokens_of(*e, seq), tokens);
  ASSERT_TRUE(e->truncate(seq, 40).is_ok());
  EXPECT_EQ(tokens_of(*e, seq), std::vector<Token>(tokens.begin(), tokens.begin() + 40));
  e->fail_after_node(3);
  EXPECT_FALSE(e->prefill(seq, tokens).is_ok());
  e->fail_after_node(-1);
  EXPECT_EQ(tokens_of(*e, seq).size(), 40u);
  ASSERT_TRUE(e->drop(seq).is_ok());
  EXPECT_TRUE(sequence_tokens(*e, seq).empty());
}

TEST_F(Sessions, a_live_prefix_is_shared_and_not_copied) {
  const auto e = engine();
  const std::vector<Token> tokens = random_tokens(200, 80, 9);
  const SeqId seq = test::prefilled(*e, tokens);
  const uint64_t pages = e->store().bytes().pages;
  std::vector<Token> other(tokens.begin(), tokens.begin() + 128);
  other.push_back((tokens[128] + 1) % 80);
  const auto shared = share_prefix(*e, other);
  ASSERT_TRUE(shared.is_ok()) << shared.message();
  EXPECT_EQ(shared->tokens, 128);
  EXPECT_EQ(e->store().bytes().pages, pages);
  const SeqId plain = test::prefilled(*e, {tokens.begin(), tokens.begin() + 128});
  EXPECT_EQ(test::step(*e, shared->seq, 7), test::step(*e, plain, 7));
  EXPECT_EQ(tokens_of(*e, seq), tokens);
  // All of one that ends there: its logits come with it.
  const auto whole = share_prefix(*e, tokens);
  EXPECT_EQ(whole->tokens, 200);
  EXPECT_EQ(logits_of(*e, whole->seq), logits_of(*e, seq));
  EXPECT_EQ(share_prefix(*e, std::vector<Token>{(tokens[0] + 1) % 80})->tokens, 0);
  EXPECT_TRUE(e->store().check().is_ok());
}

TEST_F(Sessions, starting_takes_the_longer_of_what_lives_and_what_was_saved) {
  const std::vector<Token> tokens = random_tokens(200, 80, 9);
  save(tokens);
  const auto e = engine();
  StartOptions options;
  options.session = path();
  const auto all = start_sequence(*e, tokens, options);  // one token is left to compute
  ASSERT_TRUE(all.is_ok()) << all.message();
  EXPECT_EQ(all->reused, 199);
  EXPECT_TRUE(all->from_file);
  const auto live = start_sequence(*e, tokens, options);
  EXPECT_EQ(live->reused, 199);
  EXPECT_FALSE(live->from_file);
  options.session = folder_ / "none";
  EXPECT_EQ(start_sequence(*e, tokens, options)->reused, 199);
  EXPECT_EQ(start_sequence(*engine(), tokens, options)->reused, 0);
  EXPECT_EQ(start_sequence(*e, std::vector<Token>{}, options)->reused, 0);
  std::ofstream(folder_ / "none") << "not a session";
  EXPECT_EQ(start_sequence(*e, tokens, options).code(), Code::kInvalidArgument);
}

TEST_F(Sessions, the_hash_is_that_of_the_text) {
  const auto a = engine(), b = engine(test::exact_options());
  const SeqId in_a = a->create_sequence().value(), in_b = b->create_sequence().value();
  const std::string text = kv_text(*a, in_a).value();
  EXPECT_NE(text.find("kv=1\nmodel="), std::string::npos) << text;
  EXPECT_EQ(kv_hash(*a, in_a)->size(), 64u);
  const auto twin = engine();
  EXPECT_EQ(*kv_hash(*a, in_a), *kv_hash(*twin, *twin->create_sequence()));
  EXPECT_NE(*kv_hash(*a, in_a), *kv_hash(*b, in_b));
  EXPECT_EQ(kv_hash(*a, 99).code(), Code::kNotFound);
}

}  // namespace
}  // namespace heed
