#include "mechanisms/row.h"
#include "mechanisms/parameters.h"
#include "mechanisms/tri_shape/tri_shape.h"
#include "mechanisms/work.h"

namespace heed {
namespace {

constexpr Parameter kParameters[] = {
    kSinkKeys,
    kWindowKeys,
    {
        .name = "n_last",
        .type = ParameterType::kInt,
        .standard = "100",
        .least = 0,
        .most = kMostListKeys,
        .unit = "tokens",
        .help = "Rows at the end of the whole prompt that read every key",
        .aliases = "num_last_dense_tokens_in_prefill",
    },
};

std::optional<Work> work(int64_t tokens, const Setting& setting) {
  const int64_t dense_from = std::max<int64_t>(tokens - setting.integer("n_last"), 0);
  return exactly(
      causal_pairs(0, dense_from, setting.integer("n_init") + setting.integer("n_local")) +
      causal_pairs(dense_from, tokens));
}

}  // namespace

extern const Row kTriShape;
constexpr Row kTriShape = {
    .about =
        {
            .name = "tri_shape",
            .aliases = "trishape",
            .stage = Stage::kPrefill,
            .summary = "Sinks and a window, and all keys for the prompt's last rows",
            .idea =
                "a_shape, but the last n_last rows of the whole prompt read every key, because a "
                "question usually stands at its end. The end is that of the prompt and not of a "
                "chunk; with n_last = 0 it is a_shape.",
            .formula = "visible(t, j)  iff  j <= p(t) and (j < n_init or p(t) - j < n_local "
                       "or t >= T - n_last)",
            .paper = "SCBench: A KV Cache-Centric Analysis of Long-Context Methods (2024); a "
                     "pattern of the MInference code",
            .cost = "select: none\nattend: 2 (T (n_init + n_local) + n_last S) D multiply-adds a "
                    "head",
            .capabilities = kChangesKv | kNeedsFullStore | kNeedsSorted | kPerLayerPlan |
                            kGroupShared | kWindowed,
            .invariance = Invariance::kExact,
            .positional = "n_local",
            .parameters = kParameters,
            .work = work,
        },
    .make_prefill =
        [](const Setting& s) {
          return make_tri_shape({.n_init = s.integer("n_init"),
                                 .n_local = s.integer("n_local"),
                                 .n_last = s.integer("n_last")});
        },
};

}  // namespace heed
