#include "mechanisms/row.h"
#include "mechanisms/work.h"

namespace heed {

extern const Row kDense;
constexpr Row kDense = {
    .about =
        {
            .name = "dense",
            .aliases = "flash_attention",
            .stage = Stage::kPrefill,
            .summary = "Every visible key: nothing is skipped",
            .idea =
                "Exact attention in one pass over tiles of keys: a row keeps its running maximum, "
                "sum and output, so that the map of scores is never stored. The default, and what "
                "every other mechanism is compared with.",
            .formula = "o_t = sum_j softmax_j(scale q_t.k_j) v_j   over j <= p(t)",
            .paper = "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness "
                     "(2022)",
            .cost = "attend: 2 T S D multiply-adds a head, half of it causal",
            .capabilities = kPerLayerPlan | kWindowed | kBidirectional,
            .invariance = Invariance::kExact,
            .work = [](int64_t tokens, const Setting&) -> std::optional<Work> {
              return exactly(causal_pairs(0, tokens));
            },
        },
    .built_in = true,
};

}  // namespace heed
