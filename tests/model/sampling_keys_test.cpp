// The sampling that a file recommends: read, and taken where the user said nothing.
#include "model/sampling_keys.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tiny_gguf.h"

namespace heed {
namespace {

using tiny::f32_key;
using tiny::text_key;

tiny::Key i32_key(const std::string& name, int32_t value) {
  return tiny::scalar_key(name, tiny::kI32, value);
}

Result<ModelInfo> info_with(const std::vector<tiny::Key>& keys) {
  tiny::File file = tiny::make_file(tiny::small_spec());
  for (tiny::Key key : keys) {
    key.name = "general.sampling." + key.name;
    file.keys.push_back(std::move(key));
  }
  const tiny::TemporaryFile written(file);
  return Model::inspect(written.path());
}

// What `options` come to behind a file with `keys`.
SamplerOptions taken(const std::vector<tiny::Key>& keys, const std::vector<std::string>& own = {},
                     SamplerOptions options = {}) {
  const auto info = info_with(keys);
  EXPECT_TRUE(info.is_ok()) << info.message();
  if (!info.is_ok()) return options;
  const auto names = take_recommended(*info, own, options);
  EXPECT_TRUE(names.is_ok()) << names.message();
  return options;
}

// All keys that llama.cpp's converter writes, in its types.
std::vector<tiny::Key> all_keys() {
  return {f32_key("temp", 0.6f),
          i32_key("top_k", 20),
          f32_key("top_p", 0.8f),
          f32_key("min_p", 0.01f),
          f32_key("xtc_probability", 0.25f),
          f32_key("xtc_threshold", 0.2f),
          i32_key("penalty_last_n", 32),
          f32_key("penalty_repeat", 1.1f),
          f32_key("mirostat_tau", 4.0f),
          f32_key("mirostat_eta", 0.3f),
          i32_key("mirostat", 0),
          text_key("sequence", "top_k;temperature")};
}

TEST(SamplingKeys, every_key_of_llama_cpp_reaches_its_option) {
  const SamplerOptions o = taken(all_keys());
  EXPECT_FLOAT_EQ(o.temperature, 0.6f);
  EXPECT_EQ(o.top_k, 20);
  EXPECT_FLOAT_EQ(o.top_p, 0.8f);
  EXPECT_FLOAT_EQ(o.min_p, 0.01f);
  EXPECT_FLOAT_EQ(o.xtc_probability, 0.25f);
  EXPECT_FLOAT_EQ(o.xtc_threshold, 0.2f);
  EXPECT_EQ(o.repeat_last_n, 32);
  EXPECT_FLOAT_EQ(o.repeat_penalty, 1.1f);
  EXPECT_FLOAT_EQ(o.mirostat_tau, 4.0f);
  EXPECT_FLOAT_EQ(o.mirostat_eta, 0.3f);
  EXPECT_EQ(o.samplers, (std::vector<std::string>{"top_k", "temperature"}));
  EXPECT_EQ(taken({i32_key("mirostat", 2)}).mirostat, 2);
}

TEST(SamplingKeys, a_file_without_them_changes_nothing) {
  const SamplerOptions o = taken({});
  EXPECT_FLOAT_EQ(o.temperature, SamplerOptions().temperature);
  EXPECT_EQ(o.top_k, SamplerOptions().top_k);
  EXPECT_TRUE(o.samplers.empty());
}

TEST(SamplingKeys, what_the_user_set_stands) {
  SamplerOptions mine;
  mine.temperature = 0;
  mine.top_k = 7;
  mine.samplers = {"top_p"};
  const SamplerOptions o = taken(all_keys(), {"temp", "top_k", "sequence"}, mine);
  EXPECT_EQ(o.temperature, 0);
  EXPECT_EQ(o.top_k, 7);
  EXPECT_EQ(o.samplers, mine.samplers);
  EXPECT_FLOAT_EQ(o.top_p, 0.8f);
}

TEST(SamplingKeys, an_own_chain_and_mirostat_keep_each_other_out) {
  const std::vector<tiny::Key> both = {text_key("sequence", "top_k"), i32_key("mirostat", 2)};
  EXPECT_EQ(taken(both).mirostat, 2);  // as llama.cpp does
  EXPECT_TRUE(taken(both).samplers.empty());
  SamplerOptions chain;
  chain.samplers = {"top_p"};
  EXPECT_EQ(taken(both, {"sequence"}, chain).mirostat, 0);
  SamplerOptions mirostat;
  mirostat.mirostat = 1;
  EXPECT_EQ(taken(both, {"mirostat"}, mirostat).mirostat, 1);
  EXPECT_TRUE(taken(both, {"mirostat"}, mirostat).samplers.empty());
  EXPECT_EQ(taken(both, {"mirostat"}).samplers.size(), 1u);  // mirostat 0 by the user
}

TEST(SamplingKeys, values_out_of_range_name_the_file_the_key_and_the_way_out) {
  for (const auto& [key, word] : std::vector<std::pair<tiny::Key, std::string>>{
           {f32_key("temp", 1e-9f), "temperature is"},
           {f32_key("top_p", 1.5f), "top-p is 1.5"},
           {i32_key("penalty_last_n", -1), "repeat-last-n is -1"},
           {i32_key("mirostat", 3), "mirostat is 3"},
           {text_key("sequence", "top_k;top_q"), "top_q"}}) {
    const auto info = info_with({key});
    ASSERT_TRUE(info.is_ok()) << info.message();
    SamplerOptions options;
    const auto result = take_recommended(*info, {}, options);
    ASSERT_FALSE(result.is_ok()) << key.name;
    for (const std::string& part : {info->path, key.name, word, std::string("command line")}) {
      EXPECT_NE(result.message().find(part), std::string::npos) << result.message();
    }
    EXPECT_FLOAT_EQ(options.temperature, 0.8f);  // as they were
    const std::vector<std::string> own = {key.name};
    EXPECT_TRUE(take_recommended(*info, own, options).is_ok());
  }
}

TEST(SamplingKeys, another_type_is_corrupt_and_the_key_is_named) {
  for (const tiny::Key& key :
       {text_key("temp", "0.6"), f32_key("top_k", 2.5f), i32_key("sequence", 1),
        tiny::array_key<float>("top_p", tiny::kF32, {0.5f, 0.6f})}) {
    const auto info = info_with({key});
    EXPECT_EQ(info.code(), Code::kCorrupt) << key.name;
    EXPECT_NE(info.message().find("general.sampling." + key.name), std::string::npos)
        << info.message();
  }
}

TEST(SamplingKeys, a_key_of_tomorrow_is_kept_as_unknown_and_not_taken) {
  const auto info = info_with({f32_key("warmth", 1.0f), i32_key("top_k", 3)});
  ASSERT_TRUE(info.is_ok()) << info.message();
  ASSERT_EQ(info->sampling.size(), 2u);
  EXPECT_EQ(info->sampling[0].name, "warmth");
  EXPECT_FALSE(info->sampling[0].known);
  SamplerOptions options;
  const auto names = take_recommended(*info, {}, options);
  ASSERT_TRUE(names.is_ok());
  ASSERT_EQ(names->size(), 1u);
  EXPECT_EQ((*names)[0].text, "3");
}

}  // namespace
}  // namespace heed
