// bench_next_tokens MODEL.gguf TEXT TOKENS THREADS [repack]: what a library of the llama.cpp family
// predicts behind each of the first TOKENS tokens of a text, in one batch, as one JSON object:
// {"tokens": [...], "next": [most probable ids], "nll": mean of -ln p(token i + 1)}.
// A fast answer that is wrong is no answer: bench/compare sets those of two libraries side by side.
// The one text compiles against llama.cpp and against ik_llama.cpp (bench/compare/README.md), whose
// interfaces differ in a few names.
#include <llama.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

constexpr int kUbatch = 512;  // of both libraries by default

// ik_llama.cpp rearranges weights at load when asked, llama.cpp by default.
template <class Params>
void choose_repack(Params& params, bool repack) {
  if constexpr (requires { params.repack_tensors; }) {
    params.repack_tensors = repack;
  } else {
    params.use_extra_bufts = true;
  }
}

// llama.cpp's takes the vocabulary, ik_llama.cpp's the model.
template <class Model, class Vocab>
int tokenize(const Model* model, const Vocab* vocab, const std::string& text,
             std::vector<llama_token>& out) {
  const auto size = static_cast<int>(text.size());
  const auto room = static_cast<int>(out.size());
  if constexpr (requires { llama_tokenize(vocab, "", 0, out.data(), 0, true, false); }) {
    return llama_tokenize(vocab, text.data(), size, out.data(), room, true, false);
  } else {
    return llama_tokenize(model, text.data(), size, out.data(), room, true, false);
  }
}

int fail(const char* path, const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", path, what.c_str());
  return 1;
}

// A library says on the way why it refuses something, and much else.
void log_errors(ggml_log_level level, const char* text, void*) {
  if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
}

void print(const char* name, const std::vector<llama_token>& ids) {
  std::printf("\"%s\": [", name);
  for (size_t i = 0; i < ids.size(); ++i) std::printf("%s%d", i > 0 ? ", " : "", ids[i]);
  std::printf("], ");
}

// -ln softmax(logits)[token]
double surprise(const float* logits, int vocab, llama_token token) {
  const double highest = *std::max_element(logits, logits + vocab);
  double sum = 0;
  for (int i = 0; i < vocab; ++i) sum += std::exp(logits[i] - highest);
  return highest + std::log(sum) - logits[token];
}

int answer(llama_context* context, int vocab, const std::vector<llama_token>& tokens) {
  const auto count = static_cast<int>(tokens.size());
  llama_batch batch = llama_batch_init(count, 0, 1);
  batch.n_tokens = count;
  for (int i = 0; i < count; ++i) {
    batch.token[i] = tokens[static_cast<size_t>(i)];
    batch.pos[i] = i;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = 1;
  }
  const int code = llama_decode(context, batch);
  llama_batch_free(batch);
  if (code != 0) return fail("llama_decode", "ended with " + std::to_string(code));
  std::vector<llama_token> next;
  double total = 0;
  for (int i = 0; i < count; ++i) {
    const float* logits = llama_get_logits_ith(context, i);
    if (logits == nullptr) return fail("llama_get_logits_ith", "no row " + std::to_string(i));
    next.push_back(static_cast<llama_token>(std::max_element(logits, logits + vocab) - logits));
    if (i + 1 < count) total += surprise(logits, vocab, tokens[static_cast<size_t>(i) + 1]);
  }
  std::printf("{");
  print("tokens", tokens);
  print("next", next);
  std::printf("\"nll\": %.6f}\n", total / (count - 1));
  return 0;
}

}  // namespace

int main(int count, char** words) {
  const int wanted = count > 3 ? std::atoi(words[3]) : 0;
  const int threads = count > 4 ? std::atoi(words[4]) : 0;
  const bool repack = count == 6 && std::strcmp(words[5], "repack") == 0;
  if (count < 5 || count > 6 || (count == 6 && !repack) || wanted < 2 || threads < 1) {
    std::fprintf(stderr, "usage: bench_next_tokens MODEL.gguf TEXT TOKENS THREADS [repack]\n");
    return 2;
  }
  std::ifstream file(words[2], std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.empty()) return fail(words[2], "cannot be read, or is empty");
  llama_log_set(log_errors, nullptr);
  llama_backend_init();
  llama_model_params load = llama_model_default_params();
  choose_repack(load, repack);
  llama_model* model = llama_model_load_from_file(words[1], load);
  if (model == nullptr) return fail(words[1], "is refused");
  const llama_vocab* vocab = llama_model_get_vocab(model);
  std::vector<llama_token> tokens(text.size() + 2);
  const int found = tokenize(model, vocab, text, tokens);
  if (found < wanted) {
    return fail(words[2], "has " + std::to_string(found) + " tokens, " + std::to_string(wanted) +
                              " are wanted; take a longer text or fewer");
  }
  tokens.resize(static_cast<size_t>(wanted));
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<uint32_t>(wanted);
  params.n_batch = static_cast<uint32_t>(wanted);
  params.n_ubatch = kUbatch;
  params.n_threads = params.n_threads_batch = threads;
  llama_context* context = llama_init_from_model(model, params);
  if (context == nullptr) {
    return fail(words[1], "no context of " + std::to_string(wanted) + " tokens");
  }
  const int code = answer(context, llama_vocab_n_tokens(vocab), tokens);
  std::fflush(stdout);
  llama_free(context);
  // The model goes with the process: the two libraries free it under different names.
  return code;
}
