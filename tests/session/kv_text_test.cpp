// What a saved session is bound to: one fact that differs is enough, wherever it stands.
#include <gtest/gtest.h>

#include "adapter_fixture.h"
#include "heed/session.h"
#include "session/kv_hash.h"
#include "session_fixture.h"
#include "temporary_folder.h"
#include "tiny_adapter.h"

namespace heed {
namespace {

tiny::File named_model(const std::string& name, uint64_t seed) {
  tiny::Spec spec;
  spec.seed = seed;
  tiny::File file = tiny::make_file(spec);
  file.keys.push_back(tiny::text_key("general.name", name));
  return file;
}

TEST(KvText, a_long_name_hides_no_other_model) {
  const std::string name(200, 'n');
  const tiny::TemporaryFile one(named_model(name, 1)), two(named_model(name, 2));
  const test::TemporaryFolder folder;
  const auto from = test::make_engine(one.path(), {}, 1);
  const SeqId seq = test::prefilled(*from, test::random_tokens(70, 80, 1));
  ASSERT_TRUE(save_session(*from, seq, folder / "a.session").is_ok());
  const auto to = test::make_engine(two.path(), {}, 1);
  const auto restored = restore_session(*to, folder / "a.session");
  EXPECT_EQ(restored.code(), Code::kUnsupported);
  EXPECT_NE(restored.message().find("model is "), std::string::npos) << restored.message();
  // What differs is in what is shown of it.
  const std::string& said = restored.message();
  const size_t there = said.find(name.substr(0, 40)), here = said.rfind(name.substr(0, 40));
  ASSERT_LT(there, here) << said;
  const std::string first = said.substr(there, said.find(" there and ") - there);
  EXPECT_NE(said.compare(here, first.size(), first), 0) << said;
}

TEST(KvText, texts_differ_wherever_they_do) {
  const std::string text = "kv=1\nmodel=" + std::string(400, 'm') + "a\nrotation0=base 1\n";
  EXPECT_EQ(kv_difference(text, text), "");
  std::string other = text;
  other[text.find('a')] = 'b';  // a byte that no message has room for
  EXPECT_NE(kv_difference(text, other), "");
  EXPECT_NE(kv_difference(text, text + "x"), "");
  EXPECT_NE(kv_difference(text, text + "rotation0=base 1\n"), "") << "a fact that is there twice";
  EXPECT_NE(kv_difference("a=1\nb=2\n", "b=2\na=1\n"), "") << "in another order";
}

TEST(KvText, adapters_in_another_number_or_order_are_others) {
  const tiny::Spec spec;
  const tiny::TemporaryFile model(spec);
  const tiny::TemporaryFile a(tiny::make_adapter(spec, {.seed = 1})),
      b(tiny::make_adapter(spec, {.seed = 2})), c(tiny::make_adapter(spec, {.seed = 3}));
  const test::TemporaryFolder folder;
  const auto engine = test::make_engine(model.path(), {}, 1);
  const auto like = [&](const std::vector<ScaledFile>& loras) {
    const SeqId seq = engine->create_sequence().value();
    const Status set = set_adaptation(*engine, seq, test::adaptation_with(*engine, loras));
    EXPECT_TRUE(set.is_ok()) << set.message();
    return seq;
  };
  const std::vector<ScaledFile> saved = {{a.path(), 1}, {b.path(), 1}, {c.path(), 0.5f}};
  const SeqId seq = like(saved);
  ASSERT_TRUE(engine->prefill(seq, test::random_tokens(70, 80, 1)).is_ok());
  ASSERT_TRUE(save_session(*engine, seq, folder / "a.session").is_ok());
  const auto restored_like = [&](const std::vector<ScaledFile>& loras) {
    RestoreOptions options;
    options.like = like(loras);
    return restore_session(*engine, folder / "a.session", options);
  };
  const auto same = restored_like(saved);
  EXPECT_TRUE(same.is_ok()) << same.message();
  for (const std::vector<ScaledFile>& other : {std::vector{saved[0], saved[1]},
                                               {saved[0], saved[1], saved[1], saved[2]},
                                               {saved[0], saved[2], saved[1]},
                                               {saved[1], saved[0], saved[2]},
                                               {saved[0], saved[1], {c.path(), 0.25f}}}) {
    const auto restored = restored_like(other);
    EXPECT_EQ(restored.code(), Code::kUnsupported) << other.size();
    EXPECT_NE(restored.message().find("adaptation"), std::string::npos) << restored.message();
  }
}

}  // namespace
}  // namespace heed
