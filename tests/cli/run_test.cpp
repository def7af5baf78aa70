// heed run with the real binary and the smallest model.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "process.h"
#include "tiny_gguf.h"

namespace heed::test {
namespace {

nlohmann::json run_json(std::vector<std::string> more, const Process::Options& options = {}) {
  std::vector<std::string> line = {"run", "-m", small_model(), "-o", "json", "--temp", "0"};
  line.insert(line.end(), more.begin(), more.end());
  const Finished f = heed(line, options);
  EXPECT_EQ(f.code, 0) << f.err;
  return nlohmann::json::parse(f.out);
}

TEST(run, both_orders_of_a_prompt_give_one_answer) {
  const auto in_order = [](const char* order) {
    return run_json({"-p", "Name three colours of the rainbow, please.", "-n", "4", "-ub", "8",
                     "--prefill-order", order});
  };
  const auto by_chunk = in_order("token"), by_layer = in_order("layer");
  EXPECT_EQ(by_chunk["text"], by_layer["text"]);
  EXPECT_EQ(by_chunk["config"]["prefill_order"], "token");
  EXPECT_EQ(by_layer["config"]["prefill_order"], "layer");
  EXPECT_EQ(in_order("auto")["config"]["prefill_order"], "token");
  const Finished wrong = heed({"run", "-m", small_model(), "-p", "x", "--prefill-order", "layers"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_NE(wrong.err.find("layer"), std::string::npos) << wrong.err;
}

TEST(run, the_json_object_has_what_a_script_needs) {
  const auto j = run_json({"-p", "Name a colour.", "-n", "4", "-ctk", "f16", "-t", "1"});
  EXPECT_EQ(j["model"]["architecture"], "llama");
  EXPECT_EQ(j["generated_tokens"].get<int>() <= 4, true);
  EXPECT_GT(j["prompt_tokens"].get<int>(), 5);
  EXPECT_EQ(j["kv"]["k_type"], "f16");
  EXPECT_EQ(j["kv"]["v_type"], "bf16");
  EXPECT_EQ(j["config"]["threads"], 1);
  EXPECT_GT(j["kv"]["live_bytes"].get<uint64_t>(), 0u);
  EXPECT_GT(j["timings"]["first_token_s"].get<double>(), 0);
  EXPECT_TRUE(j["stop"] == "length" || j["stop"] == "end") << j["stop"];
  EXPECT_GT(j["memory"]["peak_resident_bytes"].get<uint64_t>(), 0u);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // shadow memory is resident
  EXPECT_LE(j["memory"]["peak_resident_bytes"].get<uint64_t>(),
            j["memory"]["predicted_peak_bytes"].get<uint64_t>());
#endif
}

TEST(run, stdin_and_file_and_prompt_put_the_same_text_together) {
  const EmptyHome folder;
  const std::string doc = "The cat is called Mina.\n", path = folder.path() + "/doc.txt";
  std::ofstream(path) << doc;
  const std::vector<std::string> tail = {"-p", "Who?", "-n", "3"};
  const auto direct = run_json({"-p", "The cat is called Mina.\\n\\nWho?", "-n", "3"});
  const auto file = run_json({"-f", path, "-p", "Who?", "-n", "3"});
  const auto in = run_json(tail, {.input = doc, .env = {}});
  const auto dash = run_json({"-f", "-", "-p", "Who?", "-n", "3"}, {.input = doc, .env = {}});
  for (const auto& j : {file, in, dash}) {
    EXPECT_EQ(j["prompt_tokens"], direct["prompt_tokens"]);
    EXPECT_EQ(j["text"], direct["text"]);
  }
  EXPECT_LT(run_json({"-p", "Who?", "-n", "1"})["prompt_tokens"], direct["prompt_tokens"]);
}

TEST(run, stdin_alone_is_the_whole_prompt) {
  const std::string text = "Name a colour.";
  const auto direct = run_json({"-p", text, "-n", "3"});
  const auto in = run_json({"-n", "3"}, {.input = text, .env = {}});
  EXPECT_EQ(in["prompt_tokens"], direct["prompt_tokens"]);
  EXPECT_EQ(in["text"], direct["text"]);
}

TEST(run, the_context_is_the_trained_one_and_pages_are_taken_as_they_fill) {
  const auto j = run_json({"-p", "Name a colour.", "-n", "2", "-ctk", "bf16", "-ctv", "bf16"});
  EXPECT_EQ(j["config"]["context"], 8192);
  EXPECT_EQ(j["config"]["context"], j["model"]["trained_context"]);
  const auto live = j["kv"]["live_bytes"].get<uint64_t>();
  const auto committed = j["kv"]["committed_bytes"].get<uint64_t>();
  const uint64_t a_token = live / (j["prompt_tokens"].get<uint64_t>() + 1);
  EXPECT_GE(committed, live);
  EXPECT_LE(committed, 8192 * a_token / 16);  // the whole context would take sixteen times that
  EXPECT_EQ(run_json({"-p", "Name a colour.", "-n", "1", "-c", "512"})["config"]["context"], 512);
}

TEST(run, progress_of_a_prompt_has_an_estimate) {
  const EmptyHome folder;
  const std::string path = folder.path() + "/doc.txt";
  std::string text;
  for (int i = 0; i < 40; ++i) text += "A line of a report, number " + std::to_string(i) + ".\n";
  std::ofstream(path) << text;
  const Finished f = heed({"run", small_model(), "-f", path, "-n", "1", "-ub", "32", "--progress"});
  ASSERT_EQ(f.code, 0) << f.err;
  const std::regex line(
      R"(prompt (\d+) of (\d+) tokens \(\d+ %\), \d+ tokens/s, (\d+m)?[\d.]+ ?s left\n)");
  std::smatch match;
  ASSERT_TRUE(std::regex_search(f.err, match, line)) << f.err;
  EXPECT_LT(std::stoi(match[1]), std::stoi(match[2]));
}

TEST(run, raw_text_skips_the_template) {
  const auto with = run_json({"-p", "Once upon", "-n", "1"});
  const auto raw = run_json({"-p", "Once upon", "-n", "1", "--raw"});
  EXPECT_EQ(with["template"], true);
  EXPECT_EQ(raw["template"], false);
  EXPECT_LT(raw["prompt_tokens"].get<int>() + 5, with["prompt_tokens"].get<int>());
}

TEST(run, a_base_model_gets_raw_text_and_says_so) {
  const tiny::TemporaryFile file(tiny::Spec{.vocab = 300, .text_vocabulary = true});
  const std::vector<std::string> line = {"run", file.path(), "-p", "a;b", "-n", "2", "-t", "1"};
  const Finished loud = heed(line);
  EXPECT_EQ(loud.code, 0) << loud.err;
  EXPECT_NE(loud.err.find("no chat template (a base model)"), std::string::npos) << loud.err;
  auto quiet = line;
  quiet.emplace_back("-q");
  EXPECT_EQ(heed(quiet).err, "");
  auto raw = line;  // who asks for raw text needs no explanation
  raw.emplace_back("--raw");
  EXPECT_EQ(heed(raw).err.find("base model"), std::string::npos);
  auto system = line;
  system.insert(system.end(), {"--system", "Be brief."});
  const Finished refused = heed(system);
  EXPECT_NE(refused.code, 0);
  EXPECT_NE(refused.err.find("--system"), std::string::npos) << refused.err;
}

TEST(run, a_prompt_longer_than_the_context_is_refused_with_both_numbers) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "word ";
  const auto tokens = run_json({"-p", text, "-n", "1"})["prompt_tokens"].get<int>();
  ASSERT_GT(tokens, 64);
  const Finished f = heed({"run", small_model(), text, "-c", "64"});
  EXPECT_EQ(f.code, 1);
  EXPECT_EQ(f.out, "");
  EXPECT_NE(f.err.find("has " + std::to_string(tokens) + " tokens"), std::string::npos) << f.err;
  EXPECT_NE(f.err.find("context is 64 tokens"), std::string::npos) << f.err;
  EXPECT_NE(f.err.find("-c 8192"), std::string::npos) << f.err;
  for (int i = 0; i < 9000; ++i) text += "word ";  // no -c is large enough
  const Finished longer = heed({"run", small_model(), text, "-c", "64"});
  EXPECT_EQ(longer.code, 1);
  EXPECT_NE(longer.err.find("trained for a context of 8192"), std::string::npos) << longer.err;
  EXPECT_EQ(longer.err.find("-c 8192"), std::string::npos) << longer.err;
  const Finished beyond = heed({"run", small_model(), "hello", "-c", "9000"});
  EXPECT_EQ(beyond.code, 1);
  EXPECT_NE(beyond.err.find("trained for 8192"), std::string::npos) << beyond.err;
}

TEST(run, the_answer_alone_is_on_stdout_and_quiet_leaves_stderr_empty) {
  const Finished loud = heed({"run", small_model(), "Say hello.", "-n", "4", "--temp", "0"});
  const Finished quiet = heed({"run", small_model(), "Say hello.", "-n", "4", "--temp", "0", "-q"});
  EXPECT_EQ(loud.code, 0);
  EXPECT_EQ(loud.out, quiet.out);
  EXPECT_FALSE(quiet.out.empty());
  EXPECT_EQ(quiet.err, "");
  EXPECT_NE(loud.err.find("tokens/s"), std::string::npos) << loud.err;
}

TEST(run, the_same_seed_gives_the_same_text) {
  const std::vector<std::string> line = {
      "run", small_model(), "Tell me a story.", "-n", "12", "--seed", "7", "-q"};
  EXPECT_EQ(heed(line).out, heed(line).out);
}

TEST(run, the_seed_that_was_used_is_in_the_json_object) {
  const std::vector<std::string> prompt = {"-p", "Name a colour.", "-n", "1"};
  auto seeded = prompt;
  seeded.insert(seeded.end(), {"--seed", "7"});
  EXPECT_EQ(run_json(seeded)["config"]["seed"], 7);
  // From the clock: two runs that agree would be one chance in four milliards.
  EXPECT_NE(run_json(prompt)["config"]["seed"], run_json(prompt)["config"]["seed"]);
}

TEST(run, a_positional_goes_before_the_environment_and_an_option_before_both) {
  Process::Options options;
  options.env = {{"HEED_MODEL", "/no/such/environment.gguf"}};
  const Finished both = heed({"run", "/no/such/typed.gguf", "q", "--offline"}, options);
  EXPECT_EQ(both.code, 1);
  EXPECT_NE(both.err.find("/no/such/typed.gguf"), std::string::npos) << both.err;
  const Finished dash = heed({"run", "-m", "/no/such/dash.gguf", "q", "--offline"}, options);
  EXPECT_NE(dash.err.find("/no/such/dash.gguf"), std::string::npos) << dash.err;
  const Finished alone = heed({"run", "-p", "q", "--offline"}, options);
  EXPECT_NE(alone.err.find("/no/such/environment.gguf"), std::string::npos) << alone.err;
  options.env = {{"HEED_PROMPT", "from the environment"}};
  const Finished prompt = heed({"run", "/no/such/typed.gguf", "q", "--offline"}, options);
  EXPECT_EQ(prompt.code, 1) << prompt.err;
}

TEST(run, a_wrong_answer_to_expect_is_a_failure) {
  std::vector<std::string> line = {"run",    small_model(), "Say hello.", "-n",        "2",
                                   "--temp", "0",           "--compare",  "llama.cpp", "--expect"};
  line.push_back("no model says this");
  const Finished wrong = heed(line);
  EXPECT_EQ(wrong.code, 1);
  EXPECT_NE(wrong.err.find("no model says this"), std::string::npos) << wrong.err;
  line.back() = "";  // in every answer, so nothing is judged
  EXPECT_EQ(heed(line).code, 0);
}

TEST(run, a_comparison_is_a_table_of_both_engines) {
  const Finished f = heed({"run", small_model(), "Say hello.", "-n", "3", "--temp", "0",
                           "--compare", "llama.cpp", "-q"});
  ASSERT_EQ(f.code, 0) << f.err;
  std::vector<std::string> labels;
  std::istringstream in(f.out.substr(f.out.find("\n  ")));
  for (std::string line; std::getline(in, line) && labels.size() < 6;) {
    if (!line.empty()) labels.push_back(line.substr(0, 26));
  }
  const auto label = [](std::string text) { return text.append(26 - text.size(), ' '); };
  EXPECT_EQ(labels, (std::vector<std::string>{
                        label(""), label("  time to first token"), label("  prompt tokens/s"),
                        label("  answer tokens/s"), label("  KV bytes of the tokens"),
                        label("  answer correct")}))
      << f.out;
  const std::string head = f.out.substr(f.out.find("\n  "), 80);
  EXPECT_LT(head.find("llama.cpp"), head.find("heed")) << head;
}

TEST(run, a_comparison_in_json_has_the_same_figures_of_both_engines) {
  const std::vector<std::string> prompt = {"-p", "Say hello.", "-n", "3"};
  const std::string expected = run_json(prompt)["text"];
  ASSERT_FALSE(expected.empty());
  auto line = prompt;
  line.insert(line.end(), {"--compare", "llama.cpp", "--expect", expected});
  const auto j = run_json(line);
  ASSERT_EQ(j["compare"].size(), 2u);
  EXPECT_EQ(j["compare"][0]["engine"], "llama.cpp");
  EXPECT_EQ(j["compare"][1]["engine"], "heed");
  for (const auto& engine : j["compare"]) {
    EXPECT_EQ(engine["prompt_tokens"], j["prompt_tokens"]);
    EXPECT_GT(engine["kv_bytes"].get<uint64_t>(), 0u);
    EXPECT_GT(engine["first_token_s"].get<double>(), 0);
    EXPECT_GT(engine["generated_per_second"].get<double>(), 0);
    const std::string text = engine["text"];
    EXPECT_EQ(engine["correct"], text.find(expected) != std::string::npos) << engine;
  }
  EXPECT_EQ(j["compare"][1]["text"], expected);
  EXPECT_EQ(j["compare"][1]["correct"], true);
}

TEST(run, a_missing_file_and_an_unknown_name_fail_with_code_1) {
  const Finished file = heed({"run", "/no/such.gguf", "hi", "--offline"});
  EXPECT_EQ(file.code, 1);
  EXPECT_NE(file.err.find("/no/such.gguf"), std::string::npos) << file.err;
  const Finished name = heed({"run", "smolm2:135m", "hi", "--offline"});
  EXPECT_EQ(name.code, 1);
  EXPECT_NE(name.err.find("smollm2:135m"), std::string::npos) << name.err;
}

TEST(run, a_file_that_is_no_model_is_refused_and_its_name_cannot_steer_the_terminal) {
  const EmptyHome folder;
  const std::string path = folder.path() + "/evil\x1b[2J.gguf";
  std::ofstream(path) << "GGUF and then nonsense";
  const Finished f = heed({"run", path, "hi"});
  EXPECT_EQ(f.code, 1);
  EXPECT_EQ(f.err.find('\x1b'), std::string::npos);
  EXPECT_NE(f.err.find("\\x1b[2J"), std::string::npos) << f.err;
}

}  // namespace
}  // namespace heed::test
