#include "mechanisms/row.h"
#include "mechanisms/block_sparse_flash/block_sparse_flash.h"

namespace heed {
namespace {

constexpr Parameter kParameters[] = {
    {
        .name = "mask",
        .type = ParameterType::kFile,
        .help = "Which blocks are read: text that begins with heed-block-mask 1",
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
            .formula = "visible(t, j)  iff  j <= p(t) and mask[p(t) / Q, j / K]",
            .paper = "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness "
                     "(2022), block-sparse part",
            .cost = "select: none\nattend: the mask's share of 2 T S D multiply-adds a head",
            .capabilities = kChangesKv | kNeedsFullStore | kNeedsSorted | kPerLayerPlan |
                            kWindowed | kBidirectional,
            .invariance = Invariance::kExact,
            .positional = "mask",
            .parameters = kParameters,
        },
    .make_prefill = [](const Setting& s) { return make_block_sparse_flash(s.word("mask")); },
};

}  // namespace heed
