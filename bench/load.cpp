// bench_load MODEL.gguf heed|llama.cpp THREADS [TOKENS]: the time until a file can answer and the
// memory it then holds, as one JSON object: {"load_s": weights in memory, "ready_s": and the logits
// behind a prompt of 32 or TOKENS tokens, "resident_bytes": afterwards, "peak_bytes": at any time}.
// llama.cpp leaves weights that it does not rearrange in the mapped file, which its first step
// reads: a load alone says too little. Both run at their defaults, in a context for the prompt and
// 480 tokens behind it. A process for each call, so that one engine's pages are not the other's;
// bench/compare/load.py takes turns.
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "eval/llama_baseline.h"
#include "heed/engine.h"

namespace {

using heed::Clock;
using heed::Result;
using heed::Status;

constexpr int kPrompt = 32;
constexpr int kMostPrompt = 1 << 20;
constexpr int64_t kBehind = 480;  // tokens that the context has room for behind the prompt

struct Times {
  double load_s = 0, ready_s = 0;
};

// Any ids do: neither speed nor memory depends on them. Every vocabulary has more than these.
std::vector<heed::Token> prompt(int size) {
  std::vector<heed::Token> tokens(static_cast<size_t>(size));
  for (int i = 0; i < size; ++i) tokens[static_cast<size_t>(i)] = 3 + i % 200;
  return tokens;
}

uint64_t resident_bytes() {
  uint64_t size = 0, pages = 0;
  std::ifstream("/proc/self/statm") >> size >> pages;
  return pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

uint64_t peak_bytes() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;  // Linux counts KiB
}

void print(const Times& times) {
  std::printf(
      "{\"load_s\": %.6f, \"ready_s\": %.6f, \"resident_bytes\": %llu, "
      "\"peak_bytes\": %llu}\n",
      times.load_s, times.ready_s, static_cast<unsigned long long>(resident_bytes()),
      static_cast<unsigned long long>(peak_bytes()));
}

Status load_heed(const std::string& path, int threads, int tokens) {
  const auto start = Clock::now();
  Times times;
  heed::ModelOptions model_options;
  model_options.threads = threads;
  HEED_ASSIGN(auto model, heed::Model::load(path, model_options));
  times.load_s = heed::seconds_since(start);
  heed::EngineOptions engine_options;
  engine_options.context = tokens + kBehind;
  engine_options.beyond_context = true;
  HEED_ASSIGN(const auto engine, heed::Engine::create(std::move(model), engine_options));
  HEED_ASSIGN(const heed::SeqId sequence, engine->create_sequence());
  HEED_TRY(engine->prefill(sequence, prompt(tokens)));
  HEED_TRY(engine->logits(sequence).status());
  times.ready_s = heed::seconds_since(start);
  print(times);
  return Status::ok();
}

Status load_llama(const std::string& path, int threads, int tokens) {
  const auto start = Clock::now();
  Times times;
  HEED_ASSIGN(auto model, heed::eval::LlamaModel::load(path, {}));
  times.load_s = heed::seconds_since(start);
  heed::eval::LlamaOptions options;
  options.threads = threads;
  options.context = tokens + kBehind;
  HEED_ASSIGN(const auto llama, heed::eval::LlamaBaseline::create(std::move(model), options));
  HEED_TRY(llama->prefill(prompt(tokens)));
  HEED_TRY(llama->logits().status());
  times.ready_s = heed::seconds_since(start);
  print(times);
  return Status::ok();
}

}  // namespace

int main(int count, char** words) {
  const bool fits = count == 4 || count == 5;
  const std::string_view engine = fits ? words[2] : "";
  const int threads = fits ? std::atoi(words[3]) : 0;
  const int tokens = count == 5 ? std::atoi(words[4]) : kPrompt;
  if ((engine != "heed" && engine != "llama.cpp") || threads < 1 || tokens < 1 ||
      tokens > kMostPrompt) {
    std::fprintf(stderr, "usage: bench_load MODEL.gguf heed|llama.cpp THREADS [TOKENS]\n");
    return 2;
  }
  const Status status = engine == "heed" ? load_heed(words[1], threads, tokens)
                                         : load_llama(words[1], threads, tokens);
  if (status.is_ok()) return 0;
  std::fprintf(stderr, "%s\n", status.message().c_str());
  return 1;
}
