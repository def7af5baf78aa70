#include "model/mapped_guard.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <mutex>

namespace heed {
namespace {

// Fixed, because the handler may interrupt anything: it neither locks nor allocates.
struct Range {
  std::atomic<bool> taken{false};
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};  // 0: not guarded
  std::atomic<bool> lost{false};
};
static_assert(std::atomic<uintptr_t>::is_always_lock_free);

constexpr size_t kRanges = 4096;  // the parts of the largest split sets
std::array<Range, kRanges> ranges;
struct sigaction previous;
uintptr_t page_bytes = 0;

// Everything from the page on, at once: a truncated file lacks what follows too, and other parts
// of a range that is lost are of no use.
bool give_zeros(Range& range, uintptr_t address) {
  const uintptr_t first = address / page_bytes * page_bytes;
  range.lost = true;
  return ::mmap(reinterpret_cast<void*>(first), range.end - first, PROT_READ,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

void pass_on(int signal, siginfo_t* info, void* context) {
  if ((previous.sa_flags & SA_SIGINFO) != 0) {
    previous.sa_sigaction(signal, info, context);
  } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(signal);
  } else if (info->si_code > 0 || previous.sa_handler == SIG_DFL) {
    // A fault cannot be ignored: behind this handler the signal ends the process.
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
  if (info->si_code > 0) {  // a fault, not another process's kill()
    const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
    for (Range& range : ranges) {
      if (address < range.begin || address >= range.end) continue;
      if (give_zeros(range, address)) return;
      break;
    }
  }
  pass_on(signal, info, context);
}

void install() {
  page_bytes = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, &previous);
}

Range* range_at(const uint8_t* data) {
  for (Range& range : ranges) {
    if (range.end != 0 && range.begin == reinterpret_cast<uintptr_t>(data)) return &range;
  }
  return nullptr;
}

}  // namespace

bool guard_mapping(const uint8_t* data, size_t bytes) {
  static std::once_flag once;
  std::call_once(once, install);
  for (Range& range : ranges) {
    if (range.taken.exchange(true)) continue;
    const auto begin = reinterpret_cast<uintptr_t>(data);
    range.lost = false;
    range.begin = begin;
    range.end = (begin + bytes + page_bytes - 1) / page_bytes * page_bytes;
    return true;
  }
  return false;
}

void unguard_mapping(const uint8_t* data) {
  if (Range* const range = range_at(data)) {
    range->end = 0;
    range->taken = false;
  }
}

bool mapping_is_lost(const uint8_t* data) {
  const Range* const range = range_at(data);
  return range != nullptr && range->lost;
}

}  // namespace heed
