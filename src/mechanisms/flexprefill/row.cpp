#include "mechanisms/row.h"
#include "base/text.h"
#include "mechanisms/parameters.h"
#include "mechanisms/work.h"

namespace heed {
namespace {

constexpr Parameter kParameters[] = {
    {
        .name = "gamma",
        .type = ParameterType::kFloat,
        .standard = "0.9",
        .least = 0,
        .most = 2,
        .help = "Probability mass to cover; above 1 everything is read",
        .aliases = "flex_prefill_gamma",
    },
    {
        .name = "tau",
        .type = ParameterType::kFloat,
        .standard = "0.1",
        .least = 0,
        .most = 1,
        .help = "Distance below which a head is query-aware: 0 never, 1 always",
        .aliases = "flex_prefill_tau",
    },
    {
        .name = "min_budget",
        .type = ParameterType::kInt,
        .standard = "1024",
        .least = 0,
        .most = kMostListKeys,
        .unit = "tokens",
        .help = "Keys that a head reads at least; a prompt as short is dense",
        .aliases = "flex_prefill_min_budget",
    },
    {
        .name = "max_budget",
        .type = ParameterType::kInt,
        .standard = "0",
        .least = 0,
        .most = kMostListKeys,
        .unit = "tokens",
        .help = "And at most; 0: no limit",
        .aliases = "flex_prefill_max_budget",
    },
    {
        .name = "block",
        .type = ParameterType::kInt,
        .standard = "128",
        .least = 16,
        .most = 128,
        .unit = "tokens",
        .help = "Rows and keys of a block",
        .aliases = "block_size",
    },
};

// Prompts below the smallest budget are dense; above, the mass decides.
std::optional<Work> work(int64_t tokens, const Setting& setting) {
  const int64_t block = setting.integer("block");
  const int64_t least = (setting.integer("min_budget") + block - 1) / block * block;
  if (tokens > std::max(2 * block, least) && setting.number("gamma") <= 1) return std::nullopt;
  return exactly(causal_pairs(0, tokens));
}

Status check(const Setting& setting) {
  const int64_t most = setting.integer("max_budget"), least = setting.integer("min_budget");
  if (most == 0 || most >= least) return Status::ok();
  return error(Code::kInvalidArgument, "max_budget is ", most,
               ", must be 0 or at least min_budget, ", least);
}

}  // namespace

extern const Row kFlexprefill;
constexpr Row kFlexprefill = {
    .about =
        {
            .name = "flexprefill",
            .aliases = "flex_prefill",
            .stage = Stage::kPrefill,
            .summary = "Each head's pattern and budget from its own last rows",
            .idea =
                "The last block of rows says how far a guess from pooled keys is from its true "
                "probabilities (Jensen-Shannon). Where the guess is good the head is query-aware: "
                "every block of rows takes the blocks of its own pooled map that reach the mass "
                "gamma. Elsewhere the head reads columns and diagonals, as many as cover gamma of "
                "the last rows' mass.",
            .formula = "P = softmax(scale q_last k^T);  v_j = mean_i P[i, j];  d_s = mean_i P[i, "
                       "p(i) - s]\n"
                       "Kv, Kd = blocks of the fewest columns, distances with mass >= gamma, "
                       "within the budgets\n"
                       "a = softmax(scale mean(q_last) . mean(k in b));  V_b = sum of v in b\n"
                       "JS(a, V) < tau: blocks of the pooled map with cumulated mass <= gamma n\n"
                       "else: the Kv heaviest block columns and Kd heaviest block diagonals\n"
                       "always: block 0 and the diagonal",
            .paper = "FlexPrefill: A Context-Aware Sparse Attention Mechanism for Efficient "
                     "Long-Sequence Inference (2025)",
            .cost = "select: 2 block S D multiply-adds a head and chunk, two partial sorts of S; "
                    "(S / block)^2 D more for query-aware heads\n"
                    "attend: the share of blocks kept",
            .capabilities = kChangesKv | kNeedsFullStore | kNeedsSorted | kPerLayerPlan,
            .invariance = Invariance::kPerChunk,
            .query_aware = true,
            .row_block = 128,
            .positional = "gamma",
            .parameters = kParameters,
            .work = work,
            .check = check,
        },
};

}  // namespace heed
