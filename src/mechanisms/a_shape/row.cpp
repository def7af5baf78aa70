#include "mechanisms/row.h"
#include "mechanisms/a_shape/a_shape.h"
#include "mechanisms/parameters.h"
#include "mechanisms/work.h"

namespace heed {
namespace {

constexpr Parameter kParameters[] = {kSinkKeys, kWindowKeys};

std::optional<Work> work(int64_t tokens, const Setting& setting) {
  return exactly(causal_pairs(0, tokens, setting.integer("n_init") + setting.integer("n_local")));
}

}  // namespace

extern const Row kAShape;
constexpr Row kAShape = {
    .about =
        {
            .name = "a_shape",
            .aliases = "ashape",
            .stage = Stage::kPrefill,
            .summary = "Sinks and a window: the first keys and the nearest",
            .idea =
                "Each row reads the first n_init keys, which rows lean on whatever they say, and "
                "the n_local keys up to itself. Positions are those of the text. Work grows with "
                "the length of the prompt and not with its square; what is neither early nor near "
                "is not read.",
            .formula = "visible(t, j)  iff  j <= p(t) and (j < n_init or p(t) - j < n_local)",
            .paper = "StreamingLLM: Efficient Streaming Language Models with Attention Sinks "
                     "(2023); pattern name and defaults of MInference and SCBench (2024)",
            .cost = "select: none\nattend: 2 T (n_init + n_local) D multiply-adds a head",
            .capabilities = kChangesKv | kNeedsSorted | kPerLayerPlan | kGroupShared | kWindowed,
            .invariance = Invariance::kExact,
            .positional = "n_local",
            .parameters = kParameters,
            .work = work,
        },
    .make_prefill =
        [](const Setting& s) {
          return make_a_shape({.n_init = s.integer("n_init"), .n_local = s.integer("n_local")});
        },
};

}  // namespace heed
