#include "mechanisms/row.h"
#include "mechanisms/parameters.h"

namespace heed {
namespace {

constexpr Parameter kParameters[] = {
    {
        .name = "patterns",
        .type = ParameterType::kFile,
        .help = "Pattern file of the model: a JSON list with an object a layer, head to "
                "[pattern, vertical, slash, score]",
        .aliases = "config_path best_pattern",
        .optional = true,
    },
    kVerticalKeys,
    kSlashDistances,
    {
        .name = "ratio",
        .type = ParameterType::kFloat,
        .standard = "1",
        .least = 0.01,
        .most = 16,
        .help = "Multiplies the columns and distances of every head",
    },
    {
        .name = "starting_layer",
        .type = ParameterType::kInt,
        .standard = "0",
        .least = 0,
        .most = 512,
        .unit = "layers",
        .help = "Layers before it stay dense",
    },
};

}  // namespace

extern const Row kMinference;
constexpr Row kMinference = {
    .about =
        {
            .name = "minference",
            .stage = Stage::kPrefill,
            .summary = "A pattern for each head, found once for a model",
            .idea =
                "Each query head has one of three patterns (a_shape, vertical_slash, block_topk) "
                "with parameters that were found beforehand on the user's model: the candidate "
                "that keeps most probability mass. Heads that the file does not name are "
                "vertical_slash:nv=1000,ns=6096, as in the authors' code.",
            .formula = "pattern(layer, head) from the file; then as a_shape, vertical_slash or "
                       "block_topk",
            .paper = "MInference 1.0: Accelerating Pre-filling for Long-Context LLMs via Dynamic "
                     "Sparse Attention (2024)",
            .cost = "select and attend: those of each head's pattern\n"
                    "search, once: all candidates on one long text",
            .needs = Needs::kCalibration,
            .without = "every head is vertical_slash with nv and ns",
            .capabilities = kChangesKv | kNeedsFullStore | kNeedsSorted | kPerLayerPlan,
            .invariance = Invariance::kPerChunk,
            .query_aware = true,
            .row_block = 64,
            .positional = "patterns",
            .parameters = kParameters,
        },
};

}  // namespace heed
