#include "model/threads.h"

#include <ggml.h>
#include <sched.h>

#include <algorithm>
#include <thread>

#include "base/text.h"

namespace heed {

Result<int> resolve_threads(int asked) {
  if (asked < 0 || asked > GGML_MAX_N_THREADS) {
    return error(Code::kOutOfRange, "threads is ", asked, ", must be 0 (all cores) to ",
                 GGML_MAX_N_THREADS);
  }
  if (asked > 0) return asked;
  // Not hardware_concurrency: a container or taskset may allow fewer.
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  int cores = static_cast<int>(std::thread::hardware_concurrency());
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) == 0) cores = CPU_COUNT(&allowed);
  return std::clamp(cores, 1, GGML_MAX_N_THREADS);
}

}  // namespace heed
