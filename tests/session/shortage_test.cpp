// Shortages: whichever allocation or thread of a call fails, the call answers with a Status and
// what it worked on stays whole.
#include "counting_heap.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <functional>

#include "eval/kernel_shape.h"
#include "eval/llama_baseline.h"
#include "heed/adapters.h"
#include "heed/generate.h"
#include "session_fixture.h"
#include "tiny_adapter.h"
#include "tiny_gguf.h"

namespace {

std::atomic<int64_t> threads_left{-1};  // until one is refused; -1: none is

}  // namespace

#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define HEED_TEST_THREAD_SHORTAGE 1
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*body)(void*), void* argument) noexcept {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto real = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  const bool refused = threads_left >= 0 && threads_left.fetch_sub(1) == 0;
  return !refused ? real(thread, attributes, body, argument) : EAGAIN;
}
#endif

#if defined(__SANITIZE_ADDRESS__)
// What ggml and llama.cpp leave behind when an exception flies through their C parts and raw news,
// and the allocator that GraphCache gives up then (a graph's arena is under it). For this program
// only: test_model and test_cli load, step and sample too, and every leak counts there.
extern "C" const char* __lsan_default_suppressions() {  // NOLINT(bugprone-reserved-identifier)
  return "leak:gguf_init_from_reader\nleak:llama_model_load\nleak:llama_sampler_\n"
         "leak:ggml_init\nleak:ggml_gallocr_\nleak:ggml_aligned_malloc\n";
}
#endif

namespace heed {
namespace {

using test::allocations_left;
using test::with_each_allocation_failing;

ModelOptions one_thread() {
  ModelOptions options;
  options.threads = 1;
  return options;
}

// Q4_0: with nodes that quantise, and packed weights.
constexpr tiny::TensorType kWeights[] = {tiny::kTensorF32, tiny::kTensorQ4_0};

tiny::Spec text_spec() {
  tiny::Spec spec;
  spec.text_vocabulary = true;
  spec.vocab = 280;
  return spec;
}

TEST(Shortage, loading_survives_every_failing_allocation) {
  for (const tiny::TensorType weights : kWeights) {
    tiny::Spec spec = text_spec();
    spec.weight_type = weights;
    const tiny::TemporaryFile file(spec);
    ModelOptions options;
    options.threads = 1;
    int refused = 0;
    const int failures = with_each_allocation_failing([&] {
      const auto model = Model::load(file.path(), options);
      refused += model.is_ok() ? 0 : 1;
      if (!model.is_ok()) {
        EXPECT_EQ(model.code(), Code::kResourceExhausted) << model.message();
      }
    });
    EXPECT_GT(failures, 100);
    EXPECT_GT(refused, 50);  // llama.cpp's log lines may do without theirs
    EXPECT_TRUE(Model::load(file.path(), options).is_ok());
  }
}

// One tensor large enough that all threads share its packing, and none of a vocabulary.
tiny::Spec wide_spec() {
  tiny::Spec spec;
  spec.layers = 1;
  spec.ff = 32768;  // 64 x 32768 inputs of Q4_0 are 1.1 MiB
  spec.weight_type = tiny::kTensorQ4_0;
  return spec;
}

TEST(Shortage, packing_by_threads_survives_every_failing_allocation) {
  const tiny::TemporaryFile file(wide_spec());
  ModelOptions options;
  options.threads = 3;
  options.map = false;  // the copy of the file is an allocation too
  int refused = 0;
  const int failures = with_each_allocation_failing([&] {
    const auto model = Model::load(file.path(), options);
    refused += model.is_ok() ? 0 : 1;
    if (!model.is_ok()) {
      EXPECT_EQ(model.code(), Code::kResourceExhausted) << model.message();
    }
  });
  EXPECT_GT(failures, 50);
  EXPECT_GT(refused, 50);
  const auto model = Model::load(file.path(), options);
  ASSERT_TRUE(model.is_ok()) << model.message();
  EXPECT_EQ((*model)->info().linear, "heed");
}

// The copy of a file, packed and dequantised weights and the products' scratch are among the
// allocations that the loops of this file fail: most of their bytes are.
TEST(Shortage, the_counted_heap_holds_the_weights) {
  const tiny::TemporaryFile file(wide_spec());
  ModelOptions options = one_thread();
  const auto grown = [&] {
    const int64_t before = test::heap_bytes;
    const auto model = Model::load(file.path(), options);
    EXPECT_TRUE(model.is_ok()) << model.message();
    return test::heap_bytes - before;
  };
  constexpr int64_t kMatrices = int64_t{3} * 64 * 32768;  // the feed-forward ones
  const int64_t packed = grown();
  EXPECT_GT(packed, kMatrices / 2);
  options.map = false;
  EXPECT_GT(grown(), packed + kMatrices / 2);
  options.map = true;
  options.weights = Weights::kF32;
  EXPECT_GT(grown(), kMatrices * 4);
}

TEST(Shortage, planning_reading_and_making_survive_every_failing_allocation) {
  const tiny::TemporaryFile file(text_spec());
  const auto model = Model::load(file.path(), one_thread());
  tiny::Spec packed_spec;
  packed_spec.weight_type = tiny::kTensorQ4_0;
  const tiny::TemporaryFile packed_file(packed_spec);
  const auto packed = Model::load(packed_file.path(), one_thread());
  ASSERT_TRUE(model.is_ok() && packed.is_ok());
  SamplerOptions sampling;
  sampling.dry_multiplier = 1;
  const std::vector<float> logits(280, 1.0f);
  const tiny::TemporaryFile lora_file(tiny::make_adapter(packed_spec, {}));
  const tiny::TemporaryFile control_file(
      tiny::make_control(packed_spec, tiny::directions(packed_spec, 1)));
  const ScaledFile control[] = {{control_file.path(), 1}};
  auto adaptation = std::make_shared<Adaptation>();
  adaptation->loras = {{*load_lora(**packed, lora_file.path()), 1}};
  const std::vector<Token> some = {1, 2, 3};
  const std::pair<const char*, std::function<Status()>> kCalls[] = {
      {"adapter", [&] { return load_lora(**packed, lora_file.path()).status(); }},
      {"control vector", [&] { return load_control_vector(**packed, control).status(); }},
      {"adapted sequence",
       [&]() -> Status {
         HEED_ASSIGN(const auto engine, Engine::create(*packed, {}));
         HEED_ASSIGN(const SeqId seq, engine->create_sequence());
         HEED_TRY(set_adaptation(*engine, seq, adaptation));
         HEED_TRY(engine->prefill(seq, some));
         HEED_ASSIGN(const SeqId copy, engine->fork(seq));
         if (adaptation_of(*engine, copy) != adaptation) {
           return Status(Code::kInternal, "a fork without its adaptation");
         }
         return engine->drop(copy);
       }},
      {"inspect", [&] { return Model::inspect(file.path()).status(); }},
      {"plan",
       [&] { return predict_memory(file.path(), one_thread(), {}, {.prompt = 100}).status(); }},
      {"engine", [&] { return Engine::create(*model, {}).status(); }},
      {"engine with packed weights", [&] { return Engine::create(*packed, {}).status(); }},
      {"tokenize", [&] { return (*model)->tokenize("some words", true, true).status(); }},
      {"piece", [&] { return (*model)->piece(270).status(); }},
      {"sampler",
       [&]() -> Status {
         HEED_ASSIGN(auto sampler, Sampler::create(**model, sampling));
         for (int i = 0; i < 5; ++i) HEED_TRY(sampler->sample(logits).status());
         return Status::ok();
       }},
  };
  for (const auto& [name, call] : kCalls) {
    int refused = 0;
    const int failures = with_each_allocation_failing([&] {
      const Status status = call();
      if (status.is_ok()) return;
      ++refused;
      EXPECT_EQ(status.code(), Code::kResourceExhausted) << name << ": " << status.message();
    });
    EXPECT_GT(failures, 0) << name;
    EXPECT_GT(refused, failures / 2) << name;
    EXPECT_TRUE(call().is_ok()) << name;
  }
}

void expect_steps_survive(tiny::TensorType weights, const EngineOptions& options) {
  tiny::Spec spec;
  spec.weight_type = weights;
  const tiny::TemporaryFile file(spec);
  const auto reference = test::make_engine(file.path(), {}, 1);
  const std::vector<Token> prompt = test::random_tokens(70, 80, 1);
  const std::vector<Token> more = test::random_tokens(90, 80, 2);
  const SeqId expected_seq = test::prefilled(*reference, prompt);
  const std::vector<float> expected = test::step(*reference, expected_seq, 7);
  int refused = 0;
  // A fresh engine each time: its first steps build graphs and take pages.
  const auto attempt = [&](auto&& call) {
    return with_each_allocation_failing([&] {
      const int64_t n = allocations_left.exchange(-1);
      const auto engine = test::make_engine(file.path(), options, 1);
      const SeqId seq = test::prefilled(*engine, prompt);
      allocations_left = n;
      const Status status = call(*engine, seq);
      const int64_t left = allocations_left.exchange(-1);
      refused += status.is_ok() ? 0 : 1;
      if (!status.is_ok()) {
        EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
        EXPECT_EQ(engine->length(seq), 70);
      }
      EXPECT_TRUE(engine->store().check().is_ok());
      EXPECT_TRUE(engine->truncate(seq, 69).is_ok());
      EXPECT_TRUE(engine->prefill(seq, {&prompt[69], 1}).is_ok());
      EXPECT_EQ(test::step(*engine, seq, 7), expected) << "allocation " << n;
      allocations_left = left;
    });
  };
  EXPECT_GT(attempt([&](Engine& e, SeqId seq) { return e.prefill(seq, more); }), 5);
  EXPECT_GT(attempt([&](Engine& e, SeqId seq) {
              const SeqToken next{seq, 3};
              return e.decode({&next, 1});
            }),
            3);
  EXPECT_GT(attempt([&](Engine& e, SeqId seq) { return e.fork(seq).status(); }), 3);
  EXPECT_GT(refused, 15);
}

TEST(Shortage, steps_survive_every_failing_allocation_and_move_nothing) {
  for (const tiny::TensorType weights : kWeights) expect_steps_survive(weights, {});
}

// Chunk after chunk of the first layer has been stored when the second runs out of memory.
TEST(Shortage, layer_major_prompts_survive_every_failing_allocation_and_move_nothing) {
  EngineOptions options;
  options.prefill_order = PrefillOrder::kLayerMajor;
  options.chunk = 40;
  for (const tiny::TensorType weights : kWeights) expect_steps_survive(weights, options);
}

TEST(Shortage, generating_survives_every_failing_allocation) {
  const tiny::TemporaryFile file(text_spec());
  const auto engine = test::make_engine(file.path(), {}, 1);
  const std::vector<Token> prompt = {1, 70, 71, 72};
  GenerateOptions options;
  options.max_tokens = 4;
  options.ignore_eos = true;
  options.sampler.seed = 1;
  int refused = 0;
  const int failures = with_each_allocation_failing([&] {
    const int64_t n = allocations_left.exchange(-1);
    const auto seq = engine->create_sequence();
    ASSERT_TRUE(seq.is_ok());
    allocations_left = n;
    refused += generate(*engine, *seq, prompt, options).is_ok() ? 0 : 1;
    const int64_t left = allocations_left.exchange(-1);
    EXPECT_TRUE(engine->drop(*seq).is_ok());
    allocations_left = left;
  });
  EXPECT_GT(failures, 10);
  EXPECT_EQ(refused, failures);
}

TEST(Shortage, a_callback_that_throws_is_an_error_of_the_call) {
  const tiny::TemporaryFile file(tiny::Spec{});
  const auto engine = test::make_engine(file.path(), {}, 1);
  const auto seq = engine->create_sequence();
  ASSERT_TRUE(seq.is_ok());
  PrefillOptions call;
  call.on_logits = [](int64_t, View<const float, 2>) { throw std::runtime_error("reader gone"); };
  const Status status = engine->prefill(*seq, std::vector<Token>{1, 2, 3}, call);
  EXPECT_EQ(status.code(), Code::kInternal);
  EXPECT_NE(status.message().find("reader gone"), std::string::npos) << status.message();
  EXPECT_EQ(engine->length(*seq), 3);
  const SeqToken next{*seq, 4};
  EXPECT_TRUE(engine->decode({&next, 1}).is_ok());
}

#ifdef HEED_TEST_THREAD_SHORTAGE
// The vocabulary's thread and the three that share a large tensor with the caller.
void expect_refusal_without_threads(const tiny::Spec& spec, Weights weights) {
  const tiny::TemporaryFile file(spec);
  ModelOptions options;
  options.threads = 4;
  options.weights = weights;
  for (int64_t n = 0; n < 4; ++n) {
    threads_left = n;
    const auto model = Model::load(file.path(), options);
    EXPECT_LT(threads_left.exchange(-1), 0) << "no thread failed";
    EXPECT_EQ(model.code(), Code::kResourceExhausted) << n << " " << model.message();
  }
  EXPECT_TRUE(Model::load(file.path(), options).is_ok());
}

TEST(Shortage, widening_and_packing_without_threads_are_errors) {
  tiny::Spec spec = text_spec();
  spec.vocab = 9000;  // embeddings above the size from which threads share the widening
  spec.weight_type = tiny::kTensorF16;
  expect_refusal_without_threads(spec, Weights::kF32);
  expect_refusal_without_threads(wide_spec(), Weights::kAsStored);
}

// Otherwise ggml would end the process.
TEST(Shortage, a_peer_without_threads_is_an_error_that_names_the_number) {
  const tiny::TemporaryFile file(tiny::Spec{});
  eval::LlamaOptions options;
  options.threads = 4;
  options.context = 64;
  auto model = eval::LlamaModel::load(file.path(), {});
  ASSERT_TRUE(model.is_ok()) << model.message();
  eval::KernelShape shape;
  shape.length = 64;
  const eval::KernelInputs inputs = eval::make_inputs(shape);
  const auto expect_refusal = [](const char* what, const std::function<Status()>& make) {
    for (int64_t n = 0; n < 3; ++n) {
      threads_left = n;
      const Status status = make();
      EXPECT_LT(threads_left.exchange(-1), 0) << what << ": no thread failed";
      EXPECT_EQ(status.code(), Code::kResourceExhausted) << what << ": " << status.message();
      const std::string way_out = "use at most " + std::to_string(n + 1) + " threads";
      EXPECT_NE(status.message().find(way_out), std::string::npos) << status.message();
    }
    EXPECT_TRUE(make().is_ok()) << what;
  };
  expect_refusal("llama.cpp",
                 [&] { return eval::LlamaBaseline::create(*model, options).status(); });
  expect_refusal("ggml's kernels",
                 [&] { return eval::make_ggml_contender(inputs, Format::kF32, 4, 0).status(); });
}

TEST(Shortage, an_engine_without_threads_is_an_error_that_names_the_number) {
  const tiny::TemporaryFile file(tiny::Spec{});
  ModelOptions options;
  options.threads = 4;
  const auto model = Model::load(file.path(), options);
  ASSERT_TRUE(model.is_ok()) << model.message();
  for (int64_t n = 0; n < 3; ++n) {  // the calling thread is the fourth
    threads_left = n;
    const auto engine = Engine::create(*model, {});
    EXPECT_LT(threads_left.exchange(-1), 0) << "no thread failed";
    EXPECT_EQ(engine.code(), Code::kResourceExhausted) << n << " " << engine.message();
    const std::string way_out = "use at most " + std::to_string(n + 1) + " threads";
    EXPECT_NE(engine.message().find(way_out), std::string::npos) << engine.message();
  }
  EXPECT_TRUE(Engine::create(*model, {}).is_ok());
}
#endif

}  // namespace
}  // namespace heed
