// The figure beside every speed row: what it equals, when it is measured and when it is kept.
#include "eval/reference_kl.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "eval/paired_pass.h"
#include "eval/result_store.h"
#include "model_home.h"
#include "tiny_gguf.h"

namespace heed::eval {
namespace {

constexpr int kWindow = 1024;

// Quantised, so that heed's inputs in bytes show; not marked as random: its figure is reported.
tiny::File model_file(int context = kWindow) {
  tiny::File file = tiny::make_file({.arch = "llama",
                                     .layers = 2,
                                     .vocab = 300,
                                     .context = context,
                                     .weight_type = tiny::kTensorQ4_0,
                                     .text_vocabulary = true,
                                     .space_token = true});
  file.erase("heed.random_weights");
  return file;
}

LlamaOptions llama_options() {
  LlamaOptions llama;
  llama.ubatch = 256;
  return llama;
}

// One thread: llama.cpp's sums are then the same in every run.
ReferenceKlJob job_of(const tiny::TemporaryFile& file, std::vector<std::string>* said = nullptr) {
  ReferenceKlJob job;
  job.path = file.path();
  job.threads = 1;
  job.heed = EngineOptions{};
  job.heed->chunk = 128;
  job.llama = llama_options();
  if (said != nullptr) job.say = [said](const std::string& line) { said->push_back(line); };
  return job;
}

bool measured(const std::vector<std::string>& said) {
  return std::ranges::any_of(
      said, [](const std::string& line) { return line.starts_with("measuring the KL"); });
}

std::shared_ptr<Model> load(const std::string& path, Weights weights) {
  ModelOptions options;
  options.threads = 1;
  options.weights = weights;
  auto model = Model::load(path, options);
  EXPECT_TRUE(model.is_ok()) << model.message();
  return model.is_ok() ? *model : nullptr;
}

std::unique_ptr<LogitSource> heed_source(std::shared_ptr<Model> model,
                                         std::optional<Format> pages) {
  EngineOptions engine;
  engine.k = engine.v = pages;
  engine.context = kWindow;
  engine.chunk = 128;
  auto source = make_heed_source(std::move(model), engine, nullptr);
  EXPECT_TRUE(source.is_ok()) << source.message();
  return source.is_ok() ? std::move(*source) : nullptr;
}

// Mean KL(reference || engine) over the first window of the text, from its parts.
double by_hand(const std::string& path, std::unique_ptr<LogitSource> engine, int chunk) {
  const auto reference = load(path, Weights::kF32);
  const auto windows = text_windows(*reference, std::string(bench_text()), kWindow, 1);
  EXPECT_TRUE(windows.is_ok()) << windows.message();
  std::vector<std::unique_ptr<LogitSource>> sources;
  sources.push_back(heed_source(reference, Format::kF32));
  sources.push_back(std::move(engine));
  std::array<Pair, 1> pairs{Pair{0, 1, {}}};
  PassOptions pass;
  pass.chunk = chunk;
  const Status status = run_pairs(sources, pairs, *windows, pass);
  EXPECT_TRUE(status.is_ok()) << status.message();
  EXPECT_EQ(pairs[0].stats.tokens(), kWindow);
  return pairs[0].stats.mean_kl();
}

double heed_by_hand(const std::string& path) {
  return by_hand(path, heed_source(load(path, Weights::kAsStored), std::nullopt), 128);
}

double llama_by_hand(const std::string& path) {
  auto model = LlamaModel::load(path, {});
  EXPECT_TRUE(model.is_ok()) << model.message();
  LlamaOptions llama = llama_options();
  llama.context = kWindow;
  auto source = make_llama_source(*model, llama);
  EXPECT_TRUE(source.is_ok()) << source.message();
  return by_hand(path, std::move(*source), llama.ubatch);
}

// Each kept result replaced by a number that no measurement gives.
int overwrite_kept(const ModelHome& home, const char* number) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(home.path("results"))) {
    std::string text = ModelHome::read(entry.path());
    const size_t at = text.find("\"value\":");
    EXPECT_NE(at, std::string::npos) << text;
    std::ofstream(entry.path()) << text.substr(0, at) << "\"value\":" << number << "}";
    ++count;
  }
  return count;
}

TEST(ReferenceKl, equals_the_paired_pass_and_comes_back_without_a_measurement) {
  const ModelHome home;
  const tiny::TemporaryFile file(model_file());
  std::vector<std::string> said;
  const auto first = reference_kl(job_of(file, &said));
  ASSERT_TRUE(first.is_ok()) << first.message();
  EXPECT_EQ(first->why_not, "");
  ASSERT_TRUE(first->heed && first->llama);
  EXPECT_TRUE(measured(said));
  EXPECT_GT(*first->heed, 1e-6);
  EXPECT_GT(*first->llama, 1e-6);
  EXPECT_EQ(*first->heed, heed_by_hand(file.path()));
  EXPECT_EQ(*first->llama, llama_by_hand(file.path()));

  said.clear();
  const auto second = reference_kl(job_of(file, &said));
  ASSERT_TRUE(second.is_ok()) << second.message();
  EXPECT_FALSE(measured(said));
  EXPECT_EQ(second->heed, first->heed);
  EXPECT_EQ(second->llama, first->llama);

  EXPECT_EQ(overwrite_kept(home, "0.25"), 2);  // one of each engine
  const auto kept = reference_kl(job_of(file));
  ASSERT_TRUE(kept.is_ok()) << kept.message();
  EXPECT_EQ(kept->heed, 0.25);
  EXPECT_EQ(kept->llama, 0.25);

  said.clear();
  ReferenceKlJob again = job_of(file, &said);
  again.refresh = true;
  const auto refreshed = reference_kl(again);
  ASSERT_TRUE(refreshed.is_ok()) << refreshed.message();
  EXPECT_TRUE(measured(said));
  EXPECT_EQ(refreshed->heed, first->heed);
  EXPECT_EQ(refreshed->llama, first->llama);
  EXPECT_EQ(reference_kl(job_of(file))->heed, first->heed);  // and is kept instead
}

TEST(ReferenceKl, what_is_kept_belongs_to_the_configuration_and_the_file) {
  const ModelHome home;
  const tiny::TemporaryFile file(model_file()), longer(model_file(2 * kWindow));
  ReferenceKlJob job = job_of(file);
  job.llama.reset();
  const auto usual = reference_kl(job);
  ASSERT_TRUE(usual.is_ok() && usual->heed) << usual.message();
  EXPECT_FALSE(usual->llama.has_value());
  overwrite_kept(home, "0.25");
  const auto other = [](ReferenceKlJob changed) {
    const auto kl = reference_kl(changed);
    EXPECT_TRUE(kl.is_ok() && kl->heed) << kl.message();
    EXPECT_LT(kl->heed.value_or(0.25), 0.25);
    return kl->heed.value_or(0.25);
  };
  ReferenceKlJob accurate = job, pages = job, file_of_other_bytes = job;
  accurate.linear = Linear::kAccurate;
  pages.heed->k = pages.heed->v = Format::kF32;
  file_of_other_bytes.path = longer.path();
  EXPECT_LT(other(accurate), *usual->heed);
  EXPECT_NE(other(pages), *usual->heed);
  EXPECT_EQ(other(file_of_other_bytes), *usual->heed);  // the same weights
}

TEST(ReferenceKl, a_kept_result_comes_back_and_only_under_its_key) {
  const ModelHome home;
  const std::string key = "test " + std::to_string(::getpid());
  EXPECT_FALSE(kept_result(key).has_value());
  const Status status = keep_result(key, 0.1 + 0.2);
  ASSERT_TRUE(status.is_ok()) << status.message();
  EXPECT_EQ(kept_result(key), 0.1 + 0.2);
  EXPECT_FALSE(kept_result(key + "x").has_value());
}

TEST(ReferenceKl, is_absent_for_random_weights_and_says_why) {
  const tiny::TemporaryFile file(
      tiny::Spec{.layers = 2, .vocab = 300, .context = 2048, .text_vocabulary = true});
  ReferenceKlJob job = job_of(file);
  job.llama.reset();
  const auto kl = reference_kl(job);
  ASSERT_TRUE(kl.is_ok()) << kl.message();
  EXPECT_FALSE(kl->heed.has_value());
  EXPECT_NE(kl->why_not.find("random"), std::string::npos);
}

TEST(ReferenceKl, is_absent_where_the_context_is_shorter_than_the_window) {
  const tiny::TemporaryFile file(model_file(kWindow - 1));
  const auto kl = reference_kl(job_of(file));
  ASSERT_TRUE(kl.is_ok()) << kl.message();
  EXPECT_FALSE(kl->heed || kl->llama);
  for (const char* number : {"1023", "1024"}) {
    EXPECT_NE(kl->why_not.find(number), std::string::npos) << kl->why_not;
  }
}

}  // namespace
}  // namespace heed::eval
