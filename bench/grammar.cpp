// bench_grammar MODEL.gguf [SCHEMA.json|-] [TOKENS] [ROUNDS]: what a token of an answer that must
// match a grammar costs to choose, heed's sampler beside llama.cpp's in both of its ways:
//   first      the grammar goes over the whole vocabulary, then the chain chooses
//   rejection  the chain chooses, and the grammar goes over the vocabulary where it refuses that
// and beside both chains without a grammar. heed answers once and its logits are kept; then all
// choose greedily from the same rows, in rounds whose order rotates, each with a fresh sampler
// (what heed sorts of a vocabulary at its first rejection is among its times). All must choose the
// same tokens: another one ends the program with 1.
#include <llama.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/read_file.h"
#include "base/text.h"
#include "eval/statistics.h"
#include "heed/engine.h"
#include "heed/sampling.h"
#include "model/model_impl.h"

namespace {

using heed::Clock;
using heed::Code;
using heed::error;
using heed::Result;
using heed::Status;
using heed::Token;

constexpr const char* kQuestion = "Invent a person and describe him or her as a JSON object.";
constexpr const char* kSchema = R"({
  "type": "object", "additionalProperties": false,
  "required": ["name", "age", "job", "hobbies", "address"],
  "properties": {
    "name": {"type": "string", "maxLength": 40},
    "age": {"type": "integer", "minimum": 0, "maximum": 120},
    "job": {"enum": ["teacher", "nurse", "engineer", "farmer", "painter"]},
    "hobbies": {"type": "array", "minItems": 2, "maxItems": 4,
                "items": {"type": "string", "maxLength": 30}},
    "address": {"type": "object", "additionalProperties": false,
                "required": ["street", "number", "town"],
                "properties": {"street": {"type": "string", "maxLength": 40},
                               "number": {"type": "integer", "minimum": 1, "maximum": 999},
                               "town": {"type": "string", "maxLength": 40}}}}})";

struct Options {
  std::string model, schema = "-";
  int tokens = 96;  // of the answer, at most
  int rounds = 9;
};

// What every contestant chooses from, and has to choose.
struct Answer {
  std::string text;
  std::vector<Token> tokens;  // [T]
  std::vector<float> logits;  // [T, vocab]
  int64_t vocab = 0;
  int refused = 0;  // tokens where the grammar does not allow the most likely one

  std::span<const float> row(size_t i) const {
    return std::span(logits).subspan(i * static_cast<size_t>(vocab), static_cast<size_t>(vocab));
  }
};

heed::SamplerOptions greedy(const std::string& gbnf) {
  heed::SamplerOptions options;
  options.temperature = 0;
  options.grammar.gbnf = gbnf;
  return options;
}

Result<Answer> answer(const std::shared_ptr<heed::Model>& model, const std::string& gbnf,
                      int most) {
  std::string asked = kQuestion;
  if (model->info().has_chat_template) {
    const heed::ChatMessage turn{"user", asked};
    HEED_ASSIGN(asked, model->apply_template({&turn, 1}, true));
  }
  HEED_ASSIGN(const auto prompt, model->tokenize(asked, true, true));
  heed::EngineOptions options;
  options.context = static_cast<int64_t>(prompt.size()) + most + 1;
  HEED_ASSIGN(const auto engine, heed::Engine::create(model, options));
  HEED_ASSIGN(const heed::SeqId seq, engine->create_sequence());
  HEED_TRY(engine->prefill(seq, prompt));
  HEED_ASSIGN(const auto sampler, heed::Sampler::create(*model, greedy(gbnf)));
  Answer out;
  out.vocab = model->info().vocab;
  while (static_cast<int>(out.tokens.size()) < most && !sampler->finished()) {
    HEED_ASSIGN(const auto logits, engine->logits(seq));
    HEED_ASSIGN(const Token token, sampler->sample(logits));
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    out.refused += best != token;
    out.logits.insert(out.logits.end(), logits.begin(), logits.end());
    out.tokens.push_back(token);
    HEED_ASSIGN(const std::string piece, model->piece(token));
    out.text += piece;
    const heed::SeqToken next{seq, token};
    HEED_TRY(engine->decode({&next, 1}));
  }
  return out;
}

class Contestant {
 public:
  virtual ~Contestant() = default;
  virtual const char* name() const = 0;
  virtual bool constrained() const = 0;  // its choices are those of the answer
  virtual Status begin() = 0;            // with a fresh sampler
  virtual Result<Token> next(std::span<const float> logits) = 0;
};

class HeedSampler final : public Contestant {
 public:
  HeedSampler(const heed::Model& model, std::string gbnf) : model_(model), gbnf_(std::move(gbnf)) {}
  const char* name() const override { return gbnf_.empty() ? "heed, no grammar" : "heed"; }
  bool constrained() const override { return !gbnf_.empty(); }
  Status begin() override {
    HEED_ASSIGN(sampler_, heed::Sampler::create(model_, greedy(gbnf_)));
    return Status::ok();
  }
  Result<Token> next(std::span<const float> logits) override { return sampler_->sample(logits); }

 private:
  const heed::Model& model_;
  std::string gbnf_;
  std::unique_ptr<heed::Sampler> sampler_;
};

struct FreeSampler {
  void operator()(llama_sampler* sampler) const { llama_sampler_free(sampler); }
};
using SamplerPtr = std::unique_ptr<llama_sampler, FreeSampler>;

enum class Way { kNone, kFirst, kRejection };

// As llama.cpp's common_sampler does it: candidates of the whole vocabulary, a chain, the grammar.
class LlamaSampler final : public Contestant {
 public:
  LlamaSampler(const llama_vocab* vocab, std::string gbnf, Way way)
      : vocab_(vocab), gbnf_(std::move(gbnf)), way_(way) {}
  const char* name() const override {
    constexpr const char* kNames[] = {"llama.cpp, no grammar", "llama.cpp, grammar first",
                                      "llama.cpp, on rejection"};
    return kNames[static_cast<size_t>(way_)];
  }
  bool constrained() const override { return way_ != Way::kNone; }

  Status begin() override {
    chain_.reset(llama_sampler_init_greedy());
    if (way_ != Way::kNone)
      grammar_.reset(llama_sampler_init_grammar(vocab_, gbnf_.c_str(), "root"));
    if (way_ == Way::kNone || grammar_ != nullptr) return Status::ok();
    return Status(Code::kUnsupported, "llama.cpp refuses the grammar");
  }

  Result<Token> next(std::span<const float> logits) override {
    Token token = choose(logits, way_ == Way::kFirst);
    if (way_ == Way::kRejection && !allowed(token)) token = choose(logits, true);
    if (way_ != Way::kNone) llama_sampler_accept(grammar_.get(), token);
    return token;
  }

 private:
  Token choose(std::span<const float> logits, bool by_grammar) {
    candidates_.resize(logits.size());
    for (size_t i = 0; i < logits.size(); ++i) {
      candidates_[i] = {static_cast<llama_token>(i), logits[i], 0};
    }
    llama_token_data_array all{candidates_.data(), candidates_.size(), -1, false};
    if (by_grammar) llama_sampler_apply(grammar_.get(), &all);
    llama_sampler_apply(chain_.get(), &all);
    return all.data[all.selected].id;
  }

  bool allowed(Token token) const {
    llama_token_data one{token, 1, 0};
    llama_token_data_array alone{&one, 1, -1, false};
    llama_sampler_apply(grammar_.get(), &alone);
    return one.logit != -INFINITY;
  }

  const llama_vocab* vocab_;
  std::string gbnf_;
  Way way_;
  SamplerPtr chain_, grammar_;
  std::vector<llama_token_data> candidates_;
};

struct Times {
  std::vector<double> begin_ms, mean_ms, most_ms;  // a round: its sampler, a token, the slowest one
};

Status round_of(Contestant& one, const Answer& answer, Times& times) {
  auto start = Clock::now();
  HEED_TRY(one.begin());
  times.begin_ms.push_back(1e3 * heed::seconds_since(start));
  double sum = 0, most = 0;
  for (size_t i = 0; i < answer.tokens.size(); ++i) {
    start = Clock::now();
    HEED_ASSIGN(const Token token, one.next(answer.row(i)));
    const double ms = 1e3 * heed::seconds_since(start);
    sum += ms;
    most = std::max(most, ms);
    if (one.constrained() && token != answer.tokens[i]) {
      return error(Code::kInternal, one.name(), " chooses token ", token, " at place ", i,
                   " of the answer, where heed chose ", answer.tokens[i]);
    }
  }
  times.mean_ms.push_back(sum / static_cast<double>(answer.tokens.size()));
  times.most_ms.push_back(most);
  return Status::ok();
}

void print(const std::vector<std::unique_ptr<Contestant>>& all, const std::vector<Times>& times) {
  using heed::eval::median, heed::eval::quantile;
  std::printf(
      "\n| | ms a token | p10 | p90 | slowest token | to begin | times heed's (p10) |\n"
      "|---|---|---|---|---|---|---|\n");
  for (size_t i = 0; i < all.size(); ++i) {
    const auto ratios = heed::eval::paired_ratios(times[0].mean_ms, times[i].mean_ms);
    std::printf("| %s | %.4f | %.4f | %.4f | %.3f | %.3f | %.1f (%.1f) |\n", all[i]->name(),
                median(times[i].mean_ms), quantile(times[i].mean_ms, 0.1),
                quantile(times[i].mean_ms, 0.9), median(times[i].most_ms),
                median(times[i].begin_ms), median(ratios), quantile(ratios, 0.1));
  }
}

Status run(const Options& options) {
  std::string schema = kSchema;
  if (options.schema != "-") {
    HEED_ASSIGN(schema, heed::read_file(options.schema, options.schema));
  }
  HEED_ASSIGN(const std::string gbnf, heed::grammar_of_schema(schema));
  HEED_ASSIGN(std::shared_ptr<heed::Model> model, heed::Model::load(options.model, {}));
  HEED_ASSIGN(const Answer given, answer(model, gbnf, options.tokens));
  if (given.tokens.empty()) return Status(Code::kInvalidArgument, "the answer has no token");
  std::printf("%s: a vocabulary of %lld, %zu tokens, %d of them in place of a likelier one:\n%s\n",
              options.model.c_str(), static_cast<long long>(given.vocab), given.tokens.size(),
              given.refused, given.text.c_str());
  const llama_vocab* const vocab = llama_model_get_vocab(model->impl().vocab);
  std::vector<std::unique_ptr<Contestant>> all;
  all.push_back(std::make_unique<HeedSampler>(*model, gbnf));
  for (const Way way : {Way::kRejection, Way::kFirst}) {
    all.push_back(std::make_unique<LlamaSampler>(vocab, gbnf, way));
  }
  all.push_back(std::make_unique<HeedSampler>(*model, std::string()));
  all.push_back(std::make_unique<LlamaSampler>(vocab, std::string(), Way::kNone));
  std::vector<Times> times(all.size());
  for (auto& one : all) {  // warm, and the answers are checked before anything is timed
    Times ignored;
    HEED_TRY(round_of(*one, given, ignored));
  }
  for (int round = 0; round < options.rounds; ++round) {
    for (size_t i = 0; i < all.size(); ++i) {
      const size_t at = (i + static_cast<size_t>(round)) % all.size();
      HEED_TRY(round_of(*all[at], given, times[at]));
    }
  }
  print(all, times);
  return Status::ok();
}

bool number(std::string_view text, int& out) {
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), out);
  return fault == std::errc() && end == text.data() + text.size() && out >= 1;
}

}  // namespace

int main(int count, char** words) {
  Options options;
  if (count > 1) options.model = words[1];
  if (count > 2) options.schema = words[2];
  const bool good = count >= 2 && count <= 5 && (count < 4 || number(words[3], options.tokens)) &&
                    (count < 5 || number(words[4], options.rounds));
  if (!good) {
    std::fprintf(stderr, "usage: bench_grammar MODEL.gguf [SCHEMA.json|-] [TOKENS] [ROUNDS]\n");
    return 2;
  }
  const Status status = run(options);
  if (status.is_ok()) return 0;
  std::fprintf(stderr, "%s\n", status.message().c_str());
  return 1;
}
