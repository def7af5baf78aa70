// Storage formats of keys and values, and the page they live in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "heed/status.h"

namespace heed {

// A page holds this many tokens of one KV head of one layer. 64 keys fill the register tile
// (4 zmm columns) and a 64-bit mask.
inline constexpr int kPageTokens = 64;

// Pages that hold `slots` slots. 64 bits: a list may end next to slot 2^31.
constexpr int64_t pages_for(int64_t slots) { return (slots + kPageTokens - 1) / kPageTokens; }

// Accumulation is always fp32; the format says how K and V are stored and multiplied.
enum class Format : uint8_t { kF32, kF16, kBf16 };
inline constexpr int kFormatCount = 3;

const char* format_name(Format format);  // "f32", "f16", "bf16"
Result<Format> parse_format(std::string_view name);

// Bytes that one row of d values occupies in this format, without padding of its page.
size_t row_bytes(Format format, int d);

// Limits of head sizes: even, from 2 to this.
inline constexpr int kMaxHeadSize = 576;

}  // namespace heed
