#include "mechanisms/row.h"
#include "mechanisms/work.h"

namespace heed {
namespace {

constexpr Parameter kParameters[] = {
    {
        .name = "k",
        .type = ParameterType::kInt,
        .standard = "100",
        .least = 1,
        .most = 1 << 22,
        .unit = "blocks",
        .help = "Blocks of keys that a block of rows reads",
        .aliases = "topk top_k",
    },
    {
        .name = "block",
        .type = ParameterType::kInt,
        .standard = "64",
        .least = 16,
        .most = 512,
        .unit = "tokens",
        .help = "Rows and keys of a block",
        .aliases = "block_size",
    },
};

// A row of blocks b sees b + 1 of them and reads k; whether the diagonal one, half of which is
// hidden, is among them is not known before.
std::optional<Work> work(int64_t tokens, const Setting& setting) {
  const int64_t block = setting.integer("block"), k = setting.integer("k");
  const int64_t bend = std::min(tokens, k * block);
  const double all = causal_pairs(0, bend);
  const auto rows = static_cast<double>(tokens - bend);
  const auto keys = static_cast<double>(k * block);
  return Work{all + rows * (keys - static_cast<double>(block)), all + rows * keys};
}

}  // namespace

extern const Row kBlockTopk;
constexpr Row kBlockTopk = {
    .about =
        {
            .name = "block_topk",
            .aliases = "block_sparse",
            .stage = Stage::kPrefill,
            .summary = "The blocks of keys whose mean is nearest to the mean of the queries",
            .idea =
                "Queries and keys are averaged over blocks; each block of rows reads the k blocks "
                "of keys with the highest product of means. Nothing is forced, not even the "
                "diagonal: with a small k a row may miss itself.",
            .formula = "A[i, b] = mean(q in block i) . mean(k in block b), unscaled, b <= i\n"
                       "visible(t, j)  iff  j <= p(t) and block(j) among the k largest of A[i]",
            .paper = "MInference 1.0: Accelerating Pre-filling for Long-Context LLMs via Dynamic "
                     "Sparse Attention (2024), head pattern block_sparse",
            .cost = "select: (T / block)(S / block) D multiply-adds a head\n"
                    "attend: 2 T min(S, k block) D a head",
            .capabilities = kChangesKv | kNeedsFullStore | kNeedsSorted | kPerLayerPlan,
            .invariance = Invariance::kRowBlockAligned,
            .row_block = 64,
            .positional = "k",
            .parameters = kParameters,
            .work = work,
        },
};

}  // namespace heed
