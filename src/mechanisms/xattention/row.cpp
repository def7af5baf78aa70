#include "mechanisms/row.h"
#include "base/text.h"
#include "mechanisms/work.h"

namespace heed {
namespace {

constexpr Parameter kParameters[] = {
    {
        .name = "tau",
        .type = ParameterType::kFloat,
        .standard = "0.9",
        .least = 0,
        .most = 2,
        .help = "Share of a row's estimated mass to cover; above 1 everything is read",
        .aliases = "threshold xattention_threshold",
    },
    {
        .name = "stride",
        .type = ParameterType::kInt,
        .standard = "8",
        .least = 1,
        .most = 64,
        .unit = "tokens",
        .help = "Side of the squares whose antidiagonals are summed: 8 accurate, 16 fast; it "
                "divides the block",
        .aliases = "xattention_stride",
    },
    {
        .name = "block",
        .type = ParameterType::kInt,
        .standard = "128",
        .least = 16,
        .most = 512,
        .unit = "tokens",
        .help = "Rows and keys of a block",
        .aliases = "block_size xattention_block_size",
    },
    {
        .name = "norm",
        .type = ParameterType::kFloat,
        .standard = "1",
        .least = 0.01,
        .most = 100,
        .help = "Divides the scores before the softmax",
    },
    {
        .name = "kdb",
        .type = ParameterType::kInt,
        .standard = "1",
        .least = 1,
        .most = 16,
        .help = "Takes every such strided row of queries only",
    },
};

std::optional<Work> work(int64_t tokens, const Setting& setting) {
  if (setting.number("tau") <= 1) return std::nullopt;
  return exactly(causal_pairs(0, tokens));
}

Status check(const Setting& setting) {
  const int64_t block = setting.integer("block"), stride = setting.integer("stride");
  if (block % stride == 0) return Status::ok();
  return error(Code::kInvalidArgument, "stride is ", stride, ", must divide block, ", block);
}

}  // namespace

extern const Row kXattention;
constexpr Row kXattention = {
    .about =
        {
            .name = "xattention",
            .aliases = "x_attention",
            .stage = Stage::kPrefill,
            .summary = "Blocks that score highest along the antidiagonals of small squares",
            .idea =
                "Every column and every diagonal crosses each antidiagonal of a square once, so "
                "the sum along it sees both. Strided queries against reversed strided keys give "
                "all those sums in one product of matrices that is `stride` times smaller; each "
                "block of rows reads the fewest blocks that reach the mass tau, with block 0 and "
                "the diagonal first.",
            .formula = "Q'_a = concat_u q[a s + s - 1 - u];  K'_b = concat_u k[b s + u]\n"
                       "Z = softmax_b(Q' K'^T scale / (s norm)), b <= a\n"
                       "A[I, J] = sum of Z over a in I, b in J\n"
                       "kept of row I: block 0 and the diagonal, then by A, while the sum before "
                       "< tau sum_J A[I, J]",
            .paper = "XAttention: Block Sparse Attention with Antidiagonal Scoring (2025)",
            .cost = "select: T S D / stride multiply-adds a head, softmax of T S / stride^2\n"
                    "attend: the share of blocks kept",
            .capabilities = kChangesKv | kNeedsFullStore | kNeedsSorted | kPerLayerPlan,
            .invariance = Invariance::kRowBlockAligned,
            .row_block = 128,
            .positional = "tau",
            .parameters = kParameters,
            .work = work,
            .check = check,
        },
};

}  // namespace heed
