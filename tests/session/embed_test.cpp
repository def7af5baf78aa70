// heed/embed.h: what a caller may rely on.
#include "heed/embed.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "session_fixture.h"
#include "tiny_encoder.h"

namespace heed {
namespace {

using Texts = std::vector<std::vector<Token>>;

tiny::File encoder_file(const char* arch = "bert") {
  tiny::EncoderSpec spec;
  spec.arch = arch;
  spec.context = 200;
  return tiny::make_encoder(spec);
}

Texts some_texts() {
  Texts texts;
  for (const int n : {3, 190, 64, 1, 200, 17, 17, 65}) {
    texts.push_back(test::random_tokens(n, 80, 7 + texts.size()));
  }
  return texts;
}

std::vector<Embedding> embedded(Engine& engine, const Texts& texts,
                                std::optional<Pooling> pooling = Pooling::kNone) {
  EmbedOptions options;
  options.pooling = pooling;
  const auto all = embed(engine, texts, options);
  EXPECT_TRUE(all.is_ok()) << all.message();
  return all.is_ok() ? *all : std::vector<Embedding>(texts.size());
}

TEST(embed, bits_depend_neither_on_the_other_texts_nor_on_threads_or_the_chunk) {
  for (const char* arch : {"bert", "nomic-bert", "llama"}) {
    for (const Linear linear : {Linear::kHeed, Linear::kAccurate}) {
      const bool decoder = std::string(arch) == "llama";
      const tiny::TemporaryFile file(decoder ? tiny::make_file({}) : encoder_file(arch));
      const Texts texts = some_texts();
      const auto together = test::make_engine(file.path(), {}, 2, linear);
      const auto all = embedded(*together, texts);
      EngineOptions small;
      small.chunk = 32;
      small.max_sequences = 2;
      const auto alone = test::make_engine(file.path(), small, 1, linear);
      for (size_t i = 0; i < texts.size(); ++i) {
        const auto one = embedded(*alone, {texts[i]});
        EXPECT_EQ(one[0].values, all[i].values) << arch << " text " << i;
      }
      Texts reversed(texts.rbegin(), texts.rend());
      auto backwards = embedded(*alone, reversed);
      std::reverse(backwards.begin(), backwards.end());
      for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(backwards[i].values, all[i].values) << i;
    }
  }
}

TEST(embed, pools_are_those_of_the_rows) {
  const tiny::TemporaryFile file(encoder_file());
  const auto engine = test::make_engine(file.path(), {}, 1);
  const Texts texts = some_texts();
  const auto rows = embedded(*engine, texts);
  const auto mean = embedded(*engine, texts, Pooling::kMean);
  const auto first = embedded(*engine, texts, Pooling::kCls);
  const auto last = embedded(*engine, texts, Pooling::kLast);
  const auto files = embedded(*engine, texts, {});  // mean, says the file
  const auto width = static_cast<ptrdiff_t>(engine->model().info().embd);
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto n = static_cast<ptrdiff_t>(texts[i].size());
    ASSERT_EQ(rows[i].rows, n);
    ASSERT_EQ(mean[i].rows, 1);
    const auto begin = rows[i].values.begin();
    EXPECT_TRUE(std::equal(first[i].values.begin(), first[i].values.end(), begin));
    EXPECT_TRUE(std::equal(last[i].values.begin(), last[i].values.end(), begin + (n - 1) * width));
    EXPECT_EQ(files[i].values, mean[i].values);
    for (ptrdiff_t c = 0; c < width; ++c) {
      double sum = 0;
      for (ptrdiff_t t = 0; t < n; ++t) sum += *(begin + t * width + c);
      EXPECT_EQ(mean[i].values[static_cast<size_t>(c)],
                static_cast<float>(sum / static_cast<double>(n)));
    }
  }
}

TEST(embed, a_text_that_is_too_long_is_refused_with_both_numbers) {
  const tiny::TemporaryFile file(encoder_file());
  const auto engine = test::make_engine(file.path(), {}, 1);
  const auto refused = embed(*engine, Texts{{1, 2}, test::random_tokens(201, 80, 1)});
  ASSERT_FALSE(refused.is_ok());
  EXPECT_EQ(refused.code(), Code::kOutOfRange);
  EXPECT_NE(refused.message().find("text 1 has 201 tokens, the context is 200"), std::string::npos)
      << refused.message();
  EngineOptions beyond;
  beyond.context = 201;
  beyond.beyond_context = true;  // the table of positions has no row for it
  const auto longer = Model::load(file.path(), {});
  ASSERT_TRUE(longer.is_ok());
  EXPECT_FALSE(Engine::create(*longer, beyond).is_ok());
  beyond.context = 0;
  beyond.rope.factor = 4;
  const auto stretched = Engine::create(*longer, beyond);
  ASSERT_TRUE(stretched.is_ok()) << stretched.message();
  EXPECT_FALSE(embed(**stretched, Texts{test::random_tokens(201, 80, 1)}).is_ok());
}

TEST(embed, texts_and_pools_that_cannot_be_are_refused) {
  const tiny::TemporaryFile file(encoder_file());
  const auto engine = test::make_engine(file.path(), {}, 1);
  EXPECT_EQ(embed(*engine, Texts{{1}, {}}).code(), Code::kInvalidArgument);
  EXPECT_EQ(embed(*engine, Texts{{80}}).code(), Code::kOutOfRange);
  EXPECT_EQ(embed(*engine, Texts{{-1}}).code(), Code::kOutOfRange);
  EmbedOptions rank;
  rank.pooling = Pooling::kRank;
  EXPECT_EQ(embed(*engine, Texts{{1}}, rank).code(), Code::kUnsupported);
  const auto none = embed(*engine, Texts{});
  ASSERT_TRUE(none.is_ok());
  EXPECT_TRUE(none->empty());
}

TEST(embed, an_encoder_has_no_next_token) {
  const tiny::TemporaryFile file(encoder_file());
  const auto engine = test::make_engine(file.path(), {}, 1);
  const auto seq = engine->create_sequence();
  ASSERT_TRUE(seq.is_ok());
  const Token token = 1;
  const SeqToken next{*seq, token};
  for (const Status& status : {engine->prefill(*seq, {&token, 1}), engine->decode({&next, 1})}) {
    EXPECT_EQ(status.code(), Code::kUnsupported);
    EXPECT_NE(status.message().find("heed embed"), std::string::npos) << status.message();
  }
}

TEST(embed, nothing_stays_behind_a_call_an_error_or_a_cancel) {
  for (const bool decoder : {false, true}) {
    const tiny::TemporaryFile file(decoder ? tiny::make_file({}) : encoder_file());
    EngineOptions options;
    options.chunk = 40;
    const auto engine = test::make_engine(file.path(), options, 2);
    const Texts texts = some_texts();
    const auto before = embedded(*engine, texts);
    EXPECT_EQ(engine->store().bytes().pages, 0u);
    for (const int node : {0, 5, 12}) {
      engine->fail_after_node(node);
      EXPECT_EQ(embed(*engine, texts).code(), Code::kInternal);
      engine->fail_after_node(-1);
      EXPECT_EQ(engine->store().bytes().pages, 0u) << node;
    }
    CancelToken cancel;
    EmbedOptions cancelled;
    cancelled.cancel = &cancel;
    cancelled.progress = [&](int64_t, int64_t) { cancel.cancel(); };  // behind the first step
    EXPECT_EQ(embed(*engine, texts, cancelled).code(), Code::kCancelled);
    EXPECT_EQ(engine->store().bytes().pages, 0u);
    const auto after = embedded(*engine, texts);
    for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(after[i].values, before[i].values);
  }
}

TEST(embed, progress_counts_tokens_and_the_report_has_them) {
  const tiny::TemporaryFile file(encoder_file());
  const auto engine = test::make_engine(file.path(), {}, 1);
  std::vector<int64_t> done;
  int64_t all = 0;
  EmbedOptions options;
  options.progress = [&](int64_t n, int64_t total) {
    done.push_back(n);
    all = total;
  };
  ASSERT_TRUE(embed(*engine, some_texts(), options).is_ok());
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  ASSERT_FALSE(done.empty());
  EXPECT_EQ(done.back(), 557);
  EXPECT_EQ(all, 557);
  EXPECT_EQ(engine->report().prompt_tokens, 557);
}

TEST(embed, a_plan_counts_one_layers_keys) {
  const tiny::TemporaryFile file(encoder_file());
  const PlannedRun run{.prompt = 200};
  const auto plan = predict_memory(file.path(), {}, {}, run);
  ASSERT_TRUE(plan.is_ok()) << plan.message();
  const auto engine = test::make_engine(file.path(), {}, 1);
  EXPECT_EQ(engine->store().desc().layers.size(), 1u);
  EXPECT_GT(plan->kv, 0u);
  EXPECT_EQ(engine->options().chunk, 512);
  EXPECT_EQ(engine->options().context, 200);
}

TEST(embed, norms_are_those_of_their_formulas) {
  const std::vector<float> values = {3, -4, 0, 12};
  const auto normed = [&](int norm) {
    std::vector<float> v = values;
    EXPECT_TRUE(normalize_embedding(v, norm).is_ok());
    return v;
  };
  EXPECT_EQ(normed(-1), values);
  EXPECT_EQ(normed(0), (std::vector<float>{8190, -10920, 0, 32760}));
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_FLOAT_EQ(normed(1)[i], values[i] / 19);
    EXPECT_FLOAT_EQ(normed(2)[i], values[i] / 13);
    EXPECT_FLOAT_EQ(normed(3)[i], static_cast<float>(values[i] / std::cbrt(27.0 + 64 + 1728)));
    EXPECT_NEAR(normed(1000)[i], values[i] / 12, 1e-6);
  }
  std::vector<float> zeros(4, 0.0f);
  EXPECT_TRUE(normalize_embedding(zeros, 2).is_ok());
  EXPECT_EQ(zeros, std::vector<float>(4, 0.0f));
  EXPECT_EQ(normalize_embedding(zeros, -2).code(), Code::kOutOfRange);
}

TEST(embed, cosines_are_those_of_their_formula) {
  const std::vector<float> a = {1, 2, 2}, b = {-2, -4, -4}, c = {2, 1, -2}, zero = {0, 0, 0};
  EXPECT_DOUBLE_EQ(cosine_similarity(a, a), 1);
  EXPECT_DOUBLE_EQ(cosine_similarity(a, b), -1);
  EXPECT_DOUBLE_EQ(cosine_similarity(a, c), 0);
  EXPECT_EQ(cosine_similarity(a, zero), 0);
  EXPECT_EQ(cosine_similarity(zero, zero), 1);
}

TEST(embed, poolings_have_names) {
  for (const char* name : {"none", "mean", "cls", "last", "rank"}) {
    const auto pooling = parse_pooling(name);
    ASSERT_TRUE(pooling.is_ok());
    EXPECT_STREQ(pooling_name(*pooling), name);
  }
  EXPECT_NE(parse_pooling("max").message().find("mean"), std::string::npos);
}

}  // namespace
}  // namespace heed
