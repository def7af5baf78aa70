#include "mechanisms/row.h"

// The page formats that the store has by itself.
namespace heed {
namespace {

constexpr Mechanism format(std::string_view name, std::string_view summary, std::string_view idea,
                           std::string_view formula, std::string_view cost) {
  return {
      .name = name,
      .stage = Stage::kKv,
      .summary = summary,
      .idea = idea,
      .formula = formula,
      .paper = "none; sums are in fp32 (docs/numerics.md)",
      .cost = cost,
      .capabilities = kChangesKv | kWindowed | kBidirectional,
      .invariance = Invariance::kExact,
  };
}

}  // namespace

extern const Row kF32Pages, kF16Pages, kBf16Pages;

constexpr Row kF32Pages = {
    .about = format("f32", "Keys or values in 32 bits", "As they were computed: the exact format.",
                    "stored = x", "4 bytes an entry"),
    .built_in = true,
};
constexpr Row kF16Pages = {
    .about = format("f16", "Keys or values in 16 bits, 11 of them of the number",
                    "IEEE half precision: the finest of two bytes, for numbers up to 65,504.",
                    "stored = round_f16(x)", "2 bytes an entry"),
    .built_in = true,
};
constexpr Row kBf16Pages = {
    .about = format("bf16", "Keys or values in 16 bits, 8 of them of the number",
                    "The upper half of a 32-bit number: its whole range, and what processors with "
                    "AVX-512 BF16 multiply.",
                    "stored = round_bf16(x)", "2 bytes an entry"),
    .built_in = true,
};

}  // namespace heed
