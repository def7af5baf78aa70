#include "model/download.h"

#include <curl/curl.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>

#include "base/text.h"

namespace heed {
namespace {

namespace fs = std::filesystem;

constexpr long kConnectSeconds = 20;
constexpr long kStallSeconds = 60;  // without a byte: the connection is given up, the file kept
constexpr long kRedirects = 10;
constexpr int kPollMilliseconds = 100;  // between looks at the cancel token

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

// A return value other than `size` ends the transfer.
size_t on_data(char* data, size_t, size_t size, void* user) {
  auto& t = *static_cast<Transfer*>(user);
  if (size > t.total - t.begin - t.done) {
    t.too_long = true;
    return 0;
  }
  if (std::fwrite(data, 1, size, t.file) != size) {
    t.write_errno = errno;
    return 0;
  }
  t.done += size;
  return size;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto& t = *static_cast<const Transfer*>(user);
  if (t.progress != nullptr && *t.progress) (*t.progress)(t.begin + t.done, t.total);
  return t.cancel != nullptr && t.cancel->cancelled() ? 1 : 0;
}

// What was encrypted stays so: only http may lead to http.
void set_protocols(CURL* curl, bool clear) {
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, clear ? "http,https" : "https,file");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, clear ? "http,https" : "https");
#else
  const long http = clear ? CURLPROTO_HTTP : 0;
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS, http | CURLPROTO_HTTPS | (clear ? 0 : CURLPROTO_FILE));
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS, http | CURLPROTO_HTTPS);
#endif
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

Status outcome(const Download& what, const Transfer& t, CURLcode code, long status,
               const char* detail) {
  if (t.too_long) {
    return error(Code::kCorrupt, what.url, ": sends more than the ", what.bytes,
                 " bytes of the catalogue");
  }
  if (t.write_errno != 0) {
    const Code kind = t.write_errno == ENOSPC ? Code::kResourceExhausted : Code::kIo;
    return error(kind, what.target, ": ", std::strerror(t.write_errno), " after ", t.begin + t.done,
                 " of ", what.bytes, " bytes; run the command again to continue");
  }
  if (code == CURLE_ABORTED_BY_CALLBACK) {
    return error(Code::kCancelled, "the download of ", what.url, " stopped at ", t.begin + t.done,
                 " of ", what.bytes, " bytes; it continues there next time");
  }
  if (code == CURLE_HTTP_RETURNED_ERROR) return http_error(what, status);
  if (code != CURLE_OK) {
    const char* why = *detail != '\0' ? detail : curl_easy_strerror(code);
    return error(Code::kIo, what.url, ": ", why, " (at ", t.begin + t.done, " of ", what.bytes,
                 " bytes); run the command again to continue");
  }
  if (t.begin + t.done != what.bytes) {
    return error(Code::kCorrupt, what.url, ": ended after ", t.begin + t.done,
                 " bytes, the catalogue says ", what.bytes);
  }
  return Status::ok();
}

struct MultiFree {
  CURL* easy;
  void operator()(CURLM* multi) const {
    curl_multi_remove_handle(multi, easy);
    curl_multi_cleanup(multi);
  }
};

// As curl_easy_perform, which looks at the cancel token once a second only while nothing arrives.
CURLcode perform(CURL* curl, const Transfer& t) {
  const std::unique_ptr<CURLM, MultiFree> multi(curl_multi_init(), MultiFree{curl});
  if (!multi || curl_multi_add_handle(multi.get(), curl) != CURLM_OK) return CURLE_OUT_OF_MEMORY;
  int running = 1;
  while (true) {
    if (curl_multi_perform(multi.get(), &running) != CURLM_OK) return CURLE_OUT_OF_MEMORY;
    if (running == 0) break;
    if (t.cancel != nullptr && t.cancel->cancelled()) return CURLE_ABORTED_BY_CALLBACK;
    if (curl_multi_poll(multi.get(), nullptr, 0, kPollMilliseconds, nullptr) != CURLM_OK) {
      return CURLE_OUT_OF_MEMORY;
    }
  }
  int left = 0;
  const CURLMsg* message = curl_multi_info_read(multi.get(), &left);
  return message != nullptr ? message->data.result : CURLE_GOT_NOTHING;
}

// What one transfer came to, beside its Status.
enum class Ending {
  kFinal,    // the Status stands
  kNoRange,  // the server cannot continue at this place
  kBroken,   // the connection ended early; another one may bring the rest
};

Ending ending_of(const Transfer& t, CURLcode code, long status) {
  if (t.begin > 0 && (code == CURLE_RANGE_ERROR || status == 416)) return Ending::kNoRange;
  if (t.too_long || t.write_errno != 0 || t.done == 0) return Ending::kFinal;
  const bool broken = code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR ||
                      code == CURLE_GOT_NOTHING || code == CURLE_OPERATION_TIMEDOUT ||
                      code == CURLE_SEND_ERROR || code == CURLE_HTTP2 || code == CURLE_HTTP2_STREAM;
  return broken ? Ending::kBroken : Ending::kFinal;
}

// One transfer from offset `t.begin`.
Status transfer(const Download& what, Transfer& t, Ending& ending) {
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  if (!curl) return error(Code::kResourceExhausted, "libcurl could not be started");
  char detail[CURL_ERROR_SIZE] = "";
  set_protocols(curl.get(), what.url.starts_with("http://"));
  curl_easy_setopt(curl.get(), CURLOPT_URL, what.url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl.get(), CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_MAXREDIRS, kRedirects);
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(curl.get(), CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_LOW_SPEED_TIME, kStallSeconds);
  curl_easy_setopt(curl.get(), CURLOPT_USERAGENT, "heed");
  curl_easy_setopt(curl.get(), CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(t.begin));
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, on_data);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &t);
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFODATA, &t);
  curl_easy_setopt(curl.get(), CURLOPT_NOPROGRESS, 0L);
  if (!what.bearer_token.empty()) {
    // libcurl drops this header when a redirect leaves the host, as a download server's does.
    curl_easy_setopt(curl.get(), CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    curl_easy_setopt(curl.get(), CURLOPT_XOAUTH2_BEARER, what.bearer_token.c_str());
  }
  const CURLcode code = perform(curl.get(), t);
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  ending = ending_of(t, code, status);
  return outcome(what, t, code, status, detail);
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
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });

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
