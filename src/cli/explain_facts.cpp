#include "cli/explain_facts.h"

#include <algorithm>

#include "base/text.h"
#include "model/split_set.h"
#include "session/policy_model.h"

namespace heed::cli {
namespace {

std::string chain_text(std::span<const Setting> chain) {
  std::string text;
  for (const Setting& s : chain) text += (text.empty() ? "" : "+") + setting_text(s);
  return text;
}

// Of one layer: a row for the heads that do the same.
std::vector<ExplainRow> rows_of_layer(const Policy& policy, const ModelShape& shape, int layer,
                                      int64_t tokens) {
  const ModelShape::Layer& l = shape.layers[static_cast<size_t>(layer)];
  std::vector<ExplainRow> rows;
  for (int head = 0; head < l.heads; ++head) {
    const HeadPlan plan = plan_head(policy, shape, layer, head);
    const std::string prefill = setting_text(plan.prefill), correct = chain_text(plan.correct);
    auto at = std::ranges::find_if(rows, [&](const ExplainRow& row) {
      return row.prefill == prefill && row.correct == correct;
    });
    if (at == rows.end()) {
      at = rows.insert(
          at, {{layer}, {}, l.window, prefill, correct, predicted_density(plan, l, tokens)});
    }
    at->heads.push_back(head);
  }
  return rows;
}

std::vector<ExplainRow> rows_of(const Policy& policy, const ModelShape& shape, int64_t tokens) {
  std::vector<ExplainRow> rows;
  for (int layer = 0; layer < static_cast<int>(shape.layers.size()); ++layer) {
    for (ExplainRow& row : rows_of_layer(policy, shape, layer, tokens)) {
      const auto at = std::ranges::find_if(rows, [&](const ExplainRow& other) {
        return other.heads == row.heads && other.window == row.window &&
               other.prefill == row.prefill && other.correct == row.correct;
      });
      if (at == rows.end()) {
        rows.push_back(std::move(row));
      } else {
        at->layers.push_back(layer);
      }
    }
  }
  return rows;
}

Result<ExplainedModel> explain_model(const Policy& policy, const std::string& path, int64_t tokens,
                                     const EngineOptions& engine, ModelShape& shape) {
  HEED_ASSIGN(const auto file, open_model_file(path));
  HEED_ASSIGN(const Hyperparameters hyper, Hyperparameters::read(*file));
  ExplainedModel model;
  HEED_ASSIGN(model.info, model_info(*file, hyper));
  if (tokens > hyper.context) {
    return error(Code::kOutOfRange, "-c ", tokens, ": the model was trained for ", hyper.context,
                 " tokens; use -c ", hyper.context, " or less");
  }
  model.tokens = tokens > 0 ? tokens : hyper.context;
  shape = model_shape(hyper);
  model.rows = rows_of(policy, shape, model.tokens);
  model.engine = engine;
  model.engine.max_sequences = 1;
  model.engine.k = policy.k().value_or(model.info.default_k);
  model.engine.v = policy.v().value_or(model.info.default_v);
  HEED_ASSIGN(model.memory, predict_memory(path, {}, model.engine, {.prompt = model.tokens}));
  return model;
}

}  // namespace

Result<Explanation> explain(const Policy& policy, const std::string& path, int64_t tokens,
                            const EngineOptions& engine) {
  Explanation out;
  out.policy = policy;
  out.chunk = engine.chunk;
  // A file that is not there is a finding, and the rest can be told all the same.
  const Result<uint64_t> hash = policy.hash(), kv_hash = policy.kv_hash();
  if (hash.is_ok()) out.hash = *hash;
  if (kv_hash.is_ok()) out.kv_hash = *kv_hash;
  if (path.empty()) {
    out.findings = judge(policy, nullptr, {.prompt = tokens, .chunk = engine.chunk});
    return out;
  }
  ModelShape shape;
  HEED_ASSIGN(out.model, explain_model(policy, path, tokens, engine, shape));
  out.findings = judge(policy, &shape, {.prompt = out.model->tokens, .chunk = engine.chunk});
  return out;
}

}  // namespace heed::cli
