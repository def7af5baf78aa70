// heed explain: what a policy does, by layers and heads, before a weight is read.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/explain_facts.h"
#include "cli/interrupt.h"
#include "cli/model_source.h"
#include "cli/parse.h"
#include "cli/policy_options.h"
#include "cli/prefill_order.h"
#include "cli/terminal.h"

namespace heed::cli {
namespace {

class ExplainVerb final : public Verb {
 public:
  const char* name() const override { return "explain"; }
  const char* summary() const override { return "Tell what a policy does to a model, and whether"; }
  const char* examples() const override {
    return "  heed explain full -m smollm2:135m\n"
           "  heed explain \"prefill=dense;kv=k:bf16,v:f16\" -m smollm2:135m -c 8192\n"
           "  heed explain policy.json -m smollm2:135m -o json\n";
  }

  void options(CLI::App& app) override {
    app.add_option("POLICY", argument_, "As with --policy");
    policy_.bind(app);
    formats_.bind(app);
    add_model(app, model_);
    add(app, "-c,--ctx-size", tokens_, "Tokens of the prompt; 0: the trained context")
        ->check(CLI::Range(int64_t{0}, int64_t{1} << 28))
        ->capture_default_str();
    add(app, "-b,--batch-size", batch_, "Limits -ub, as in llama.cpp")
        ->check(CLI::Range(1, 1 << 20))
        ->capture_default_str();
    add(app, "--ubatch-size", ubatch_, "Prompt tokens a step (-ub)")
        ->check(CLI::Range(1, EngineOptions::kMaxChunk))
        ->capture_default_str();
    add_prefill_order(app, order_);
    add(app, "-o,--output", output_, "Form of the result")
        ->check(one_of({"text", "json"}))
        ->capture_default_str();
    add_flag(app, "--offline", offline_, "Use only what is on this machine");
  }

  int run() override {
    const Result<Policy> policy = policy_.settle(formats_, argument_);
    if (!policy.is_ok()) return usage_error(name(), policy.message());
    watch_interrupts();
    const Result<Explanation> explained = explain_on_model(*policy);
    if (explained.code() == Code::kCancelled) {
      acknowledge_interrupt();
      note("interrupted");
      return interrupt_exit_code();
    }
    if (!explained.is_ok()) return fail(explained.status());
    if (output_ == "json") {
      print_json(explanation_json(*explained));
    } else {
      print_explanation(*explained);
    }
    return worst(explained->findings) == Verdict::kRefused ? kFailed : kDone;
  }

 private:
  Result<Explanation> explain_on_model(const Policy& policy) const {
    EngineOptions engine;
    engine.chunk = std::min(batch_, ubatch_);
    HEED_ASSIGN(engine.prefill_order, parse_prefill_order(order_));
    std::string path;
    if (!model_.empty()) {
      HEED_ASSIGN(path, model_path(model_, offline_, ProgressLine::Mode::kOnTerminal));
    }
    return explain(policy, path, tokens_, engine);
  }

  PolicyOptions policy_;
  PageFormats formats_;
  std::string argument_, model_, order_ = "auto", output_ = "text";
  int64_t tokens_ = 0;
  int batch_ = 2048, ubatch_ = 512;
  bool offline_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_explain() { return std::make_unique<ExplainVerb>(); }

}  // namespace heed::cli
