#include "cli/embed_output.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>

#include "cli/terminal.h"

namespace heed::cli {
namespace {

using Json = nlohmann::ordered_json;

// Every row of every text, in order: what llama.cpp numbers.
std::vector<std::span<const float>> rows_of(const EmbedResult& r) {
  std::vector<std::span<const float>> rows;
  const auto width = static_cast<size_t>(r.width);
  for (const Embedding& e : r.embeddings) {
    const std::span<const float> values = e.values;
    for (size_t at = 0; at < values.size(); at += width) rows.push_back(values.subspan(at, width));
  }
  return rows;
}

// 16-bit integers have no digits behind the point.
std::string number(float value, int norm) {
  return norm == 0 ? fmt::format("{:.0f}", value) : fmt::format("{:.7f}", value);
}

std::string joined(std::span<const float> row, int norm, const char* between) {
  std::string line;
  for (const float value : row) {
    if (!line.empty()) line += between;
    line += number(value, norm);
  }
  return line;
}

// The first bytes of a text, for a table; cut between characters.
std::string head_of(const std::string& text, size_t bytes) {
  while (bytes < text.size() && (static_cast<uint8_t>(text[bytes]) & 0xC0) == 0x80) --bytes;
  return printable(text.substr(0, bytes));
}

// One line is one row: a line end of the text may not begin another.
std::string label(const std::string& text, size_t bytes) {
  std::string line = head_of(text, bytes);
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

void print_cosine_table(const EmbedResult& r) {
  fmt::print("\ncosine similarity matrix:\n\n");
  for (const std::string& text : r.texts) fmt::print("{:>6} ", label(text, 6));
  fmt::print("\n");
  for (size_t i = 0; i < r.texts.size(); ++i) {
    fmt::print("{:6.2f} {}\n", fmt::join(r.cosines_of(i), " "), label(r.texts[i], 10));
  }
}

void print_objects(const EmbedResult& r, bool with_cosines) {
  fmt::print("{{\n  \"object\": \"list\",\n  \"data\": [\n");
  const auto rows = rows_of(r);
  for (size_t i = 0; i < rows.size(); ++i) {
    fmt::print(
        "    {{\n      \"object\": \"embedding\",\n      \"index\": {},\n"
        "      \"embedding\": [{}]\n    }}{}\n",
        i, joined(rows[i], r.norm, ","), i + 1 < rows.size() ? "," : "");
  }
  fmt::print("  ]");
  const size_t n = r.texts.size();
  if (with_cosines && n > 1 && r.pooling != Pooling::kNone) {
    fmt::print(",\n  \"cosineSimilarity\": [\n");
    for (size_t i = 0; i < n; ++i) {
      fmt::print("    [{:6.2f} ]{}\n", fmt::join(r.cosines_of(i), ", "), i + 1 < n ? "," : "");
    }
    fmt::print("  ]");
  }
  fmt::print("\n}}\n");
}

// The shortest digits that give the same fp32.
Json values_json(std::span<const float> row) {
  Json values = Json::array();
  for (const float value : row) {
    const bool finite = value - value == 0;
    values.push_back(finite ? Json(std::stod(fmt::format("{}", value))) : Json(nullptr));
  }
  return values;
}

Json embeddings_json(const EmbedResult& r) {
  Json all = Json::array();
  const auto width = static_cast<size_t>(r.width);
  for (size_t i = 0; i < r.embeddings.size(); ++i) {
    const std::span<const float> values = r.embeddings[i].values;
    Json vectors = Json::array();
    for (size_t at = 0; at < values.size(); at += width) {
      vectors.push_back(values_json(values.subspan(at, width)));
    }
    const bool one = r.pooling != Pooling::kNone;
    all.push_back({{"index", i},
                   {"tokens", r.tokens[i]},
                   {"embedding", one ? std::move(vectors[0]) : std::move(vectors)}});
  }
  return all;
}

}  // namespace

int64_t EmbedResult::total_tokens() const {
  return std::accumulate(tokens.begin(), tokens.end(), int64_t{0});
}

bool EmbedResult::shows_cosines() const {
  constexpr size_t kMost = 64;
  return texts.size() > 1 && texts.size() <= kMost && pooling != Pooling::kNone;
}

std::vector<double> EmbedResult::cosines_of(size_t text) const {
  std::vector<double> row;
  for (const Embedding& other : embeddings) {
    row.push_back(cosine_similarity(embeddings[text].values, other.values));
  }
  return row;
}

void print_embeddings(const EmbedResult& r) {
  constexpr size_t kOfMany = 16, kOfEnds = 3;
  const auto rows = rows_of(r);
  const auto print = [&r](std::span<const float> part) {
    for (const float value : part) {
      fmt::print("{} ",
                 r.norm == 0 ? fmt::format("{:6.0f}", value) : fmt::format("{:9.6f}", value));
    }
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    fmt::print("embedding {}: ", i);
    if (r.pooling == Pooling::kNone && rows[i].size() > 2 * kOfEnds) {
      print(rows[i].first(kOfEnds));
      fmt::print(" ... ");
      print(rows[i].last(kOfEnds));
    } else {
      print(rows.size() > 1 ? rows[i].first(std::min(kOfMany, rows[i].size())) : rows[i]);
    }
    fmt::print("\n");
  }
  if (r.shows_cosines()) print_cosine_table(r);
}

void print_form(const EmbedResult& r, const std::string& form) {
  if (form == "json" || form == "json+") return print_objects(r, form == "json+");
  const bool array = form == "array";
  const auto rows = rows_of(r);
  if (array) fmt::print("[");
  for (size_t i = 0; i < rows.size(); ++i) {
    if (array) {
      fmt::print("{}[{}]", i > 0 ? "," : "", joined(rows[i], r.norm, ","));
    } else {
      fmt::print("{}\n", joined(rows[i], r.norm, " "));
    }
  }
  if (array) fmt::print("]\n");
}

Json to_json(const EmbedResult& r) {
  Json out = {{"model",
               {{"path", r.model.path},
                {"name", r.model.name},
                {"architecture", r.model.architecture},
                {"file_type", r.model.file_type},
                {"trained_context", r.model.trained_context}}},
              {"pooling", pooling_name(r.pooling)},
              {"normalize", r.norm},
              {"prompt_tokens", r.total_tokens()},
              {"embeddings", embeddings_json(r)}};
  for (size_t i = 0; r.shows_cosines() && i < r.texts.size(); ++i) {
    out["cosine_similarity"].push_back(r.cosines_of(i));
  }
  const double rate = r.embed_s > 0 ? static_cast<double>(r.total_tokens()) / r.embed_s : 0;
  out["timings"] = {{"load_s", r.load_s}, {"embed_s", r.embed_s}, {"tokens_per_second", rate}};
  out["memory"] = {{"predicted_peak_bytes", r.plan.peak},
                   {"available_bytes", known(r.plan.available)},
                   {"peak_resident_bytes", r.report.peak_resident}};
  out["config"] = {{"linear", r.model.linear},
                   {"threads", r.threads},
                   {"chunk", r.engine.chunk},
                   {"context", r.engine.context},
                   {"k_type", format_name(*r.engine.k)},
                   {"v_type", format_name(*r.engine.v)}};
  return out;
}

}  // namespace heed::cli
