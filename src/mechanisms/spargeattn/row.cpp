#include <limits>

#include "mechanisms/row.h"
#include "mechanisms/work.h"

namespace heed {
namespace {

constexpr Parameter kParameters[] = {
    {
        .name = "topk",
        .type = ParameterType::kFloat,
        .standard = "0.5",
        .least = 0,
        .most = 1,
        .help = "With pick=topk: share of all blocks that a block of rows reads, counted before "
                "those in its future fall away",
    },
    {
        .name = "pick",
        .type = ParameterType::kChoice,
        .standard = "topk",
        .choices = "topk cdf",
        .help = "A share of the blocks, or the mass tau of the pooled map",
    },
    {
        .name = "tau",
        .type = ParameterType::kFloat,
        .standard = "0.98",
        .least = 0,
        .most = 2,
        .help = "With pick=cdf: mass to cover; above 1 everything is read",
        .aliases = "cdfthreshd",
    },
    {
        .name = "theta",
        .type = ParameterType::kFloat,
        .standard = "-0.1",
        .least = -1,
        .most = 2,
        .help = "Blocks less alike in themselves are read whatever the map says; above 1: all. "
                "With pick=cdf the authors take 0.6",
        .aliases = "simthreshd1",
    },
    {
        .name = "lambda",
        .type = ParameterType::kFloat,
        .standard = "50",
        .least = 0,
        .most = std::numeric_limits<double>::infinity(),
        .unit = "bits",
        .help = "A tile whose scores all lie so far below the running maxima is skipped behind "
                "its scores; inf: none",
        .aliases = "pvthreshd",
    },
    {
        .name = "smooth",
        .type = ParameterType::kBool,
        .standard = "true",
        .help = "The mean of all keys is taken off before pooling",
        .aliases = "smooth_k",
    },
    {
        .name = "sink",
        .type = ParameterType::kBool,
        .standard = "false",
        .help = "Block 0 is always read",
        .aliases = "attention_sink",
    },
};

std::optional<Work> work(int64_t tokens, const Setting& setting) {
  const bool all =
      setting.number("theta") > 1 ||
      (setting.word("pick") == "topk" ? setting.number("topk") >= 1 : setting.number("tau") > 1);
  if (!all) return std::nullopt;
  return exactly(causal_pairs(0, tokens));
}

}  // namespace

extern const Row kSpargeattn;
constexpr Row kSpargeattn = {
    .about =
        {
            .name = "spargeattn",
            .aliases = "sparge_attn sparge",
            .stage = Stage::kPrefill,
            .summary = "A pooled map, trusted only for blocks that are alike in themselves",
            .idea =
                "A mean stands for a block only where the block's rows point the same way. The "
                "pooled map chooses among such blocks; blocks of keys or queries that are not "
                "alike in themselves are always read. While attending, a tile whose scores lie "
                "`lambda` bits below every row's running maximum is dropped before its values are "
                "read.",
            .formula = "sim(X) = |mean of X's rows, each of length 1|^2;  X is predictable iff "
                       "sim > theta\n"
                       "R[i, j] = softmax_j(scale mean(q_i) . mean(k_j)) over predictable j\n"
                       "kept of row i: the floor(topk n) largest, or those with cumulated mass <= "
                       "tau and one at least;\n"
                       "all j for a q block that is not predictable, every j that is not\n"
                       "tile skipped: max over rows of (m_tile - m) log2(e) + lambda <= 0",
            .paper = "SpargeAttn: Accurate Sparse Attention Accelerating Any Model Inference "
                     "(2025)",
            .cost = "select: (T + S) D to pool, (T / 128)(S / 64) D multiply-adds a head\n"
                    "attend: the share of blocks kept",
            .capabilities =
                kChangesKv | kNeedsFullStore | kNeedsSorted | kPerLayerPlan | kBidirectional,
            .invariance = Invariance::kPerChunk,
            .row_block = 128,
            .positional = "topk",
            .parameters = kParameters,
            .work = work,
        },
};

}  // namespace heed
