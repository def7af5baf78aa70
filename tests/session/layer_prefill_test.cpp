// A prompt read layer by layer ends bit for bit as one read chunk by chunk, whatever happens to
// other sequences meanwhile, or as if it had never been.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <stdexcept>

#include "expert_variants.h"
#include "kernels/format_ops.h"
#include "schedule_suite.h"
#include "session/engine_impl.h"
#include "session_fixture.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

using test::logits_of;
using test::random_tokens;

EngineOptions options_of(PrefillOrder order, int chunk) {
  EngineOptions options;
  options.prefill_order = order;
  options.chunk = chunk;
  return options;
}

std::shared_ptr<Model> load(const tiny::Spec& spec, Linear linear = Linear::kHeed) {
  const tiny::TemporaryFile file(spec);
  ModelOptions options;
  options.threads = 2;
  options.linear = linear;
  auto model = Model::load(file.path(), options);
  EXPECT_TRUE(model.is_ok()) << model.message();
  return model.is_ok() ? *model : nullptr;
}

std::unique_ptr<Engine> make(const std::shared_ptr<Model>& model, PrefillOrder order, int chunk) {
  auto engine = Engine::create(model, options_of(order, chunk));
  EXPECT_TRUE(engine.is_ok()) << engine.message();
  return engine.is_ok() ? std::move(*engine) : nullptr;
}

// Every page of a sequence, zeros behind its last row included.
std::vector<uint8_t> pages_of(Engine& engine, SeqId seq) {
  Store& store = engine.store();
  std::vector<uint8_t> bytes;
  const auto add = [&bytes](const void* data, size_t n) {
    const auto* p = static_cast<const uint8_t*>(data);
    bytes.insert(bytes.end(), p, p + n);
  };
  for (size_t l = 0; l < store.desc().layers.size(); ++l) {
    const LayerShape& shape = store.desc().layers[l];
    const ListView* lists = store.lists(seq, static_cast<int>(l));
    for (int g = 0; g < shape.kv_heads; ++g) {
      for (int64_t p = 0; p < pages_for(lists[g].len); ++p) {
        const PageId page = lists[g].pages[p];
        const Isa isa = store.desc().isa;
        add(store.k_page(page), kernels::format_ops(isa, shape.k).k_bytes(shape.dk));
        if (shape.v_aliases_k) continue;
        add(store.v_page(page), kernels::format_ops(isa, shape.v).v_bytes(shape.dv));
      }
    }
  }
  return bytes;
}

// What a sequence is: length, pages, logits.
struct Content {
  int64_t length = 0;
  std::vector<uint8_t> pages;
  std::vector<float> logits;
  bool operator==(const Content&) const = default;
};
Content content_of(Engine& engine, SeqId seq) {
  return {engine.length(seq), pages_of(engine, seq), logits_of(engine, seq)};
}

std::vector<float> all_logits(Engine& engine, SeqId seq, const std::vector<Token>& tokens) {
  std::vector<float> rows;
  PrefillOptions call;
  call.on_logits = [&](int64_t, View<const float, 2> logits) {
    rows.insert(rows.end(), logits.data, logits.data + logits.shape[0] * logits.shape[1]);
  };
  const Status status = engine.prefill(seq, tokens, call);
  EXPECT_TRUE(status.is_ok()) << status.message();
  return rows;
}

// A short prompt, a long one behind it, a token; then all logits of another sequence.
void expect_same_bits(const std::shared_ptr<Model>& model, int chunk) {
  SCOPED_TRACE(chunk);
  const int vocab = model->info().vocab;
  const auto by_chunk = make(model, PrefillOrder::kTokenMajor, chunk);
  const auto by_layer = make(model, PrefillOrder::kLayerMajor, chunk);
  ASSERT_TRUE(by_chunk && by_layer);
  const std::vector<Token> first = random_tokens(37, vocab, 1),
                           second = random_tokens(150, vocab, 2);
  const SeqId a = test::prefilled(*by_chunk, first), b = test::prefilled(*by_layer, first);
  ASSERT_TRUE(content_of(*by_chunk, a) == content_of(*by_layer, b));
  ASSERT_TRUE(by_chunk->prefill(a, second).is_ok());
  ASSERT_TRUE(by_layer->prefill(b, second).is_ok());
  ASSERT_EQ(by_layer->length(b), 187);
  ASSERT_TRUE(content_of(*by_chunk, a) == content_of(*by_layer, b));
  ASSERT_EQ(test::step(*by_chunk, a, 3), test::step(*by_layer, b, 3));
  const SeqId c = *by_chunk->create_sequence(), d = *by_layer->create_sequence();
  ASSERT_EQ(all_logits(*by_chunk, c, second), all_logits(*by_layer, d, second));
  ASSERT_TRUE(content_of(*by_chunk, c) == content_of(*by_layer, d));
  ASSERT_EQ(by_chunk->report().prefill_order, PrefillOrder::kTokenMajor);
  ASSERT_EQ(by_layer->report().prefill_order, PrefillOrder::kLayerMajor);
  ASSERT_TRUE(by_layer->store().check().is_ok());
}

TEST(LayerPrefill, bits_are_those_of_token_major_for_every_description) {
  int chunk = 40;
  const auto check = [&chunk](const test::OracleVariant& variant) {
    SCOPED_TRACE(variant.name);
    const auto model = load(variant.spec);
    ASSERT_NE(model, nullptr);
    expect_same_bits(model, chunk = chunk == 40 ? 64 : 40);
  };
  for (const auto& variant : test::kOracleVariants) ASSERT_NO_FATAL_FAILURE(check(variant));
  for (const auto& variant : test::kExpertVariants) ASSERT_NO_FATAL_FAILURE(check(variant));
}

// Chunks within and across pages and query blocks, of one token, and larger than the prompt.
TEST(LayerPrefill, bits_are_those_of_token_major_at_every_chunk_size) {
  for (const char* arch : {"llama", "gemma2", "gpt-oss"}) {
    const auto model = load(test::schedule_spec(arch));
    ASSERT_NE(model, nullptr);
    for (const int chunk : {1, 7, 63, 64, 65, 100, 149, 150, 512}) {
      ASSERT_NO_FATAL_FAILURE(expect_same_bits(model, chunk));
    }
  }
}

TEST(LayerPrefill, bits_are_those_of_token_major_with_every_product) {
  for (const Linear linear : {Linear::kAccurate, Linear::kGgml}) {
    for (const char* arch : {"qwen2", "qwen3moe"}) {
      const auto model = load(test::schedule_spec(arch), linear);
      ASSERT_NE(model, nullptr);
      ASSERT_NO_FATAL_FAILURE(expect_same_bits(model, 70));
    }
  }
}

TEST(LayerPrefill, a_model_of_one_layer_too) {
  tiny::Spec spec;
  spec.layers = 1;
  expect_same_bits(load(spec), 50);
}

class Filling : public testing::Test {
 protected:
  void SetUp() override {
    tiny::Spec spec;
    spec.layers = 3;
    spec.weight_type = tiny::kTensorQ4_0;
    model_ = load(spec);
    ASSERT_NE(model_, nullptr);
    reference_ = make(model_, PrefillOrder::kTokenMajor, 32);
    engine_ = make(model_, PrefillOrder::kLayerMajor, 32);
    ASSERT_TRUE(reference_ && engine_);
  }

  std::shared_ptr<Model> model_;
  std::unique_ptr<Engine> reference_, engine_;
  const std::vector<Token> held_ = random_tokens(70, 80, 1), more_ = random_tokens(100, 80, 2);
};

TEST_F(Filling, serves_other_sequences_between_chunks) {
  const std::vector<Token> other = random_tokens(90, 80, 3);
  const SeqId expected_other = test::prefilled(*reference_, other);
  const SeqId expected = test::prefilled(*reference_, held_);
  ASSERT_TRUE(reference_->prefill(expected, more_).is_ok());

  const SeqId seq = test::prefilled(*engine_, held_), served = test::prefilled(*engine_, other);
  PrefillOptions call;
  int calls = 0;
  call.progress = [&](int64_t, int64_t) {
    // Its own token, and a whole prompt and a fork of it that come and go; once layer by layer.
    EXPECT_EQ(test::step(*engine_, served, calls), test::step(*reference_, expected_other, calls));
    const SeqId brief = test::prefilled(*engine_, other);
    EXPECT_EQ(test::step(*engine_, *engine_->fork(served), 5),
              test::step(*engine_, *engine_->fork(served), 5));
    EXPECT_TRUE(engine_->drop(brief).is_ok());
    EXPECT_EQ(engine_->report().prefill_order, PrefillOrder::kLayerMajor);
    const Status sound = engine_->store().check();
    EXPECT_TRUE(sound.is_ok()) << sound.message();
    ++calls;
  };
  ASSERT_TRUE(engine_->prefill(seq, more_, call).is_ok());
  EXPECT_EQ(calls, 3 * 4);
  EXPECT_TRUE(content_of(*engine_, seq) == content_of(*reference_, expected));
  EXPECT_EQ(test::step(*engine_, seq, 7), test::step(*reference_, expected, 7));
}

TEST_F(Filling, refuses_everything_else_on_its_sequence) {
  const SeqId seq = test::prefilled(*engine_, held_), other = test::prefilled(*engine_, more_);
  const Content before = content_of(*engine_, seq);
  EXPECT_FALSE(engine_->impl().filling(seq));
  PrefillOptions call;
  int calls = 0;
  call.progress = [&](int64_t done, int64_t total) {
    if (done == total) return;
    ++calls;
    EXPECT_TRUE(engine_->impl().filling(seq));
    EXPECT_FALSE(engine_->impl().filling(other));
    const SeqToken both[] = {{other, 1}, {seq, 1}};
    const Status refused[] = {engine_->decode({both + 1, 1}), engine_->decode(both),
                              engine_->fork(seq).status(),    engine_->truncate(seq, 3),
                              engine_->truncate(seq, 70),     engine_->drop(seq),
                              engine_->prefill(seq, held_)};
    for (const Status& status : refused) {
      EXPECT_EQ(status.code(), Code::kInvalidArgument);
      EXPECT_NE(status.message().find("is being filled"), std::string::npos) << status.message();
    }
    EXPECT_EQ(engine_->length(seq), before.length);
    EXPECT_EQ(logits_of(*engine_, seq), before.logits);
    EXPECT_EQ(engine_->length(other), 100);
  };
  ASSERT_TRUE(engine_->prefill(seq, more_, call).is_ok());
  EXPECT_EQ(calls, 3 * 4 - 1);
  EXPECT_FALSE(engine_->impl().filling(seq));
  EXPECT_EQ(engine_->length(seq), 170);
}

// `spoil` acts at the n-th of the twelve chunks.
void expect_untouched(Engine& engine, const std::vector<Token>& held,
                      const std::vector<Token>& more, Code code,
                      const std::function<void(PrefillOptions&, int at)>& spoil) {
  const SeqId seq = test::prefilled(engine, held);
  const SeqId parent = *engine.fork(seq);  // shares the last page, which is not full
  const Content before = content_of(engine, seq);
  const std::vector<float> next = test::step(engine, *engine.fork(seq), 7);
  const StoreBytes bytes = engine.store().bytes();
  for (int at = 0; at < 12; ++at) {
    PrefillOptions call;
    spoil(call, at);
    const Report report = engine.report();
    const Status status = engine.prefill(seq, more, call);
    engine.fail_after_node(-1);
    ASSERT_EQ(status.code(), code) << at << ": " << status.message();
    ASSERT_TRUE(engine.store().check().is_ok());
    ASSERT_TRUE(content_of(engine, seq) == before) << at;
    ASSERT_TRUE(content_of(engine, parent) == before) << at;
    ASSERT_EQ(engine.store().bytes().pages, bytes.pages) << at;
    ASSERT_EQ(engine.store().bytes().live, bytes.live) << at;
    ASSERT_EQ(engine.report().steps, report.steps);
    ASSERT_EQ(engine.report().prompt_tokens, report.prompt_tokens);
    const SeqId copy = *engine.fork(seq);
    ASSERT_EQ(test::step(engine, copy, 7), next) << at;
    ASSERT_TRUE(engine.drop(copy).is_ok());
  }
}

TEST_F(Filling, a_cancel_at_any_chunk_of_any_layer_leaves_the_sequence_as_it_was) {
  CancelToken cancel;
  int calls = 0;
  expect_untouched(*engine_, held_, more_, Code::kCancelled, [&](PrefillOptions& call, int at) {
    cancel.reset();
    calls = 0;
    if (at == 0) cancel.cancel();
    call.cancel = &cancel;
    call.progress = [&, at](int64_t, int64_t) {
      if (++calls == at) cancel.cancel();
    };
  });
}

TEST_F(Filling, a_failure_inside_any_chunk_of_any_layer_leaves_the_sequence_as_it_was) {
  int calls = 0;
  expect_untouched(*engine_, held_, more_, Code::kInternal, [&](PrefillOptions& call, int at) {
    calls = 0;
    if (at == 0) engine_->fail_after_node(0);
    call.progress = [&, at](int64_t, int64_t) {
      if (++calls == at) engine_->fail_after_node(at % 3);
    };
  });
}

TEST_F(Filling, a_callback_that_throws_leaves_the_sequence_as_it_was) {
  int calls = 0;
  expect_untouched(*engine_, held_, more_, Code::kInternal, [&](PrefillOptions& call, int at) {
    calls = 0;
    call.progress = [&, at](int64_t, int64_t) {
      if (calls++ == std::min(at, 10)) throw std::runtime_error("reader gone");
    };
  });
}

TEST_F(Filling, a_failure_among_the_logits_of_all_rows_leaves_the_sequence_as_it_was) {
  CancelToken cancel;
  int slices = 0;
  expect_untouched(*engine_, held_, more_, Code::kCancelled, [&](PrefillOptions& call, int at) {
    cancel.reset();
    slices = 0;
    call.cancel = &cancel;
    call.on_logits = [&, at](int64_t, View<const float, 2>) {
      if (slices++ == at % 3) cancel.cancel();
    };
  });
}

TEST_F(Filling, progress_rises_to_the_whole_prompt) {
  const SeqId seq = *engine_->create_sequence();
  std::vector<int64_t> seen;
  PrefillOptions call;
  call.progress = [&](int64_t done, int64_t total) {
    EXPECT_EQ(total, 100);
    seen.push_back(done);
  };
  ASSERT_TRUE(engine_->prefill(seq, more_, call).is_ok());
  ASSERT_EQ(seen.size(), 12u);
  EXPECT_TRUE(std::ranges::is_sorted(seen));
  EXPECT_EQ(std::ranges::adjacent_find(seen), seen.end());
  EXPECT_GT(seen.front(), 0);
  EXPECT_EQ(seen.back(), 100);
}

TEST_F(Filling, the_report_counts_its_tokens_steps_and_time) {
  const SeqId seq = test::prefilled(*engine_, more_);
  const Report read = engine_->report();
  EXPECT_EQ(read.prompt_tokens, 100);
  EXPECT_EQ(read.steps, 3 * 4);
  EXPECT_EQ(read.prefill_order, PrefillOrder::kLayerMajor);
  EXPECT_GT(read.prefill_s, 0);
  EXPECT_LE(read.attention_s + read.append_s, read.prefill_s);
  EXPECT_GT(read.attention_tiles, 0u);
  EXPECT_EQ(read.kv.live, 100u * 3 * 2 * 2 * 16 * 2);  // tokens, layers, heads, k and v, d, bf16
  // A graph of each layer, one more for the tail.
  EXPECT_EQ(read.graph_builds, 3 * 2);
  test::step(*engine_, seq, 1);
  EXPECT_EQ(engine_->report().steps, 3 * 4 + 1);
  engine_->reset_report();
  EXPECT_EQ(engine_->report().prefill_order, PrefillOrder::kAuto);
}

TEST(LayerPrefill, a_prompt_that_the_store_cannot_hold_is_refused_before_its_first_chunk) {
  const auto model = load(tiny::Spec{});
  EngineOptions options = options_of(PrefillOrder::kLayerMajor, 32);
  options.max_kv_bytes = 64 << 10;
  const auto engine = Engine::create(model, options);
  ASSERT_TRUE(engine.is_ok());
  const SeqId seq = test::prefilled(**engine, random_tokens(20, 80, 1));
  const Content before = content_of(**engine, seq);
  PrefillOptions call;
  call.progress = [](int64_t, int64_t) { ADD_FAILURE() << "it began"; };
  EXPECT_EQ((*engine)->prefill(seq, random_tokens(480, 80, 2), call).code(),
            Code::kResourceExhausted);
  EXPECT_TRUE(content_of(**engine, seq) == before);
}

// A prompt's tail has a graph of its own in token-major order, which costs more than the residual
// where queries are wide.
TEST(LayerPrefill, the_order_is_the_one_that_is_predicted_to_take_less_unless_told) {
  for (const bool wide : {false, true}) {
    tiny::Spec spec;
    if (wide) {
      spec.heads = 64;
      spec.dk = 256;
    }
    spec.layers = 1;
    spec.context = 2048;
    spec.weight_type = tiny::kTensorQ4_0;
    const tiny::TemporaryFile file(spec);
    EngineOptions options = options_of(PrefillOrder::kAuto, 128);
    options.max_sequences = 1;
    ModelOptions load;
    load.threads = 2;
    const auto planned = [&](int64_t tokens) {
      const auto plan = predict_memory(file.path(), load, options, {.prompt = tokens});
      EXPECT_TRUE(plan.is_ok()) << plan.message();
      return *plan;
    };
    const MemoryPlan plan = planned(600);
    const bool by_layers = plan.layer_major_peak < plan.token_major_peak;
    EXPECT_EQ(by_layers, wide);
    EXPECT_EQ(plan.order, by_layers ? PrefillOrder::kLayerMajor : PrefillOrder::kTokenMajor);
    EXPECT_EQ(plan.peak, std::min(plan.layer_major_peak, plan.token_major_peak));
    const auto engine = test::make_engine(file.path(), options);
    for (const int tokens : {600, 128, 129}) {
      ASSERT_TRUE(engine->drop(test::prefilled(*engine, random_tokens(tokens, 80, 1))).is_ok());
      EXPECT_EQ(engine->report().prefill_order, planned(tokens).order) << tokens;
    }
    EXPECT_EQ(planned(128).order, PrefillOrder::kTokenMajor);  // one chunk
    for (const PrefillOrder order : {PrefillOrder::kTokenMajor, PrefillOrder::kLayerMajor}) {
      options.prefill_order = order;
      EXPECT_EQ(planned(600).order, order);
      EXPECT_EQ(planned(600).peak,
                order == PrefillOrder::kTokenMajor ? plan.token_major_peak : plan.layer_major_peak);
    }
  }
}

TEST(LayerPrefill, orders_have_names) {
  for (const PrefillOrder order :
       {PrefillOrder::kAuto, PrefillOrder::kTokenMajor, PrefillOrder::kLayerMajor}) {
    const auto parsed = parse_prefill_order(prefill_order_name(order));
    ASSERT_TRUE(parsed.is_ok());
    EXPECT_EQ(*parsed, order);
  }
  EXPECT_EQ(parse_prefill_order("layers").code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace heed
