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

void set_protocols(CURL* curl) {
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https,file");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "https");
#else
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS, CURLPROTO_HTTPS | CURLPROTO_FILE);
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS, CURLPROTO_HTTPS);
#endif
}

Status http_error(const std::string& url, long status) {
  if (status == 401 || status == 403) {
    return error(Code::kIo, url, ": refused (HTTP ", status,
                 "); accept the model's licence on its page and set HF_TOKEN");
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
  if (code == CURLE_HTTP_RETURNED_ERROR) return http_error(what.url, status);
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

// One transfer from offset `t.begin`. `ignored_range` tells that the server cannot continue.
Status transfer(const Download& what, Transfer& t, bool& ignored_range) {
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  if (!curl) return error(Code::kResourceExhausted, "libcurl could not be started");
  char detail[CURL_ERROR_SIZE] = "";
  set_protocols(curl.get());
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
  const CURLcode code = curl_easy_perform(curl.get());
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  ignored_range = t.begin > 0 && (code == CURLE_RANGE_ERROR || status == 416);
  return outcome(what, t, code, status, detail);
}

}  // namespace

Status download(const Download& what, const DownloadProgress& progress, const CancelToken* cancel) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });

  std::error_code ignored;
  uint64_t begin = fs::exists(what.target, ignored) ? fs::file_size(what.target, ignored) : 0;
  if (begin == what.bytes) return Status::ok();
  if (begin > what.bytes) begin = 0;  // not a beginning of this file
  while (true) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
        std::fopen(what.target.c_str(), begin > 0 ? "ab" : "wb"), std::fclose);
    if (!file) return error(Code::kIo, what.target, ": ", std::strerror(errno));
    Transfer t;
    t.file = file.get();
    t.begin = begin;
    t.total = what.bytes;
    t.progress = &progress;
    t.cancel = cancel;
    bool ignored_range = false;
    Status status = transfer(what, t, ignored_range);
    if (status.is_ok() && std::fflush(file.get()) != 0) {
      return error(Code::kIo, what.target, ": ", std::strerror(errno));
    }
    if (!ignored_range) return status;
    begin = 0;
  }
}

}  // namespace heed
