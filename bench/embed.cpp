// bench_embed MODEL.gguf THREADS [TOKENS [ROUNDS]]: one text of TOKENS tokens through an encoder by
// heed and by llama.cpp in turns, as one JSON object: {"heed_s": [...], "llama.cpp_s": [...],
// "cosine": of the two mean-pooled rows}. llama.cpp takes the faster of flash attention on and off,
// each tried once before. `heed bench` measures prompts and generation, which an encoder has not.
#include <llama.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "eval/llama_baseline.h"
#include "heed/embed.h"

namespace {

using heed::Result;
using heed::Status;
using heed::Token;

// Any ids do; every vocabulary has more than these.
std::vector<Token> text_of(int size) {
  std::vector<Token> tokens(static_cast<size_t>(size));
  for (int i = 0; i < size; ++i) tokens[static_cast<size_t>(i)] = 200 + i % 500;
  return tokens;
}

struct Timed {
  double seconds = 0;
  std::vector<float> row;  // [embd], mean over the tokens
};

Result<Timed> by_heed(heed::Engine& engine, const std::vector<Token>& text) {
  heed::EmbedOptions options;
  options.pooling = heed::Pooling::kMean;
  const auto start = heed::Clock::now();
  HEED_ASSIGN(auto all, heed::embed(engine, {&text, 1}, options));
  return Timed{heed::seconds_since(start), std::move(all[0].values)};
}

class LlamaEncoder {
 public:
  static Result<std::unique_ptr<LlamaEncoder>> create(std::shared_ptr<heed::eval::LlamaModel> model,
                                                      int threads, int tokens, bool flash) {
    std::unique_ptr<LlamaEncoder> made(new LlamaEncoder(std::move(model)));
    llama_context_params params = llama_context_default_params();
    params.n_ctx = params.n_batch = params.n_ubatch = static_cast<uint32_t>(tokens);
    params.n_threads = params.n_threads_batch = threads;
    params.embeddings = true;
    params.pooling_type = LLAMA_POOLING_TYPE_MEAN;
    params.flash_attn_type = flash ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    made->context_.reset(llama_init_from_model(made->model_->get(), params));
    if (made->context_ == nullptr) {
      return heed::Status(heed::Code::kResourceExhausted, "llama.cpp makes no context");
    }
    return made;
  }

  Result<Timed> embed(std::vector<Token> text) {
    const auto start = heed::Clock::now();
    const int code = llama_decode(
        context_.get(), llama_batch_get_one(text.data(), static_cast<int32_t>(text.size())));
    const float* row = code == 0 ? llama_get_embeddings_seq(context_.get(), 0) : nullptr;
    if (row == nullptr) {
      return heed::Status(heed::Code::kInternal, "llama.cpp ends with " + std::to_string(code));
    }
    const double seconds = heed::seconds_since(start);
    llama_memory_t memory = llama_get_memory(context_.get());
    if (memory != nullptr) llama_memory_clear(memory, false);
    return Timed{seconds, {row, row + llama_model_n_embd(model_->get())}};
  }

 private:
  explicit LlamaEncoder(std::shared_ptr<heed::eval::LlamaModel> model) : model_(std::move(model)) {}

  std::shared_ptr<heed::eval::LlamaModel> model_;
  std::unique_ptr<llama_context, void (*)(llama_context*)> context_{nullptr, llama_free};
};

Result<std::unique_ptr<LlamaEncoder>> faster_llama(const std::string& path, int threads,
                                                   const std::vector<Token>& text) {
  std::unique_ptr<LlamaEncoder> best;
  double least = 0;
  HEED_ASSIGN(const std::shared_ptr<heed::eval::LlamaModel> model,
              heed::eval::LlamaModel::load(path, {}));
  for (const bool flash : {false, true}) {
    HEED_ASSIGN(auto encoder,
                LlamaEncoder::create(model, threads, static_cast<int>(text.size()), flash));
    HEED_TRY(encoder->embed(text).status());  // reads the weights
    HEED_ASSIGN(const Timed timed, encoder->embed(text));
    if (best == nullptr || timed.seconds < least) {
      best = std::move(encoder);
      least = timed.seconds;
    }
  }
  return best;
}

void print(const char* name, std::span<const double> seconds) {
  std::printf("\"%s\": [", name);
  for (size_t i = 0; i < seconds.size(); ++i) std::printf("%s%.6f", i > 0 ? ", " : "", seconds[i]);
  std::printf("], ");
}

Status compare(const std::string& path, int threads, int tokens, int rounds) {
  const std::vector<Token> text = text_of(tokens);
  heed::ModelOptions model_options;
  model_options.threads = threads;
  HEED_ASSIGN(auto model, heed::Model::load(path, model_options));
  heed::EngineOptions options;
  options.context = tokens;
  HEED_ASSIGN(const auto engine, heed::Engine::create(std::move(model), options));
  HEED_TRY(by_heed(*engine, text).status());
  HEED_ASSIGN(const auto llama, faster_llama(path, threads, text));
  std::vector<double> seconds[2];
  double cosine = 1;
  for (int round = 0; round < rounds; ++round) {
    Timed timed[2];
    for (int turn = 0; turn < 2; ++turn) {
      const int who = (round + turn) % 2;
      engine->park();  // its idle threads leave the cores to the other
      HEED_ASSIGN(timed[who], who == 0 ? by_heed(*engine, text) : llama->embed(text));
      seconds[who].push_back(timed[who].seconds);
    }
    cosine = std::min(cosine, heed::cosine_similarity(timed[0].row, timed[1].row));
  }
  std::printf("{\"tokens\": %d, ", tokens);
  print("heed_s", seconds[0]);
  print("llama.cpp_s", seconds[1]);
  std::printf("\"cosine\": %.9f}\n", cosine);
  return Status::ok();
}

}  // namespace

int main(int count, char** words) {
  const int threads = count > 2 ? std::atoi(words[2]) : 0;
  const int tokens = count > 3 ? std::atoi(words[3]) : 512;
  const int rounds = count > 4 ? std::atoi(words[4]) : 5;
  if (count < 3 || count > 5 || threads < 1 || tokens < 1 || tokens > 1 << 16 || rounds < 1) {
    std::fprintf(stderr, "usage: bench_embed MODEL.gguf THREADS [TOKENS [ROUNDS]]\n");
    return 2;
  }
  const Status status = compare(words[1], threads, tokens, rounds);
  if (status.is_ok()) return 0;
  std::fprintf(stderr, "%s\n", status.message().c_str());
  return 1;
}
