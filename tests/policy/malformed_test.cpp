// Specs that are wrong: one line each, with the field, the value and what is valid.
#include <gtest/gtest.h>

#include <string>

#include "policy_rows.h"

namespace heed::test {
namespace {

struct Bad {
  const char* text;
  const char* field;  // what the message has to name
  const char* value;
  const char* valid;
};

constexpr Bad kBad[] = {
    // stages
    {"prefil=dense", "stage", "'prefil'", "one of prefill, correct"},
    {"PREFILL=dense", "stage", "'PREFILL'", "did you mean 'prefill'?"},
    {"=dense", "stage", "''", "one of prefill, correct"},
    {"decode=quest", "stage", "decode", "which has prefill, correct"},
    {"steer=act", "stage", "steer", "which has prefill, correct"},
    {"cache=f16", "stage", "'cache'", "one of prefill, correct"},
    {"dense", "part", "'dense'", "STAGE=NAME"},
    {"prefill", "part", "'prefill'", "a stage of prefill, correct"},
    {"prefill:dense", "part", "'prefill:dense'", "STAGE=NAME"},
    {";prefill=dense", "part", "empty", "STAGE=NAME"},
    {"prefill=dense;", "part", "empty", "a ; too many"},
    {"prefill=dense;;kv=k:f16", "part", "empty", "STAGE=NAME"},
    // mechanisms
    {"prefill=", "prefill", "''", "one of dense, a_shape"},
    {"prefill=flexprefil", "prefill", "'flexprefil'", "did you mean 'flexprefill'?"},
    {"prefill=none", "prefill", "'none'", "one of dense, a_shape"},
    {"prefill=dense a_shape", "prefill", "'dense a_shape'", "one of dense, a_shape"},
    {"prefill=delta_attention", "prefill", "'delta_attention', which belongs to correct",
     "one of dense, a_shape"},
    {"correct=a_shape", "correct", "'a_shape', which belongs to prefill",
     "one of delta_attention, none"},
    {"correct=delta_atention", "correct", "'delta_atention'", "did you mean 'delta_attention'?"},
    {"prefill=a_shape=5", "prefill", "'a_shape=5'", "one of dense, a_shape"},
    // wrappers
    {"prefill=a_shape+tri_shape", "prefill", "'tri_shape' behind a +", "no wrappers"},
    {"evict=keep+by_chink", "evict", "'by_chink' behind a +", "did you mean 'by_chunk'?"},
    {"evict=by_chunk", "evict", "'by_chunk'", "one of keep, none"},
    {"evict=keep+", "evict", "'' behind a +", "one of by_chunk"},
    {"evict=keep+by_chunk:chunk=100", "chunk", "'100'", "from 1 to 99"},
    // parameters
    {"prefill=flexprefill:gama=0.9", "prefill=flexprefill", "'gama'", "did you mean 'gamma'?"},
    {"prefill=flexprefill:zzz=1", "prefill=flexprefill", "'zzz'", "one of gamma, tau"},
    {"prefill=flexprefill:gamma", "gamma", "'gamma'", "a number from 0 to 2"},
    {"prefill=flexprefill:gamma=", "gamma", "''", "a number from 0 to 2"},
    {"prefill=flexprefill:gamma=x", "gamma", "'x'", "a number from 0 to 2"},
    {"prefill=flexprefill:gamma=2.5", "gamma", "'2.5'", "a number from 0 to 2"},
    {"prefill=flexprefill:gamma=-0.1", "gamma", "'-0.1'", "a number from 0 to 2"},
    {"prefill=flexprefill:gamma=nan", "gamma", "'nan'", "a number from 0 to 2"},
    {"prefill=flexprefill:gamma=inf", "gamma", "'inf'", "a number from 0 to 2"},
    {"prefill=flexprefill:gamma=0,9", "prefill=flexprefill", "'9'", "NAME=VALUE with one of gamma"},
    {"prefill=flexprefill:gamma=1e999", "gamma", "'1e999'", "a number from 0 to 2"},
    {"prefill=flexprefill:gamma=0.9,gamma=0.8", "gamma", "'0.8'", "twice"},
    {"prefill=flexprefill:0.9,gamma=0.8", "gamma", "'0.8'", "a number from 0 to 2"},
    {"prefill=flexprefill:gamma=0.9,", "prefill=flexprefill", "''", "NAME=VALUE with one of gamma"},
    {"prefill=flexprefill:", "prefill=flexprefill", "''", "NAME=VALUE with one of gamma"},
    {"prefill=flexprefill:block=64.5", "block", "'64.5'", "a whole number from 16 to 128"},
    {"prefill=flexprefill:block=8", "block", "'8'", "from 16 to 128"},
    {"prefill=flexprefill:max_budget=4", "max_budget", "4", "0 or at least min_budget, 1024"},
    {"prefill=a_shape:n_local=0", "n_local", "'0'", "from 1 to 268435456"},
    {"prefill=a_shape:n_local=99999999999999999999", "n_local", "'99999999999999999999'",
     "from 1 to 268435456"},
    {"prefill=a_shape:n_init=4k", "n_init", "'4k'", "from 0 to 268435456"},
    {"prefill=vertical_slash:1000", "prefill=vertical_slash", "'1000'",
     "NAME=VALUE with one of nv"},
    {"prefill=xattention:stride=7", "stride", "7", "must divide block, 128"},
    {"prefill=spargeattn:pick=cfd", "pick", "'cfd'", "did you mean 'cdf'?"},
    {"prefill=spargeattn:sink=maybe", "sink", "'maybe'", "true or false"},
    {"prefill=dense:x=1", "prefill=dense", "'x=1'", "no parameters"},
    {"evict=keep:120%", "share", "'120%'", "a share (20%)"},
    {"evict=keep:-5", "share", "'-5'", "entries kept (512)"},
    // files and quotes
    {"prefill=block_sparse_flash", "mask", "not given", "a file's name (mask=FILE)"},
    {"prefill=block_sparse_flash:mask=", "mask", "''", "a file's name"},
    {"prefill=block_sparse_flash:mask=\"a.npy", "quote", "'a.npy'", "not closed"},
    {"prefill=block_sparse_flash:mask=a\"b\"", "prefill=block_sparse_flash", "'a\"b\"'",
     "the whole value"},
    // formats
    {"kv=f16", "kv", "'f16'", "k:FORMAT,v:FORMAT"},
    {"kv=", "kv", "''", "with f32, f16, bf16"},
    {"kv=k:q8_0", "kv: k", "'q8_0'", "one of f32, f16, bf16"},
    {"kv=k:bf61", "kv: k", "'bf61'", "did you mean 'bf16'?"},
    {"kv=k:f16,k:f32", "kv: k", "'f32'", "one of f32, f16, bf16"},
    {"kv=x:f16", "kv", "'x:f16'", "k:FORMAT,v:FORMAT"},
    // places
    {"prefill@=dense", "prefill@", "''", "L0-3"},
    {"prefill@3=dense", "prefill@", "'3'", "like L3, L0-3"},
    {"prefill@L3-1=dense", "prefill@", "'L3-1'", "must be 3 to 511"},
    {"prefill@L600=dense", "prefill@", "'L600'", "layers are 0 to 511"},
    {"prefill@L3.H1024=dense", "prefill@", "'L3.H1024'", "heads are 0 to 1023"},
    {"prefill@L3.Q1=dense", "prefill@", "'L3.Q1'", "L12.H3"},
    {"prefill@L-3=dense", "prefill@", "'L-3'", "L0-3"},
    {"prefill@L3.=dense", "prefill@", "'L3.'", "L12.H3"},
    {"prefill@L99999999999=dense", "prefill@", "'L99999999999'", "layers are 0 to 511"},
    // twice
    {"prefill=a_shape;prefill=dense", "prefill", "twice", "say it once"},
    {"prefill@*=a_shape;prefill=dense", "prefill", "twice", "say it once"},
    {"prefill@L0-3=a_shape;prefill@L2=dense", "prefill", "at L0-3 and at L2", "same heads"},
};

TEST(malformed, each_spec_gives_one_line_with_field_value_and_what_is_valid) {
  EXPECT_GE(std::size(kBad), 60u);
  for (const Bad& bad : kBad) {
    const auto policy = Policy::parse(bad.text, all_rows());
    ASSERT_FALSE(policy.is_ok()) << bad.text;
    const std::string& said = policy.message();
    EXPECT_EQ(said.find('\n'), std::string::npos) << said;
    EXPECT_LT(said.size(), 400u) << said;
    for (const char* part : {bad.field, bad.value, bad.valid}) {
      EXPECT_NE(said.find(part), std::string::npos)
          << bad.text << " should tell " << part << "; it says: " << said;
    }
  }
}

TEST(malformed, a_stage_of_another_build_is_unsupported_and_not_unknown) {
  EXPECT_EQ(Policy::parse("decode=quest", all_rows()).code(), Code::kUnsupported);
  EXPECT_EQ(Policy::parse("decodes=quest", all_rows()).code(), Code::kInvalidArgument);
  const auto evict = Policy::parse("evict=keep");
  EXPECT_NE(evict.message().find("not in this build"), std::string::npos) << evict.message();
}

TEST(malformed, what_is_long_or_has_control_characters_stays_one_short_line) {
  for (const std::string& text :
       {std::string(Policy::kMostText + 1, 'x'), "prefill=" + std::string(60000, 'a'),
        std::string("prefill=a\nb\x1b[31m"), "prefill=flexprefill:gamma=" + std::string(5000, '9'),
        "prefill@L" + std::string(3000, '1') + "=dense", std::string(60000, ';'),
        std::string("prefill=a_shape:n_init=\0", 24), std::string("kv=\xff\xfe")}) {
    const auto policy = Policy::parse(text, all_rows());
    ASSERT_FALSE(policy.is_ok());
    EXPECT_LT(policy.message().size(), 600u);
    for (const char c : policy.message()) EXPECT_FALSE(c >= 0 && c < 0x20) << policy.message();
  }
}

TEST(malformed, more_parts_than_a_policy_may_have_are_refused) {
  std::string text;
  for (int layer = 0; layer < 10; ++layer) {
    for (int head = 0; head < 512; ++head) {
      text += (text.empty() ? "" : ";") + std::string("prefill@L") + std::to_string(layer) + ".H" +
              std::to_string(head) + "=a_shape";
    }
  }
  EXPECT_FALSE(Policy::parse(text, all_rows()).is_ok());
}

}  // namespace
}  // namespace heed::test
