// Prefill policies inside the steps of a model: the prompt reads what the policy says in every
// layer, chunk and order; what fails or does not fit says so.
#include <gtest/gtest.h>

#include "base/text.h"
#include "heed/session.h"
#include "mechanisms/a_shape/a_shape.h"
#include "mechanisms/a_shape/reference.h"
#include "mechanisms/dense/dense.h"
#include "mechanisms/prefill_policy.h"
#include "mechanisms/tri_shape/reference.h"
#include "mechanisms/tri_shape/tri_shape.h"
#include "model/split_set.h"
#include "session/engine_impl.h"
#include "session/prompt_selection.h"
#include "session_fixture.h"
#include "temporary_folder.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

using test::exact_options;
using test::logits_of;
using test::make_engine;
using test::prefilled;
using test::random_tokens;

constexpr int kPrompt = 150;
constexpr double kOtherPhase = 2e-5;  // prompt products against those of single tokens

tiny::Spec model_spec() {
  tiny::Spec spec;
  spec.layers = 3;
  spec.heads = 6;
  spec.kv_heads = 2;
  return spec;
}

std::shared_ptr<const PrefillPolicy> policy(const char* text,
                                            std::shared_ptr<const PrefillSelector> selector) {
  return std::make_shared<const PrefillPolicy>(text, std::move(selector));
}
std::shared_ptr<const PrefillPolicy> a_shape(const AShapeParams& p) {
  return policy("a_shape", std::move(*make_a_shape(p)));
}
std::shared_ptr<const PrefillPolicy> tri_shape(const TriShapeParams& p) {
  return policy("tri_shape", std::move(*make_tri_shape(p)));
}

constexpr int kChunk = 32;

// Pairs that attention computes of a prompt of kPrompt tokens in one head. In the last layer only
// the last chunk attends: nobody asks for what the rows before it read there.
template <class Visible>
uint64_t pairs_of(size_t layer, const Visible& visible) {
  uint64_t pairs = 0;
  for (int64_t query = layer == 2 ? kPrompt / kChunk * kChunk : 0; query < kPrompt; ++query) {
    for (int64_t key = 0; key <= query; ++key) pairs += visible(query, key) ? 1 : 0;
  }
  return pairs;
}

EngineOptions with(std::shared_ptr<const PrefillPolicy> p, int chunk = kChunk,
                   PrefillOrder order = PrefillOrder::kTokenMajor) {
  EngineOptions options = exact_options();
  options.prefill = std::move(p);
  options.chunk = chunk;
  options.prefill_order = order;
  return options;
}

// Logits behind `tokens` read one at a time without a policy, where the store's own live bits hide
// what `reads(query, key)` denies: no selector, no plan of one.
template <class Reads>
std::vector<float> masked_token_by_token(Engine& engine, const std::vector<Token>& tokens,
                                         const Reads& reads) {
  const SeqId seq = *engine.create_sequence();
  Store& store = engine.store();
  for (size_t t = 0; t < tokens.size(); ++t) {
    for (size_t layer = 0; t > 0 && layer < store.desc().layers.size(); ++layer) {
      for (int g = 0; g < store.desc().layers[layer].kv_heads; ++g) {
        const auto side = store.side_array(seq, static_cast<int>(layer), g, SideArray::kLive);
        EXPECT_TRUE(side.is_ok()) << side.message();
        auto* live = static_cast<uint64_t*>(*side);
        for (size_t key = 0; key < t; ++key) {
          const uint64_t bit = uint64_t{1} << (key % 64);
          live[key / 64] = reads(t, key) ? live[key / 64] | bit : live[key / 64] & ~bit;
        }
      }
    }
    test::step(engine, seq, tokens[t]);
  }
  return logits_of(engine, seq);
}

TEST(PrefillPolicy, a_prompt_equals_attention_masked_by_the_formula_in_every_layer) {
  const tiny::TemporaryFile file(model_spec());
  const std::vector<Token> tokens = random_tokens(kPrompt, 80, 5);
  const auto plain = make_engine(file.path(), exact_options());
  const std::vector<float> dense = logits_of(*plain, prefilled(*plain, tokens));
  const AShapeParams a{4, 20};
  const TriShapeParams tri{4, 20, 9};
  const auto masked_a = masked_token_by_token(*plain, tokens, [&](int64_t query, int64_t key) {
    return reference::a_shape_visible(a, query, key);
  });
  const auto masked_tri = masked_token_by_token(*plain, tokens, [&](int64_t query, int64_t key) {
    return reference::tri_shape_visible(tri, kPrompt, query, key);
  });
  for (const PrefillOrder order : {PrefillOrder::kTokenMajor, PrefillOrder::kLayerMajor}) {
    const auto as = make_engine(file.path(), with(a_shape(a), 32, order));
    const auto got = logits_of(*as, prefilled(*as, tokens));
    EXPECT_LE(test::distance(got, masked_a), kOtherPhase);
    EXPECT_GT(test::distance(got, dense), 0.01) << "a policy that changes nothing proves nothing";
    const auto ts = make_engine(file.path(), with(tri_shape(tri), 32, order));
    const auto tail = logits_of(*ts, prefilled(*ts, tokens));
    EXPECT_LE(test::distance(tail, masked_tri), kOtherPhase);
    EXPECT_GT(test::distance(tail, masked_a), 0.01);
  }
}

TEST(PrefillPolicy, chunks_and_orders_change_no_bit_and_generated_tokens_read_everything) {
  const tiny::TemporaryFile file(model_spec());
  const std::vector<Token> tokens = random_tokens(kPrompt, 80, 6);
  for (const auto& p : {a_shape({3, 33}), tri_shape({3, 33, 40})}) {
    std::vector<float> first, next;
    for (const PrefillOrder order : {PrefillOrder::kTokenMajor, PrefillOrder::kLayerMajor}) {
      for (const int chunk : {512, 64, 47}) {
        const auto engine = make_engine(file.path(), with(p, chunk, order));
        const SeqId seq = prefilled(*engine, tokens);
        const std::vector<float> logits = logits_of(*engine, seq);
        const uint64_t before = engine->report().attention_tiles;
        const std::vector<float> step = test::step(*engine, seq, 1);
        // 151 keys are 3 pages, in 3 layers of 6 heads.
        EXPECT_EQ(engine->report().attention_tiles - before, 3u * 3u * 6u);
        if (first.empty()) first = logits, next = step;
        EXPECT_EQ(logits, first) << p->text() << " chunk " << chunk;
        EXPECT_EQ(step, next) << p->text() << " chunk " << chunk;
      }
    }
  }
}

TEST(PrefillPolicy, one_that_leaves_nothing_out_changes_no_bit) {
  const tiny::TemporaryFile file(model_spec());
  const std::vector<Token> tokens = random_tokens(kPrompt, 80, 7);
  const auto plain = make_engine(file.path(), with(nullptr));
  const std::vector<float> dense = logits_of(*plain, prefilled(*plain, tokens));
  EXPECT_TRUE(plain->report().selection.empty());
  for (const auto& p : {policy("dense", make_dense()), a_shape({0, 512}), tri_shape({0, 1, 512})}) {
    const auto engine = make_engine(file.path(), with(p));
    EXPECT_EQ(logits_of(*engine, prefilled(*engine, tokens)), dense) << p->text();
    EXPECT_EQ(engine->report().attention_tiles, plain->report().attention_tiles);
    const Report report = engine->report();
    for (size_t layer = 0; layer < report.selection.size(); ++layer) {
      for (const LayerSelection::Head& head : report.selection[layer].heads) {
        EXPECT_EQ(head.density(), 1.0);
        EXPECT_EQ(head.tile_density(), 1.0);
        EXPECT_EQ(head.dense_pairs, pairs_of(layer, [](int64_t, int64_t) { return true; }));
      }
    }
  }
}

TEST(PrefillPolicy, the_report_tells_density_by_layer_and_head_as_it_was_computed) {
  const tiny::TemporaryFile file(model_spec());
  const AShapeParams params{2, 10};
  auto p = std::make_shared<PrefillPolicy>("a_shape", std::move(*make_a_shape(params)));
  p->override_layer(1, nullptr);
  const auto engine = make_engine(file.path(), with(p));
  prefilled(*engine, random_tokens(kPrompt, 80, 8));
  const auto visible = [&](int64_t query, int64_t key) {
    return reference::a_shape_visible(params, query, key);
  };
  const Report report = engine->report();
  uint64_t tiles = 0;
  ASSERT_EQ(report.selection.size(), 3u);
  for (size_t layer = 0; layer < 3; ++layer) {
    EXPECT_EQ(report.selection[layer].fallback, "");
    ASSERT_EQ(report.selection[layer].heads.size(), 6u);
    for (const LayerSelection::Head& head : report.selection[layer].heads) {
      EXPECT_EQ(head.pairs, layer == 1 ? head.dense_pairs : pairs_of(layer, visible));
      tiles += head.tiles;
    }
  }
  EXPECT_EQ(tiles, report.attention_tiles);
  EXPECT_GT(report.selection_s, 0);
  EXPECT_LE(report.selection_s, report.attention_s);
  engine->reset_report();
  EXPECT_EQ(engine->report().selection[0].heads[0].pairs, 0u);
  EXPECT_EQ(engine->report().selection_s, 0);
}

// Does not select under windows, and fails when told to.
class Fragile final : public PrefillSelector {
 public:
  const char* name() const override { return "fragile"; }
  int block() const override { return 64; }
  bool group_shared() const override { return false; }
  Invariance invariance() const override { return Invariance::kExact; }
  SelectBound bound(const SelectShape&) const override { return {.set = {.ranges = 1}}; }
  int64_t count(int, const SelectInput& in) const override {
    return in.heads.n_q * static_cast<int64_t>(in.blocks.size());
  }
  bool run(int, int64_t item, const SelectInput& in, const SelectScratch&,
           select::KeySetTable& out) const override {
    if (in.layer == fail_layer) return false;
    const auto blocks = static_cast<int64_t>(in.blocks.size());
    return out.writer(static_cast<int>(item / blocks), static_cast<int>(item % blocks))
        .add({0, in.lists[0].len});
  }

  int fail_layer = -1;
};

TEST(PrefillPolicy, a_selector_that_fails_fails_the_step_and_the_sequence_stays) {
  const tiny::TemporaryFile file(model_spec());
  const std::vector<Token> tokens = random_tokens(90, 80, 9);
  for (const PrefillOrder order : {PrefillOrder::kTokenMajor, PrefillOrder::kLayerMajor}) {
    const auto selector = std::make_shared<Fragile>();
    const auto engine = make_engine(file.path(), with(policy("fragile", selector), 32, order));
    const SeqId seq = *engine->create_sequence();
    for (const int layer : {0, 1}) {  // the last one selects in the last chunk alone
      selector->fail_layer = layer;
      const Status failed = engine->prefill(seq, tokens);
      EXPECT_EQ(failed.code(), Code::kInternal);
      EXPECT_NE(failed.message().find(cat("fragile: layer ", layer)), std::string::npos)
          << failed.message();
      EXPECT_EQ(engine->length(seq), 0);
      EXPECT_TRUE(engine->store().check().is_ok());
    }
    selector->fail_layer = -1;
    ASSERT_TRUE(engine->prefill(seq, tokens).is_ok());
    const auto plain = make_engine(file.path(), with(nullptr, 32, order));
    EXPECT_EQ(logits_of(*engine, seq), logits_of(*plain, prefilled(*plain, tokens)));
  }
}

TEST(PrefillPolicy, layers_that_cannot_select_are_dense_and_named) {
  tiny::Spec spec = model_spec();
  spec.arch = "gemma3";
  spec.layers = 6;
  spec.window = 24;
  spec.dk = 32;
  spec.freq_base = 1e6f;
  const tiny::TemporaryFile file(spec);
  const std::vector<Token> tokens = random_tokens(100, 80, 10);
  const auto engine =
      make_engine(file.path(), with(policy("fragile", std::make_shared<Fragile>())));
  const auto plain = make_engine(file.path(), with(nullptr));
  EXPECT_EQ(logits_of(*engine, prefilled(*engine, tokens)),
            logits_of(*plain, prefilled(*plain, tokens)));
  const Report report = engine->report();
  for (size_t layer = 0; layer < 6; ++layer) {
    EXPECT_EQ(report.selection[layer].fallback,
              layer == 5 ? "" : "a sliding window of 24 keys, under which fragile does not select");
    EXPECT_EQ(report.selection[layer].heads[0].density(), 1.0);
  }
  // One that takes windows reads what both leave visible.
  const auto shaped = make_engine(file.path(), with(a_shape({1, 12})));
  prefilled(*shaped, tokens);
  for (const LayerSelection& layer : shaped->report().selection) {
    EXPECT_EQ(layer.fallback, "");
    EXPECT_LT(layer.heads[0].density(), 1.0);
  }
}

TEST(PrefillPolicy, what_keys_depend_on_names_it_and_files_of_another_are_refused) {
  const tiny::TemporaryFile file(model_spec());
  const test::TemporaryFolder folder;
  const std::string path = folder / "a.session";
  const std::vector<Token> tokens = random_tokens(70, 80, 11);
  const auto shaped = make_engine(file.path(), with(a_shape({4, 20})));
  const auto plain = make_engine(file.path(), with(nullptr));
  const SeqId seq = prefilled(*shaped, tokens);
  EXPECT_NE(kv_text(*shaped, seq)->find("\nprefill=a_shape\n"), std::string::npos);
  EXPECT_EQ(kv_text(*plain, prefilled(*plain, tokens))->find("prefill="), std::string::npos);
  ASSERT_TRUE(save_session(*shaped, seq, path).is_ok());
  const auto again = restore_session(*shaped, path);
  ASSERT_TRUE(again.is_ok()) << again.message();
  EXPECT_EQ(logits_of(*shaped, again->seq), logits_of(*shaped, seq));
  const auto refused = restore_session(*plain, path);
  EXPECT_EQ(refused.code(), Code::kUnsupported);
  EXPECT_NE(refused.message().find("prefill is a_shape there and not set here"), std::string::npos)
      << refused.message();
}

TEST(PrefillPolicy, predicted_memory_counts_what_selections_hold) {
  const tiny::TemporaryFile file(model_spec());
  ModelOptions model;
  model.threads = 2;
  const PlannedRun run{.prompt = 400};
  const auto plain = predict_memory(file.path(), model, with(nullptr), run);
  const auto shaped = predict_memory(file.path(), model, with(a_shape({4, 20})), run);
  ASSERT_TRUE(plain.is_ok() && shaped.is_ok());
  const Hyperparameters hyper = *Hyperparameters::read(**open_model_file(file.path()));
  const auto said =
      PromptSelection::bytes_of(hyper, a_shape({4, 20}).get(), 32, 400, model.threads);
  ASSERT_TRUE(said.is_ok());
  EXPECT_GT(*said, 0u);
  EXPECT_EQ(shaped->peak - plain->peak, *said);
}

}  // namespace
}  // namespace heed
