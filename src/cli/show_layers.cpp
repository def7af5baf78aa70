#include "cli/show_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/number_ranges.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/terminal.h"
#include "model/split_set.h"

namespace heed::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string times_text(double times) { return fmt::format("{:.4g} times", times); }

std::string rotation_text(const Rope& rope, const Hyperparameters& hyper) {
  if (!rope.turns || hyper.n_rot == 0) return "none";
  std::string text =
      fmt::format("base {:.10g}, {} dims {}", rope.base, hyper.n_rot,
                  hyper.arch->rotary == RotaryLayout::kAdjacent ? "in pairs" : "in halves");
  if (rope.yarn) {
    text +=
        fmt::format(", YaRN stretches {} {}", hyper.original_context, times_text(1 / rope.scale));
  } else if (rope.scale != 1) {
    text += fmt::format(", stretched {}", times_text(1 / rope.scale));
  }
  if (rope.factors == RopeFactors::kOne) text += ", factors by dimension";
  if (rope.factors == RopeFactors::kByContext) {
    text += fmt::format(", LongRoPE: other factors in contexts beyond {}", hyper.original_context);
  }
  return text;
}

std::vector<LayerClass> classes_of(const Hyperparameters& hyper) {
  std::vector<LayerClass> classes;
  for (int i = 0; i < hyper.layers; ++i) {
    const LayerHyper& layer = hyper.layer[static_cast<size_t>(i)];
    const auto same = [&layer](const LayerClass& c) {
      return c.hyper.heads == layer.heads && c.hyper.kv_heads == layer.kv_heads &&
             c.hyper.ff == layer.ff && c.hyper.window == layer.window && c.hyper.rope == layer.rope;
    };
    auto at = std::ranges::find_if(classes, same);
    if (at == classes.end()) {
      const Rope& rope = hyper.ropes[static_cast<size_t>(layer.rope)];
      at = classes.insert(at, {{}, layer, rotation_text(rope, hyper)});
    }
    at->layers.push_back(i);
  }
  return classes;
}

std::string window_text(int window) {
  return window > 0 ? fmt::format("{}", window) : std::string("all");
}

void print_memory(const LayerFacts& facts) {
  const MemoryPlan& plan = *facts.plan;
  const auto row = [&plan](PrefillOrder order, uint64_t peak) {
    fmt::print("  {:<11}  {:>10}{}\n", fmt::format("{}-major", prefill_order_name(order)),
               bytes_text(peak), order == plan.order ? "  (chosen)" : "");
  };
  fmt::print("\npeak with a prompt of {} tokens\n", facts.tokens);
  row(PrefillOrder::kTokenMajor, plan.token_major_peak);
  row(PrefillOrder::kLayerMajor, plan.layer_major_peak);
  fmt::print("  {:<11}  {:>10}\n", "available",
             plan.available ? bytes_text(*plan.available) : "unknown");
}

}  // namespace

Result<LayerFacts> layer_facts(const std::string& path, int64_t prompt,
                               const ModelOptions& options) {
  HEED_ASSIGN(const auto file, open_model_file(path));
  HEED_ASSIGN(const Hyperparameters hyper, Hyperparameters::read(*file));
  if (prompt > hyper.context) {
    return error(Code::kOutOfRange, "-c ", prompt, ": the model was trained for ", hyper.context,
                 " tokens; use -c ", hyper.context, " or less");
  }
  LayerFacts facts;
  facts.classes = classes_of(hyper);
  facts.tokens = prompt > 0 ? prompt : hyper.context;
  for (const Format format : {Format::kF32, Format::kF16, Format::kBf16}) {
    HEED_ASSIGN(const KvCost cost, kv_cost(hyper, format, facts.tokens));
    facts.kv.push_back({format, cost});
  }
  if (prompt == 0) return facts;
  EngineOptions engine;
  engine.max_sequences = 1;
  HEED_ASSIGN(facts.plan, predict_memory(path, options, engine, {.prompt = prompt}));
  return facts;
}

void print_layer_facts(const LayerFacts& facts) {
  size_t width = 6;
  for (const LayerClass& c : facts.classes) width = std::max(width, number_ranges(c.layers).size());
  fmt::print("\n{:<{}}  {:>5}  {:>8}  {:>7}  {:>7}  {}\n", "layers", width, "heads", "KV heads",
             "window", "ff", "rotation");
  for (const LayerClass& c : facts.classes) {
    fmt::print("{:<{}}  {:>5}  {:>8}  {:>7}  {:>7}  {}\n", number_ranges(c.layers), width,
               c.hyper.heads, c.hyper.kv_heads, window_text(c.hyper.window), c.hyper.ff,
               c.rotation);
  }
  // Windowed layers keep their tokens too.
  const bool windows = facts.kv[0].cost.in_reach < facts.kv[0].cost.stored;
  fmt::print("\nKV pages      per token  {:>17}{}\n", fmt::format("of {} tokens", facts.tokens),
             windows ? "  in reach of the next" : "");
  for (const KvOfFormat& kv : facts.kv) {
    fmt::print("  {:<10}  {:>11}  {:>17}", format_name(kv.format), bytes_text(kv.cost.per_token),
               bytes_text(kv.cost.stored));
    if (windows) fmt::print("  {:>20}", bytes_text(kv.cost.in_reach));
    fmt::print("\n");
  }
  if (facts.plan) print_memory(facts);
}

void add_layer_facts(const LayerFacts& facts, Json& out) {
  Json classes = Json::array(), kv = Json::object();
  for (const LayerClass& c : facts.classes) {
    classes.push_back({{"layers", c.layers},
                       {"heads", c.hyper.heads},
                       {"kv_heads", c.hyper.kv_heads},
                       {"window", c.hyper.window},
                       {"ff", c.hyper.ff},
                       {"rotation", c.rotation}});
  }
  for (const KvOfFormat& f : facts.kv) {
    kv[format_name(f.format)] = {{"bytes_per_token", f.cost.per_token},
                                 {"bytes", f.cost.stored},
                                 {"bytes_in_reach", f.cost.in_reach}};
  }
  out["layer_classes"] = std::move(classes);
  out["kv"] = {{"tokens", facts.tokens}, {"formats", std::move(kv)}};
  if (!facts.plan) return;
  const MemoryPlan& plan = *facts.plan;
  out["memory"] = {{"prompt_tokens", facts.tokens},
                   {"token_major_peak_bytes", plan.token_major_peak},
                   {"layer_major_peak_bytes", plan.layer_major_peak},
                   {"prefill_order", prefill_order_name(plan.order)},
                   {"weights_bytes", plan.weights},
                   {"kv_bytes", plan.kv},
                   {"available_bytes", known(plan.available)}};
}

}  // namespace heed::cli
