// heed bench on a tiny model and tiny kernels: rows, keys, checks. No rate is judged here.
#include <gtest/gtest.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "eval/bench_kernels.h"
#include "eval/bench_model.h"
#include "eval/kernel_reference.h"
#include "eval/statistics.h"
#include "tiny_gguf.h"

namespace heed::eval {
namespace {

tiny::File random_model() {
  return tiny::make_file(
      {.arch = "llama", .layers = 2, .vocab = 300, .context = 2048, .text_vocabulary = true});
}

BenchOptions bench_options(const tiny::TemporaryFile& file) {
  BenchOptions options;
  options.model = file.path();
  options.model_label = "tiny";
  options.prompts = {96};
  options.generate = {8};
  options.depths = {0, 64};
  options.rounds = 3;
  options.threads = 2;
  options.compare_llama = true;
  return options;
}

using Keys = std::vector<std::string>;

Keys keys_of(const nlohmann::ordered_json& json) {
  Keys keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  return keys;
}

// Those beyond the promise are config and the last four (docs/decisions.md).
const Keys kRowKeys{"model",
                    "engine",
                    "policy",
                    "test",
                    "depth",
                    "n",
                    "repeats",
                    "median_s",
                    "p10_s",
                    "p90_s",
                    "tokens_per_s",
                    "kv_bytes",
                    "kl_vs_ref",
                    "beyond_context",
                    "ratio_vs",
                    "ratio_p10",
                    "config",
                    "attention_s",
                    "llama_attention_share",
                    "predicted_ratio",
                    "measured_over_predicted"};

TEST(BenchModel, rows_have_exactly_the_documented_keys) {
  const tiny::TemporaryFile file(random_model());
  const auto report = bench_model(bench_options(file));
  ASSERT_TRUE(report.is_ok()) << report.message();
  ASSERT_EQ(report->rows.size(), 6u);  // pp96, tg8 at 0, tg8 at 64, each for two engines
  const auto json = nlohmann::ordered_json::parse(format_report(*report, BenchForm::kJson));
  EXPECT_EQ(keys_of(json), (Keys{"machine", "rows"}));
  EXPECT_EQ(keys_of(json["machine"]),
            (Keys{"cpu", "family", "isa", "threads", "peak_gflops", "stream_gbps", "ggml"}));
  EXPECT_EQ(keys_of(json["machine"]["peak_gflops"]), (Keys{"fp32", "bf16", "int8"}));
  EXPECT_GT(json["machine"]["peak_gflops"]["fp32"].get<double>(), 0);
  EXPECT_GT(json["machine"]["stream_gbps"].get<double>(), 0);
  for (const auto& row : json["rows"]) {
    EXPECT_EQ(keys_of(row), kRowKeys);
    EXPECT_TRUE(row["kl_vs_ref"].is_null());  // random weights
    EXPECT_EQ(row["beyond_context"], false);
    EXPECT_EQ(row["repeats"], 3);
    EXPECT_GT(row["kv_bytes"].get<int64_t>(), 0);
    EXPECT_LE(row["p10_s"].get<double>(), row["median_s"].get<double>());
    EXPECT_LE(row["median_s"].get<double>(), row["p90_s"].get<double>());
    EXPECT_NEAR(row["tokens_per_s"].get<double>() * row["median_s"].get<double>(),
                row["n"].get<double>(), 1e-6);
    if (row["engine"] == "heed") {
      EXPECT_GT(row["attention_s"].get<double>(), 0);
      EXPECT_LT(row["attention_s"].get<double>(), row["p90_s"].get<double>());
      EXPECT_EQ(keys_of(row["ratio_vs"]), Keys{"llama.cpp"});
      EXPECT_EQ(keys_of(row["ratio_p10"]), Keys{"llama.cpp"});
      EXPECT_LE(row["ratio_p10"]["llama.cpp"].get<double>(),
                row["ratio_vs"]["llama.cpp"].get<double>());
    } else {
      EXPECT_TRUE(row["attention_s"].is_null());  // its nodes are timed apart
      EXPECT_EQ(row["ratio_vs"], nlohmann::ordered_json::object());
      EXPECT_EQ(row["ratio_p10"], nlohmann::ordered_json::object());
    }
  }
  EXPECT_EQ(json["rows"][0]["test"], "pp96");
  EXPECT_EQ(json["rows"][0]["engine"], "heed");
  EXPECT_EQ(json["rows"][1]["engine"], "llama.cpp");
  EXPECT_EQ(json["rows"][4]["test"], "tg8");
  EXPECT_EQ(json["rows"][4]["depth"], 64);
}

TEST(BenchModel, every_form_has_every_row) {
  BenchReport report;
  for (int i = 0; i < 3; ++i) {
    BenchRow row;
    row.model = "a,\"b\"";
    row.engine = "heed";
    row.test = "pp" + std::to_string(i);
    report.rows.push_back(row);
  }
  const auto lines = [](const std::string& text) {
    return std::count(text.begin(), text.end(), '\n');
  };
  EXPECT_EQ(lines(format_report(report, BenchForm::kCsv)), 4);
  EXPECT_EQ(lines(format_report(report, BenchForm::kJsonl)), 4);
  EXPECT_NE(format_report(report, BenchForm::kMarkdown).find("| pp2 "), std::string::npos);
  EXPECT_NE(format_report(report, BenchForm::kCsv).find("\"a,\"\"b\"\"\""), std::string::npos);
}

TEST(BenchModel, a_name_that_is_no_utf8_is_printed_in_every_form) {
  BenchReport report;
  BenchRow row;
  row.model = "bad\xff name";
  report.rows.push_back(row);
  for (const BenchForm form : {BenchForm::kJson, BenchForm::kJsonl, BenchForm::kCsv}) {
    EXPECT_NE(format_report(report, form).find("bad"), std::string::npos);
  }
}

TEST(BenchModel, past_the_trained_context_only_when_asked_and_marked) {
  const tiny::TemporaryFile file(random_model());
  BenchOptions options = bench_options(file);
  options.compare_llama = false;
  options.prompts = {2100};
  options.generate.clear();
  options.rounds = 1;
  const auto refused = bench_model(options);
  EXPECT_EQ(refused.code(), Code::kOutOfRange);
  for (const char* word : {"2100", "2048", "--beyond-context"}) {
    EXPECT_NE(refused.message().find(word), std::string::npos) << refused.message();
  }
  options.beyond_context = true;
  const auto report = bench_model(options);
  ASSERT_TRUE(report.is_ok()) << report.message();
  ASSERT_EQ(report->rows.size(), 1u);
  EXPECT_TRUE(report->rows[0].beyond_context);
}

TEST(BenchModel, tests_are_listed_by_depth) {
  BenchOptions options;
  options.prompts = {512, 64};
  options.generate = {32};
  options.depths = {100, 0, 100};
  const auto plain = list_tests(options, 4096);
  ASSERT_TRUE(plain.is_ok());
  ASSERT_EQ(plain->size(), 4u);
  EXPECT_EQ((*plain)[2].depth, 0);
  EXPECT_EQ((*plain)[3].depth, 100);
  EXPECT_TRUE((*plain)[3].generate);
  options.cross = true;
  EXPECT_EQ(list_tests(options, 4096)->size(), 6u);
  options.prompts.clear();
  options.generate.clear();
  EXPECT_EQ(list_tests(options, 4096).code(), Code::kInvalidArgument);
  options.prompts = {-1};
  EXPECT_EQ(list_tests(options, 4096).code(), Code::kOutOfRange);
}

TEST(BenchModel, ratios_are_paired_and_above_one_when_heed_is_faster) {
  // A round without its pair does not count.
  EXPECT_EQ(paired_ratios({1, 2}, {2, 8, 100}), (std::vector<double>{2, 4}));
}

TEST(BenchKernels, both_engines_answer_as_the_fp64_reference) {
  for (const bool decode : {false, true}) {
    for (const int d : {64, 128, 256}) {
      const KernelShape shape{decode, d, 2, 4, 1000};
      const KernelInputs inputs = make_inputs(shape);
      for (const Format format : {Format::kF32, Format::kF16, Format::kBf16}) {
        auto heed = make_heed_contender(inputs, format, 2, 1 << 20);
        ASSERT_TRUE(heed.is_ok()) << heed.message();
        for (int round = 0; round < 2; ++round) ASSERT_TRUE((*heed)->round().is_ok());
        const int64_t t = shape.queries() - 1;
        const auto exact = exact_row(inputs, t);
        const auto row = (*heed)->output(t);
        const double error = relative_error(exact, std::vector<double>(row.begin(), row.end()));
        EXPECT_LE(error, error_limit(relative_error(exact, plain_row(inputs, t, format))))
            << shape.name() << " " << format_name(format);
        if (format == Format::kBf16) continue;
        auto ggml = make_ggml_contender(inputs, format, 2, 1 << 20);
        ASSERT_TRUE(ggml.is_ok()) << ggml.message();
        ASSERT_TRUE((*ggml)->round().is_ok());
        const auto peer = (*ggml)->output(t);
        // ggml adds values up in f16 when it decodes from f16, and so does its plain twin.
        const auto sums = format == Format::kF16 ? Sums::kStored : Sums::kF32;
        EXPECT_LE(relative_error(exact, std::vector<double>(peer.begin(), peer.end())),
                  error_limit(relative_error(exact, plain_row(inputs, t, format, sums))))
            << shape.name() << " " << format_name(format);
      }
    }
  }
}

TEST(BenchKernels, decode_rotates_over_what_was_asked) {
  const KernelShape shape{true, 64, 2, 1, 256};
  const KernelInputs inputs = make_inputs(shape);
  auto heed = make_heed_contender(inputs, Format::kBf16, 1, 1 << 20);
  auto ggml = make_ggml_contender(inputs, Format::kF16, 1, 1 << 20);
  ASSERT_TRUE(heed.is_ok() && ggml.is_ok());
  EXPECT_EQ((*heed)->kv_bytes(), 256u * 2 * 64 * 2 * 2);
  EXPECT_EQ((*heed)->kv_bytes(), (*ggml)->kv_bytes());
  EXPECT_GE((*heed)->copies() * (*heed)->kv_bytes(), 1u << 20);
  EXPECT_EQ((*heed)->copies(), (*ggml)->copies());
}

TEST(BenchKernels, a_run_reports_every_contender) {
  KernelBenchOptions options;
  options.decode = false;
  options.head_sizes = {64};
  options.groups = {4};
  options.lengths = {128};
  options.rounds = 2;
  options.threads = 1;
  const auto report = bench_kernels(options);
  ASSERT_TRUE(report.is_ok()) << report.message();
  ASSERT_EQ(report->rows.size(), 5u);
  EXPECT_EQ(report->rows[0].ratio.size(), 2u);
  EXPECT_TRUE(report->rows[4].ratio.empty());
  const auto json = nlohmann::json::parse(format_report(*report, BenchForm::kJson));
  EXPECT_EQ(json["rows"].size(), 5u);
  options.head_sizes = {33};
  EXPECT_EQ(bench_kernels(options).code(), Code::kOutOfRange);
}

}  // namespace
}  // namespace heed::eval
