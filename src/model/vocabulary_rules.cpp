#include "model/vocabulary_rules.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "base/text.h"
#include "model/gguf_parser.h"

namespace heed {
namespace {

// Real tokens end at some hundred bytes (128 spaces of a code tokenizer are 256).
constexpr uint64_t kTokenBytes = 64u << 10;
// The texts of byte-pair tokens as llama.cpp caches them; see expansion().
constexpr uint64_t kExpandedBytes = 64u << 20;

// How byte-pair tokenizers cut text into words (text_cutter.h): the names that llama.cpp knows. Not
// among them are those that merge raw text (gemma4, granite-embed-multi-311m, sarvam-moe,
// whitespace): llama.cpp asserts there that no token holds a space.
constexpr std::string_view kCutters =
    "gpt-2, qwen2, qwen35, llama3, llama-v3, llama-bpe, gpt-4o, tekken, smollm, deepseek-llm, "
    "deepseek-coder, deepseek-v3, deepseek-r1-qwen, falcon, falcon3, falcon-h1, default, "
    "a.x-4.0, afmoe, bailingmoe, bailingmoe2, bloom, chameleon, chatglm-bpe, codeshell, "
    "cohere2moe, command-r, dbrx, exaone, exaone-moe, exaone4, f2llmv2, gigachat, glm4, glm5, "
    "gpt3-finnish, granite-docling, granite-embed-multi-97m, grok-2, hunyuan, hunyuan-dense, "
    "hy_v4, jais, jais-2, jina-de, jina-es, jina-v1-en, jina-v2-code, jina-v2-de, jina-v2-es, "
    "jina-v5-nano, joyai-llm, kanana2, kimi-k2, kormo, laguna, lfm2, llada-moe, llama4, "
    "megrez, mellum, mellum2, midm-2.0, minerva-7b, minicpm5, minimax-m2, modern-bert, mpt, "
    "olmo, phi-2, pixtral, poro-chat, refact, roberta-bpe, seed-coder, smaug-bpe, solar-open, "
    "spark2_5, stablelm2, starcoder, superbpe, talkie, tiny_aya, trillion, ufakzeka, viking, "
    "youtu";

Status check_cutter(const GgufFile& file) {
  HEED_ASSIGN(const std::string pre, file.text("tokenizer.ggml.pre", ""));
  const std::vector<std::string_view> names = cutter_names();
  if (std::find(names.begin(), names.end(), pre) != names.end()) return Status::ok();
  return error(Code::kUnsupported, "tokenizer.ggml.pre is ",
               pre.empty() ? "missing" : cat("'", pre.substr(0, 64), "'"),
               ", which says how text is cut into words; supported are ", kCutters,
               "; convert the model again with the name that fits its tokenizer");
}

// A list of strings, or an error; null when absent.
Result<const GgufKey*> strings_key(const GgufFile& file, const char* name) {
  const GgufKey* key = file.find(name);
  if (key != nullptr && (!key->is_array || key->type != GgufType::kString)) {
    return error(Code::kCorrupt, "key '", name, "' is not a list of strings");
  }
  return key;
}

// An entry and its hash: sorting by hash first compares few texts.
struct Entry {
  uint64_t hash;
  std::string_view text;
  bool operator<(const Entry& other) const {
    return hash != other.hash ? hash < other.hash : text < other.text;
  }
  bool operator==(const Entry& other) const { return hash == other.hash && text == other.text; }
};

// Entries sorted, without the empty ones.
std::vector<Entry> sorted_entries(const GgufKey& key) {
  std::vector<Entry> entries;
  entries.reserve(key.count);
  GgufStrings strings(key);
  for (std::string_view text; strings.next(text);) {
    if (!text.empty()) entries.push_back({std::hash<std::string_view>()(text), text});
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

// llama.cpp asserts that all tokens differ; it names empty ones [EMPTY_i] first.
Status check_tokens_differ(const GgufKey& key) {
  const std::vector<Entry> entries = sorted_entries(key);
  const auto twice = std::adjacent_find(entries.begin(), entries.end());
  if (twice != entries.end()) {
    return error(Code::kCorrupt, "tokenizer.ggml.tokens has the entry '", printable(twice->text),
                 "' twice; convert the model again");
  }
  GgufStrings strings(key);
  std::string_view text;
  for (uint64_t i = 0; strings.next(text); ++i) {
    if (!text.empty()) continue;
    const std::string name = cat("[EMPTY_", i, "]");
    if (std::binary_search(entries.begin(), entries.end(),
                           Entry{std::hash<std::string_view>()(name), name})) {
      return error(Code::kCorrupt, "tokenizer.ggml.tokens: the empty entry ", i, " would be named ",
                   name, ", which exists");
    }
  }
  return Status::ok();
}

// Characters that stand for no byte in GPT-2's alphabet: itself for what is printable in Latin-1,
// U+0100 to U+0143 for the other 68 bytes.
uint64_t characters_without_byte(std::string_view text) {
  uint64_t count = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto lead = static_cast<uint8_t>(text[i]);
    uint32_t point = lead;
    if (lead >= 0xC2 && lead <= 0xDF && i + 1 < text.size()) {
      point = (lead & 0x1Fu) << 6 | (static_cast<uint8_t>(text[++i]) & 0x3Fu);
    } else if (lead >= 0x80) {
      point = 0xFFFFFFFF;
    }
    const bool mapped = (point >= 0x21 && point <= 0x7E) || (point >= 0xA1 && point <= 0x143);
    if (!mapped || point == 0xAD) ++count;
  }
  return count;
}

// For every character without a byte llama.cpp caches the whole token once more: a token of 1 MiB
// would take up to a terabyte.
uint64_t expansion(std::string_view text) {
  constexpr uint64_t kMark = 32;  // "[UNK_BYTE_0x...]"
  return characters_without_byte(text) * (text.size() + kMark);
}

Status check_lengths(const GgufKey& key, bool byte_pairs) {
  GgufStrings strings(key);
  uint64_t expanded = 0;
  std::string_view text;
  for (uint64_t i = 0; strings.next(text); ++i) {
    if (text.size() > kTokenBytes) {
      return error(Code::kCorrupt, "tokenizer.ggml.tokens: entry ", i, " has ", text.size(),
                   " bytes, a token has at most ", kTokenBytes);
    }
    if (byte_pairs) expanded += expansion(text);
    if (expanded > kExpandedBytes) {
      return error(Code::kCorrupt, "tokenizer.ggml.tokens: entries up to ", i,
                   " hold so many characters that stand for no byte that their texts would take ",
                   "more than ", kExpandedBytes >> 20, " MiB; convert the model again");
    }
  }
  return Status::ok();
}

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
}

// A token of type "byte" is read as one: "<0x0A>".
Status check_byte_tokens(const GgufFile& file, const GgufKey& tokens) {
  constexpr int32_t kByte = 6;  // llama.cpp's LLAMA_TOKEN_TYPE_BYTE
  const GgufKey* types = file.find("tokenizer.ggml.token_type");
  if (types == nullptr) return Status::ok();
  if (!types->is_array || types->type != GgufType::kInt32) {
    return Status(Code::kCorrupt, "key 'tokenizer.ggml.token_type' is not a list of int32");
  }
  if (types->count < tokens.count) {
    return error(Code::kCorrupt, "key 'tokenizer.ggml.token_type' has ", types->count,
                 " entries for ", tokens.count, " tokens");
  }
  GgufStrings strings(tokens);
  std::string_view text;
  for (uint64_t i = 0; strings.next(text); ++i) {
    int32_t type = 0;
    std::memcpy(&type, types->data + i * sizeof(type), sizeof(type));
    if (type != kByte) continue;
    const bool good = text.size() == 6 && text.starts_with("<0x") && text.ends_with('>') &&
                      is_hex(text[3]) && is_hex(text[4]);
    if (!good) {
      return error(Code::kCorrupt, "tokenizer.ggml.tokens: entry ", i, " '", printable(text),
                   "' is marked as a byte, which is spelled <0x00> ", "to <0xFF>");
    }
  }
  return Status::ok();
}

// llama.cpp takes a default for an id that is missing or beyond the vocabulary. For an end token
// that would be 11 in byte-pair files (a comma in GPT-2's): answers would end at random.
Status check_special_id(const GgufFile& file, const std::string& name, bool required,
                        uint64_t vocabulary) {
  if (file.find(name) == nullptr) {
    if (!required) return Status::ok();
    return error(Code::kCorrupt, "key '", name, "' is missing; convert the model again");
  }
  HEED_ASSIGN(const int64_t id, file.integer(name));
  if (id >= 0 && static_cast<uint64_t>(id) < vocabulary) return Status::ok();
  return error(Code::kCorrupt, "key '", name, "' is ", id, ", the vocabulary has ", vocabulary,
               " tokens; convert the model again");
}

// llama.cpp puts the first and the last of these around every text and the other for a word that it
// cannot spell, under the ids of the first BERT where the file does not name them.
Status check_word_piece_ids(const GgufFile& file, uint64_t vocabulary) {
  constexpr std::pair<const char*, uint64_t> kIds[] = {
      {"tokenizer.ggml.bos_token_id", 101},
      {"tokenizer.ggml.unknown_token_id", 100},
      {"tokenizer.ggml.seperator_token_id", 102},  // spelled like this in GGUF
  };
  for (const auto& [name, usual] : kIds) {
    HEED_TRY(check_special_id(file, name, usual >= vocabulary, vocabulary));
  }
  return Status::ok();
}

Status check_special_ids(const GgufFile& file, bool byte_pairs, uint64_t vocabulary) {
  HEED_ASSIGN(const int64_t add_bos, file.integer("tokenizer.ggml.add_bos_token", 0));
  HEED_TRY(check_special_id(file, "tokenizer.ggml.bos_token_id", byte_pairs && add_bos != 0,
                            vocabulary));
  HEED_TRY(check_special_id(file, "tokenizer.ggml.eos_token_id", byte_pairs, vocabulary));
  return check_special_id(file, "tokenizer.ggml.eot_token_id", false, vocabulary);
}

}  // namespace

std::vector<std::string_view> cutter_names() {
  constexpr std::string_view kBetween = ", ";
  std::vector<std::string_view> names;
  for (size_t at = 0; at < kCutters.size();) {
    const size_t end = std::min(kCutters.find(kBetween, at), kCutters.size());
    names.push_back(kCutters.substr(at, end - at));
    at = end + kBetween.size();
  }
  return names;
}

Status check_vocabulary(const GgufFile& file) {
  HEED_ASSIGN(const std::string kind, file.text("tokenizer.ggml.model", ""));
  if (kind.empty() || kind == "none" || kind == "no_vocab") return Status::ok();
  if (kind != "gpt2" && kind != "llama" && kind != "bert") {
    return error(Code::kUnsupported, "tokenizer '", kind.substr(0, 64),
                 "' is not supported; supported are gpt2 (byte pairs), llama (SentencePiece) and "
                 "bert (WordPiece)");
  }
  const bool byte_pairs = kind == "gpt2";
  if (byte_pairs) {
    HEED_TRY(check_cutter(file));
    HEED_ASSIGN(const GgufKey* merges, strings_key(file, "tokenizer.ggml.merges"));
    if (merges == nullptr) {
      return Status(Code::kCorrupt,
                    "key 'tokenizer.ggml.merges' is missing; the byte pairs of a "
                    "gpt2 tokenizer are in it");
    }
  }
  HEED_ASSIGN(const GgufKey* tokens, strings_key(file, "tokenizer.ggml.tokens"));
  if (tokens == nullptr || tokens->count == 0 || tokens->count > INT32_MAX) {
    return error(Code::kCorrupt, "key 'tokenizer.ggml.tokens' has ",
                 tokens == nullptr ? 0 : tokens->count, " entries");
  }
  HEED_TRY(check_lengths(*tokens, byte_pairs));
  HEED_TRY(check_tokens_differ(*tokens));
  HEED_TRY(check_byte_tokens(file, *tokens));
  if (kind == "bert") HEED_TRY(check_word_piece_ids(file, tokens->count));
  return check_special_ids(file, byte_pairs, tokens->count);
}

}  // namespace heed
