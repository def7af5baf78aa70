// The forms in which `heed embed` prints vectors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "heed/embed.h"

namespace heed::cli {

struct EmbedResult {
  ModelInfo model;
  Pooling pooling = Pooling::kNone;
  int norm = 2;
  int width = 0;  // of a vector
  std::vector<std::string> texts;
  std::vector<int64_t> tokens;        // of each text, as embedded
  std::vector<Embedding> embeddings;  // of each text, normalised
  MemoryPlan plan;
  Report report;
  EngineOptions engine;
  int threads = 0;
  double load_s = 0, embed_s = 0;

  int64_t total_tokens() const;
  // Unasked; a table of thousands of texts says nothing.
  bool shows_cosines() const;
  // Of one text to each.
  std::vector<double> cosines_of(size_t text) const;
};

// Row by row to stdout. The text of llama-embedding: numbers of each vector and, of several texts,
// their cosines.
void print_embeddings(const EmbedResult& result);
// One of llama-embedding's other forms: "array", "json", "json+", "raw".
void print_form(const EmbedResult& result, const std::string& form);
nlohmann::ordered_json to_json(const EmbedResult& result);

}  // namespace heed::cli
