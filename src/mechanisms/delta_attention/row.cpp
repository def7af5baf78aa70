#include "mechanisms/row.h"
#include "mechanisms/work.h"

namespace heed {
namespace {

constexpr Parameter kParameters[] = {
    {
        .name = "gamma",
        .type = ParameterType::kInt,
        .standard = "64",
        .least = 1,
        .most = 4096,
        .unit = "rows",
        .help = "Every such row is computed dense and corrects those up to the next; 1 is dense",
        .aliases = "delta_lambda",
    },
    {
        .name = "tail",
        .type = ParameterType::kInt,
        .standard = "128",
        .least = 0,
        .most = 1 << 20,
        .unit = "rows",
        .help = "Rows at the end of the prompt that are dense, gamma at least",
    },
    {
        .name = "mode",
        .type = ParameterType::kChoice,
        .standard = "delta",
        .choices = "delta recompute",
        .help = "recompute: the dense rows replace their own and correct no other",
    },
};

// The dense rows: every gamma-th, and the tail.
std::optional<Work> work(int64_t tokens, const Setting& setting) {
  const int64_t gamma = setting.integer("gamma");
  const int64_t cut = tokens % gamma + std::max(setting.integer("tail"), gamma);
  const int64_t corrected = std::max<int64_t>(tokens - cut, 0);
  return exactly(strided_pairs(gamma, corrected) + causal_pairs(corrected, tokens));
}

}  // namespace

extern const Row kDeltaAttention;
constexpr Row kDeltaAttention = {
    .about =
        {
            .name = "delta_attention",
            .aliases = "delta",
            .stage = Stage::kCorrect,
            .summary = "Every gamma-th row dense; its difference is added to the rows behind it",
            .idea =
                "What a sparse row misses changes slowly from row to row. Every gamma-th row is "
                "computed dense beside its sparse output, and the difference is added to the "
                "sparse outputs of the rows up to the next one. Rows at the end of the prompt are "
                "dense.",
            .formula = "g(t) = floor(t / gamma) gamma;  o_t = s_t + (d_g(t) - s_g(t))   for t < "
                       "T'\n"
                       "o_t = d_t   for t >= T' = T - (T mod gamma) - max(tail, gamma)",
            .paper = "Delta Attention: Fast and Accurate Sparse Attention Inference by Delta "
                     "Correction (2025)",
            .cost = "attend: 1 / gamma of dense beside the prefill it corrects, and the tail",
            .capabilities = kChangesKv | kNeedsFullStore | kPerLayerPlan | kWindowed,
            .invariance = Invariance::kExact,
            .positional = "gamma",
            .parameters = kParameters,
            .work = work,
        },
};

}  // namespace heed
