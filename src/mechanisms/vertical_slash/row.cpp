#include "mechanisms/row.h"
#include "mechanisms/parameters.h"

namespace heed {
namespace {

constexpr Parameter kParameters[] = {
    kVerticalKeys,
    kSlashDistances,
    {
        .name = "probe",
        .type = ParameterType::kInt,
        .standard = "64",
        .least = 1,
        .most = 512,
        .unit = "rows",
        .help = "Last rows of a chunk whose exact probabilities are summed",
        .aliases = "last_q",
    },
    {
        .name = "n_init",
        .type = ParameterType::kInt,
        .standard = "30",
        .least = 0,
        .most = kMostListKeys,
        .unit = "tokens",
        .help = "First columns, always kept",
        .aliases = "n_sink",
    },
    {
        .name = "n_local",
        .type = ParameterType::kInt,
        .standard = "100",
        .least = 1,
        .most = kMostListKeys,
        .unit = "tokens",
        .help = "Nearest distances, always kept; 0 among them, or a row could be empty",
    },
};

}  // namespace

extern const Row kVerticalSlash;
constexpr Row kVerticalSlash = {
    .about =
        {
            .name = "vertical_slash",
            .aliases = "vertical_and_slash",
            .stage = Stage::kPrefill,
            .summary = "The columns and diagonals on which the last rows put their mass",
            .idea =
                "Many heads read a few keys from everywhere (columns) and a few distances from "
                "each row (diagonals). The exact probabilities of the chunk's last rows are summed "
                "by column and by distance, the nv heaviest columns and the ns heaviest distances "
                "are kept, and every row reads those. A distance is read as the 64 keys that it "
                "sweeps over a block of 64 rows.",
            .formula = "P = softmax(scale q_last k^T)\n"
                       "c_j = sum_i P[i, j];  c_j = inf for j < n_init;  V = the nv largest\n"
                       "d_s = sum_i P[i, p(i) - s];  d_s = inf for s < n_local;  D = the ns "
                       "largest\n"
                       "visible(t, j)  iff  j <= p(t) and (j in V or p(t) - j in D), D widened to "
                       "blocks of 64 rows",
            .paper = "MInference 1.0: Accelerating Pre-filling for Long-Context LLMs via Dynamic "
                     "Sparse Attention (2024), pattern of a head",
            .cost = "select: probe S D multiply-adds a head and chunk, two selections of S\n"
                    "attend: 2 T (nv + merged ranges of the ns distances) D a head",
            .capabilities = kChangesKv | kNeedsFullStore | kNeedsSorted | kPerLayerPlan,
            .invariance = Invariance::kPerChunk,
            .query_aware = true,
            .row_block = 64,
            .parameters = kParameters,
        },
};

}  // namespace heed
