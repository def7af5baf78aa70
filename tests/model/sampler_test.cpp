// The sampler chain against llama.cpp's, built here call by call in the order of its own programs.
#include <gtest/gtest.h>
#include <llama.h>

#include <cmath>
#include <functional>
#include <limits>

#include "base/random.h"
#include "heed/sampling.h"
#include "model/model_impl.h"
#include "model/sampler.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

constexpr int kVocab = 400;

ModelOptions one_thread() {
  ModelOptions options;
  options.threads = 1;
  return options;
}

std::shared_ptr<Model> tiny_model(bool text) {
  tiny::Spec spec;
  spec.text_vocabulary = text;
  spec.vocab = kVocab;
  const tiny::TemporaryFile file(spec);
  auto model = Model::load(file.path(), one_thread());
  EXPECT_TRUE(model.is_ok()) << model.message();
  return model.is_ok() ? *model : nullptr;
}

// Logits of step `i`: one of five rows with a little noise, so that choices repeat and penalties
// have something to find.
std::vector<float> logits_at(int i) {
  std::vector<float> logits(kVocab);
  for (int t = 0; t < kVocab; ++t) {
    const auto at = static_cast<uint64_t>(t);
    logits[t] =
        static_cast<float>(3 * random_normal(100 + i % 5, at) + 0.3 * random_normal(1000 + i, at));
  }
  return logits;
}

using Chain = std::unique_ptr<llama_sampler, decltype(&llama_sampler_free)>;

// The stages as llama.cpp's common_sampler_init orders and sets them.
Chain llama_chain(const Model& model, const SamplerOptions& o,
                  const std::vector<std::string>& stages) {
  const llama_vocab* vocab = llama_model_get_vocab(model.impl().vocab);
  llama_sampler* chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
  std::vector<llama_logit_bias> biases;
  for (const LogitBias& b : o.logit_bias) biases.push_back({b.token, b.bias});
  for (int t = 0; o.ignore_eos && t < kVocab; ++t) {
    if (llama_vocab_is_eog(vocab, t)) biases.push_back({t, -INFINITY});
  }
  const auto add = [&](llama_sampler* s) { llama_sampler_chain_add(chain, s); };
  if (!biases.empty()) {
    add(llama_sampler_init_logit_bias(kVocab, static_cast<int>(biases.size()), biases.data()));
  }
  if (o.mirostat == 1) {
    add(llama_sampler_init_temp(o.temperature));
    add(llama_sampler_init_mirostat(kVocab, o.seed, o.mirostat_tau, o.mirostat_eta, 100));
  }
  if (o.mirostat == 2) {
    add(llama_sampler_init_temp(o.temperature));
    add(llama_sampler_init_mirostat_v2(o.seed, o.mirostat_tau, o.mirostat_eta));
  }
  if (o.mirostat != 0) return {chain, llama_sampler_free};
  std::vector<const char*> breakers;
  for (const std::string& s : o.dry_sequence_breakers) breakers.push_back(s.c_str());
  bool adaptive = false;
  for (const std::string& s : stages) {
    if (s == "penalties") {
      add(llama_sampler_init_penalties(kVocab, o.repeat_last_n, o.repeat_penalty,
                                       o.frequency_penalty, o.presence_penalty));
    }
    if (s == "dry") {
      add(llama_sampler_init_dry(vocab, o.dry_multiplier, o.dry_base, o.dry_allowed_length,
                                 o.dry_penalty_last_n, breakers.data(), breakers.size()));
    }
    if (s == "top_n_sigma") add(llama_sampler_init_top_n_sigma(o.top_n_sigma));
    if (s == "top_k") add(llama_sampler_init_top_k(o.top_k));
    if (s == "typ_p") add(llama_sampler_init_typical(o.typ_p, o.min_keep));
    if (s == "top_p") add(llama_sampler_init_top_p(o.top_p, o.min_keep));
    if (s == "min_p") add(llama_sampler_init_min_p(o.min_p, o.min_keep));
    if (s == "xtc") {
      add(llama_sampler_init_xtc(o.xtc_probability, o.xtc_threshold, o.min_keep, o.seed));
    }
    if (s == "temperature") {
      add(llama_sampler_init_temp_ext(o.temperature, o.dynatemp_range, o.dynatemp_exponent));
    }
    if (s == "infill") add(llama_sampler_init_infill(vocab));
    adaptive = adaptive || s == "adaptive_p";
  }
  add(adaptive ? llama_sampler_init_adaptive_p(o.adaptive_target, o.adaptive_decay, o.seed)
               : llama_sampler_init_dist(o.seed));
  return {chain, llama_sampler_free};
}

const std::vector<std::string> kDefault = {
    "penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"};

std::vector<Token> llama_choices(llama_sampler* chain, int steps) {
  std::vector<Token> out;
  for (int i = 0; i < steps; ++i) {
    const std::vector<float> logits = logits_at(i);
    std::vector<llama_token_data> data;
    for (int t = 0; t < kVocab; ++t) data.push_back({t, logits[t], 0});
    llama_token_data_array array{data.data(), data.size(), -1, false};
    llama_sampler_apply(chain, &array);
    out.push_back(array.data[array.selected].id);
    llama_sampler_accept(chain, out.back());
  }
  return out;
}

std::vector<Token> heed_choices(const Model& model, const SamplerOptions& options, int steps) {
  auto sampler = Sampler::create(model, options);
  EXPECT_TRUE(sampler.is_ok()) << sampler.message();
  std::vector<Token> out;
  for (int i = 0; sampler.is_ok() && i < steps; ++i) {
    const auto token = (*sampler)->sample(logits_at(i));
    EXPECT_TRUE(token.is_ok()) << token.message();
    if (!token.is_ok()) break;
    out.push_back(*token);
  }
  return out;
}

struct Case {
  const char* name;
  std::function<void(SamplerOptions&)> edit;
  bool differs = true;  // from the default chain with the same seed
};

const Case kCases[] = {
    {"defaults", [](SamplerOptions&) {}, false},
    {"top_k", [](SamplerOptions& o) { o.top_k = 2; }},
    {"top_p", [](SamplerOptions& o) { o.top_p = 0.4f; }},
    {"min_p", [](SamplerOptions& o) { o.min_p = 0.5f; }},
    {"min_keep", [](SamplerOptions& o) { o.min_p = 0.99f, o.min_keep = 5; }},
    {"typ_p", [](SamplerOptions& o) { o.typ_p = 0.3f; }},
    {"top_n_sigma", [](SamplerOptions& o) { o.top_n_sigma = 0.2f; }},
    {"xtc", [](SamplerOptions& o) { o.xtc_probability = 0.7f, o.xtc_threshold = 0.05f; }},
    {"temperature", [](SamplerOptions& o) { o.temperature = 2.5f; }},
    {"dynamic_temperature",
     [](SamplerOptions& o) { o.dynatemp_range = 0.7f, o.dynatemp_exponent = 0.5f; }},
    {"repeat_penalty", [](SamplerOptions& o) { o.repeat_penalty = 1.4f; }},
    {"presence", [](SamplerOptions& o) { o.presence_penalty = 1.5f, o.repeat_last_n = 20; }},
    {"frequency", [](SamplerOptions& o) { o.frequency_penalty = 0.5f; }},
    {"dry", [](SamplerOptions& o) { o.dry_multiplier = 2, o.dry_allowed_length = 1, o.top_k = 2; }},
    {"dry_without_breakers",
     [](SamplerOptions& o) {
       o.dry_multiplier = 2, o.dry_allowed_length = 1, o.dry_penalty_last_n = 30;
       o.dry_sequence_breakers.clear();
       o.temperature = 0;
     }},
    {"mirostat_1", [](SamplerOptions& o) { o.mirostat = 1, o.mirostat_tau = 2; }},
    {"mirostat_2", [](SamplerOptions& o) { o.mirostat = 2, o.mirostat_eta = 0.3f; }},
    {"adaptive_p",
     [](SamplerOptions& o) {
       o.samplers = {"min_p", "adaptive_p"}, o.adaptive_target = 0.3f;
     }},
    {"infill",
     [](SamplerOptions& o) {
       o.samplers = {"top_k", "top_p", "infill"}, o.top_k = 9;
     }},
    {"own_order",
     [](SamplerOptions& o) {
       o.samplers = {"temperature", "top_p"}, o.temperature = 3;
     }},
    {"biases",
     [](SamplerOptions& o) {
       for (int t = 0; t < kVocab; t += 2) o.logit_bias.push_back({t, -INFINITY});
     }},
    {"ignore_eos", [](SamplerOptions& o) { o.ignore_eos = true; }, false},
    {"greedy", [](SamplerOptions& o) { o.temperature = 0; }},
    {"greedy_with_penalties",
     [](SamplerOptions& o) { o.temperature = 0, o.repeat_penalty = 1.5f; }},
    {"greedy_with_xtc",
     [](SamplerOptions& o) { o.temperature = 0, o.xtc_probability = 1, o.xtc_threshold = 0.1f; }},
    {"greedy_with_typ_p", [](SamplerOptions& o) { o.temperature = 0, o.typ_p = 0.2f; }},
};

TEST(sampler_chain_test, every_option_chooses_what_llama_cpp_chooses) {
  const auto model = tiny_model(true);
  ASSERT_NE(model, nullptr);
  constexpr int kSteps = 150;
  SamplerOptions defaults;
  defaults.seed = 11;
  const std::vector<Token> usual = heed_choices(*model, defaults, kSteps);
  for (const Case& c : kCases) {
    SamplerOptions options = defaults;
    c.edit(options);
    const Chain chain =
        llama_chain(*model, options, options.samplers.empty() ? kDefault : options.samplers);
    const std::vector<Token> ours = heed_choices(*model, options, kSteps);
    EXPECT_EQ(ours, llama_choices(chain.get(), kSteps)) << c.name;
    if (c.differs) {
      EXPECT_NE(ours, usual) << c.name << " changes nothing";
    }
  }
}

TEST(sampler_chain_test, end_tokens_are_never_chosen_when_they_are_to_be_ignored) {
  const auto model = tiny_model(true);
  ASSERT_NE(model, nullptr);
  std::vector<float> logits(kVocab, 0.0f);
  logits[2] = 50;  // </s>
  SamplerOptions options;
  options.temperature = 0;
  EXPECT_EQ(*(*Sampler::create(*model, options))->sample(logits), 2);
  options.ignore_eos = true;
  EXPECT_NE(*(*Sampler::create(*model, options))->sample(logits), 2);
}

TEST(sampler_chain_test, stages_that_read_text_are_refused_for_a_model_without_it) {
  const auto model = tiny_model(false);
  ASSERT_NE(model, nullptr);
  SamplerOptions options;
  options.dry_multiplier = 1;
  EXPECT_EQ(Sampler::create(*model, options).code(), Code::kUnsupported);
  options.dry_sequence_breakers.clear();
  EXPECT_TRUE(Sampler::create(*model, options).is_ok());
  options.samplers = {"infill"};
  EXPECT_EQ(Sampler::create(*model, options).code(), Code::kUnsupported);
}

TEST(sampler_chain_test, logits_that_are_no_numbers_are_an_error_and_no_choice) {
  const auto model = tiny_model(true);
  ASSERT_NE(model, nullptr);
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const char* stage : {"typ_p", "top_p", "temperature", "xtc"}) {
    SamplerOptions options;
    options.samplers = {stage};
    options.typ_p = 0.5f;
    auto sampler = Sampler::create(*model, options);
    ASSERT_TRUE(sampler.is_ok());
    for (const float bad : {kNan, INFINITY}) {
      std::vector<float> logits = logits_at(0);
      logits[17] = bad;
      const auto token = (*sampler)->sample(logits);
      EXPECT_EQ(token.code(), Code::kCorrupt) << stage;
      EXPECT_NE(token.message().find("17"), std::string::npos) << token.message();
    }
    EXPECT_EQ((*sampler)->sample(std::vector<float>(kVocab, -INFINITY)).code(), Code::kCorrupt);
    EXPECT_EQ((*sampler)->sample(std::vector<float>(7)).code(), Code::kInvalidArgument);
    EXPECT_EQ((*sampler)->accept(-1).code(), Code::kOutOfRange);
    EXPECT_EQ((*sampler)->accept(kVocab).code(), Code::kOutOfRange);
    EXPECT_TRUE((*sampler)->sample(logits_at(1)).is_ok());
  }
  SamplerOptions none;
  for (int t = 0; t < kVocab; ++t) none.logit_bias.push_back({t, -INFINITY});
  auto sampler = Sampler::create(*model, none);
  ASSERT_TRUE(sampler.is_ok());
  EXPECT_EQ((*sampler)->sample(logits_at(0)).code(), Code::kInvalidArgument);
}

TEST(sampler_chain_test, names_of_llama_cpp_are_known_and_others_refused) {
  const auto chain = [](std::vector<std::string> names) {
    SamplerOptions o;
    o.samplers = std::move(names);
    return sampler_chain(o);
  };
  EXPECT_EQ(*chain({}), kDefault);
  EXPECT_EQ(
      *chain({"top-k", "TopP", "nucleus", "typ", "typical", "temp", "topnsigma", "adaptive-p"}),
      (std::vector<std::string>{"top_k", "top_p", "top_p", "typ_p", "typ_p", "temperature",
                                "top_n_sigma", "adaptive_p"}));
  EXPECT_NE(chain({"top_kk"}).message().find("did you mean 'top_k'"), std::string::npos);
  EXPECT_EQ(chain(std::vector<std::string>(65, "top_k")).code(), Code::kOutOfRange);
  EXPECT_EQ(*samplers_from_letters("edskypmxt"), kDefault);
  EXPECT_EQ(samplers_from_letters("k?").code(), Code::kInvalidArgument);
}

TEST(sampler_chain_test, every_number_is_refused_beyond_its_range_by_name) {
  using Edit = std::function<void(SamplerOptions&, float)>;
  const struct {
    const char* name;
    Edit set;
    std::vector<float> bad;
    std::vector<float> good;
  } kRanges[] = {
      {"temperature", [](auto& o, float v) { o.temperature = v; }, {2e6f, 1e-8f}, {-1, 0, 5}},
      {"dynatemp-range", [](auto& o, float v) { o.dynatemp_range = v; }, {-1}, {0, 2}},
      {"dynatemp-exp", [](auto& o, float v) { o.dynatemp_exponent = v; }, {-1, 2e3f}, {0, 2}},
      {"top-p", [](auto& o, float v) { o.top_p = v; }, {-0.1f, 1.1f}, {0, 1}},
      {"min-p", [](auto& o, float v) { o.min_p = v; }, {-0.1f, 1.1f}, {0, 1}},
      {"typical", [](auto& o, float v) { o.typ_p = v; }, {-0.1f, 1.1f}, {0, 1}},
      {"top-nsigma", [](auto& o, float v) { o.top_n_sigma = v; }, {2e3f}, {-1, 0, 3}},
      {"xtc-probability", [](auto& o, float v) { o.xtc_probability = v; }, {-1, 1.1f}, {0, 1}},
      {"xtc-threshold", [](auto& o, float v) { o.xtc_threshold = v; }, {-1, 1.1f}, {0, 1}},
      {"repeat-penalty", [](auto& o, float v) { o.repeat_penalty = v; }, {0, -1, 2e3f}, {1, 2}},
      {"presence-penalty", [](auto& o, float v) { o.presence_penalty = v; }, {101}, {-2, 2}},
      {"frequency-penalty", [](auto& o, float v) { o.frequency_penalty = v; }, {-101}, {-2, 2}},
      {"dry-multiplier", [](auto& o, float v) { o.dry_multiplier = v; }, {-1, 2e3f}, {0, 1}},
      {"dry-base", [](auto& o, float v) { o.dry_base = v; }, {0.9f, 2e3f}, {1, 2}},
      {"adaptive-target", [](auto& o, float v) { o.adaptive_target = v; }, {-2, 1.1f}, {-1, 1}},
      {"adaptive-decay", [](auto& o, float v) { o.adaptive_decay = v; }, {-1, 1}, {0, 0.99f}},
      {"mirostat-ent", [](auto& o, float v) { o.mirostat_tau = v; }, {-1}, {0, 9}},
      {"mirostat-lr", [](auto& o, float v) { o.mirostat_eta = v; }, {-1}, {0, 1}},
  };
  for (const auto& range : kRanges) {
    std::vector<float> bad = range.bad;
    bad.push_back(std::numeric_limits<float>::quiet_NaN());
    for (const float v : bad) {
      SamplerOptions o;
      range.set(o, v);
      const Status status = check_sampler(o);
      EXPECT_EQ(status.code(), Code::kOutOfRange) << range.name << " " << v;
      EXPECT_NE(status.message().find(range.name), std::string::npos) << status.message();
    }
    for (const float v : range.good) {
      SamplerOptions o;
      range.set(o, v);
      EXPECT_TRUE(check_sampler(o).is_ok()) << range.name << " " << v;
    }
  }
}

TEST(sampler_chain_test, counts_and_combinations_are_refused_by_name) {
  using Edit = std::function<void(SamplerOptions&)>;
  const struct {
    const char* needle;
    Edit edit;
  } kBad[] = {
      {"repeat-last-n", [](auto& o) { o.repeat_last_n = -1; }},
      {"repeat-last-n", [](auto& o) { o.repeat_last_n = (1 << 24) + 1; }},
      {"dry-penalty-last-n", [](auto& o) { o.dry_penalty_last_n = -1; }},
      {"dry-allowed-length", [](auto& o) { o.dry_allowed_length = -1; }},
      {"dry-sequence-breaker", [](auto& o) { o.dry_sequence_breakers = {""}; }},
      {"dry-sequence-breaker", [](auto& o) { o.dry_sequence_breakers = {std::string(41, 'a')}; }},
      {"dry-sequence-breaker", [](auto& o) { o.dry_sequence_breakers.assign(65, "a"); }},
      {"min-keep", [](auto& o) { o.min_keep = -1; }},
      {"mirostat", [](auto& o) { o.mirostat = 3; }},
      {"mirostat", [](auto& o) { o.mirostat = 1, o.samplers = {"top_k"}; }},
      {"logit-bias",
       [](auto& o) {
         o.logit_bias = {{-1, 0}};
       }},
      {"logit-bias",
       [](auto& o) {
         o.logit_bias = {{0, INFINITY}};
       }},
  };
  for (const auto& bad : kBad) {
    SamplerOptions o;
    bad.edit(o);
    const Status status = check_sampler(o);
    EXPECT_FALSE(status.is_ok()) << bad.needle;
    EXPECT_NE(status.message().find(bad.needle), std::string::npos) << status.message();
  }
  const auto model = tiny_model(true);
  SamplerOptions o;
  o.logit_bias = {{kVocab, 1}};
  EXPECT_EQ(Sampler::create(*model, o).code(), Code::kOutOfRange);
}

}  // namespace
}  // namespace heed
