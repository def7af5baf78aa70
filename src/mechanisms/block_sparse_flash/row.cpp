#include "mechanisms/row.h"

namespace heed {
namespace {

constexpr Parameter kParameters[] = {
    {
        .name = "mask",
        .type = ParameterType::kFile,
        .help = "Which blocks are read: .npy of bool or bytes, [rows, keys] in blocks, or "
                "[heads, rows, keys], or [layers, heads, rows, keys]",
    },
    {
        .name = "block_q",
        .type = ParameterType::kInt,
        .standard = "64",
        .least = 16,
        .most = 512,
        .unit = "rows",
        .help = "Rows of a block",
    },
    {
        .name = "block_k",
        .type = ParameterType::kInt,
        .standard = "64",
        .least = 16,
        .most = 512,
        .unit = "tokens",
        .help = "Keys of a block",
    },
};

}  // namespace

extern const Row kBlockSparseFlash;
constexpr Row kBlockSparseFlash = {
    .about =
        {
            .name = "block_sparse_flash",
            .aliases = "block_sparse_flash_attention",
            .stage = Stage::kPrefill,
            .summary = "The blocks of a mask that the user gives",
            .idea = "Tiles that the mask leaves out are not computed, and the softmax is over what "
                    "is left. The mask is the user's, by blocks from position 0 of the sequence; a "
                    "row without any key gives zeros.",
            .formula = "visible(t, j)  iff  j <= p(t) and mask[p(t) / block_q, j / block_k]",
            .paper = "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness "
                     "(2022), block-sparse part",
            .cost = "select: none\nattend: the mask's share of 2 T S D multiply-adds a head",
            .capabilities = kChangesKv | kNeedsFullStore | kNeedsSorted | kPerLayerPlan | kPerHead |
                            kWindowed | kBidirectional,
            .invariance = Invariance::kExact,
            .row_block = 64,
            .positional = "mask",
            .parameters = kParameters,
        },
};

}  // namespace heed
