// heed embed with the real binary and a tiny encoder.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "process.h"
#include "tiny_encoder.h"
#include "tiny_gguf.h"

namespace heed::test {
namespace {

using nlohmann::json;
using Vectors = std::vector<std::vector<double>>;

constexpr int kWidth = 64;

const std::string& encoder() {
  static const tiny::TemporaryFile file(tiny::make_encoder({.context = 24, .word_piece = true}));
  return file.path();
}

const std::string& decoder() {
  static const tiny::TemporaryFile file(
      tiny::Spec{.vocab = 300, .text_vocabulary = true, .space_token = true});
  return file.path();
}

Finished embed(std::vector<std::string> more, const Process::Options& options = {}) {
  std::vector<std::string> line = {"embed", "-m", encoder(), "-t", "1"};
  line.insert(line.end(), more.begin(), more.end());
  return heed(line, options);
}

json embed_json(std::vector<std::string> more, const Process::Options& options = {}) {
  more.insert(more.end(), {"-o", "json"});
  const Finished f = embed(std::move(more), options);
  EXPECT_EQ(f.code, 0) << f.err;
  return json::parse(f.out, nullptr, false);
}

Vectors vectors_of(const json& j) {
  Vectors all;
  for (const auto& e : j["embeddings"]) all.push_back(e["embedding"].get<std::vector<double>>());
  return all;
}

Vectors raw_lines(const std::string& text) {
  Vectors all;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    auto& row = all.emplace_back();
    for (double value; words >> value;) row.push_back(value);
  }
  return all;
}

void expect_near(const Vectors& a, const Vectors& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].size(), b[i].size());
    for (size_t c = 0; c < a[i].size(); ++c) EXPECT_NEAR(a[i][c], b[i][c], tolerance);
  }
}

TEST(embed, the_json_object_has_what_a_script_needs) {
  const json j = embed_json({"the red fox", "dog!"});
  EXPECT_EQ(j["model"]["architecture"], "bert");
  EXPECT_EQ(j["pooling"], "mean");
  EXPECT_EQ(j["normalize"], 2);
  EXPECT_EQ(j["prompt_tokens"], 9);
  ASSERT_EQ(j["embeddings"].size(), 2u);
  EXPECT_EQ(j["embeddings"][0]["tokens"], 5);
  EXPECT_EQ(j["embeddings"][1]["index"], 1);
  EXPECT_NEAR(j["cosine_similarity"][0][0].get<double>(), 1, 1e-9);
  EXPECT_EQ(j["cosine_similarity"][0][1], j["cosine_similarity"][1][0]);
  EXPECT_EQ(j["config"]["threads"], 1);
  for (const auto& vector : vectors_of(j)) {
    double squares = 0;
    for (const double v : vector) squares += v * v;
    EXPECT_EQ(vector.size(), static_cast<size_t>(kWidth));
    EXPECT_NEAR(squares, 1, 1e-6);
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // shadow memory is resident
  EXPECT_LE(j["memory"]["peak_resident_bytes"].get<uint64_t>(),
            j["memory"]["predicted_peak_bytes"].get<uint64_t>());
#endif
}

TEST(embed, texts_come_from_words_prompt_file_and_stdin) {
  const EmptyHome folder;
  const std::string lines = "the red fox\ndog!\n", path = folder.path() + "/lines.txt";
  std::ofstream(path) << lines;
  const Vectors words = vectors_of(embed_json({"the red fox", "dog!"}));
  for (const json& j : {embed_json({"-p", "the red fox\\ndog!"}), embed_json({"-f", path}),
                        embed_json({"-f", "-"}, {.input = lines, .env = {}}),
                        embed_json({}, {.input = lines, .env = {}}),
                        embed_json({"-p", "the red fox<#>dog!", "--embd-separator", "<#>"}),
                        embed_json({"-p", "the red fox\\tdog!", "--embd-separator", "\\t"})}) {
    EXPECT_EQ(vectors_of(j), words);
  }
  // A separator is read as it is typed without escapes, and a line end stays the usual one.
  EXPECT_EQ(vectors_of(embed_json({"--no-escape", "-p", "dog\\ndog"})).size(), 1u);
  EXPECT_EQ(vectors_of(embed_json({"--no-escape", "-p", "dog\ndog"})).size(), 2u);
}

TEST(embed, forms_are_llama_cpps) {
  const Vectors exact = vectors_of(embed_json({"the red fox", "dog!"}));
  const auto form = [](const char* name) {
    const Finished f = embed({"the red fox", "dog!", "--embd-output-format", name});
    EXPECT_EQ(f.code, 0) << f.err;
    EXPECT_NE(f.err.find("2 texts, 9 tokens"), std::string::npos) << f.err;
    return f.out;
  };
  constexpr double kDigits = 0.6e-7;
  expect_near(raw_lines(form("raw")), exact, kDigits);
  expect_near(json::parse(form("array")).get<Vectors>(), exact, kDigits);
  for (const char* name : {"json", "json+"}) {
    const json j = json::parse(form(name), nullptr, false);
    ASSERT_FALSE(j.is_discarded()) << name;
    EXPECT_EQ(j["object"], "list");
    Vectors data;
    for (const auto& e : j["data"]) data.push_back(e["embedding"].get<std::vector<double>>());
    EXPECT_EQ(j["data"][1]["object"], "embedding");
    EXPECT_EQ(j["data"][1]["index"], 1);
    expect_near(data, exact, kDigits);
    EXPECT_EQ(j.contains("cosineSimilarity"), std::string(name) == "json+");
  }
  const json one =
      json::parse(embed({"dog!", "--embd-output-format", "json+"}).out, nullptr, false);
  EXPECT_FALSE(one.contains("cosineSimilarity"));
}

TEST(embed, people_get_the_vectors_and_their_cosines) {
  const Finished two = embed({"the red fox", "dog\nfox"});
  ASSERT_EQ(two.code, 0) << two.err;
  EXPECT_NE(two.out.find("embedding 1: "), std::string::npos) << two.out;
  EXPECT_NE(two.out.find("cosine similarity matrix:"), std::string::npos);
  EXPECT_NE(two.out.find("  1.00 "), std::string::npos);
  EXPECT_NE(two.out.find("dog fox"), std::string::npos) << two.out;
  const Finished one = embed({"the red fox"});
  EXPECT_EQ(raw_lines(one.out.substr(one.out.find(':') + 1))[0].size(),
            static_cast<size_t>(kWidth));
  const Finished quiet = embed({"dog", "-q"});
  EXPECT_EQ(quiet.err, "");
}

TEST(embed, norms_and_pools_are_chosen) {
  const std::vector<std::string> text = {"the red fox"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), text.begin(), text.end());
    return embed_json(std::move(more));
  };
  const Vectors plain = vectors_of(with({"--embd-normalize", "-1"}));
  double taxi = 0, largest = 0;
  for (const double v : plain[0]) {
    taxi += std::fabs(v);
    largest = std::max(largest, std::fabs(v));
  }
  const Vectors one = vectors_of(with({"--embd-normalize", "1"}));
  const Vectors integers =
      raw_lines(embed({"the red fox", "--embd-normalize", "0", "--embd-output-format", "raw"}).out);
  for (size_t c = 0; c < plain[0].size(); ++c) {
    EXPECT_NEAR(one[0][c], plain[0][c] / taxi, 1e-7);
    EXPECT_EQ(integers[0][c], std::round(integers[0][c]));
    EXPECT_NEAR(integers[0][c], plain[0][c] / largest * 32760, 1);
  }
  const json rows = with({"--pooling", "none", "--embd-normalize", "-1"});
  ASSERT_EQ(rows["embeddings"][0]["embedding"].size(), 5u);
  EXPECT_FALSE(rows.contains("cosine_similarity"));
  const auto pool = [&](const char* name) {
    return vectors_of(with({"--pooling", name, "--embd-normalize", "-1"}))[0];
  };
  EXPECT_EQ(pool("cls"), rows["embeddings"][0]["embedding"][0].get<std::vector<double>>());
  EXPECT_EQ(pool("last"), rows["embeddings"][0]["embedding"][4].get<std::vector<double>>());
  EXPECT_EQ(pool("mean"), plain[0]);
}

TEST(embed, a_text_beyond_the_context_is_refused_or_cut_when_asked) {
  std::string text;
  for (int i = 0; i < 30; ++i) text += "fox ";
  const Finished refused = embed({"dog", text});
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.err.find("text 1 has 32 tokens, the context is 24"), std::string::npos);
  EXPECT_NE(refused.err.find("--truncate"), std::string::npos) << refused.err;
  const Finished cut = embed({"dog", text, "--truncate", "-o", "json"});
  ASSERT_EQ(cut.code, 0) << cut.err;
  EXPECT_NE(cut.err.find("text 1: 32 tokens cut to 24"), std::string::npos) << cut.err;
  // The end that the tokenizer sets stays, as in a text of just that length.
  std::string fits;
  for (int i = 0; i < 22; ++i) fits += "fox ";
  EXPECT_EQ(vectors_of(json::parse(cut.out))[1], vectors_of(embed_json({fits}))[0]);
}

TEST(embed, a_decoder_gives_vectors_too) {
  const Finished f =
      heed({"embed", "-m", decoder(), "w3 w4", "--pooling", "last", "-t", "1", "-o", "json"});
  ASSERT_EQ(f.code, 0) << f.err;
  const json j = json::parse(f.out, nullptr, false);
  EXPECT_EQ(j["model"]["architecture"], "llama");
  EXPECT_EQ(j["embeddings"][0]["embedding"].size(), static_cast<size_t>(kWidth));
}

TEST(embed, other_verbs_name_it) {
  const EmptyHome folder;
  const std::string text = folder.path() + "/text.txt";
  std::ofstream(text) << "the red fox\n";
  for (const std::vector<std::string>& line :
       {std::vector<std::string>{"run", "-m", encoder(), "-p", "Hello"},
        {"kl", "-m", encoder(), "--text", text},
        {"bench", "-m", encoder(), "-p", "8", "-n", "0"}}) {
    const Finished f = heed(line);
    EXPECT_EQ(f.code, 1) << line[0];
    EXPECT_NE(f.err.find("heed embed -m"), std::string::npos) << line[0] << f.err;
  }
  const Finished show = heed({"show", "-m", encoder()});
  EXPECT_EQ(show.code, 0) << show.err;
  EXPECT_NE(show.out.find("encoder, pooling mean"), std::string::npos) << show.out;
}

TEST(embed, what_cannot_be_done_is_refused_with_the_way_out) {
  struct Case {
    std::vector<std::string> line;
    int code;
    const char* words;
  };
  const Case kCases[] = {
      {{"dog", "-p", "fox"}, 2, "take one of them"},
      {{"dog", "--pooling", "man"}, 2, "mean"},
      {{"dog", "--pooling", "rank"}, 1, "reranker"},
      {{"dog", "--embd-normalize", "-2"}, 2, "--embd-normalize"},
      {{"dog", "--embd-output-format", "jsonl"}, 2, "json"},
      {{"dog", "--embd-output-format", "raw", "-o", "json"}, 2, "give one of them"},
      {{"-p", "dog", "--embd-separator", ""}, 2, "--embd-separator"},
      {{"dog", "-c", "25"}, 1, "use -c 24 or less"},
      {{"-f", "/nowhere"}, 1, "/nowhere"},
      {{}, 2, "no prompt"},
  };
  for (const Case& c : kCases) {
    const Finished f = embed(c.line);
    EXPECT_EQ(f.code, c.code) << f.err;
    EXPECT_NE(f.err.find(c.words), std::string::npos) << f.err;
    EXPECT_EQ(f.out, "");
  }
}

TEST(embed, a_rerankers_file_is_refused_unless_another_pool_is_asked_for) {
  const tiny::TemporaryFile file(
      tiny::make_encoder({.pooling = 4, .word_piece = true, .classifier = true}));
  const Finished refused = heed({"embed", "-m", file.path(), "dog"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.err.find("asks for pooling rank"), std::string::npos) << refused.err;
  EXPECT_EQ(heed({"embed", "-m", file.path(), "dog", "--pooling", "cls"}).code, 0);
}

// Thousands of texts, until the signal comes.
TEST(embed, ctrl_c_ends_it) {
  static const tiny::TemporaryFile file(tiny::make_encoder(
      {.layers = 8, .embd = 256, .ff = 1024, .context = 512, .word_piece = true}));
  std::string lines;
  for (int i = 0; i < 4000; ++i) {
    for (int w = 0; w < 200; ++w) lines += "fox ";
    lines += '\n';
  }
  Process process({"embed", "-m", file.path(), "-f", "-", "--progress"},
                  {.input = lines, .env = {}});
  ASSERT_TRUE(process.wait_for(" tokens"));
  process.signal(SIGINT);
  const Finished f = process.finish();
  EXPECT_EQ(f.code, 130) << f.err;
  EXPECT_EQ(f.out, "");
  EXPECT_NE(f.err.find("no vector was printed"), std::string::npos) << f.err;
}

}  // namespace
}  // namespace heed::test
