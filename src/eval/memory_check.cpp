#include "eval/memory_check.h"

#include "base/text.h"
#include "base/units.h"
#include "session/available_memory.h"

namespace heed::eval {

uint64_t total_bytes(std::span<const MemoryNeed> needs) {
  uint64_t sum = 0;
  for (const MemoryNeed& need : needs) sum += need.bytes;
  return sum;
}

bool fits_in_memory(std::span<const MemoryNeed> needs) {
  const auto available = available_memory();
  return !available || total_bytes(needs) <= *available;
}

Status check_memory(const std::string& work, std::span<const MemoryNeed> needs,
                    const std::string& way_out,
                    const std::function<void(const std::string&)>& say) {
  const auto available = available_memory();
  const uint64_t sum = total_bytes(needs);
  if (!available) {
    if (say) {
      say(cat("how much memory is available is unknown; ", work, " takes about ", bytes_text(sum)));
    }
    return Status::ok();
  }
  if (sum <= *available) return Status::ok();
  std::string parts;
  for (const MemoryNeed& need : needs) {
    parts += cat(parts.empty() ? "" : ", ", need.what, " ", bytes_text(need.bytes));
  }
  return error(Code::kResourceExhausted, work, " would take ", bytes_text(sum), " (", parts,
               "), available are ", bytes_text(*available), "; ", way_out);
}

}  // namespace heed::eval
