#include "model/pip.h"

#include <fcntl.h>
#include <signal.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/clock.h"
#include "base/text.h"
#include "model/child_program.h"

namespace heed {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

// Both together stay below the 150 ms after which the command line ends the process itself: pip
// must be gone by then, or it would go on downloading without a parent.
constexpr auto kPoll = milliseconds(20);
constexpr auto kGrace = milliseconds(60);  // from SIGTERM to SIGKILL

// Wheel file names write runs of -, _ and . of the package's name as one _ (PEP 427).
std::string wheel_prefix(const PackagePart& part) {
  std::string out;
  for (const char c : part.package) {
    const bool separator = c == '-' || c == '_' || c == '.';
    if (separator && !out.empty() && out.back() == '_') continue;
    out += separator ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return cat(out, "-", part.version, "-");
}

std::string find_wheel(const std::string& folder, const PackagePart& part) {
  const std::string prefix = wheel_prefix(part);
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    std::string name = entry.path().filename();
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (name.starts_with(prefix) && name.ends_with(".whl")) return entry.path();
  }
  return {};
}

uint64_t bytes_below(const std::string& folder) {
  uint64_t sum = 0;
  std::error_code ignored;
  // pip deletes its temporary files while we look; what has gone counts nothing.
  for (auto it = fs::recursive_directory_iterator(folder, ignored);
       it != fs::recursive_directory_iterator(); it.increment(ignored)) {
    std::error_code gone;
    const uint64_t size = it->is_regular_file(gone) ? it->file_size(gone) : 0;
    if (!gone) sum += size;
  }
  return sum;
}

// Waits for pip; its exit code, or kCancelled after ending it.
Result<int> wait_for(ChildProgram& pip, const std::function<void()>& tick,
                     const CancelToken* cancel) {
  bool stopping = false;
  Clock::time_point deadline = Clock::time_point::max();
  while (true) {
    bool ended = false;
    const Result<int> code = pip.try_wait(ended);
    if (ended && code.is_ok() && stopping) {
      pip.signal_group(SIGKILL);  // what the group still holds; none left is the usual case
      return error(Code::kCancelled, "pip was stopped");
    }
    if (ended) return code;
    if (!stopping && cancel != nullptr && cancel->cancelled()) {
      stopping = true;
      deadline = Clock::now() + kGrace;
      pip.signal_group(SIGTERM);
    } else if (stopping && Clock::now() > deadline) {
      pip.signal_group(SIGKILL);
    }
    tick();
    std::this_thread::sleep_for(kPoll);
  }
}

// Why pip gave up: the last line that it wrote, usually its ERROR. Without a network that line says
// only that no such package exists, so a broken connection is looked for.
std::string reason(const std::string& log) {
  std::ifstream in(log);
  std::string line;
  std::string last;
  bool unreachable = false;
  while (std::getline(in, line)) {
    if (line.find("connection broken by") != std::string::npos) unreachable = true;
    if (!line.empty()) last = line;
  }
  return unreachable ? "the Python index could not be reached: " + last : last;
}

}  // namespace

Result<std::string> fetch_wheel(const WheelRequest& request,
                                const std::function<void(uint64_t done)>& progress,
                                const CancelToken* cancel) {
  if (std::string found = find_wheel(request.folder, request.part); !found.empty()) return found;
  // pip writes here first, so that a wheel in `folder` is always complete.
  const std::string temp = request.folder + "/incoming";
  std::error_code fault;
  fs::remove_all(temp, fault);
  fs::create_directories(temp, fault);
  if (fault) return error(Code::kIo, temp, ": ", fault.message());

  const std::string pinned = cat(request.part.package, "==", request.part.version);
  const Descriptor log(open(request.log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!log) return error(Code::kIo, request.log, ": ", std::strerror(errno));
  Program program;
  program.arguments = {"python3",
                       "-m",
                       "pip",
                       "download",
                       "--no-input",
                       "--no-deps",
                       "--disable-pip-version-check",
                       "--no-cache-dir",
                       "--only-binary",
                       ":all:",
                       "--dest",
                       temp,
                       "--",
                       pinned};
  program.variable = "TMPDIR=" + temp;
  program.out = program.err = log.get();
  program.needed_for = "models of the Python index need python3 with pip";
  HEED_ASSIGN(ChildProgram pip, ChildProgram::start(program));
  Result<int> code = wait_for(
      pip, [&] { progress(bytes_below(temp)); }, cancel);
  if (!code.is_ok() || *code != 0) {
    fs::remove_all(temp, fault);
    HEED_TRY(code.status());
    return error(Code::kIo, "pip could not fetch ", pinned, ": ", reason(request.log),
                 " (the full log is ", request.log, ")");
  }
  const std::string arrived = find_wheel(temp, request.part);
  if (arrived.empty()) {
    return error(Code::kIo, "pip brought no wheel of ", pinned, "; see ", request.log);
  }
  const std::string target = request.folder + "/" + fs::path(arrived).filename().string();
  fs::rename(arrived, target, fault);
  if (fault) return error(Code::kIo, target, ": ", fault.message());
  fs::remove_all(temp, fault);
  return target;
}

}  // namespace heed
