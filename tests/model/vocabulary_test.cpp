// Tokenizer tables of every hostile kind: a named refusal, or a vocabulary that answers.
#include <gtest/gtest.h>

#include <functional>

#include "base/text.h"
#include "cutter_texts.h"
#include "heed/sampling.h"
#include "model/tokenizer.h"

namespace heed {
namespace {

ModelOptions one_thread() {
  ModelOptions options;
  options.threads = 1;
  return options;
}

using tiny::byte_pair_file;

// std::regex ends the process at some 50,000.
TEST(Vocabulary, one_character_repeated_does_not_end_the_process) {
  for (const auto& [patterns, cutter] : tiny::every_cutter()) {
    for (const char c : {'-', 'a', 'A', '7', ' ', '\n'}) {
      const size_t n = c == '-' && cutter.pre == "smollm" ? 1u << 20 : 60'000;
      const auto tokens = tokenize(cutter.vocabulary.get(), std::string(n, c), false, false);
      ASSERT_TRUE(tokens.is_ok()) << cutter.pre << ": " << tokens.message();
      EXPECT_GE(tokens->size(), n / 4) << cutter.pre << " '" << c << "'";
    }
  }
}

TEST(Vocabulary, cutters_that_are_unknown_are_refused_with_the_list) {
  for (const char* pre : {"unheard", "gemma4", "whitespace", "gpt-2, qwen2", ""}) {
    const tiny::TemporaryFile file(byte_pair_file(pre));
    const auto vocabulary = load_vocabulary(file.path());
    ASSERT_EQ(vocabulary.code(), Code::kUnsupported) << pre;
    EXPECT_NE(vocabulary.message().find(*pre == 0 ? "missing" : pre), std::string::npos)
        << vocabulary.message();
    EXPECT_NE(vocabulary.message().find("smollm"), std::string::npos) << vocabulary.message();
  }
}

tiny::File sentence_piece_file() {
  tiny::Spec spec;
  spec.layers = 1;
  spec.text_vocabulary = true;
  spec.vocab = 270;
  return tiny::make_file(spec);
}

// The tokens of a file with entry `at` replaced.
void replace_token(tiny::File& file, int at, const std::string& text) {
  const tiny::Key* key = file.find("tokenizer.ggml.tokens");
  std::vector<std::string> tokens;
  for (size_t i = 12; i < key->value.size();) {  // behind the element type and the count
    uint64_t length = 0;
    std::memcpy(&length, key->value.data() + i, sizeof(length));
    tokens.emplace_back(reinterpret_cast<const char*>(key->value.data()) + i + 8, length);
    i += 8 + length;
  }
  tokens.at(at) = text;
  file.set(tiny::texts_key("tokenizer.ggml.tokens", tokens));
}

std::vector<int32_t> types_with(int n, int at, int32_t type) {
  std::vector<int32_t> types(n, 1);
  types.at(at) = type;
  return types;
}

std::string text_of_bytes(size_t n, const char* unit) {
  std::string text;
  while (text.size() < n) text += unit;
  return text;
}

struct Case {
  const char* name;
  bool byte_pairs;
  std::function<void(tiny::File&)> edit;
  Code code;           // kOk: loads and answers
  const char* needle;  // in the message
};

using tiny::array_key;
using tiny::bool_key;
using tiny::text_key;
using tiny::texts_key;
using tiny::u32_key;
constexpr const char* kTokens = "tokenizer.ggml.tokens";
constexpr const char* kTypes = "tokenizer.ggml.token_type";
constexpr const char* kScores = "tokenizer.ggml.scores";
constexpr const char* kMerges = "tokenizer.ggml.merges";

const Case kCases[] = {
    {"sound_byte_pairs", true, [](auto&) {}, Code::kOk, ""},
    {"sound_sentence_piece", false, [](auto&) {}, Code::kOk, ""},
    {"bad_utf8_token", true, [](auto& f) { replace_token(f, 120, "\xff\xc3("); }, Code::kOk, ""},
    {"bad_utf8_piece", false, [](auto& f) { replace_token(f, 265, "\xf0\x9f"); }, Code::kOk, ""},
    {"empty_token", true, [](auto& f) { replace_token(f, 120, ""); }, Code::kOk, ""},
    {"empty_token_whose_name_exists", true,
     [](auto& f) {
       replace_token(f, 120, "");
       replace_token(f, 121, "[EMPTY_120]");
     },
     Code::kCorrupt, "[EMPTY_120]"},
    {"duplicate_token", true, [](auto& f) { replace_token(f, 120, "--"); }, Code::kCorrupt,
     "twice"},
    {"duplicate_piece", false, [](auto& f) { replace_token(f, 265, "w266"); }, Code::kCorrupt,
     "twice"},
    {"token_of_1_mib", true, [](auto& f) { replace_token(f, 120, std::string(1 << 20, 'a')); },
     Code::kCorrupt, "1048576"},
    {"piece_of_1_mib", false, [](auto& f) { replace_token(f, 265, std::string(1 << 20, 'a')); },
     Code::kCorrupt, "1048576"},
    {"token_of_64_kib", true, [](auto& f) { replace_token(f, 120, std::string(1 << 16, 'a')); },
     Code::kOk, ""},
    {"characters_without_byte", true, [](auto& f) { replace_token(f, 120, "\u4e16\u754c"); },
     Code::kOk, ""},
    {"texts_that_would_explode", true,
     [](auto& f) { replace_token(f, 120, text_of_bytes(60'000, "\u4e16")); }, Code::kCorrupt,
     "stand for no byte"},
    {"byte_token_below_zero", false, [](auto& f) { replace_token(f, 13, "<0x-1>"); },
     Code::kCorrupt, "<0x-1>"},
    {"byte_token_without_digits", false, [](auto& f) { replace_token(f, 13, "<0x"); },
     Code::kCorrupt, "entry 13"},
    {"byte_token_of_one_letter", true,
     [](auto& f) { f.set(array_key(kTypes, tiny::kI32, types_with(128, 5, 6))); }, Code::kCorrupt,
     "entry 5"},
    {"types_beyond_the_known", true,
     [](auto& f) { f.set(array_key(kTypes, tiny::kI32, types_with(128, 5, -77))); }, Code::kOk, ""},
    {"too_few_types", true,
     [](auto& f) { f.set(array_key(kTypes, tiny::kI32, types_with(100, 5, 1))); }, Code::kCorrupt,
     "100"},
    {"types_of_another_kind", true,
     [](auto& f) { f.set(array_key<uint8_t>(kTypes, tiny::kU8, std::vector<uint8_t>(128))); },
     Code::kCorrupt, "token_type"},
    {"types_no_list", true, [](auto& f) { f.set(u32_key(kTypes, 1)); }, Code::kCorrupt,
     "token_type"},
    {"scores_no_numbers", false,
     [](auto& f) { f.set(array_key(kScores, tiny::kF32, std::vector<float>(270, std::nanf("")))); },
     Code::kOk, ""},
    {"too_few_scores", false,
     [](auto& f) { f.set(array_key(kScores, tiny::kF32, std::vector<float>(7))); }, Code::kCorrupt,
     "scores"},
    {"merge_of_missing_tokens", true,
     [](auto& f) {
       f.set(texts_key(kMerges, {"zz yy", "- -", "- z"}));
     },
     Code::kOk, ""},
    {"merges_without_a_space", true,
     [](auto& f) {
       f.set(texts_key(kMerges, {"", " ", "ab", "- - -", "\xff \xfe"}));
     },
     Code::kOk, ""},
    {"no_merges", true, [](auto& f) { f.erase(kMerges); }, Code::kCorrupt, "merges"},
    {"merges_no_strings", true,
     [](auto& f) { f.set(array_key(kMerges, tiny::kF32, std::vector<float>(7))); }, Code::kCorrupt,
     "merges"},
    {"no_tokens", true, [](auto& f) { f.erase(kTokens); }, Code::kCorrupt, "tokens"},
    {"tokens_no_list", true, [](auto& f) { f.set(u32_key(kTokens, 7)); }, Code::kCorrupt, "tokens"},
    {"tokens_no_strings", true,
     [](auto& f) { f.set(array_key(kTokens, tiny::kF32, std::vector<float>(128))); },
     Code::kCorrupt, "tokens"},
    {"zero_tokens", true, [](auto& f) { f.set(texts_key(kTokens, {})); }, Code::kCorrupt, "0"},
    {"no_end_token", true, [](auto& f) { f.erase("tokenizer.ggml.eos_token_id"); }, Code::kCorrupt,
     "eos_token_id"},
    {"no_end_piece", false, [](auto& f) { f.erase("tokenizer.ggml.eos_token_id"); }, Code::kOk, ""},
    {"end_token_beyond_the_vocabulary", true,
     [](auto& f) { f.set(u32_key("tokenizer.ggml.eos_token_id", 128)); }, Code::kCorrupt, "128"},
    {"end_token_that_is_a_string", true,
     [](auto& f) { f.set(text_key("tokenizer.ggml.eos_token_id", "0")); }, Code::kCorrupt,
     "eos_token_id"},
    {"begin_token_beyond_the_vocabulary", false,
     [](auto& f) { f.set(u32_key("tokenizer.ggml.bos_token_id", 0xFFFFFFFF)); }, Code::kCorrupt,
     "4294967295"},
    {"begin_token_asked_for_and_missing", true,
     [](auto& f) {
       f.erase("tokenizer.ggml.bos_token_id");
       f.set(bool_key("tokenizer.ggml.add_bos_token", true));
     },
     Code::kCorrupt, "bos_token_id"},
    {"begin_token_of_the_cutter_missing", true,
     [](auto& f) {
       f.erase("tokenizer.ggml.bos_token_id");
       f.set(text_key("tokenizer.ggml.pre", "llama3"));
     },
     Code::kCorrupt, "beginning-of-text"},
    {"turn_end_beyond_the_vocabulary", true,
     [](auto& f) { f.set(u32_key("tokenizer.ggml.eot_token_id", 9999)); }, Code::kCorrupt, "9999"},
    {"padding_beyond_the_vocabulary", true,
     [](auto& f) { f.set(u32_key("tokenizer.ggml.padding_token_id", 9999)); }, Code::kOk, ""},
    {"suppressed_tokens_beyond_the_vocabulary", true,
     [](auto& f) {
       f.set(array_key("tokenizer.ggml.suppress_tokens", tiny::kI32,
                       std::vector<int32_t>{-5, 3, 1 << 30}));
     },
     Code::kOk, ""},
    {"another_tokenizer", true, [](auto& f) { f.set(text_key("tokenizer.ggml.model", "t5")); },
     Code::kUnsupported, "t5"},
    {"tokenizer_that_is_a_number", true, [](auto& f) { f.set(u32_key("tokenizer.ggml.model", 7)); },
     Code::kCorrupt, "tokenizer.ggml.model"},
    {"cutter_that_is_a_number", true, [](auto& f) { f.set(u32_key("tokenizer.ggml.pre", 7)); },
     Code::kCorrupt, "tokenizer.ggml.pre"},
};

// Text in, pieces of every token out, and a choice from a chain that reads the text.
void expect_answers(const std::string& path, const char* name) {
  const auto model = Model::load(path, one_thread());
  ASSERT_TRUE(model.is_ok()) << name << ": " << model.message();
  for (const std::string text : {"a -- b", "Gr\u00fc\u00dfe\n", "\xff\xfe", ""}) {
    for (const bool special : {false, true}) {
      const auto tokens = (*model)->tokenize(text, special, special);
      if (!tokens.is_ok()) {  // a table without the bytes of the text says so
        EXPECT_EQ(tokens.code(), Code::kCorrupt) << name << ": " << tokens.message();
        continue;
      }
      for (const Token t : *tokens) EXPECT_TRUE(t >= 0 && t < (*model)->info().vocab) << name;
    }
  }
  for (Token t = 0; t < (*model)->info().vocab; ++t) {
    EXPECT_TRUE((*model)->piece(t).is_ok()) << name << " token " << t;
  }
  SamplerOptions options;
  options.dry_multiplier = 1;
  auto sampler = Sampler::create(**model, options);
  ASSERT_TRUE(sampler.is_ok()) << name << ": " << sampler.message();
  EXPECT_TRUE((*sampler)->sample(std::vector<float>((*model)->info().vocab)).is_ok()) << name;
}

TEST(Vocabulary, every_hostile_table_is_refused_by_name_or_answers) {
  for (const Case& c : kCases) {
    tiny::File file = c.byte_pairs ? byte_pair_file("gpt-2") : sentence_piece_file();
    c.edit(file);
    const tiny::TemporaryFile written(file);
    const auto vocabulary = load_vocabulary(written.path());
    EXPECT_EQ(vocabulary.code(), c.code) << c.name << ": " << vocabulary.message();
    EXPECT_NE(vocabulary.message().find(c.needle), std::string::npos)
        << c.name << ": " << vocabulary.message();
    EXPECT_EQ(Model::load(written.path(), one_thread()).is_ok(), c.code == Code::kOk) << c.name;
    if (c.code == Code::kOk) expect_answers(written.path(), c.name);
  }
}

}  // namespace
}  // namespace heed
