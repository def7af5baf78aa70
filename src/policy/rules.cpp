#include "policy/rules.h"

#include <algorithm>
#include <array>
#include <fstream>

#include "base/in_quotes.h"
#include "base/number_ranges.h"
#include "base/text.h"

namespace heed {
namespace {

class Because {
 public:
  Because(const Rule& rule, std::vector<Finding>& findings) : rule_(rule), findings_(findings) {}

  template <class... Args>
  void say(Stage stage, const Args&... words) {
    findings_.push_back({rule_.verdict, stage, rule_.name, cat(words...)});
  }

 private:
  const Rule& rule_;
  std::vector<Finding>& findings_;
};

// "prefill@L0-3"
std::string place(const Assignment& a) {
  return a.where.everywhere() ? std::string(stage_name(a.stage))
                              : cat(stage_name(a.stage), "@", a.where.text());
}

// Calls visit(assignment, setting) for every mechanism that the policy names.
template <class Visit>
void each_setting(const Policy& policy, Visit&& visit) {
  for (const Assignment& a : policy.assignments()) {
    for (const Setting& s : a.chain) {
      if (s.mechanism != nullptr) visit(a, s);
    }
  }
}

bool is_dense(const Setting& setting) { return setting.mechanism->name == "dense"; }
bool has(const Setting& setting, Capability c) {
  return (setting.mechanism->capabilities & c) != 0;
}

// Layers of which some head is decided by this assignment.
std::vector<int> layers_of(const RuleContext& context, const Assignment& a) {
  std::vector<int> layers;
  for (int l = 0; l < static_cast<int>(context.model->layers.size()); ++l) {
    const ModelShape::Layer& shape = context.model->layers[static_cast<size_t>(l)];
    const int group = std::max(shape.heads / std::max(shape.kv_heads, 1), 1);
    for (int h = 0; h < shape.heads; ++h) {
      if (context.policy.at(a.stage, l, h, h / group) != &a) continue;
      layers.push_back(l);
      break;
    }
  }
  return layers;
}

int row_block(const Setting& setting) {
  const int own = setting.mechanism->index_of("block");
  return own < 0 ? setting.mechanism->row_block : static_cast<int>(setting.integer("block"));
}

void places_exist(const RuleContext& context, const Rule& rule, std::vector<Finding>& findings) {
  if (context.model == nullptr) return;
  Because because(rule, findings);
  const auto& layers = context.model->layers;
  const int count = static_cast<int>(layers.size());
  for (const Assignment& a : context.policy.assignments()) {
    const Where& w = a.where;
    if (!w.all_layers && w.last_layer >= count) {
      because.say(a.stage, place(a), ": the model has layers 0 to ", count - 1);
      continue;
    }
    if (w.heads == Where::Heads::kAll) continue;
    const int first = w.all_layers ? 0 : w.first_layer,
              end = w.all_layers ? count : w.last_layer + 1;
    const bool kv = w.heads == Where::Heads::kKv;
    for (int l = first; l < end; ++l) {
      const ModelShape::Layer& shape = layers[static_cast<size_t>(l)];
      const int heads = kv ? shape.kv_heads : shape.heads;
      if (w.last_head < heads) continue;
      because.say(a.stage, place(a), ": layer ", l, " has ", kv ? "KV" : "query", " heads 0 to ",
                  heads - 1);
      break;
    }
  }
}

void heads_may_differ(const RuleContext& context, const Rule& rule,
                      std::vector<Finding>& findings) {
  Because because(rule, findings);
  each_setting(context.policy, [&](const Assignment& a, const Setting& s) {
    if (a.where.heads != Where::Heads::kAll && !has(s, kPerHead)) {
      because.say(a.stage, place(a), ": ", s.mechanism->name,
                  " is the same for all heads of a layer in this build; name layers alone");
    }
  });
}

void layers_may_differ(const RuleContext& context, const Rule& rule,
                       std::vector<Finding>& findings) {
  Because because(rule, findings);
  each_setting(context.policy, [&](const Assignment& a, const Setting& s) {
    if (!a.where.all_layers && !has(s, kPerLayerPlan)) {
      because.say(a.stage, place(a), ": ", s.mechanism->name,
                  " is the same for all layers in this build; leave the @ out");
    }
  });
}

void causal_models(const RuleContext& context, const Rule& rule, std::vector<Finding>& findings) {
  if (context.model == nullptr || context.model->causal) return;
  Because because(rule, findings);
  each_setting(context.policy, [&](const Assignment& a, const Setting& s) {
    if (!has(s, kBidirectional)) {
      because.say(a.stage, s.mechanism->name,
                  " chooses among the keys before a row, and the rows of this model, an encoder, "
                  "see those behind them too");
    }
  });
}

void files_are_there(const RuleContext& context, const Rule& rule, std::vector<Finding>& findings) {
  Because because(rule, findings);
  each_setting(context.policy, [&](const Assignment& a, const Setting& s) {
    for (size_t i = 0; i < s.values.size(); ++i) {
      const Parameter& p = s.mechanism->parameters[i];
      if (p.type != ParameterType::kFile) continue;
      const std::string& path = s.word(p.name);
      if (path.empty() || std::ifstream(path).good()) continue;
      because.say(a.stage, s.mechanism->name, ": ", p.name, " is ", in_quotes(path),
                  ", which cannot be read");
    }
  });
}

void windows_stay_dense(const RuleContext& context, const Rule& rule,
                        std::vector<Finding>& findings) {
  if (context.model == nullptr) return;
  Because because(rule, findings);
  each_setting(context.policy, [&](const Assignment& a, const Setting& s) {
    if (a.stage != Stage::kPrefill || has(s, kWindowed)) return;
    std::vector<int> windowed = layers_of(context, a);
    std::erase_if(windowed,
                  [&](int l) { return context.model->layers[static_cast<size_t>(l)].window == 0; });
    if (windowed.empty()) return;
    because.say(a.stage, "layers ", number_ranges(windowed), " have a window, in which ",
                s.mechanism->name, " does not select: they stay dense");
  });
}

void something_to_correct(const RuleContext& context, const Rule& rule,
                          std::vector<Finding>& findings) {
  bool corrects = false, selects = false;
  each_setting(context.policy, [&](const Assignment& a, const Setting& s) {
    corrects |= a.stage == Stage::kCorrect;
    selects |= a.stage == Stage::kPrefill && !is_dense(s);
  });
  if (!corrects || selects) return;
  Because(rule, findings).say(Stage::kCorrect, "prefill is dense: there is nothing to correct");
}

void calibrated(const RuleContext& context, const Rule& rule, std::vector<Finding>& findings) {
  Because because(rule, findings);
  each_setting(context.policy, [&](const Assignment& a, const Setting& s) {
    const Mechanism& m = *s.mechanism;
    if (m.needs != Needs::kCalibration) return;
    for (const Parameter& p : m.parameters) {
      if (p.type != ParameterType::kFile || !s.word(p.name).empty()) continue;
      because.say(a.stage, m.name, " has no ", p.name, "=FILE: ", m.without);
    }
  });
}

void chunks_are_estimated_apart(const RuleContext& context, const Rule& rule,
                                std::vector<Finding>& findings) {
  const PolicyRun& run = context.run;
  if (run.chunk <= 0 || run.prompt <= run.chunk) return;
  Because because(rule, findings);
  each_setting(context.policy, [&](const Assignment& a, const Setting& s) {
    if (s.mechanism->invariance == Invariance::kPerChunk) {
      because.say(a.stage, s.mechanism->name, " estimates each of the ",
                  (run.prompt + run.chunk - 1) / run.chunk, " chunks of ", run.chunk,
                  " tokens by itself; the paper's form is one chunk");
    }
  });
}

void chunks_end_with_blocks(const RuleContext& context, const Rule& rule,
                            std::vector<Finding>& findings) {
  const PolicyRun& run = context.run;
  if (run.chunk <= 0 || run.prompt <= run.chunk) return;
  Because because(rule, findings);
  each_setting(context.policy, [&](const Assignment& a, const Setting& s) {
    const int block = row_block(s);
    if (s.mechanism->invariance != Invariance::kRowBlockAligned || block <= 0 ||
        run.chunk % block == 0) {
      return;
    }
    because.say(a.stage, "chunks of ", run.chunk, " tokens cut blocks of ", block, " rows, which ",
                s.mechanism->name, " then estimates in parts; a chunk that ", block,
                " divides does not");
  });
}

void something_is_skipped(const RuleContext& context, const Rule& rule,
                          std::vector<Finding>& findings) {
  if (context.run.prompt <= 0) return;
  Because because(rule, findings);
  each_setting(context.policy, [&](const Assignment& a, const Setting& s) {
    if (a.stage != Stage::kPrefill || is_dense(s)) return;
    const auto density = predicted_density({s, {}}, {}, context.run.prompt);
    if (!density || density->least < 1) return;
    because.say(a.stage, s.mechanism->name, " reads everything of ", context.run.prompt,
                " tokens with these values: it saves nothing");
  });
}

constexpr std::array kRules = {
    Rule{"places_exist", "layers and heads behind an @ are those of the model", Verdict::kRefused,
         places_exist},
    Rule{"layers_may_differ", "only what plans by layers may be named for some of them",
         Verdict::kRefused, layers_may_differ},
    Rule{"heads_may_differ", "only what plans by heads may be named for some of them",
         Verdict::kRefused, heads_may_differ},
    Rule{"causal_models", "encoders take only what is right without a causal mask",
         Verdict::kRefused, causal_models},
    Rule{"files_are_there", "files that a policy names can be read", Verdict::kRefused,
         files_are_there},
    Rule{"windows_stay_dense", "layers with a window stay dense under what does not select in one",
         Verdict::kDegraded, windows_stay_dense},
    Rule{"something_to_correct", "a corrector needs a prefill that skips", Verdict::kDegraded,
         something_to_correct},
    Rule{"calibrated", "what needs calibration has its file", Verdict::kDegraded, calibrated},
    Rule{"chunks_are_estimated_apart", "per-chunk estimates see the whole prompt",
         Verdict::kDegraded, chunks_are_estimated_apart},
    Rule{"chunks_end_with_blocks", "chunks do not cut blocks of rows", Verdict::kDegraded,
         chunks_end_with_blocks},
    Rule{"something_is_skipped", "a selector skips something of the prompt", Verdict::kDegraded,
         something_is_skipped},
};

}  // namespace

std::span<const Rule> rules() { return kRules; }

const char* verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kYes: return "yes";
    case Verdict::kDegraded: return "degraded";
    case Verdict::kRefused: return "refused";
  }
  return "?";
}

std::vector<Finding> judge(const Policy& policy, const ModelShape* model, const PolicyRun& run) {
  std::vector<Finding> findings;
  const RuleContext context{policy, model, run};
  for (const Rule& rule : kRules) rule.apply(context, rule, findings);
  return findings;
}

Verdict worst(std::span<const Finding> findings) {
  Verdict verdict = Verdict::kYes;
  for (const Finding& f : findings) verdict = std::max(verdict, f.verdict);
  return verdict;
}

Status refusal(std::span<const Finding> findings) {
  for (const Finding& f : findings) {
    if (f.verdict == Verdict::kRefused)
      return {Code::kUnsupported, cat("the policy is refused because ", f.text)};
  }
  return Status::ok();
}

}  // namespace heed
