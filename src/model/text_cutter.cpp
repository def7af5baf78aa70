#include "model/text_cutter.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string_view>

#include "model/text_pattern.h"

// Functions of llama.cpp that no public header declares. The result of the first is a struct of one
// uint16_t there, which leaves in the same register.
struct unicode_cpt_flags {
  uint16_t bits;
};
unicode_cpt_flags unicode_cpt_flags_from_cpt(uint32_t point);
std::string unicode_cpt_to_utf8(uint32_t point);
std::string unicode_byte_to_utf8(uint8_t byte);
std::vector<uint32_t> unicode_cpts_from_utf8(const std::string& text);

namespace heed {
namespace {

// Patterns that llama.cpp does not give to std::regex.
constexpr std::string_view kOwnCutters[] = {
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)",
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
    "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
    "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?"
    "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "\\p{Han}+",
    "\\p{AFMoE_digits}",
    "[^\\n]+|[\\n]+",
    "\\d{1,3}(?=(?:\\d{3})*\\b)",
};

bool has_own_cutter(const std::string& pattern) {
  return std::find(std::begin(kOwnCutters), std::end(kOwnCutters), pattern) !=
         std::end(kOwnCutters);
}

// A pattern of one character takes no stack in std::regex.
bool is_safe_there(const std::string& pattern) {
  return pattern == "\\p{N}" || has_own_cutter(pattern);
}

// Every code point as one number below 256, as TextPattern's \p{...} expects them: what is beyond
// ASCII by its category.
std::u32string collapsed(const std::vector<uint32_t>& points) {
  constexpr uint16_t kWhitespace = 0x100;
  constexpr std::pair<uint16_t, char32_t> kCategories[] = {
      {0x02, 0xD1}, {0x04, 0xD2}, {0x20, 0xD3}, {0x10, 0xD4}, {0x40, 0xD5}};  // N L P M S
  std::u32string text(points.begin(), points.end());
  for (char32_t& c : text) {
    if (c < 0x80) continue;
    const uint16_t flags = unicode_cpt_flags_from_cpt(c).bits;
    c = 0xD0;
    if ((flags & kWhitespace) != 0) {
      c = '\v';
      continue;
    }
    for (const auto& [category, byte] : kCategories) {
      if ((flags & 0xFF) == category) c = byte;
    }
  }
  return text;
}

// As they are, but for white space, of which \s knows ASCII's alone.
std::u32string plain(const std::vector<uint32_t>& points) {
  std::u32string text(points.begin(), points.end());
  for (char32_t& c : text) {
    if (c >= 0x80 && (unicode_cpt_flags_from_cpt(c).bits & 0x100) != 0) c = '\v';
  }
  return text;
}

// Parsed once in the life of the process: there are as many as llama.cpp has tokenizers.
const TextPattern& parsed(const std::string& pattern) {
  static std::mutex mutex;
  static std::map<std::string, TextPattern> patterns;
  const std::lock_guard lock(mutex);
  if (const auto known = patterns.find(pattern); known != patterns.end()) return known->second;
  const std::vector<uint32_t> points = unicode_cpts_from_utf8(pattern);
  Result<TextPattern> made = TextPattern::parse(std::u32string(points.begin(), points.end()));
  if (!made.is_ok()) throw std::runtime_error(made.message());
  return patterns.emplace(pattern, std::move(*made)).first->second;
}

// A text on its way: its code points and the lengths of the words so far.
class Cutter {
 public:
  explicit Cutter(const std::string& text)
      : points_(unicode_cpts_from_utf8(text)), lengths_{points_.size()} {}

  void cut(const std::string& pattern) {
    std::vector<size_t> lengths;
    lengths.reserve(lengths_.size());
    if (has_own_cutter(pattern)) {
      for_each_word(
          [&](size_t start, size_t length) { cut_there(pattern, start, length, lengths); });
    } else {
      const std::u32string_view text = text_for(pattern);
      const TextPattern& expression = parsed(pattern);
      for_each_word([&](size_t start, size_t length) {
        expression.cut(text.substr(start, length), lengths);
      });
    }
    lengths_ = std::move(lengths);
  }

  std::vector<std::string> words(bool byte_encode) const {
    std::vector<std::string> words;
    words.reserve(lengths_.size());
    for_each_word([&](size_t start, size_t length) {
      const std::string word = spelled(start, length);
      std::string& out = words.emplace_back();
      if (!byte_encode) out = word;
      for (size_t i = 0; byte_encode && i < word.size(); ++i) {
        out += unicode_byte_to_utf8(static_cast<uint8_t>(word[i]));
      }
    });
    return words;
  }

 private:
  template <class Call>
  void for_each_word(Call&& call) const {
    size_t start = 0;
    for (const size_t length : lengths_) {
      call(start, length);
      start += length;
    }
  }

  std::string spelled(size_t start, size_t length) const {
    std::string text;
    for (size_t i = start; i < start + length; ++i) text += unicode_cpt_to_utf8(points_[i]);
    return text;
  }

  // By llama.cpp's cutter, for which the ends of a word are those of the text.
  void cut_there(const std::string& pattern, size_t start, size_t length,
                 std::vector<size_t>& lengths) const {
    if (length <= 1) {  // nothing to cut, and a million calls are much
      lengths.insert(lengths.end(), length, 1);
      return;
    }
    for (const std::string& word : llama_cut_words(spelled(start, length), {pattern}, false)) {
      lengths.push_back(unicode_cpts_from_utf8(word).size());
    }
  }

  std::u32string_view text_for(const std::string& pattern) {
    const bool categories = pattern.find("\\p{") != std::string::npos;
    std::unique_ptr<std::u32string>& text = categories ? collapsed_ : plain_;
    if (text == nullptr) {
      text = std::make_unique<std::u32string>(categories ? collapsed(points_) : plain(points_));
    }
    return *text;
  }

  std::vector<uint32_t> points_;
  std::vector<size_t> lengths_;                        // in code points
  std::unique_ptr<std::u32string> collapsed_, plain_;  // made when first needed
};

}  // namespace

std::vector<std::string> cut_words(const std::string& text,
                                   const std::vector<std::string>& patterns, bool byte_encode) {
  if (seen_patterns != nullptr) *seen_patterns = patterns;
  if (text.empty() || std::all_of(patterns.begin(), patterns.end(), is_safe_there)) {
    return llama_cut_words(text, patterns, byte_encode);
  }
  Cutter cutter(text);
  for (const std::string& pattern : patterns) cutter.cut(pattern);
  return cutter.words(byte_encode);
}

}  // namespace heed
