// Rows of the registry, and values of their parameters.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/random.h"
#include "policy_rows.h"

namespace heed::test {
namespace {

std::vector<const Mechanism*> written() {
  std::vector<const Mechanism*> out;
  for (const Row* row : written_rows()) out.push_back(&row->about);
  return out;
}

TEST(registry, only_rows_with_an_implementation_are_seen) {
  static constexpr Row kAbsent = {.about = {.name = "absent"}};
  const Row* rows[] = {&kAbsent, &kKeep};
  EXPECT_EQ(Registry(rows).find("absent"), nullptr);
  EXPECT_NE(Registry(rows).find("keep"), nullptr);
  EXPECT_NE(Registry(rows, true).find("absent"), nullptr);
  for (const Mechanism* m : mechanisms()) EXPECT_TRUE(registry().row_of(*m).present()) << m->name;
  EXPECT_TRUE(find_mechanism("dense").is_ok());
}

TEST(registry, names_and_aliases_name_one_row_each) {
  std::set<std::string_view> names;
  for (const Mechanism* m : written()) {
    EXPECT_TRUE(names.insert(m->name).second) << m->name;
    EXPECT_EQ(plain_name(m->name), m->name);
    EXPECT_NE(m->name, "none");
    for (const std::string_view alias : words_in(m->aliases)) {
      EXPECT_TRUE(names.insert(alias).second) << alias;
      EXPECT_EQ(plain_name(alias), alias);
    }
  }
}

TEST(registry, every_row_is_told_in_full) {
  for (const Mechanism* m : written()) {
    for (const std::string_view text : {m->summary, m->idea, m->formula, m->paper, m->cost}) {
      EXPECT_FALSE(text.empty()) << m->name;
      EXPECT_EQ(text.find("  \n"), std::string_view::npos) << m->name;
    }
    EXPECT_GE(m->revision, 1) << m->name;
    EXPECT_EQ(m->needs == Needs::kNothing, m->without.empty()) << m->name;
    EXPECT_TRUE(m->invariance != Invariance::kRowBlockAligned || m->row_block > 0) << m->name;
  }
}

TEST(registry, every_parameter_has_a_help_a_range_and_a_default_within_it) {
  for (const Mechanism* m : written()) {
    std::set<std::string_view> names;
    for (const Parameter& p : m->parameters) {
      EXPECT_FALSE(p.help.empty()) << m->name << " " << p.name;
      EXPECT_TRUE(names.insert(p.name).second) << m->name << " " << p.name;
      for (const auto alias : words_in(p.aliases)) EXPECT_TRUE(names.insert(alias).second) << alias;
      if (p.type == ParameterType::kFile) {
        EXPECT_TRUE(p.standard.empty()) << m->name << " " << p.name;
        continue;
      }
      const auto standard = parse_value(p, p.standard);
      ASSERT_TRUE(standard.is_ok()) << m->name << ": " << standard.message();
      EXPECT_EQ(value_text(*standard), p.standard) << m->name << " " << p.name;
    }
    EXPECT_TRUE(m->positional.empty() || m->index_of(m->positional) >= 0) << m->name;
    EXPECT_TRUE(m->check == nullptr || m->check(default_setting(*m)).is_ok()) << m->name;
  }
}

TEST(registry, other_spellings_find_the_row) {
  for (const char* name : {"tri_shape", "Tri-Shape", "TRISHAPE"}) {
    ASSERT_NE(all_rows().find(name), nullptr) << name;
    EXPECT_EQ(all_rows().find(name)->name, "tri_shape");
  }
  const auto near = find_mechanism("dens");
  ASSERT_FALSE(near.is_ok());
  EXPECT_EQ(near.code(), Code::kNotFound);
  EXPECT_NE(near.message().find("did you mean 'dense'?"), std::string::npos) << near.message();
}

TEST(registry, what_it_says_of_itself_has_words) {
  for (int i = 0; i < kStageCount; ++i) {
    EXPECT_GT(std::string_view(stage_name(static_cast<Stage>(i))).size(), 1u);
    EXPECT_GT(std::string_view(stage_about(static_cast<Stage>(i))).size(), 1u);
  }
  EXPECT_EQ(capability_names(kChangesKv | kWrapper).size(), 2u);
  EXPECT_EQ(capability_names(kWrapper).front(), "wrapper");
}

// --- values ---

constexpr Parameter kReal = {
    .name = "x", .type = ParameterType::kFloat, .least = -1e300, .most = 1e300};

TEST(values, a_number_is_the_same_after_it_was_written) {
  Random random(7);
  for (int i = 0; i < 2000; ++i) {
    const double x = (random.uniform() - 0.5) * std::pow(10.0, random.uniform() * 60 - 30);
    const auto text = value_text(Value(x));
    EXPECT_EQ(text.find('+'), std::string::npos);
    const auto back = parse_value(kReal, text);
    ASSERT_TRUE(back.is_ok()) << text;
    EXPECT_EQ(std::get<double>(*back), x) << text;
  }
  EXPECT_EQ(value_text(Value(0.95)), "0.95");
  EXPECT_EQ(value_text(Value(1e22)), "1e22");
}

TEST(values, the_same_number_written_otherwise_is_the_same_value) {
  EXPECT_EQ(*parse_value(kReal, "0.50"), *parse_value(kReal, "5e-1"));
  EXPECT_EQ(*parse_value(kReal, "-0"), *parse_value(kReal, "0"));
  constexpr Parameter kWhole = {
      .name = "n", .type = ParameterType::kInt, .least = 0, .most = 1 << 28};
  EXPECT_EQ(*parse_value(kWhole, "4e3"), Value(int64_t{4000}));
  for (const char* bad :
       {"", "4.5", "nan", "-1", "1e99", "4 ", "0x10", "inf", "268435457", "99999999999999999999"}) {
    EXPECT_FALSE(parse_value(kWhole, bad).is_ok()) << bad;
  }
  for (const char* bad : {"", "nan", "inf", "1,5", "--1", "1e301"}) {
    EXPECT_FALSE(parse_value(kReal, bad).is_ok()) << bad;
  }
}

TEST(values, switches_take_llama_cpps_words) {
  constexpr Parameter kSwitch = {.name = "b", .type = ParameterType::kBool};
  for (const char* yes : {"true", "on", "1", "enabled"}) {
    EXPECT_EQ(*parse_value(kSwitch, yes), Value(true)) << yes;
  }
  for (const char* no : {"false", "off", "0", "disabled"}) {
    EXPECT_EQ(*parse_value(kSwitch, no), Value(false)) << no;
  }
  EXPECT_FALSE(parse_value(kSwitch, "yes please").is_ok());
}

TEST(values, a_budget_is_entries_a_share_or_bytes) {
  constexpr Parameter kBudget = {.name = "b", .type = ParameterType::kBudget};
  EXPECT_EQ(*parse_value(kBudget, "512"), Value(Budget{Budget::Unit::kEntries, 512}));
  EXPECT_EQ(*parse_value(kBudget, "7%"), Value(Budget{Budget::Unit::kPercent, 7}));
  EXPECT_EQ(*parse_value(kBudget, "1.5MiB"), Value(Budget{Budget::Unit::kBytes, 1572864}));
  for (const char* text : {"512", "7%", "12.5%", "1000000"}) {
    EXPECT_EQ(value_text(*parse_value(kBudget, text)), text);
  }
  EXPECT_EQ(*parse_value(kBudget, value_text(*parse_value(kBudget, "1.5GiB"))),
            *parse_value(kBudget, "1.5GiB"));
  for (const char* bad : {"", "-1", "101%", "5.5", "1TiB", "%", "1e99GiB", "nan%"}) {
    EXPECT_FALSE(parse_value(kBudget, bad).is_ok()) << bad;
  }
}

// --- work ---

// Pairs of a prompt, counted row by row.
template <class Keys>
double counted(int64_t tokens, Keys&& keys) {
  double sum = 0;
  for (int64_t t = 0; t < tokens; ++t) sum += static_cast<double>(std::min(t + 1, keys(t)));
  return sum;
}

Setting setting_of(std::string_view text) {
  return policy_of(text).assignments().front().chain.front();
}

TEST(work, formulas_count_what_the_definition_visits) {
  constexpr int64_t kAll = int64_t{1} << 40;
  for (const int64_t tokens : {1, 63, 64, 100, 777, 2048}) {
    const auto exact = [&](std::string_view text, auto keys) {
      const Setting s = setting_of(text);
      const auto work = s.mechanism->work(tokens, s);
      ASSERT_TRUE(work.has_value()) << text;
      EXPECT_DOUBLE_EQ(work->least, counted(tokens, keys)) << text << " " << tokens;
      EXPECT_DOUBLE_EQ(work->most, work->least);
    };
    exact("prefill=dense", [](int64_t) { return kAll; });
    exact("prefill=a_shape:n_init=4,n_local=60", [](int64_t) { return int64_t{64}; });
    exact("prefill=tri_shape:n_init=4,n_local=60,n_last=70",
          [&](int64_t t) { return t >= tokens - 70 ? kAll : int64_t{64}; });
    const int64_t end = std::max<int64_t>(tokens - tokens % 16 - 20, 0);
    exact("correct=delta_attention:gamma=16,tail=20",
          [&](int64_t t) { return t >= end || t % 16 == 0 ? kAll : int64_t{0}; });
  }
}

TEST(work, a_range_holds_every_choice_of_blocks) {
  for (const int64_t tokens : {64, 1000, 1024, 4096}) {
    for (const int64_t k : {1, 3, 200}) {
      Setting s = setting_of("prefill=block_topk:k=" + std::to_string(k));
      const auto work = s.mechanism->work(tokens, s);
      ASSERT_TRUE(work.has_value());
      // The diagonal block among those kept, or k earlier ones.
      double least = 0, most = 0;
      for (int64_t t = 0; t < tokens; ++t) {
        const int64_t block = t / 64, in_diagonal = t % 64 + 1;
        if (block < k) {
          least += static_cast<double>(t + 1), most += static_cast<double>(t + 1);
        } else {
          least += static_cast<double>((k - 1) * 64 + in_diagonal);
          most += static_cast<double>(k * 64);
        }
      }
      EXPECT_LE(work->least, least);
      EXPECT_GE(work->most, most);
      EXPECT_LE(work->most - work->least, static_cast<double>(tokens * 64));
    }
  }
}

TEST(work, what_decides_by_mass_is_unknown_unless_it_reads_everything) {
  for (const char* text : {"prefill=flexprefill", "prefill=xattention", "prefill=spargeattn"}) {
    const Setting s = setting_of(text);
    EXPECT_FALSE(s.mechanism->work(100000, s).has_value()) << text;
  }
  for (const char* text :
       {"prefill=flexprefill:gamma=1.5", "prefill=xattention:tau=2", "prefill=spargeattn:theta=1.5",
        "prefill=spargeattn:topk=1", "prefill=spargeattn:pick=cdf,tau=1.5"}) {
    const Setting s = setting_of(text);
    const auto work = s.mechanism->work(100000, s);
    ASSERT_TRUE(work.has_value()) << text;
    EXPECT_EQ(work->least, 100000.0 * 100001 / 2) << text;
  }
}

}  // namespace
}  // namespace heed::test
