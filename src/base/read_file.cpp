#include "base/read_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace heed {
namespace {

// A prompt is tokenised in memory at up to 4 bytes a byte; more than this is a mistake.
constexpr size_t kLargestText = size_t{1} << 30;

}  // namespace

Result<std::string> read_all(int fd, const std::string& name) {
  std::string text;
  std::array<char, 1 << 16> block;
  for (;;) {
    const ssize_t n = read(fd, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error(Code::kIo, name, ": ", std::strerror(errno));
    if (n == 0) return text;
    if (text.size() + static_cast<size_t>(n) > kLargestText) {
      return error(Code::kOutOfRange, name, ": more than 1 GiB of text; split it");
    }
    text.append(block.data(), static_cast<size_t>(n));
  }
}

Result<std::string> read_file(const std::string& path, const std::string& name) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return error(Code::kNotFound, name, ": ", std::strerror(errno));
  Result<std::string> text = read_all(fd, name);
  close(fd);
  return text;
}

}  // namespace heed
