// Policies as text: what they say of a head, their canonical form, their hashes.
#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <set>

#include "base/random.h"
#include "policy/syntax.h"
#include "policy/where.h"
#include "policy_rows.h"
#include "temporary_folder.h"

namespace heed::test {
namespace {

std::string canonical(std::string_view text) { return policy_of(text).text(); }

uint64_t hash_of(std::string_view text) {
  const auto hash = policy_of(text).hash();
  EXPECT_TRUE(hash.is_ok()) << hash.message();
  return hash.is_ok() ? *hash : 0;
}

uint64_t kv_hash_of(std::string_view text) {
  const auto hash = policy_of(text).kv_hash();
  EXPECT_TRUE(hash.is_ok()) << hash.message();
  return hash.is_ok() ? *hash : 0;
}

TEST(policy, text_of_every_form_has_one_canonical_form) {
  const std::pair<const char*, const char*> kForms[] = {
      {"", ""},
      {"  ", ""},
      {"prefill=dense", ""},
      {"prefill=flexprefill:gamma=0.95;correct=delta_attention:gamma=64;kv=k:bf16,v:f16",
       "prefill=flexprefill:gamma=0.95;correct=delta_attention;kv=k:bf16,v:f16"},
      {" kv = k:f16 ; prefill = Flex-Prefill : tau=0.2 , gamma=9e-1 ",
       "prefill=flexprefill:tau=0.2;kv=k:f16"},
      {"prefill=flexprefill:0.95", "prefill=flexprefill:gamma=0.95"},
      {"prefill=flexprefill:0.95,min_budget=512", "prefill=flexprefill:gamma=0.95,min_budget=512"},
      {"prefill=tri_shape:n_last=64,start_size=4", "prefill=tri_shape:n_init=4,n_last=64"},
      {"prefill=spargeattn:lambda=inf,sink=on", "prefill=spargeattn:lambda=inf,sink=true"},
      {"kv=v:bf16,k:f16", "kv=k:f16,v:bf16"},
      {"correct=none", ""},
      {"prefill=dense;prefill@L3=dense", ""},
      {"prefill@L3=dense;prefill=a_shape", "prefill=a_shape;prefill@L3=dense"},
      {"prefill=a_shape;prefill@L3=a_shape:128", "prefill=a_shape;prefill@L3=a_shape:n_local=128"},
      {"prefill=a_shape;prefill@L3=a_shape:n_local=3968", "prefill=a_shape"},
      {"prefill@*=a_shape", "prefill=a_shape"},
      {"prefill@L4-5,L0-1=a_shape", "prefill@L0-1=a_shape;prefill@L4-5=a_shape"},
      {"prefill@L12.H3-3=a_shape;prefill@L12.H*=dense;prefill=tri_shape",
       "prefill=tri_shape;prefill@L12=dense;prefill@L12.H3=a_shape"},
      {"evict=keep:12.5%,exact=1+by_chunk:chunk=7",
       "evict=keep:share=12.5%,exact=true+by_chunk:chunk=7"},
      {"prefill=block_sparse_flash:mask=masks/a.npy",
       "prefill=block_sparse_flash:mask=masks/a.npy"},
      {"prefill=block_sparse_flash:\"a;b+c, \\\"d\\\".npy\"",
       "prefill=block_sparse_flash:mask=\"a;b+c, \\\"d\\\".npy\""},
      {"prefill=xattention:norm=1e+1", "prefill=xattention:norm=10"},
  };
  for (const auto& [text, expected] : kForms) {
    EXPECT_EQ(canonical(text), expected) << text;
    EXPECT_EQ(canonical(expected), expected) << text;
  }
}

// A valid value of a parameter.
std::string random_value(const Parameter& p, Random& random) {
  switch (p.type) {
    case ParameterType::kInt: {
      const auto span = static_cast<uint64_t>(std::min(p.most - p.least, 1e6));
      return value_text(
          Value(static_cast<int64_t>(p.least) + static_cast<int64_t>(random.below(span + 1))));
    }
    case ParameterType::kFloat:
      return value_text(Value(p.least + random.uniform() * std::min(p.most - p.least, 1e3)));
    case ParameterType::kBool: return random.below(2) != 0 ? "on" : "off";
    case ParameterType::kChoice: {
      const auto words = words_in(p.choices);
      return std::string(words[random.below(words.size())]);
    }
    case ParameterType::kFile:
      return quote_value(std::array{"a.npy", "a b,c.json", "x+y;z=1", "\"q\"\\"}[random.below(4)]);
    case ParameterType::kBudget: return std::array{"512", "12.5%", "3MiB", "0"}[random.below(4)];
  }
  return {};
}

std::string random_call(const Mechanism& m, Random& random) {
  std::string out(m.name);
  char separator = ':';
  for (const Parameter& p : m.parameters) {
    const bool required = p.type == ParameterType::kFile && !p.optional;
    if (!required && random.below(2) == 0) continue;
    out += separator + std::string(p.name) + "=" + random_value(p, random);
    separator = ',';
  }
  return out;
}

// Stages with mechanisms, everywhere and at places that do not overlap.
std::string random_policy(Random& random) {
  std::string out;
  const auto add = [&](const std::string& text) { out += (out.empty() ? "" : ";") + text; };
  for (const Stage stage : {Stage::kPrefill, Stage::kCorrect, Stage::kEvict}) {
    const auto of = all_rows().of(stage);
    std::vector<std::string> places = {"", "@L0-3", "@L7", "@L7.H2", "@L*.KV1", "@L9-12.H0-1"};
    for (const std::string& place : places) {
      if (random.below(3) != 0) continue;
      const Mechanism& m = *of[random.below(of.size())];
      if ((m.capabilities & kWrapper) != 0) continue;
      std::string call = random_call(m, random);
      if (!Policy::parse(std::string(stage_name(stage)) + "=" + call, all_rows()).is_ok()) continue;
      add(stage_name(stage) + place + "=" + call);
    }
  }
  if (random.below(2) != 0) add("kv=v:f16");
  return out;
}

TEST(policy, the_canonical_form_is_the_same_policy) {
  Random random(11);
  std::set<std::string> seen;
  for (int i = 0; i < 2000; ++i) {
    const std::string text = random_policy(random);
    const Policy policy = policy_of(text);
    const Policy again = policy_of(policy.text());
    EXPECT_EQ(again.text(), policy.text()) << text;
    for (const int layer : {0, 5, 7, 9}) {
      for (int head = 0; head < 4; ++head) {
        for (const Stage stage : {Stage::kPrefill, Stage::kCorrect, Stage::kEvict}) {
          const auto chain_of = [&](const Policy& p) {
            const Assignment* a = p.at(stage, layer, head, head / 2);
            const bool dense =
                a != nullptr && a->chain.size() == 1 && a->chain[0].mechanism->name == "dense";
            return a == nullptr || dense ? std::vector<Setting>() : a->chain;
          };
          EXPECT_EQ(chain_of(policy), chain_of(again)) << text;
        }
      }
    }
    seen.insert(policy.text());
  }
  EXPECT_GT(seen.size(), 1000u);  // or the draw is poor
}

TEST(policy, the_narrower_place_decides) {
  const Policy p = policy_of(
      "prefill=tri_shape;prefill@L4-9=dense;prefill@L*.KV1=xattention;prefill@L5.KV1=a_shape;"
      "prefill@L5.H3=block_topk");
  const auto name = [&](int layer, int head) {
    return p.at(Stage::kPrefill, layer, head, head / 2)->chain.front().mechanism->name;
  };
  EXPECT_EQ(name(0, 0), "tri_shape");
  EXPECT_EQ(name(4, 0), "dense");
  EXPECT_EQ(name(9, 1), "dense");
  EXPECT_EQ(name(10, 1), "tri_shape");
  EXPECT_EQ(name(10, 2), "xattention");
  EXPECT_EQ(name(5, 2), "a_shape");
  EXPECT_EQ(name(5, 3), "block_topk");
  EXPECT_EQ(p.at(Stage::kCorrect, 0, 0, 0), nullptr);
}

TEST(policy, places_are_read_as_they_are_written) {
  for (const char* text : {"*", "L3", "L0-3", "L12.H3", "L0-3.KV1", "L*.H0-2", "L511.H1023"}) {
    const auto where = parse_where(text);
    ASSERT_TRUE(where.is_ok()) << where.message();
    EXPECT_EQ(where->text(), text);
  }
  EXPECT_EQ(parse_where("L3.H*")->text(), "L3");
  EXPECT_EQ(parse_where("L*.KV*")->text(), "*");
}

TEST(policy, over_another_it_keeps_what_it_does_not_name) {
  const Policy base =
      policy_of("prefill=a_shape;prefill@L0=dense;correct=delta_attention;kv=k:bf16,v:f16");
  EXPECT_EQ(policy_of("").over(base).text(), base.text());
  EXPECT_EQ(policy_of("prefill=xattention").over(base).text(),
            "prefill=xattention;correct=delta_attention;kv=k:bf16,v:f16");
  EXPECT_EQ(policy_of("prefill=dense;correct=none").over(base).text(), "kv=k:bf16,v:f16");
  EXPECT_EQ(policy_of("kv=k:f32").over(base).text(),
            "prefill=a_shape;prefill@L0=dense;correct=delta_attention;kv=k:f32,v:f16");
}

TEST(policy, formats_of_pages_are_those_it_names) {
  EXPECT_FALSE(policy_of("").k().has_value());
  EXPECT_FALSE(policy_of("kv=v:f16").k().has_value());
  EXPECT_EQ(policy_of("kv=v:f16").v(), Format::kF16);
  EXPECT_EQ(policy_of("kv=k:bf16,v:f32").k(), Format::kBf16);
  EXPECT_EQ(policy_of("kv=k:bf16,v:f32").v(), Format::kF32);
}

TEST(policy, equal_policies_have_equal_hashes_and_others_do_not) {
  EXPECT_EQ(hash_of("prefill=a_shape:n_local=3968"), hash_of("prefill=a_shape"));
  EXPECT_EQ(hash_of("prefill=dense"), hash_of(""));
  std::set<uint64_t> hashes;
  std::set<std::string> texts;
  Random random(13);
  for (int i = 0; i < 500; ++i) {
    const Policy p = policy_of(random_policy(random));
    if (p.text().find("mask=") != std::string::npos) continue;      // it names a file
    if (p.text().find("patterns=") != std::string::npos) continue;  // and so does this
    texts.insert(p.text());
    hashes.insert(*p.hash());
  }
  EXPECT_EQ(hashes.size(), texts.size());
  EXPECT_EQ(hash_text(0x1f).size(), 16u);
  EXPECT_EQ(hash_text(0x1f), "000000000000001f");
}

TEST(policy, a_revision_and_a_default_are_in_the_hash) {
  const Row* now[] = {&kKeep};
  const Row* next[] = {&kKeepNext};
  const auto hash = [](std::span<const Row* const> rows) {
    return *Policy::parse("evict=keep", Registry(rows))->hash();
  };
  EXPECT_NE(hash(now), hash(next));
}

TEST(policy, a_file_is_in_the_hash_by_what_it_holds) {
  const TemporaryFolder folder;
  const auto write = [&](const char* name, const char* bytes) {
    std::ofstream(folder / name) << bytes;
    return "prefill=minference:patterns=" + (folder / name);
  };
  const auto a = hash_of(write("a.json", "[1]")), same = hash_of(write("b.json", "[1]"));
  EXPECT_EQ(a, same);
  EXPECT_NE(a, hash_of(write("a.json", "[2]")));
  const auto missing = policy_of("prefill=minference:patterns=/nonexistent/x.json").hash();
  ASSERT_FALSE(missing.is_ok());
  EXPECT_NE(missing.message().find("patterns '/nonexistent/x.json'"), std::string::npos)
      << missing.message();
}

TEST(policy, kv_hash_looks_at_what_alters_keys_and_values_only) {
  EXPECT_EQ(kv_hash_of("evict=keep"), kv_hash_of(""));
  EXPECT_EQ(kv_hash_of("prefill=a_shape;evict=keep:7%"), kv_hash_of("prefill=a_shape"));
  for (const char* alters : {"prefill=a_shape", "kv=k:f16", "kv=v:f16", "prefill@L1=a_shape",
                             "prefill=a_shape;correct=delta_attention"}) {
    EXPECT_NE(kv_hash_of(alters), kv_hash_of("")) << alters;
  }
}

TEST(policy, presets_are_valid_and_canonical) {
  std::set<std::string_view> names;
  for (const Preset& preset : presets()) {
    const auto policy = Policy::parse(preset.text);
    ASSERT_TRUE(policy.is_ok()) << policy.message();
    EXPECT_EQ(policy->text(), preset.text);
    EXPECT_FALSE(is_policy_text(preset.name));
    EXPECT_TRUE(names.insert(preset.name).second);
    EXPECT_EQ(find_preset(preset.name), &preset);
  }
  EXPECT_TRUE(names.count("full"));
  EXPECT_EQ(find_preset("ful"), nullptr);
}

TEST(policy, text_is_told_from_names_of_files) {
  for (const char* text : {"prefill=dense", " kv = k:f16", "prefill@L3=dense", "prefil=x"}) {
    EXPECT_TRUE(is_policy_text(text)) << text;
  }
  for (const char* name : {"", "swift", "a.json", "./x=y.json", "/tmp/a=b", "A=b"}) {
    EXPECT_FALSE(is_policy_text(name)) << name;
  }
}

}  // namespace
}  // namespace heed::test
