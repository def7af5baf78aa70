// heed bench linears on small weights: cases, checks, keys. No rate is judged here.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "eval/bench_linears.h"
#include "eval/linear_reference.h"
#include "eval/row_forms.h"
#include "session/available_memory.h"

namespace heed::eval {
namespace {

constexpr LinearSize kSmall{512, 96};

TEST(BenchLinears, every_type_is_answered_as_the_fp64_reference_by_every_contender) {
  for (const WeightType type : all_weight_types()) {
    const LinearProblem problem = make_problem(type, kSmall, 21);
    auto heed = make_heed_linear(problem, Precision::kUsual, 3, 2);
    ASSERT_TRUE(heed.is_ok()) << heed.message();
    std::vector<LinearContender*> all{heed->get()};
    std::vector<std::unique_ptr<LinearContender>> ggml;
    for (const GgmlLayout layout : {GgmlLayout::kPlain, GgmlLayout::kRepacked}) {
      auto made = make_ggml_linear(problem, layout, 3, 2);
      ASSERT_TRUE(made.is_ok()) << made.message();
      EXPECT_EQ(*made != nullptr, has_ggml_layout(type, kSmall, layout));
      if (*made != nullptr) all.push_back(ggml.emplace_back(std::move(*made)).get());
    }
    ASSERT_GE(all.size(), 2u);
    for (const int64_t rows : {1, 5, 21}) {
      const LinearReference reference(problem, rows);
      for (LinearContender* one : all) {
        ASSERT_TRUE(one->begin(rows).is_ok());
        ASSERT_TRUE(one->round().is_ok());
        // Eight bits an input at least: 1 / 127 / sqrt(12) of the largest of 256.
        EXPECT_LT(reference.error(*one), 0.01)
            << one->engine() << " " << weight_type_name(type) << " " << rows;
        EXPECT_GT(reference.error(*one), 0);
      }
    }
  }
}

TEST(BenchLinears, an_answer_that_is_off_in_one_output_is_seen) {
  class Wrong : public LinearContender {
   public:
    Wrong(LinearContender& right, int64_t row, size_t output)
        : right_(right), row_(row), output_(output) {}
    const char* engine() const override { return "wrong"; }
    Status round() override { return Status::ok(); }
    int64_t copies() const override { return 1; }
    void park() override {}
    Status begin(int64_t) override { return Status::ok(); }
    std::span<const float> output(int64_t t) const override {
      const auto y = right_.output(t);
      changed_.assign(y.begin(), y.end());
      if (t == row_) changed_[output_] += 10;
      return changed_;
    }

   private:
    LinearContender& right_;
    int64_t row_;
    size_t output_;
    mutable std::vector<float> changed_;
  };
  constexpr LinearSize kBeyondTheDistinct{64, 300};
  const LinearProblem problem = make_problem(WeightType::kQ8_0, kBeyondTheDistinct, 100);
  auto heed = make_heed_linear(problem, Precision::kUsual, 1, 1);
  ASSERT_TRUE(heed.is_ok()) << heed.message();
  for (const int64_t rows : {1, 16, 100}) {
    ASSERT_TRUE((*heed)->begin(rows).is_ok());
    ASSERT_TRUE((*heed)->round().is_ok());
    const LinearReference reference(problem, rows);
    const double right = reference.error(**heed);
    EXPECT_LT(right, 0.01);
    for (const size_t output : {size_t{0}, size_t{299}}) {
      EXPECT_GT(reference.error(Wrong(**heed, rows - 1, output)), 2 * right) << rows;
    }
  }
}

TEST(BenchLinears, few_rows_go_through_every_copy_and_many_through_one) {
  const LinearProblem problem = make_problem(WeightType::kQ4_0, kSmall, 64);
  auto heed = make_heed_linear(problem, Precision::kUsual, 5, 1);
  auto ggml = make_ggml_linear(problem, GgmlLayout::kPlain, 5, 1);
  ASSERT_TRUE(heed.is_ok() && ggml.is_ok());
  for (LinearContender* one : {heed->get(), ggml->get()}) {
    for (const auto& [rows, copies] : {std::pair{1, 5}, {16, 5}, {17, 1}, {64, 1}}) {
      ASSERT_TRUE(one->begin(rows).is_ok());
      EXPECT_EQ(one->copies(), copies) << one->engine() << " " << rows;
    }
  }
}

LinearBenchOptions small_options() {
  LinearBenchOptions options;
  options.types = {WeightType::kQ4_0, WeightType::kQ6K, WeightType::kBf16};
  options.sizes = {kSmall};
  options.rows = {32};
  options.rounds = 2;
  options.threads = 1;
  return options;
}

// The bound of the report itself: half of ggml's error.
TEST(BenchLinears, accurate_products_are_measured_under_their_own_name) {
  LinearBenchOptions options = small_options();
  options.precision = Precision::kAccurate;
  const auto report = bench_linears(options);
  ASSERT_TRUE(report.is_ok()) << report.message();
  int heed = 0;
  for (const LinearRow& row : report->rows) {
    if (row.engine == "heed accurate") {
      ++heed;
      EXPECT_NE(row.roof, Roof::kInt8) << row.shape.name();
    } else {
      EXPECT_EQ(row.engine.substr(0, 4), "ggml");
    }
  }
  EXPECT_EQ(heed, 3);
}

TEST(BenchLinears, rows_carry_every_promised_key) {
  LinearBenchOptions options = small_options();
  size_t calls = 0;
  options.on_rows = [&](const LinearReport& so_far) {
    EXPECT_GT(so_far.rows.size(), calls);
    ++calls;
  };
  const auto report = bench_linears(options);
  ASSERT_TRUE(report.is_ok()) << report.message();
  EXPECT_EQ(calls, 3u);
  const auto json = nlohmann::json::parse(format_report(*report, BenchForm::kJson));
  std::set<std::string> types;
  for (const auto& row : json["rows"]) {
    for (const char* key : {"engine", "type", "inputs", "outputs", "rows", "rounds", "copies",
                            "median_s", "p10_s", "p90_s", "gops", "gbps", "roof", "roof_share", "paired_share",
                            "error", "ratio_vs", "ratio_p10", "better_peer"}) {
      EXPECT_TRUE(row.contains(key)) << key;
    }
    types.insert(row["type"]);
    EXPECT_EQ(row["rounds"], 2);
    EXPECT_EQ(row["copies"], 1);
    EXPECT_LE(row["p10_s"].get<double>(), row["p90_s"].get<double>());
    EXPECT_NEAR(row["gops"].get<double>() * row["median_s"].get<double>(), 2e-9 * 512 * 96 * 32,
                1e-9);
    const bool heed = row["engine"] == "heed";
    EXPECT_EQ(row["better_peer"].is_string(), heed);
    EXPECT_EQ(row["ratio_vs"].empty(), !heed);
    if (!heed) continue;
    double best = INFINITY;  // the better peer is the one that heed gains least on, by medians
    for (const auto& peer : json["rows"]) {
      if (peer["type"] == row["type"] && peer["engine"] != "heed") {
        best = std::min(best, peer["median_s"].get<double>());
      }
    }
    const auto better = std::find_if(json["rows"].begin(), json["rows"].end(), [&](const auto& p) {
      return p["type"] == row["type"] && p["engine"] == row["better_peer"];
    });
    ASSERT_NE(better, json["rows"].end());
    EXPECT_EQ((*better)["median_s"].get<double>(), best);
    EXPECT_LE(row["ratio_p10"][row["better_peer"].get<std::string>()],
              row["ratio_vs"][row["better_peer"].get<std::string>()]);
  }
  EXPECT_EQ(types, (std::set<std::string>{"Q4_0", "Q6_K", "BF16"}));
  const std::string table = format_report(*report, BenchForm::kMarkdown);
  EXPECT_NE(table.find("| Q6_K 512x96 | 32 | heed |"), std::string::npos) << table;
  const auto lines = [](const std::string& text) {
    return std::count(text.begin(), text.end(), '\n');
  };
  const auto rows = static_cast<std::ptrdiff_t>(report->rows.size());
  EXPECT_EQ(lines(format_report(*report, BenchForm::kCsv)), rows + 1);
  EXPECT_EQ(lines(format_report(*report, BenchForm::kJsonl)), rows + 1);
}

TEST(BenchLinears, a_case_is_measured_against_the_roof_that_bounds_it) {
  LinearBenchOptions options = small_options();
  options.types = {WeightType::kQ8_0, WeightType::kF32};
  const auto report = bench_linears(options);
  ASSERT_TRUE(report.is_ok()) << report.message();
  for (const LinearRow& row : report->rows) {
    EXPECT_FALSE(row.paired_share.has_value());  // 32 rows do not wait for memory
    EXPECT_EQ(row.roof, row.shape.type == WeightType::kF32 ? Roof::kFp32 : Roof::kInt8);
    if (row.roof == Roof::kFp32) {
      ASSERT_TRUE(row.roof_share.has_value());
      EXPECT_DOUBLE_EQ(*row.roof_share, row.gops / report->machine.fp32_gflops);
    } else {
      EXPECT_EQ(row.roof_share.has_value(), report->machine.int8_gops > 0);
    }
  }
}

TEST(BenchLinears, few_rows_are_also_measured_against_what_memory_gave_in_their_round) {
  LinearBenchOptions options = small_options();
  options.types = {WeightType::kBf16};
  options.rows = {1};
  options.rounds = 1;
  const auto report = bench_linears(options);
  ASSERT_TRUE(report.is_ok()) << report.message();
  for (const LinearRow& row : report->rows) {
    EXPECT_EQ(row.roof, Roof::kStream);
    EXPECT_GT(row.copies, 1);
    ASSERT_TRUE(row.roof_share.has_value());
    ASSERT_TRUE(row.paired_share.has_value());
    EXPECT_GT(*row.paired_share, 0);
  }
}

TEST(BenchLinears, the_default_grid_moves_one_axis_at_a_time_and_cross_moves_all) {
  LinearBenchOptions options;
  options.types = {WeightType::kQ4_0, WeightType::kQ4K};
  const auto one = list_shapes(options);
  EXPECT_EQ(one.size(), (4 + 5) + (2 + 5u));  // K types do not fit 576 and 896 inputs
  for (const LinearShape& shape : one) {
    EXPECT_TRUE(shape.rows == 512 || (shape.size == LinearSize{2048, 8192})) << shape.name();
  }
  options.cross = true;
  EXPECT_EQ(list_shapes(options).size(), (4 + 2) * 6u);
  options.cross = false;
  options.types = {WeightType::kQ4K};
  options.sizes = {{256, 64}, {288, 64}};  // the middle one does not fit
  EXPECT_EQ(list_shapes(options).size(), 6u);
}

TEST(BenchLinears, what_cannot_be_measured_is_refused_with_the_reason) {
  const auto refusal = [](const auto& change) {
    LinearBenchOptions options = small_options();
    change(options);
    const auto report = bench_linears(options);
    EXPECT_FALSE(report.is_ok());
    return report.message();
  };
  using Options = LinearBenchOptions;
  EXPECT_NE(refusal([](Options& o) { o.sizes = {{48, 64}}; }).find("48x64"), std::string::npos);
  EXPECT_NE(refusal([](Options& o) { o.sizes = {{64, 0}}; }).find("64x0"), std::string::npos);
  EXPECT_NE(refusal([](Options& o) { o.rows = {0}; }).find("0 rows"), std::string::npos);
  EXPECT_NE(refusal([](Options& o) { o.types.clear(); }).find("no case"), std::string::npos);
  const std::string blocks = refusal([](Options& o) {
    o.types = {WeightType::kQ4K};
    o.sizes = {{288, 64}};
  });
  EXPECT_NE(blocks.find("blocks of 256"), std::string::npos) << blocks;
}

TEST(BenchLinears, copies_that_do_not_fit_in_memory_are_refused_before_anything_is_made) {
  const ScopedAvailableMemory little(uint64_t{64} << 20);
  LinearBenchOptions options = small_options();
  options.rows = {1};
  const auto report = bench_linears(options);
  EXPECT_EQ(report.code(), Code::kResourceExhausted);
  for (const char* word : {"64.0 MiB", "copies", "--rows above 16"}) {
    EXPECT_NE(report.message().find(word), std::string::npos) << report.message();
  }
}

TEST(BenchLinears, a_cancel_ends_it) {
  CancelToken cancel;
  LinearBenchOptions options = small_options();
  options.cancel = &cancel;
  options.on_rows = [&](const LinearReport&) { cancel.cancel(); };
  EXPECT_EQ(bench_linears(options).code(), Code::kCancelled);
}

}  // namespace
}  // namespace heed::eval
