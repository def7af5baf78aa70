// How byte-pair tokenizers cut text into words before they merge bytes.
//
// llama.cpp has cutters of its own for the commonest patterns and runs all others through
// std::regex, which takes stack for every character of a word: 50,000 equal ones end the process.
// The linker (heed_llm.cmake) puts cut_words() in the place of llama.cpp's function, so whatever
// reaches its tokenizer comes here: patterns with a cutter there go on to it, all others to
// TextPattern. The words are the same.
#pragma once

#include <string>
#include <vector>

namespace heed {

// The words of `text`, invalid UTF-8 replaced, spelled in GPT-2's alphabet of bytes where
// `byte_encode`. Each pattern cuts the words of the one before. As llama.cpp's own function it
// throws: std::runtime_error for a pattern of a kind that TextPattern does not know,
// std::invalid_argument for a number that UTF-8 has no spelling for.
std::vector<std::string>
cut_words(const std::string& text, const std::vector<std::string>& patterns, bool byte_encode) asm(
    "__wrap__Z19unicode_regex_splitRKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEERKSt6"
    "vectorIS4_SaIS4_EEb");

// Where the calling thread wants the patterns of its latest call, or null: tests compare the words
// with llama.cpp's.
inline thread_local std::vector<std::string>* seen_patterns = nullptr;

// llama.cpp's own function.
std::vector<std::string>
llama_cut_words(const std::string& text, const std::vector<std::string>& patterns, bool byte_encode) asm(
    "__real__Z19unicode_regex_splitRKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEERKSt6"
    "vectorIS4_SaIS4_EEb");

}  // namespace heed
