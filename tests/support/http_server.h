// An HTTP/1.1 server of one thread on 127.0.0.1, whose replies a test decides. Each connection
// brings one request.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace heed {

struct HttpRequest {
  std::string method, path;
  std::map<std::string, std::string> headers;  // names in lower case

  std::string header(const std::string& name) const {
    const auto at = headers.find(name);
    return at == headers.end() ? "" : at->second;
  }
  // The first byte that a Range header asks for; 0 without one.
  size_t range_begin() const {
    const std::string range = header("range");
    return range.empty() ? 0 : std::stoul(range.substr(std::string("bytes=").size()));
  }
};

struct HttpReply {
  int status = 200;
  std::vector<std::string> headers = {};  // "Location: ..."
  std::string body = {};
  size_t sent = std::string::npos;  // bytes of the body before the connection ends
  bool tells_length = true;
  int silent_ms = 0;  // behind the bytes sent, before the connection ends
};

// The file as a server with ranges sends it.
inline HttpReply with_ranges(const HttpRequest& request, const std::string& file) {
  if (request.header("range").empty()) return {.body = file};
  const size_t begin = request.range_begin();
  const std::string size = std::to_string(file.size());
  if (begin >= file.size()) {
    return {.status = 416, .headers = {"Content-Range: bytes */" + size}, .body = "no such range"};
  }
  const std::string last = std::to_string(file.size() - 1);
  return {
      .status = 206,
      .headers = {"Content-Range: bytes " + std::to_string(begin) + "-" + last + "/" + size},
      .body = file.substr(begin),
  };
}

class HttpServer {
 public:
  using Handler = std::function<HttpReply(const HttpRequest&)>;

  explicit HttpServer(Handler handler) : handler_(std::move(handler)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);  // and a port that the system chooses
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (listener_ < 0 || bind(listener_, any, size) != 0 || listen(listener_, 8) != 0 ||
        getsockname(listener_, any, &size) != 0 || pipe(stop_) != 0) {
      throw std::runtime_error("no server on 127.0.0.1");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer() {
    close(stop_[1]);
    thread_.join();
    close(stop_[0]);
    close(listener_);
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::vector<HttpRequest> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void serve() {
    while (!stopped(listener_)) {
      const int connection = accept(listener_, nullptr, nullptr);
      if (connection < 0) continue;
      answer(connection);
      close(connection);
    }
  }

  // Waits until `fd` can be read; true when the test is over first.
  bool stopped(int fd, int timeout_ms = -1) const {
    pollfd both[2] = {{stop_[0], POLLIN, 0}, {fd, POLLIN, 0}};
    poll(both, fd < 0 ? 1 : 2, timeout_ms);
    return both[0].revents != 0;
  }

  void answer(int connection) {
    std::string head;
    char byte = 0;
    while (!head.ends_with("\r\n\r\n")) {
      if (stopped(connection) || read(connection, &byte, 1) != 1) return;
      head += byte;
    }
    const HttpRequest request = parse(head);
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
    }
    const HttpReply reply = handler_(request);
    std::string text = "HTTP/1.1 " + std::to_string(reply.status) + " Reply\r\n";
    for (const std::string& header : reply.headers) text += header + "\r\n";
    if (reply.tells_length) {
      text += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n";
    }
    text += "Connection: close\r\n\r\n" + reply.body.substr(0, reply.sent);
    for (size_t at = 0; at < text.size();) {
      const ssize_t n = send(connection, text.data() + at, text.size() - at, MSG_NOSIGNAL);
      if (n <= 0) return;
      at += static_cast<size_t>(n);
    }
    if (reply.silent_ms > 0) stopped(-1, reply.silent_ms);
    // Closing with a request half read would reset the connection and lose bytes on their way.
    shutdown(connection, SHUT_WR);
  }

  static HttpRequest parse(const std::string& head) {
    HttpRequest out;
    const size_t first = head.find(' '), second = head.find(' ', first + 1);
    out.method = head.substr(0, first);
    out.path = head.substr(first + 1, second - first - 1);
    for (size_t at = head.find("\r\n") + 2; at + 2 < head.size();) {
      const size_t end = head.find("\r\n", at), colon = head.find(": ", at);
      std::string name = head.substr(at, colon - at);
      std::transform(name.begin(), name.end(), name.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      out.headers[name] = head.substr(colon + 2, end - colon - 2);
      at = end + 2;
    }
    return out;
  }

  Handler handler_;
  int listener_ = -1;
  int stop_[2] = {-1, -1};
  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<HttpRequest> requests_;
  std::thread thread_;
};

}  // namespace heed
