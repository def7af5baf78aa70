// What a tokenizer's tables must fulfil before llama.cpp sees them: it asserts where heed answers,
// and takes defaults where a wrong number should be named.
#pragma once

#include <string_view>
#include <vector>

#include "heed/status.h"
#include "model/gguf_file.h"

namespace heed {

// The values of tokenizer.ggml.pre that are supported.
std::vector<std::string_view> cutter_names();

// Refuses a vocabulary on which llama.cpp would stop the process, and tokenizers that no known
// architecture uses. A file that says it has none (`none`, `no_vocab`, no key) is fine: its text
// calls return errors.
Status check_vocabulary(const GgufFile& file);

}  // namespace heed
