// Windows, heed against itself, heed against llama.cpp on a tiny model, and the report of heed kl.
#include "eval/paired_pass.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "eval/kl.h"
#include "model/sha256.h"
#include "tiny_gguf.h"

namespace heed::eval {
namespace {

const tiny::Spec kTextSpec{
    .arch = "llama", .layers = 2, .vocab = 300, .context = 512, .text_vocabulary = true};

std::vector<Token> count_to(int n) {
  std::vector<Token> tokens;
  for (int i = 0; i < n; ++i) tokens.push_back(i);
  return tokens;
}

std::shared_ptr<Model> load(const std::string& path) {
  ModelOptions options;
  options.threads = 2;
  auto model = Model::load(path, options);
  EXPECT_TRUE(model.is_ok()) << model.message();
  return model.is_ok() ? *model : nullptr;
}

EngineOptions engine_of(Format format) {
  EngineOptions engine;
  engine.k = engine.v = format;
  engine.context = 256;
  engine.chunk = 64;
  return engine;
}

TEST(Windows, an_incomplete_last_one_is_dropped) {
  for (int tokens = 0; tokens < 40; ++tokens) {
    for (int n = 1; n < 12; ++n) {
      const auto windows = cut_windows(count_to(tokens), {}, n, 0);
      ASSERT_EQ(windows.size(), static_cast<size_t>(tokens / n));
      Token next = 0;
      for (const auto& window : windows) {
        ASSERT_EQ(window.size(), static_cast<size_t>(n));
        for (const Token token : window) ASSERT_EQ(token, next++);
      }
    }
  }
}

TEST(Windows, the_opening_token_counts_and_no_text_is_lost) {
  const std::vector<Token> prefix{77};
  const auto windows = cut_windows(count_to(20), prefix, 5, 0);
  ASSERT_EQ(windows.size(), 5u);  // four text tokens each
  Token next = 0;
  for (const auto& window : windows) {
    ASSERT_EQ(window.size(), 5u);
    EXPECT_EQ(window[0], 77);
    for (size_t i = 1; i < window.size(); ++i) EXPECT_EQ(window[i], next++);
  }
  EXPECT_TRUE(cut_windows(count_to(20), prefix, 1, 0).empty());
}

TEST(Windows, their_number_can_be_limited) {
  EXPECT_EQ(cut_windows(count_to(100), {}, 10, 3).size(), 3u);
  EXPECT_EQ(cut_windows(count_to(100), {}, 10, 30).size(), 10u);
}

TEST(Windows, a_text_that_is_too_short_is_refused_with_both_numbers) {
  const tiny::TemporaryFile file(kTextSpec);
  const auto model = load(file.path());
  ASSERT_NE(model, nullptr);
  const auto windows = text_windows(*model, "abc", 100, 0);
  EXPECT_EQ(windows.code(), Code::kOutOfRange);
  EXPECT_NE(windows.message().find("100"), std::string::npos) << windows.message();
}

// The mean over both windows of one pair.
double mean_kl(std::vector<std::unique_ptr<LogitSource>> sources, int chunk) {
  std::vector<std::vector<Token>> windows;
  for (int w = 0; w < 2; ++w) {
    windows.emplace_back();
    for (int i = 0; i < 150; ++i) windows.back().push_back((7 * i + 31 * w) % 290);
  }
  std::vector<Pair> pairs{{0, 1, {}}};
  PassOptions options;
  options.chunk = chunk;
  options.threads = 2;
  const Status status = run_pairs(sources, pairs, windows, options);
  EXPECT_TRUE(status.is_ok()) << status.message();
  EXPECT_EQ(pairs[0].stats.tokens(), 300);
  return pairs[0].stats.mean_kl();
}

std::unique_ptr<LogitSource> heed_source(const std::shared_ptr<Model>& model, Format format) {
  auto source = make_heed_source(model, engine_of(format), nullptr);
  EXPECT_TRUE(source.is_ok()) << source.message();
  return source.is_ok() ? std::move(*source) : nullptr;
}

TEST(PairedPass, dense_heed_against_itself_is_exactly_zero) {
  const tiny::TemporaryFile file(kTextSpec);
  const auto model = load(file.path());
  ASSERT_NE(model, nullptr);
  for (const Format format : {Format::kF32, Format::kF16, Format::kBf16}) {
    std::vector<std::unique_ptr<LogitSource>> sources;
    sources.push_back(heed_source(model, format));
    sources.push_back(heed_source(model, format));
    EXPECT_EQ(mean_kl(std::move(sources), 64), 0.0) << format_name(format);
  }
}

TEST(PairedPass, a_coarser_store_shows) {
  const tiny::TemporaryFile file(kTextSpec);
  const auto model = load(file.path());
  ASSERT_NE(model, nullptr);
  std::vector<std::unique_ptr<LogitSource>> sources;
  sources.push_back(heed_source(model, Format::kF32));
  sources.push_back(heed_source(model, Format::kBf16));
  const double kl = mean_kl(std::move(sources), 64);
  EXPECT_GT(kl, 1e-9);
  EXPECT_LT(kl, 1e-2);
}

TEST(PairedPass, heed_equals_llama_on_f32_weights_as_nearly_as_llama_itself) {
  const tiny::TemporaryFile file(kTextSpec);
  const auto model = load(file.path());
  ASSERT_NE(model, nullptr);
  const auto llama_model = LlamaModel::load(file.path(), {});
  ASSERT_TRUE(llama_model.is_ok()) << llama_model.message();
  const auto llama = [&](bool flash) {
    LlamaOptions options;
    options.flash = flash;
    options.f32_kv = true;
    options.threads = 2;
    options.context = 256;
    options.batch = options.ubatch = 64;
    auto source = make_llama_source(*llama_model, options);
    EXPECT_TRUE(source.is_ok()) << source.message();
    return std::move(*source);
  };
  std::vector<std::unique_ptr<LogitSource>> yard, ours;
  yard.push_back(llama(true)), yard.push_back(llama(false));
  ours.push_back(llama(true)), ours.push_back(heed_source(model, Format::kF32));
  const double yardstick = mean_kl(std::move(yard), 64);
  EXPECT_LE(mean_kl(std::move(ours), 64), 2 * yardstick + 1e-9);
}

KlOptions kl_options(const tiny::TemporaryFile& file) {
  KlOptions options;
  options.model = file.path();
  options.model_label = "tiny";
  // Without spaces: the tiny vocabulary spells one in three tokens.
  for (int i = 0; i < 60; ++i) options.text += "word,number" + std::to_string(i) + ";";
  options.context = 128;
  options.windows = 2;
  options.threads = 2;
  options.engine.chunk = 64;
  return options;
}

std::vector<std::string> keys_of(const nlohmann::ordered_json& json) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  return keys;
}

using Keys = std::vector<std::string>;

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Whole lists: a key that is gone and one that nobody promised both show. Those beyond the promise
// are top1_differences, top1_gaps, weights and llama.cpp (docs/decisions.md).
TEST(KlReport, has_exactly_the_documented_keys) {
  const tiny::TemporaryFile file(kTextSpec);
  const KlOptions options = kl_options(file);
  const auto report = run_kl(options);
  ASSERT_TRUE(report.is_ok()) << report.message();
  const auto json = to_json(*report);
  EXPECT_EQ(keys_of(json),
            (Keys{"model", "file_sha256", "text_sha256", "context", "windows", "tokens", "config",
                  "mean_kl", "max_kl", "kl_percentiles", "top1_agreement", "max_abs_dlogit",
                  "top1_differences", "top1_gaps", "kl_vs_ref", "yardstick"}));
  EXPECT_EQ(keys_of(json["config"]),
            (Keys{"linear", "k_type", "v_type", "isa", "threads", "weights", "llama.cpp"}));
  EXPECT_EQ(keys_of(json["yardstick"]),
            (Keys{"mean_kl", "max_kl", "kl_percentiles", "top1_agreement", "max_abs_dlogit",
                  "top1_differences", "top1_gaps"}));
  for (const auto& stats : {json, json["yardstick"]}) {
    EXPECT_EQ(keys_of(stats["kl_percentiles"]), (Keys{"p50", "p90", "p99"}));
  }
  EXPECT_EQ(keys_of(json["kl_vs_ref"]), (Keys{"heed", "llama.cpp"}));
  EXPECT_EQ(json["model"], "tiny");
  EXPECT_EQ(json["context"], 128);
  EXPECT_EQ(json["tokens"], 256);
  EXPECT_EQ(json["windows"], 2);
  EXPECT_EQ(json["file_sha256"], sha256_hex(bytes_of(file.path())));
  EXPECT_EQ(json["text_sha256"], sha256_hex(options.text));
  EXPECT_EQ(json["config"]["weights"], "as stored");
  EXPECT_GT(json["mean_kl"].get<double>(), 0.0);
  EXPECT_GT(json["yardstick"]["mean_kl"].get<double>(), 0.0);
}

// The reference multiplies with ggml, heed itself: what is left is the order of fp32 sums, where
// llama.cpp also rounds its keys and values to f16.
TEST(KlReport, on_an_f32_copy_heed_is_the_reference_to_rounding) {
  tiny::Spec spec = kTextSpec;
  spec.weight_type = tiny::kTensorF16;
  const tiny::TemporaryFile file(spec);
  KlOptions options = kl_options(file);
  options.weights_f32 = true;
  const auto report = run_kl(options);
  ASSERT_TRUE(report.is_ok()) << report.message();
  EXPECT_LE(report->ref_heed, 1e-3 * report->ref_llama) << report->ref_llama;
  EXPECT_EQ(report->k_type, "f32");
  EXPECT_LE(report->heed.mean_kl(), 1.5 * report->yardstick.mean_kl() + 1e-9);
}

// The pages alone, without the rounding of weights and inputs.
TEST(KlReport, on_an_f32_copy_pages_are_f32_unless_others_are_named) {
  const tiny::TemporaryFile file(kTextSpec);
  KlOptions options = kl_options(file);
  options.weights_f32 = true;
  const auto exact = run_kl(options);
  ASSERT_TRUE(exact.is_ok()) << exact.message();
  EXPECT_EQ(exact->k_type + exact->v_type, "f32f32");
  options.engine.k = Format::kBf16;
  const auto keys = run_kl(options);
  ASSERT_TRUE(keys.is_ok()) << keys.message();
  EXPECT_EQ(keys->k_type, "bf16");
  EXPECT_EQ(keys->v_type, "f32");
  EXPECT_GT(keys->ref_heed, 100 * exact->ref_heed + 1e-9);
  EXPECT_DOUBLE_EQ(keys->ref_llama, exact->ref_llama);  // the peer and the reference as before
  const auto json = to_json(*keys);
  EXPECT_EQ(json["config"]["k_type"], "bf16");
  EXPECT_EQ(json["config"]["weights"], "f32");
}

TEST(KlReport, refuses_what_it_cannot_score) {
  const tiny::TemporaryFile file(kTextSpec);
  KlOptions options = kl_options(file);
  options.context = 0;
  EXPECT_EQ(run_kl(options).code(), Code::kOutOfRange);
  options = kl_options(file);
  options.model = "/nonexistent.gguf";
  EXPECT_EQ(run_kl(options).code(), Code::kNotFound);
  CancelToken cancel;
  cancel.cancel();
  options = kl_options(file);
  options.cancel = &cancel;
  EXPECT_EQ(run_kl(options).code(), Code::kCancelled);
}

}  // namespace
}  // namespace heed::eval
