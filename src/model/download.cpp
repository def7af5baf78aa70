// The transfers are the program curl's: its TLS, certificates and proxies are the system's, a
// static heed needs none of its own, and whatever a server can do to it stays in another process.
#include "model/download.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.h"
#include "model/child_program.h"

namespace heed {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConnectSeconds = "20";
constexpr const char* kStallSeconds = "60";  // without a byte: the connection is given up
constexpr const char* kRedirects = "10";
constexpr int kPollMilliseconds = 50;       // between looks at the cancel token
constexpr size_t kPieceBytes = 1 << 16;     // what a pipe holds
constexpr size_t kMessageBytes = 16 << 10;  // of what curl says, the rest is dropped

// Exit codes of curl, which are libcurl's and documented.
enum Exit : int {
  kDone = 0,
  kHttp2Error = 16,
  kPartialFile = 18,
  kHttpError = 22,
  kTimedOut = 28,
  kRangeError = 33,
  kGotNothing = 52,
  kSendError = 55,
  kReceiveError = 56,
  kHttp2StreamError = 92,
  kNoProgram = 127,
};

struct Transfer {
  std::FILE* file = nullptr;
  uint64_t begin = 0;  // bytes that were there
  uint64_t done = 0;   // bytes of this transfer
  uint64_t total = 0;  // bytes of the complete file
  int write_errno = 0;
  bool too_long = false;
  const DownloadProgress* progress = nullptr;
  const CancelToken* cancel = nullptr;
};

// How curl ended.
struct Ended {
  int code = kDone;
  bool cancelled = false;
  std::string detail;  // curl's own words, without its name
  long status = 0;     // of an HTTP error
};

// False ends the transfer.
bool take(Transfer& t, const char* data, size_t size) {
  if (size > t.total - t.begin - t.done) {
    t.too_long = true;
    return false;
  }
  if (std::fwrite(data, 1, size, t.file) != size) {
    t.write_errno = errno;
    return false;
  }
  t.done += size;
  return true;
}

Status http_error(const Download& what, long status) {
  const std::string& url = what.url;
  if (status == 401 || status == 403) {
    const std::string& token = what.token_variable;
    if (token.empty()) return error(Code::kIo, url, ": refused (HTTP ", status, ")");
    // Hugging Face also says 401 for what does not exist, so as not to tell.
    return error(Code::kIo, url, ": refused (HTTP ", status,
                 "); the model needs a licence accepted on its page, or is private or gone; ",
                 what.bearer_token.empty()
                     ? cat("set ", token, " to a token of an account that may read it")
                     : cat("the account of this ", token, " may not read it"));
  }
  if (status == 404) return error(Code::kIo, url, ": does not exist (HTTP 404)");
  return error(Code::kIo, url, ": HTTP ", status, "; try again later");
}

Status outcome(const Download& what, const Transfer& t, const Ended& ended) {
  if (t.too_long) {
    return error(Code::kCorrupt, what.url, ": sends more than the ", what.bytes,
                 " bytes of the catalogue");
  }
  if (t.write_errno != 0) {
    const Code kind = t.write_errno == ENOSPC ? Code::kResourceExhausted : Code::kIo;
    return error(kind, what.target, ": ", std::strerror(t.write_errno), " after ", t.begin + t.done,
                 " of ", what.bytes, " bytes; run the command again to continue");
  }
  if (ended.cancelled) {
    return error(Code::kCancelled, "the download of ", what.url, " stopped at ", t.begin + t.done,
                 " of ", what.bytes, " bytes; it continues there next time");
  }
  if (ended.code == kHttpError) return http_error(what, ended.status);
  if (ended.code != kDone) {
    return error(Code::kIo, what.url, ": ", ended.detail, " (at ", t.begin + t.done, " of ",
                 what.bytes, " bytes); run the command again to continue");
  }
  if (t.begin + t.done != what.bytes) {
    return error(Code::kCorrupt, what.url, ": ended after ", t.begin + t.done,
                 " bytes, the catalogue says ", what.bytes);
  }
  return Status::ok();
}

// What one transfer came to, beside its Status.
enum class Ending {
  kFinal,    // the Status stands
  kNoRange,  // the server cannot continue at this place
  kBroken,   // the connection ended early; another one may bring the rest
};

Ending ending_of(const Transfer& t, const Ended& ended) {
  const bool not_satisfied = ended.status == 416 || (ended.code == kDone && t.done == 0);
  if (t.begin > 0 && (ended.code == kRangeError || not_satisfied)) return Ending::kNoRange;
  if (ended.cancelled || t.too_long || t.write_errno != 0 || t.done == 0) return Ending::kFinal;
  switch (ended.code) {
    case kPartialFile:
    case kReceiveError:
    case kGotNothing:
    case kTimedOut:
    case kSendError:
    case kHttp2Error:
    case kHttp2StreamError: return Ending::kBroken;
    default: return Ending::kFinal;
  }
}

// A value of curl's configuration, as its manual quotes them.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

// What other users of the machine should not read among the arguments: a token, a signed address.
Result<Descriptor> private_options(const Download& what) {
  std::string text = cat("url = ", quoted(what.url), "\n");
  if (!what.bearer_token.empty()) {
    // Dropped when a redirect leaves the host, as a download server's does.
    text += cat("oauth2-bearer = ", quoted(what.bearer_token), "\n");
  }
  Descriptor file(memfd_create("curl options", MFD_CLOEXEC));
  if (!file || write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      lseek(file.get(), 0, SEEK_SET) != 0) {
    return error(Code::kIo, "options for curl: ", std::strerror(errno));
  }
  return file;
}

std::vector<std::string> arguments(const Download& what, uint64_t begin) {
  // What was encrypted stays so: only http may lead to http.
  const bool clear = what.url.starts_with("http://");
  return {"curl",
          "--disable",  // no configuration but this
          "--silent",
          "--show-error",
          "--fail",
          "--globoff",
          "--no-buffer",
          "--location",
          "--max-redirs",
          kRedirects,
          "--proto",
          clear ? "=http,https" : "=https,file",
          "--proto-redir",
          clear ? "=http,https" : "=https",
          "--connect-timeout",
          kConnectSeconds,
          "--speed-limit",
          "1",
          "--speed-time",
          kStallSeconds,
          "--user-agent",
          "heed",
          "--continue-at",
          std::to_string(begin),
          "--config",
          "-"};
}

struct Pipe {
  Descriptor read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return error(Code::kIo, "pipe: ", std::strerror(errno));
  return Pipe{Descriptor(ends[0]), Descriptor(ends[1])};
}

// Moves what curl writes into the transfer and what it says into `said`, until it closes both or
// somebody has enough.
Status pump(Transfer& t, Descriptor data, Descriptor words, Ended& ended, std::string& said) {
  std::array<char, kPieceBytes> piece;
  while (data || words) {
    if (t.progress != nullptr && *t.progress) (*t.progress)(t.begin + t.done, t.total);
    ended.cancelled = t.cancel != nullptr && t.cancel->cancelled();
    if (ended.cancelled) return Status::ok();
    std::array<pollfd, 2> waits{pollfd{data.get(), POLLIN, 0}, pollfd{words.get(), POLLIN, 0}};
    const int ready = poll(waits.data(), waits.size(), kPollMilliseconds);
    if (ready < 0 && errno != EINTR) return error(Code::kIo, "poll: ", std::strerror(errno));
    if (ready <= 0) continue;
    for (size_t i = 0; i < waits.size(); ++i) {
      if (waits[i].revents == 0) continue;
      const ssize_t n = read(waits[i].fd, piece.data(), piece.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return error(Code::kIo, "reading from curl: ", std::strerror(errno));
      const auto size = static_cast<size_t>(n);
      if (size == 0) {
        (i == 0 ? data : words).reset();
      } else if (i == 0) {
        if (!take(t, piece.data(), size)) return Status::ok();
      } else {
        said.append(piece.data(), std::min(size, kMessageBytes - said.size()));
      }
    }
  }
  return Status::ok();
}

// "curl: (22) The requested URL returned error: 404" without its beginning, and the 404.
void explain(std::string_view said, Ended& ended) {
  constexpr std::string_view kHttpWords = "returned error: ";
  if (const size_t at = said.find("curl: ("); at != said.npos) said.remove_prefix(at);
  if (const size_t at = said.find(") "); at != said.npos) said.remove_prefix(at + 2);
  ended.detail = said.substr(0, said.find('\n'));
  if (ended.detail.empty()) ended.detail = cat("curl ended with code ", ended.code);
  if (const size_t at = ended.detail.find(kHttpWords); at != std::string::npos) {
    ended.status = std::strtol(ended.detail.c_str() + at + kHttpWords.size(), nullptr, 10);
  }
}

// One transfer from offset `t.begin`.
Status transfer(const Download& what, Transfer& t, Ending& ending) {
  HEED_ASSIGN(const Descriptor options, private_options(what));
  HEED_ASSIGN(Pipe data, make_pipe());
  HEED_ASSIGN(Pipe words, make_pipe());
  Program program;
  program.arguments = arguments(what, t.begin);
  program.in = options.get();
  program.out = data.write.get();
  program.err = words.write.get();
  program.needed_for = cat("downloads need the program curl; install it, or bring ", what.url,
                           " here by other means and name the file with -m");
  HEED_ASSIGN(ChildProgram curl, ChildProgram::start(program));
  data.write.reset();
  words.write.reset();
  Ended ended;
  std::string said;
  HEED_TRY(pump(t, std::move(data.read), std::move(words.read), ended, said));
  if (!ended.cancelled && !t.too_long && t.write_errno == 0) {
    HEED_ASSIGN(ended.code, curl.wait());
    explain(said, ended);
  }
  if (ended.code == kNoProgram) return error(Code::kIo, "curl: not found; ", program.needed_for);
  ending = ending_of(t, ended);
  return outcome(what, t, ended);
}

// A line break would begin another option of curl or another header.
Status check_text(const std::string& name, std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') {
      return error(Code::kInvalidArgument, name, " holds the control character ",
                   static_cast<int>(c), "; remove it");
    }
  }
  return Status::ok();
}

// A token over http can be read on the way, except on this machine.
Status check_token(const Download& what) {
  if (what.bearer_token.empty() || !what.url.starts_with("http://")) return Status::ok();
  std::string_view host = std::string_view(what.url).substr(std::strlen("http://"));
  host = host.substr(0, host.find_first_of("/?#"));
  const bool plain = host.find('@') == std::string_view::npos;  // before it would be a user's name
  host = host.substr(0, host.find(':'));
  if (plain && (host == "127.0.0.1" || host == "localhost")) return Status::ok();
  return error(Code::kInvalidArgument, what.url, ": ", what.token_variable,
               " would cross the network in the clear; use https, or unset ", what.token_variable);
}

// Begins or continues `target` at `begin`.
Status transfer_to_file(const Download& what, Transfer& t, Ending& ending) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      std::fopen(what.target.c_str(), t.begin > 0 ? "ab" : "wb"), std::fclose);
  if (!file) return error(Code::kIo, what.target, ": ", std::strerror(errno));
  t.file = file.get();
  Status status = transfer(what, t, ending);
  if (std::fflush(file.get()) != 0 && (status.is_ok() || ending != Ending::kFinal)) {
    ending = Ending::kFinal;
    return error(Code::kIo, what.target, ": ", std::strerror(errno));
  }
  return status;
}

}  // namespace

Status download(const Download& what, const DownloadProgress& progress, const CancelToken* cancel) {
  HEED_TRY(check_text("the address", what.url));
  HEED_TRY(check_text(what.token_variable, what.bearer_token));
  HEED_TRY(check_token(what));
  std::error_code ignored;
  uint64_t begin = fs::exists(what.target, ignored) ? fs::file_size(what.target, ignored) : 0;
  if (begin == what.bytes) return Status::ok();
  if (begin > what.bytes) begin = 0;  // not a beginning of this file
  uint64_t furthest = begin;
  while (true) {
    Transfer t;
    t.begin = begin;
    t.total = what.bytes;
    t.progress = &progress;
    t.cancel = cancel;
    Ending ending = Ending::kFinal;
    Status status = transfer_to_file(what, t, ending);
    if (ending == Ending::kFinal) return status;
    if (ending == Ending::kNoRange) {
      begin = 0;
      continue;
    }
    begin = t.begin + t.done;
    if (begin <= furthest) return status;  // a server that always ends at the same place
    furthest = begin;
  }
}

}  // namespace heed
