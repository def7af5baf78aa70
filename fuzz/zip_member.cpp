// A wheel from an index: any bytes give the member that its directory declares, or an error.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "model/zip_member.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const int fd = memfd_create("fuzz.zip", MFD_CLOEXEC);
  if (fd < 0 || write(fd, data, size) != static_cast<ssize_t>(size)) std::abort();
  size_t total = 0;
  // An early stop, so that a small archive of zeros cannot take the run's time.
  const heed::Status status = heed::read_zip_member(
      "/proc/self/fd/" + std::to_string(fd), "a", [&](const void*, size_t piece) {
        total += piece;
        return total > (16u << 20) ? heed::Status(heed::Code::kOutOfRange, "enough")
                                   : heed::Status::ok();
      });
  close(fd);
  if (status.is_ok() && total > (16u << 20)) std::abort();
  return 0;
}
