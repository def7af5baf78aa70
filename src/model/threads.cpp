#include "model/threads.h"

#include <ggml.h>
#include <sched.h>

#include <algorithm>
#include <latch>
#include <system_error>
#include <thread>
#include <vector>

#include "base/text.h"

namespace heed {

Result<int> resolve_threads(int asked) {
  static_assert(kMaxThreads == GGML_MAX_N_THREADS);
  if (asked < 0 || asked > kMaxThreads) {
    return error(Code::kOutOfRange, "threads is ", asked, ", must be 0 (all cores) to ",
                 kMaxThreads);
  }
  if (asked > 0) return asked;
  // Not hardware_concurrency: a container or taskset may allow fewer.
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  int cores = static_cast<int>(std::thread::hardware_concurrency());
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) == 0) cores = CPU_COUNT(&allowed);
  return std::clamp(cores, 1, kMaxThreads);
}

Status check_threads_available(int count) {
  std::latch done(1);
  std::vector<std::jthread> threads;  // all alive until the latch opens
  threads.reserve(static_cast<size_t>(std::max(count, 0)));
  Status status;
  try {
    for (int i = 0; i < count; ++i) threads.emplace_back([&done] { done.wait(); });
  } catch (const std::system_error& e) {
    status = error(Code::kResourceExhausted, "the system gave ", threads.size(), " of ", count,
                   " threads (", e.what(), "); use at most ", threads.size() + 1, " threads");
  } catch (...) {
    done.count_down();
    throw;
  }
  done.count_down();
  return status;
}

}  // namespace heed
