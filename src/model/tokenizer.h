// llama.cpp's tokenizer over the vocabulary of a GGUF file; the weights are not touched.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heed/model.h"
#include "heed/status.h"

struct llama_model;

namespace heed {

struct LlamaModelFree {
  void operator()(llama_model* model) const;
};
using LlamaModelPtr = std::unique_ptr<llama_model, LlamaModelFree>;

// What a vocabulary costs: SmolLM2's (49K tokens) 19 MiB with the process's own part, Gemma 3's
// (262K) 44 MiB (measured).
inline constexpr uint64_t kVocabularyBytesPerToken = 200;

// The file behind a `vocab_only` llama_model, after check_vocabulary. Never null when ok. A cancel
// acts within 150 ms, also in llama.cpp's own part.
Result<LlamaModelPtr> load_vocabulary(const std::string& path, const CancelToken* cancel = nullptr);

// What Model::tokenize and Model::apply_template do, for a vocabulary without weights.
Result<std::vector<Token>> tokenize(const llama_model* vocabulary, std::string_view text,
                                    bool add_special, bool parse_special);
Result<std::string> apply_template(const llama_model* vocabulary,
                                   std::span<const ChatMessage> messages,
                                   bool add_generation_prompt);

}  // namespace heed
