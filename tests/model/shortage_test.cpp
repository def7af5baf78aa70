// Shortages in what a request brings beside tokens: grammars, schemas, tools, conversations, the
// catalogue, a wheel. Each allocation of a call fails once, and the call answers with a Status.
// Loads and samplers, in which llama.cpp leaves memory behind then, are in tests/session.
#include <gtest/gtest.h>

#include <functional>

#include "base/guard.h"
#include "heap_counters.h"
#include "heed/chat.h"
#include "heed/sampling.h"
#include "model/catalogue.h"
#include "model/grammar_program.h"
#include "model/limited_child.h"
#include "model/template.h"
#include "model/zip_member.h"
#include "model_home.h"
#include "tiny_chat.h"
#include "zip_writer.h"

namespace heed {
namespace {

struct Call {
  const char* name;
  std::function<Status()> run;
  int least_refused;
};

constexpr const char* kTools =
    R"([{"type": "function", "function": {"name": "f", "description": "a tool", "parameters":
    {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}}}])";

// Not the catalogue: the JSON library allocates where it destroys what it has half made, and a
// program whose memory ends there ends.
TEST(ModelShortage, what_a_request_brings_survives_every_failing_allocation) {
  const ModelHome home;
  ZipWriter zip;
  zip.add("a", std::string(5000, 'x'), true);
  home.write("a.whl", zip.finish());
  const std::string wheel = home.path("a.whl").string();
  const auto token = [](std::string_view) { return Result<Token>(1); };
  const Call kCalls[] = {
      {"grammar",
       [&] {
         return GrammarProgram::parse("root ::= (\"a\" | b){2,5}\nb ::= [^x]*", token).status();
       },
       10},
      {"wheel",
       [&] {
         return read_zip_member(wheel, "a", [](const void*, size_t) { return Status::ok(); });
       },
       1},
  };
  for (const Call& call : kCalls) {
    int refused = 0;
    test::with_each_allocation_failing([&] {
      const Status status = guarded(call.name, call.run);
      if (status.is_ok()) return;
      ++refused;
      const test::Untouched rest;
      EXPECT_EQ(status.code(), Code::kResourceExhausted) << call.name << ": " << status.message();
    });
    EXPECT_GE(refused, call.least_refused) << call.name;
    EXPECT_TRUE(call.run().is_ok()) << call.name << ": " << call.run().message();
  }
}

// Copying a status allocates too, which is not what is tested.
template <class Value>
Status status_of(const Result<Value>& result) {
  const test::Untouched rest;
  return result.status();
}

// These run in children, so that an answer costs milliseconds: the first allocations one by one,
// then fewer and fewer.
TEST(ModelShortage, what_runs_in_children_survives_failing_allocations) {
  const tiny::TemporaryFile file(tiny::chat_file());
  ModelOptions options;
  options.threads = 1;
  const auto model = Model::load(file.path(), options);
  ASSERT_TRUE(model.is_ok()) << model.message();
  ChatRequest request;
  request.turns.push_back({.role = "user", .content = "hello"});
  const auto tools = parse_tools(kTools);
  ASSERT_TRUE(tools.is_ok()) << tools.message();
  const auto prompt = prepare_chat(**model, request);
  ASSERT_TRUE(prompt.is_ok()) << prompt.message();
  const std::string schema = R"({"type": "object"})";
  const Call kCalls[] = {
      {"tools", [&] { return status_of(parse_tools(kTools)); }, 5},
      {"schema", [&] { return status_of(grammar_of_schema(schema)); }, 5},
      {"conversation", [&] { return status_of(prepare_chat(**model, request)); }, 5},
      {"answer", [&] { return status_of(parse_answer(*prompt, "hello there")); }, 5},
  };
  for (const Call& call : kCalls) {
    int refused = 0;
    for (int64_t n = 0;; n += 1 + n / 8) {
      test::allocations_left = n;
      const Status status = call.run();
      const bool failed = test::allocations_left.exchange(-1) < 0;
      if (!status.is_ok()) {
        ++refused;
        EXPECT_FALSE(status.message().empty()) << call.name;
        EXPECT_NE(status.code(), Code::kInternal) << call.name << ": " << status.message();
      }
      // Those of the child are its own: they end there, and more allocations than any of them makes
      // are tried.
      if (!failed && status.is_ok() && n > 20000) break;
    }
    EXPECT_GE(refused, call.least_refused) << call.name;
    EXPECT_TRUE(call.run().is_ok()) << call.name << ": " << call.run().message();
  }
}

}  // namespace
}  // namespace heed
