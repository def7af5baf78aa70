// Grammars: what may follow is what llama.cpp lets follow, and no grammar can stop the process.
#include "model/grammar.h"

#include <gtest/gtest.h>
#include <llama.h>
#include <sampling.h>  // of llama.cpp's common code

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/random.h"
#include "heed/sampling.h"
#include "model/model_impl.h"
#include "model/tokenizer.h"
#include "tiny_gguf.h"
#include "tiny_vocabulary.h"

namespace heed {
namespace {

constexpr const char* kArithmetic =
    "root ::= expr \"\\n\"\n"
    "expr ::= term ([-+] term)*  # a comment\n"
    "term ::= [0-9]{1,3} | \"(\" expr \")\" | \"-\"? \"x\"";
constexpr const char* kText =
    "root ::= [^\\x00-\\x1F\"\\u00e9]{2,6} (\"\\U0001F600\" | \"\\u00fc\")+";
constexpr const char* kNested =
    "root ::= list\nlist ::= \"[\" (item (\",\" item)*)? \"]\"\nitem ::= list | \"a\" | \"a\" "
    "\"b\"?";

// One with single characters as tokens, one whose characters beyond ASCII are made of byte tokens.
std::vector<std::unique_ptr<tiny::TemporaryFile>> vocabularies() {
  std::vector<std::unique_ptr<tiny::TemporaryFile>> out;
  out.push_back(std::make_unique<tiny::TemporaryFile>(tiny::byte_pair_file("smollm")));
  tiny::Spec spec;
  spec.text_vocabulary = true;
  spec.vocab = 300;
  out.push_back(std::make_unique<tiny::TemporaryFile>(spec));
  return out;
}

std::vector<llama_token_data> flat(int vocab) {
  std::vector<llama_token_data> out;
  for (Token t = 0; t < vocab; ++t) out.push_back({t, 1.0f, 0.0f});
  return out;
}

std::vector<Token> open_tokens(const std::vector<llama_token_data>& candidates) {
  std::vector<Token> out;
  for (const llama_token_data& c : candidates) {
    if (c.logit != -INFINITY) out.push_back(c.id);
  }
  return out;
}

// llama.cpp takes 0xF5 and above for the first of four bytes, with which no character begins.
void drop_impossible_bytes(const llama_vocab* vocab, std::vector<Token>& open) {
  std::erase_if(open, [&](Token token) {
    char piece[32];
    const int n = llama_token_to_piece(vocab, token, piece, sizeof piece, 0, true);
    return n == 1 && static_cast<uint8_t>(piece[0]) > 0xF4;
  });
}

std::unique_ptr<TokenGrammar> made(const llama_vocab* vocab, const std::string& gbnf) {
  GrammarOptions options;
  options.gbnf = gbnf;
  auto grammar = TokenGrammar::create(vocab, options);
  EXPECT_TRUE(grammar.is_ok()) << grammar.message();
  return grammar.is_ok() ? std::move(*grammar) : nullptr;
}

TEST(grammar, allows_at_every_step_of_a_random_answer_what_llama_cpp_allows) {
  int steps = 0, ends = 0;
  for (const auto& file : vocabularies()) {
    const auto model = load_vocabulary(file->path());
    ASSERT_TRUE(model.is_ok()) << model.message();
    const llama_vocab* vocab = llama_model_get_vocab(model->get());
    const int count = llama_vocab_n_tokens(vocab);
    for (const char* gbnf :
         {kArithmetic, kText, kNested, "root ::= .*", "root ::= <[7]> !<[9]> \"a\""}) {
      for (uint64_t walk = 0; walk < 6; ++walk) {
        const auto own = made(vocab, gbnf);
        const std::unique_ptr<llama_sampler, decltype(&llama_sampler_free)> peer(
            llama_sampler_init_grammar(vocab, gbnf, "root"), llama_sampler_free);
        ASSERT_NE(own, nullptr);
        ASSERT_NE(peer, nullptr);
        for (uint64_t i = 0; i < 25; ++i, ++steps) {
          auto mine = flat(count), theirs = flat(count);
          const Status any = own->forbid(mine);
          llama_token_data_array array{theirs.data(), theirs.size(), -1, false};
          llama_sampler_apply(peer.get(), &array);
          std::vector<Token> open = open_tokens(theirs);
          drop_impossible_bytes(vocab, open);
          ASSERT_EQ(open_tokens(mine), open) << gbnf << ", step " << i;
          ASSERT_EQ(any.is_ok(), !open.empty());
          if (open.empty()) break;
          const Token next = open[random_below(walk, i, open.size())];
          for (const Token t : {next, Token{3}, Token{40}}) {
            const bool allowed = std::find(open.begin(), open.end(), t) != open.end();
            EXPECT_EQ(*own->allows(t), allowed) << t;
          }
          llama_sampler_accept(peer.get(), next);
          ASSERT_TRUE(own->accept(next).is_ok());
          if (llama_vocab_is_eog(vocab, next)) {
            ++ends;
            break;
          }
        }
      }
    }
  }
  EXPECT_GT(steps, 400);
  EXPECT_GT(ends, 2);
}

// A context whose logits both samplers read.
class Peer {
 public:
  explicit Peer(const std::string& path) {
    llama_model_params params = llama_model_default_params();
    params.n_gpu_layers = 0;
    model_ = llama_model_load_from_file(path.c_str(), params);
    llama_context_params context = llama_context_default_params();
    context.n_ctx = 256;
    context.n_threads = context.n_threads_batch = 1;
    context_ = llama_init_from_model(model_, context);
  }
  ~Peer() {
    llama_free(context_);
    llama_model_free(model_);
  }
  void feed(Token token) { ASSERT_EQ(llama_decode(context_, llama_batch_get_one(&token, 1)), 0); }
  std::span<const float> logits() const {
    return {llama_get_logits_ith(context_, -1),
            static_cast<size_t>(llama_vocab_n_tokens(llama_model_get_vocab(model_)))};
  }
  llama_model* model() const { return model_; }
  llama_context* context() const { return context_; }

 private:
  llama_model* model_ = nullptr;
  llama_context* context_ = nullptr;
};

TEST(grammar, the_sampler_chooses_the_tokens_of_common_sampler_with_the_same_seed) {
  const tiny::TemporaryFile file(tiny::byte_pair_file("smollm"));
  ModelOptions load;
  load.threads = 1;
  const auto model = Model::load(file.path(), load);
  ASSERT_TRUE(model.is_ok()) << model.message();
  int tokens = 0;
  for (const char* gbnf : {kArithmetic, kNested, "root ::= [a-z ]+ \".\""}) {
    for (const float temperature : {0.0f, 0.8f, 3.0f}) {
      for (const uint32_t seed : {1u, 7u}) {
        Peer peer(file.path());
        common_params_sampling params;
        params.seed = seed;
        params.temp = temperature;
        params.penalty_repeat = 1.3f;
        params.grammar = common_grammar(COMMON_GRAMMAR_TYPE_USER, gbnf);
        const common_sampler_ptr theirs(common_sampler_init(peer.model(), params));
        ASSERT_NE(theirs, nullptr);
        SamplerOptions options;
        options.seed = seed;
        options.temperature = temperature;
        options.repeat_penalty = 1.3f;
        options.grammar.gbnf = gbnf;
        auto own = Sampler::create(**model, options);
        ASSERT_TRUE(own.is_ok()) << own.message();
        Token last = 20;
        common_sampler_accept(theirs.get(), last, false);
        ASSERT_TRUE((*own)->accept(last).is_ok());
        for (int i = 0; i < 30 && !(*model)->is_end(last); ++i, ++tokens) {
          peer.feed(last);
          const bool finished = (*own)->finished();
          const auto mine = (*own)->sample(peer.logits());
          ASSERT_TRUE(mine.is_ok()) << mine.message();
          last = common_sampler_sample(theirs.get(), peer.context(), -1);
          common_sampler_accept(theirs.get(), last, true);
          ASSERT_EQ(*mine, last) << gbnf << " at " << temperature << ", token " << i;
          EXPECT_TRUE(!finished || (*model)->is_end(last));
        }
      }
    }
  }
  EXPECT_GT(tokens, 200);
}

TEST(grammar, refusals_name_line_and_column) {
  const struct {
    std::string text;
    const char* needle;
  } kBad[] = {
      {"root ::= \"a", "line 1, column 12: the text ends"},
      {"root ::= \"a\"\nb ::= [", "line 2, column 8"},
      {"root ::= a1", "line 1, column 10: the rule 'a1' is defined nowhere"},
      {"root ::= nubmer\nnumber ::= [0-9]", "did you mean 'number'?"},
      {"toor ::= \"a\"", "no rule 'root'"},
      {"", "no rule 'root'"},
      {"root = \"a\"", "expected ::="},
      {"root ::= *", "nothing stands before"},
      {"root ::= \"a\"{3,2}", "at most 2 is less than 3"},
      {"root ::= \"a\"{2001}", "2001 repetitions"},
      {"root ::= \"a\"{1", "expected '}'"},
      {"root ::= (\"a\"", "expected ')'"},
      {"root ::= \"\\q\"", "unknown escape"},
      {"root ::= \"\\xZZ\"", "hexadecimal"},
      {"root ::= \"\\UFFFFFFFF\"", "no character"},
      {"root ::= []", "class without a character"},
      {"root ::= \"\xFF\"", "not UTF-8"},
      {"root ::= <", "expected <token>"},
      {"root ::= \"a\" ?x )", "expected the end of the line"},
      {"root ::= " + std::string(300, '(') + "\"a\"" + std::string(300, ')'), "inside each other"},
      {"root ::= (((\"abc\"{1000}){1000}){1000}){1000}", "steps"},
      {std::string(2 << 20, ' '), "bytes; at most"},
  };
  for (const auto& bad : kBad) {
    const Status status = check_grammar(bad.text);
    EXPECT_EQ(status.is_ok(), false) << bad.text.substr(0, 80);
    EXPECT_NE(status.message().find(bad.needle), std::string::npos) << status.message();
  }
}

class GrammarOfBytes : public testing::Test {
 protected:
  void SetUp() override {
    auto model = load_vocabulary(file_.path());
    ASSERT_TRUE(model.is_ok()) << model.message();
    model_ = std::move(*model);
    vocab_ = llama_model_get_vocab(model_.get());
  }
  // Whether the grammar takes the text, character by character; `end`: may it stop there.
  bool takes(TokenGrammar& grammar, const std::string& text) {
    const auto tokens = tokenize(model_.get(), text, false, false);
    EXPECT_TRUE(tokens.is_ok()) << tokens.message();
    for (const Token token : *tokens) {
      const auto allowed = grammar.allows(token);
      EXPECT_TRUE(allowed.is_ok()) << allowed.message();
      if (!allowed.is_ok() || !*allowed) return false;
      EXPECT_TRUE(grammar.accept(token).is_ok());
    }
    return true;
  }
  bool ends(TokenGrammar& grammar) { return *grammar.allows(llama_vocab_eos(vocab_)); }

  tiny::TemporaryFile file_{tiny::byte_pair_file("smollm")};
  LlamaModelPtr model_;
  const llama_vocab* vocab_ = nullptr;
};

TEST_F(GrammarOfBytes, an_ambiguous_grammar_does_not_grow_with_the_ways_to_read_a_text) {
  // Two to the power of the length ways, as a list of stacks would hold them.
  const auto grammar = made(vocab_, "root ::= x\nx ::= \"a\" x \"b\" | \"a\" x \"c\" | \"a\"");
  EXPECT_TRUE(takes(*grammar, std::string(300, 'a')));
  EXPECT_TRUE(takes(*grammar, std::string(150, 'b') + std::string(148, 'c')));
  EXPECT_FALSE(ends(*grammar));
  EXPECT_TRUE(takes(*grammar, "c"));
  EXPECT_TRUE(ends(*grammar));
  EXPECT_TRUE(grammar->finished());
}

TEST_F(GrammarOfBytes, left_recursion_and_empty_rules_are_read_like_any_other) {
  const auto left = made(vocab_, "root ::= sum\nsum ::= sum \"+\" num | num\nnum ::= [0-9]+");
  EXPECT_TRUE(takes(*left, "12+3+45"));
  EXPECT_TRUE(ends(*left));
  EXPECT_FALSE(takes(*left, "x"));
  const auto hidden = made(vocab_, "root ::= y root \"b\" | \"a\"\ny ::= z\nz ::= \"\"");
  EXPECT_TRUE(takes(*hidden, "abbb"));
  EXPECT_TRUE(ends(*hidden));
  const auto loop = made(vocab_, "root ::= ((\"a\"*)*)* \"c\"");
  EXPECT_TRUE(takes(*loop, "aaac"));
  EXPECT_TRUE(loop->finished());
  // An empty rule that got a second caller at the character where it was left.
  const auto late = made(vocab_, "root ::= p q\np ::= e \"x\" | e\nq ::= e \"y\"\ne ::= \"z\"?");
  EXPECT_TRUE(takes(*late, "y"));
  EXPECT_TRUE(ends(*late));
}

TEST_F(GrammarOfBytes, right_recursion_keeps_no_caller_for_what_is_behind_nothing) {
  const auto grammar = made(vocab_, "root ::= item root | \"\\n\"\nitem ::= [a-z] | [a-z] [0-9]");
  std::string text;
  for (int i = 0; i < 1500; ++i) text += "a1";
  EXPECT_TRUE(takes(*grammar, text));
  EXPECT_TRUE(takes(*grammar, "\n"));
  EXPECT_TRUE(grammar->finished());
}

TEST_F(GrammarOfBytes, what_the_vocabulary_cannot_write_is_an_error_and_no_end) {
  const auto grammar = made(vocab_, "root ::= \"a\" \"\\u00e9\"");
  EXPECT_TRUE(takes(*grammar, "a"));
  auto candidates = flat(llama_vocab_n_tokens(vocab_));
  const Status status = grammar->forbid(candidates);
  EXPECT_FALSE(status.is_ok());
  EXPECT_NE(status.message().find("no token can follow"), std::string::npos) << status.message();
  EXPECT_FALSE(grammar->accept(llama_vocab_eos(vocab_)).is_ok());
  EXPECT_FALSE(grammar->accept(40).is_ok());
}

TEST_F(GrammarOfBytes, too_many_ways_end_in_an_error_not_in_an_endless_search) {
  // Every rule calls every other without a character: callers grow with the square of the text.
  std::string gbnf = "root ::= r0+\n";
  for (int i = 0; i < 100; ++i) {
    gbnf += "r" + std::to_string(i) + " ::=";
    for (int j = 0; j < 100; ++j) gbnf += " r" + std::to_string(j) + " r0 |";
    gbnf += " \"a\"\n";
  }
  const auto grammar = made(vocab_, gbnf);
  const auto token = tokenize(model_.get(), "a", false, false);
  ASSERT_TRUE(token.is_ok());
  Status status;
  for (int i = 0; i < 50 && status.is_ok(); ++i) status = grammar->accept(token->front());
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
}

TEST_F(GrammarOfBytes, a_lazy_grammar_waits_for_its_trigger_and_not_for_one_in_a_thought) {
  using Kind = GrammarTrigger::Kind;
  GrammarOptions options;
  options.gbnf = "root ::= \"<c>\" [0-9]+ \"</c>\"";
  options.lazy = true;
  options.triggers = {{.kind = Kind::kWord, .text = "<c>"}};
  options.think_start = "<t>";
  options.think_ends = {"</t>"};
  auto grammar = TokenGrammar::create(vocab_, options);
  ASSERT_TRUE(grammar.is_ok()) << grammar.message();
  EXPECT_TRUE(takes(**grammar, "hello<t>a<c>b</t>so<c"));
  EXPECT_TRUE(ends(**grammar));
  EXPECT_TRUE(takes(**grammar, ">12"));
  EXPECT_FALSE(ends(**grammar));
  EXPECT_FALSE(takes(**grammar, "x"));
  EXPECT_TRUE(takes(**grammar, "3</c>"));
  EXPECT_TRUE((*grammar)->finished());

  options.think_start.clear();
  options.triggers = {{.kind = Kind::kPattern, .text = "call(<c>)"}};
  grammar = TokenGrammar::create(vocab_, options);
  EXPECT_TRUE(takes(**grammar, "<c>x call<c>"));
  EXPECT_FALSE(takes(**grammar, "x"));
  options.triggers = {{.kind = Kind::kToken, .token = 28}};  // '<'
  grammar = TokenGrammar::create(vocab_, options);
  EXPECT_TRUE(takes(**grammar, "a<"));
  EXPECT_FALSE(takes(**grammar, "x"));
  options.triggers = {{.kind = Kind::kPattern, .text = "(("}};
  EXPECT_FALSE(TokenGrammar::create(vocab_, options).is_ok());
  options.lazy = false;
  options.prefill = "<c>1";
  grammar = TokenGrammar::create(vocab_, options);
  ASSERT_TRUE(grammar.is_ok()) << grammar.message();
  EXPECT_TRUE(takes(**grammar, "2</c>"));
  options.prefill = "no";
  EXPECT_FALSE(TokenGrammar::create(vocab_, options).is_ok());
}

TEST_F(GrammarOfBytes, random_choices_under_a_schema_are_json_of_that_schema) {
  const auto gbnf = grammar_of_schema(
      R"({"type": "object", "required": ["age", "tags"], "properties": {
        "age": {"type": "integer", "minimum": 3, "maximum": 40},
        "tags": {"type": "array", "maxItems": 3, "items": {"type": "string", "maxLength": 4}},
        "kind": {"enum": ["a", null, 7]}}})");
  ASSERT_TRUE(gbnf.is_ok()) << gbnf.message();
  for (uint64_t walk = 0; walk < 12; ++walk) {
    const auto grammar = made(vocab_, *gbnf);
    std::string text;
    for (uint64_t i = 0; i < 4000 && !grammar->finished(); ++i) {
      auto candidates = flat(llama_vocab_n_tokens(vocab_));
      ASSERT_TRUE(grammar->forbid(candidates).is_ok());
      const std::vector<Token> open = open_tokens(candidates);
      const Token token = open[random_below(50 + walk, i, open.size())];
      if (llama_vocab_is_eog(vocab_, token)) break;
      ASSERT_TRUE(grammar->accept(token).is_ok());
      char piece[16];
      text.append(piece, static_cast<size_t>(
                             llama_token_to_piece(vocab_, token, piece, sizeof piece, 0, true)));
    }
    const auto json = nlohmann::json::parse(text, nullptr, false);
    ASSERT_TRUE(json.is_object()) << text;
    EXPECT_TRUE(json["age"].is_number_integer()) << text;
    EXPECT_GE(json["age"].get<int>(), 3);
    EXPECT_LE(json["age"].get<int>(), 40);
    EXPECT_LE(json["tags"].size(), 3u);
  }
}

TEST(json_schema, what_cannot_be_a_grammar_is_an_error_with_its_place) {
  const struct {
    std::string schema;
    const char* needle;
  } kBad[] = {
      {"{\"type\": ", "line 1"},
      {"{\"type\": \"strng\"}", "JSON schema"},
      {"{\"$ref\": \"#/definitions/x\"}", "$ref"},
      {"{\"type\": \"string\", \"pattern\": \"^(a$\"}", "attern"},
      {std::string(200'000, '[') + std::string(200'000, ']'), "JSON schema"},
      {std::string(2 << 20, ' '), "bytes; at most"},
  };
  for (const auto& bad : kBad) {
    const auto gbnf = grammar_of_schema(bad.schema);
    EXPECT_FALSE(gbnf.is_ok()) << bad.schema.substr(0, 80);
    EXPECT_NE(gbnf.message().find(bad.needle), std::string::npos) << gbnf.message().substr(0, 300);
  }
  EXPECT_TRUE(grammar_of_schema("{}").is_ok());
}

}  // namespace
}  // namespace heed
