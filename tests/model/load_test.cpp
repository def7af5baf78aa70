// Model::load on files that are hostile behind a well-formed header, and on files that change.
#include <gtest/gtest.h>
#include <unistd.h>

#include <llama.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <thread>

#include "heed/engine.h"
#include "model/library_log.h"
#include "model/tokenizer.h"
#include "session_fixture.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

Result<std::shared_ptr<Model>> load(const std::string& path) {
  ModelOptions options;
  options.threads = 1;
  return Model::load(path, options);
}

TEST(Load, every_accepted_bit_flip_of_the_header_loads_and_answers_or_is_refused) {
  tiny::Writer good = tiny::make_file(tiny::small_spec()).encode();
  const size_t header = good.fields.back().offset;
  const tiny::TemporaryFile file(good.bytes);
  int loaded = 0, refused = 0;
  // Every third bit here; the parser's own test takes every bit.
  for (size_t bit = 0; bit < header * 8; bit += 3) {
    good.bytes[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    file.rewrite(good.bytes);
    good.bytes[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    const auto model = load(file.path());
    if (!model.is_ok()) {
      EXPECT_FALSE(model.message().empty()) << bit;
      ++refused;
      continue;
    }
    ++loaded;
    if (loaded % 8 != 0) continue;
    const auto engine = Engine::create(*model, {});
    ASSERT_TRUE(engine.is_ok()) << bit << " " << engine.message();
    const auto seq = (*engine)->create_sequence();
    ASSERT_TRUE(seq.is_ok());
    // Logits may be anything now, but the call returns.
    const Status status = (*engine)->prefill(*seq, std::vector<Token>{1, 2, 3});
    EXPECT_TRUE(status.is_ok() || !status.message().empty()) << bit;
  }
  EXPECT_GT(loaded, 100);
  EXPECT_GT(refused, 500);
}

TEST(Load, vocabularies_that_would_stop_llama_cpp_are_refused) {
  tiny::Spec spec = tiny::small_spec();
  spec.text_vocabulary = true;
  spec.vocab = 280;
  ASSERT_TRUE(load(tiny::TemporaryFile(spec).path()).is_ok());
  const auto refuse = [&](const tiny::Key& key, const char* needle) {
    tiny::File file = tiny::make_file(spec);
    file.set(key);
    const tiny::TemporaryFile written(file);
    const auto model = load(written.path());
    ASSERT_FALSE(model.is_ok()) << key.name;
    EXPECT_NE(model.message().find(needle), std::string::npos) << model.message();
  };
  std::vector<std::string> same(280, "twice");
  refuse(tiny::texts_key("tokenizer.ggml.tokens", same), "tokenizer.ggml.tokens");
  refuse(tiny::texts_key("tokenizer.ggml.tokens", {"a", "b"}), "tokenizer.ggml.tokens");
  refuse(tiny::u32_key("tokenizer.ggml.tokens", 7), "tokenizer.ggml.tokens");
  refuse(tiny::text_key("tokenizer.ggml.model", "t5"), "t5");
  refuse(tiny::u32_key("tokenizer.ggml.model", 1), "tokenizer.ggml.model");
}

TEST(Load, a_file_truncated_or_changed_after_loading_is_an_error_not_a_crash) {
  const tiny::Writer good = tiny::make_file(tiny::Spec{}).encode();
  for (const bool truncate : {true, false}) {
    const tiny::TemporaryFile file(good.bytes);
    const auto engine = test::make_engine(file.path(), {}, 1);
    const SeqId seq = test::prefilled(*engine, {1, 2, 3});
    const std::vector<float> before = test::logits_of(*engine, seq);
    if (truncate) {
      std::filesystem::resize_file(file.path(), 4096);
    } else {
      const auto now = std::filesystem::last_write_time(file.path());
      std::filesystem::last_write_time(file.path(), now + std::chrono::seconds(5));
    }
    const SeqToken next{seq, 4};
    const Status status = engine->decode({&next, 1});
    EXPECT_EQ(status.code(), Code::kCorrupt);
    EXPECT_NE(status.message().find(file.path()), std::string::npos) << status.message();
    EXPECT_EQ(engine->length(seq), 3);
    EXPECT_EQ(test::logits_of(*engine, seq), before);
  }
}

TEST(Load, a_file_read_into_memory_does_not_care_what_happens_to_it) {
  const tiny::Writer good = tiny::make_file(tiny::Spec{}).encode();
  const tiny::TemporaryFile file(good.bytes);
  ModelOptions options;
  options.threads = 1;
  options.map = false;
  const auto model = Model::load(file.path(), options);
  ASSERT_TRUE(model.is_ok()) << model.message();
  const auto mapped = test::make_engine(file.path(), {}, 1);
  const std::vector<float> expected = test::logits_of(*mapped, test::prefilled(*mapped, {1, 2, 3}));
  std::filesystem::resize_file(file.path(), 16);
  const auto engine = Engine::create(*model, {});
  ASSERT_TRUE(engine.is_ok());
  EXPECT_EQ(test::logits_of(**engine, test::prefilled(**engine, {1, 2, 3})), expected);
}

TEST(Load, weights_that_are_not_numbers_neither_crash_nor_hide) {
  tiny::File file = tiny::make_file(tiny::Spec{});
  const float nan = std::nanf("");
  std::memcpy(file.tensor("blk.1.attn_v.weight")->data.data(), &nan, sizeof(nan));
  const tiny::TemporaryFile written(file);
  const auto engine = test::make_engine(written.path(), {}, 1);
  const auto seq = engine->create_sequence();
  ASSERT_TRUE(seq.is_ok());
  ASSERT_TRUE(engine->prefill(*seq, std::vector<Token>{1, 2, 3}).is_ok());
  bool finite = true;
  for (const float x : test::logits_of(*engine, *seq)) finite &= std::isfinite(x);
  EXPECT_FALSE(finite);
}

TEST(Load, a_cancelled_load_says_so) {
  tiny::Spec spec;
  spec.weight_type = tiny::kTensorF16;
  spec.rope_factors = true;  // read and checked before the weights
  const tiny::TemporaryFile file(spec);
  CancelToken cancel;
  cancel.cancel();
  ModelOptions options;
  options.threads = 1;
  options.weights = Weights::kF32;
  options.cancel = &cancel;
  EXPECT_EQ(Model::load(file.path(), options).code(), Code::kCancelled);
}

// Feed-forward matrices of 1.1 MiB as Q4_0, from which size on threads share a tensor.
tiny::Spec wide_spec() {
  tiny::Spec spec;
  spec.layers = 1;
  spec.ff = 32768;
  spec.weight_type = tiny::kTensorQ4_0;
  return spec;
}

TEST(Load, weights_are_the_same_however_many_threads_fill_them) {
  const tiny::TemporaryFile file(wide_spec());
  for (const Weights weights : {Weights::kAsStored, Weights::kF32}) {
    std::vector<float> expected;
    for (const int threads : {1, 2, 3, 7}) {
      ModelOptions options;
      options.threads = threads;
      options.weights = weights;
      const auto filled = Model::load(file.path(), options);
      ASSERT_TRUE(filled.is_ok()) << filled.message();
      const auto engine = Engine::create(*filled, {});
      ASSERT_TRUE(engine.is_ok()) << engine.message();
      const std::vector<float> logits =
          test::logits_of(**engine, test::prefilled(**engine, {1, 2, 3}));
      if (threads == 1) expected = logits;
      EXPECT_EQ(logits, expected) << threads << " threads";
    }
  }
}

// Cancelled while its first, second, ... tensor is filled, the last one included: the rest of a
// tensor is not waited for.
TEST(Load, a_load_cancelled_while_any_tensor_is_filled_says_so) {
  const tiny::TemporaryFile file(wide_spec());
  for (const Weights weights : {Weights::kAsStored, Weights::kF32}) {
    for (const int threads : {1, 3}) {
      int cancelled = 0;
      for (;; ++cancelled) {
        CancelToken cancel;
        int calls = 0;
        ModelOptions options;
        options.threads = threads;
        options.weights = weights;
        options.cancel = &cancel;
        options.progress = [&](double) {
          if (calls++ == cancelled) cancel.cancel();
        };
        const auto model = Model::load(file.path(), options);
        if (model.is_ok()) break;
        ASSERT_EQ(model.code(), Code::kCancelled) << model.message();
      }
      // Seven matrices of the layer and the embeddings; the call that says 1.0 comes too late.
      EXPECT_EQ(cancelled, 8);
    }
  }
}

// llama.cpp's own reading of a vocabulary ends too, as its own failure that leaves nothing behind.
TEST(Load, llama_cpp_stops_reading_a_vocabulary_that_nobody_waits_for) {
  tiny::Spec spec;
  spec.text_vocabulary = true;
  spec.vocab = 5000;
  const tiny::TemporaryFile file(spec);
  route_library_logs();
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  const auto read = [&] {
    return LlamaModelPtr(llama_model_load_from_file(file.path().c_str(), params));
  };
  CancelToken cancel;
  {
    const StopLibraryLoad stop(&cancel);
    EXPECT_NE(read(), nullptr);
    cancel.cancel();
    EXPECT_EQ(read(), nullptr);
  }
  EXPECT_NE(read(), nullptr);
}

TEST(Load, a_vocabulary_cancelled_at_any_moment_is_there_or_cancelled) {
  tiny::Spec spec;
  spec.text_vocabulary = true;
  spec.vocab = 8000;
  const tiny::TemporaryFile file(spec);
  int cancelled = 0;
  for (int delay_ms = 0; delay_ms < 100; delay_ms += 5) {
    CancelToken cancel;
    std::jthread later([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
      cancel.cancel();
    });
    const auto vocabulary = load_vocabulary(file.path(), &cancel);
    if (vocabulary.is_ok()) break;
    ASSERT_EQ(vocabulary.code(), Code::kCancelled) << vocabulary.message();
    ++cancelled;
  }
  EXPECT_GT(cancelled, 0);
  EXPECT_TRUE(load_vocabulary(file.path()).is_ok());
}

TEST(Load, inspect_agrees_with_load) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const auto info = Model::inspect(file.path());
  const auto model = load(file.path());
  ASSERT_TRUE(info.is_ok() && model.is_ok());
  EXPECT_EQ(info->architecture, "llama");
  EXPECT_EQ(info->parameters, (*model)->info().parameters);
  EXPECT_EQ(info->trained_context, 512);
  EXPECT_FALSE(Model::inspect("/nonexistent/model.gguf").is_ok());
  EXPECT_EQ(Model::inspect("/nonexistent/model.gguf").code(), Code::kNotFound);
}

}  // namespace
}  // namespace heed
