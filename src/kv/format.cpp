#include "heed/format.h"

#include "base/text.h"

namespace heed {

const char* format_name(Format format) {
  switch (format) {
    case Format::kF32: return "f32";
    case Format::kF16: return "f16";
    case Format::kBf16: return "bf16";
  }
  return "unknown";
}

Result<Format> parse_format(std::string_view name) {
  for (int i = 0; i < kFormatCount; ++i) {
    if (name == format_name(static_cast<Format>(i))) return static_cast<Format>(i);
  }
  return error(Code::kInvalidArgument, "unknown cache format '", name,
               "': heed knows f32, f16 and bf16");
}

size_t row_bytes(Format format, int d) {
  return static_cast<size_t>(d) * (format == Format::kF32 ? 4 : 2);
}

}  // namespace heed
