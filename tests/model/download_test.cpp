// Pulling over HTTP from a server in this process: ranges, broken connections, redirects, refusals.
#include "model/download.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "http_server.h"
#include "model/pull.h"
#include "model/sha256.h"
#include "model_entry.h"
#include "model_home.h"

namespace heed {
namespace {

namespace fs = std::filesystem;

class PullHttp : public testing::Test {
 protected:
  // A model whose only source is owner/repo on `server`, as Hugging Face would have it.
  ModelEntry entry() const {
    ModelSource source;
    source.kind = ModelSource::Kind::kHuggingFace;
    source.repo = "owner/repo";
    source.file = "h-q4_1.gguf";
    return entry_of("h", file_, source);
  }

  Result<std::string> pull(const HttpServer& server, const PullOptions& options = {}) const {
    const ScopedEnv endpoint("HF_ENDPOINT", server.url());
    return pull_model(entry(), options);
  }

  void expect_pulled(const Result<std::string>& path) const {
    ASSERT_TRUE(path.is_ok()) << path.message();
    EXPECT_TRUE(ModelHome::read(*path) == file_);
    EXPECT_FALSE(fs::exists(home_.path("models/.partial/h.gguf")));
  }

  void have(const std::string& bytes) const { home_.write(kPartial, bytes); }
  std::string partial() const { return ModelHome::read(home_.path(kPartial)); }

  static constexpr const char* kPartial = "models/.partial/h.gguf/source0";
  const ModelHome home_;
  const std::string file_ = noise(300'001);
  const ScopedEnv no_proxy_{"no_proxy", "127.0.0.1"};
  const ScopedEnv no_token_{"HF_TOKEN", std::nullopt};
  const ScopedEnv online_{"HF_HUB_OFFLINE", std::nullopt};
};

TEST_F(PullHttp, the_file_of_a_repository_is_asked_for_and_brought) {
  const HttpServer server([&](const HttpRequest& r) { return with_ranges(r, file_); });
  expect_pulled(pull(server));
  ASSERT_EQ(server.requests().size(), 1u);
  const HttpRequest request = server.requests()[0];
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.path, "/owner/repo/resolve/main/h-q4_1.gguf");
  EXPECT_EQ(request.header("range"), "");
  EXPECT_EQ(request.header("authorization"), "");
}

TEST_F(PullHttp, what_is_there_is_not_asked_for_again) {
  have(file_.substr(0, 100'003));
  const HttpServer server([&](const HttpRequest& r) { return with_ranges(r, file_); });
  uint64_t first = 0;
  PullOptions options;
  options.progress = [&](const PullProgress& p) { first = first == 0 ? p.done : first; };
  expect_pulled(pull(server, options));
  ASSERT_EQ(server.requests().size(), 1u);
  EXPECT_EQ(server.requests()[0].header("range"), "bytes=100003-");
  EXPECT_GE(first, 100'003u);
}

TEST_F(PullHttp, a_server_without_ranges_is_read_from_the_start) {
  have(file_.substr(0, 100'003));
  const HttpServer server([&](const HttpRequest&) { return HttpReply{.body = file_}; });
  expect_pulled(pull(server));
  EXPECT_EQ(server.requests().back().header("range"), "");
}

TEST_F(PullHttp, a_range_that_the_server_cannot_satisfy_is_read_from_the_start) {
  have(file_.substr(0, 100'003));
  const HttpServer server([&](const HttpRequest& r) {
    return r.header("range").empty() ? HttpReply{.body = file_}
                                     : HttpReply{.status = 416, .body = "no"};
  });
  expect_pulled(pull(server));
  EXPECT_EQ(server.requests().size(), 2u);
}

TEST_F(PullHttp, a_range_from_another_place_is_not_appended) {
  have(file_.substr(0, 100'003));
  const HttpServer server([&](const HttpRequest& r) {
    HttpReply reply = with_ranges(r, file_);
    if (reply.status == 206) {
      reply.headers = {"Content-Range: bytes 5-300000/300001"};
      reply.body = file_.substr(5);
    }
    return reply;
  });
  expect_pulled(pull(server));
}

TEST_F(PullHttp, a_complete_file_of_an_earlier_pull_needs_no_server) {
  have(file_);
  const HttpServer server([&](const HttpRequest&) { return HttpReply{.status = 500}; });
  expect_pulled(pull(server));
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(PullHttp, what_is_longer_than_the_file_or_another_file_is_fetched_anew) {
  const HttpServer server([&](const HttpRequest& r) { return with_ranges(r, file_); });
  for (const size_t size : {file_.size() + 7, file_.size(), file_.size() / 2}) {
    fs::remove(home_.path("models/h.gguf"));
    have(std::string(size, 'x'));
    expect_pulled(pull(server));
  }
}

TEST_F(PullHttp, a_connection_that_breaks_is_opened_again_where_it_broke) {
  const HttpServer server([&](const HttpRequest& r) {
    HttpReply reply = with_ranges(r, file_);
    reply.sent = 70'000;
    return reply;
  });
  expect_pulled(pull(server));
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 5u);  // of 70,000 bytes each, but for the last
  EXPECT_EQ(requests[0].header("range"), "");
  for (size_t i = 1; i < requests.size(); ++i) EXPECT_EQ(requests[i].range_begin(), 70'000 * i);
}

TEST_F(PullHttp, a_server_that_goes_away_leaves_a_beginning_and_the_words_how_to_continue) {
  const HttpServer server([&](const HttpRequest& r) {
    HttpReply reply = with_ranges(r, file_);
    reply.sent = r.header("range").empty() ? 70'000 : 0;
    return reply;
  });
  const auto path = pull(server);
  EXPECT_EQ(path.code(), Code::kIo);
  for (const char* text : {"at 70000 of 300001 bytes", "again to continue"}) {
    EXPECT_NE(path.message().find(text), std::string::npos) << path.message();
  }
  EXPECT_FALSE(fs::exists(home_.path("models/h.gguf")));
  EXPECT_TRUE(partial() == file_.substr(0, 70'000));
  const HttpServer back([&](const HttpRequest& r) { return with_ranges(r, file_); });
  expect_pulled(pull(back));
  EXPECT_EQ(back.requests()[0].range_begin(), 70'000u);
}

TEST_F(PullHttp, a_server_without_ranges_that_always_breaks_at_one_place_ends_the_pull) {
  const HttpServer server(
      [&](const HttpRequest&) { return HttpReply{.body = file_, .sent = 70'000}; });
  EXPECT_EQ(pull(server).code(), Code::kIo);
  EXPECT_LE(server.requests().size(), 3u);
}

TEST_F(PullHttp, bytes_that_are_not_the_catalogues_are_refused_with_both_hashes_and_go) {
  std::string other = file_;
  other[5] = static_cast<char>(~other[5]);
  const HttpServer server([&](const HttpRequest& r) { return with_ranges(r, other); });
  const auto path = pull(server);
  EXPECT_EQ(path.code(), Code::kCorrupt);
  EXPECT_NE(path.message().find(sha256_hex(file_)), std::string::npos) << path.message();
  EXPECT_NE(path.message().find(sha256_hex(other)), std::string::npos) << path.message();
  EXPECT_FALSE(fs::exists(home_.path("models/h.gguf")));
  EXPECT_FALSE(fs::exists(home_.path(kPartial)));
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST_F(PullHttp, more_or_fewer_bytes_than_the_catalogues_are_refused_and_go) {
  for (const bool tells_length : {true, false}) {
    for (const std::string& sent : {file_ + "x", file_.substr(0, 1000), std::string()}) {
      const HttpServer server([&](const HttpRequest&) {
        return HttpReply{.body = sent, .tells_length = tells_length};
      });
      const auto path = pull(server);
      EXPECT_EQ(path.code(), Code::kCorrupt) << path.message();
      EXPECT_NE(path.message().find("300001"), std::string::npos) << path.message();
      EXPECT_FALSE(fs::exists(home_.path("models/h.gguf")));
      EXPECT_FALSE(fs::exists(home_.path(kPartial)));
    }
  }
}

TEST_F(PullHttp, the_name_appears_with_the_last_byte_verified_and_not_before) {
  const HttpServer server([&](const HttpRequest& r) { return with_ranges(r, file_); });
  PullOptions options;
  bool verified = false;
  options.progress = [&](const PullProgress& p) {
    verified = verified || (p.what == "verifying sha256" && p.done == file_.size());
    EXPECT_FALSE(fs::exists(home_.path("models/h.gguf"))) << p.what << " " << p.done;
  };
  expect_pulled(pull(server, options));
  EXPECT_TRUE(verified);
}

// --- redirects, as a repository's server sends them to where its files lie -----------------------

TEST_F(PullHttp, a_redirect_to_another_server_is_followed_without_the_token) {
  have(file_.substr(0, 1000));
  const ScopedEnv token("HF_TOKEN", "hf_secret");
  const HttpServer files([&](const HttpRequest& r) { return with_ranges(r, file_); });
  const HttpServer server([&](const HttpRequest&) {
    return HttpReply{.status = 302,
                     .headers = {"Location: " + files.url() + "/blob/1?sig=a%2Fb&e=1"},
                     .body = "Found. Redirecting"};
  });
  expect_pulled(pull(server));
  ASSERT_EQ(server.requests().size(), 1u);
  EXPECT_EQ(server.requests()[0].header("authorization"), "Bearer hf_secret");
  ASSERT_EQ(files.requests().size(), 1u);
  EXPECT_EQ(files.requests()[0].path, "/blob/1?sig=a%2Fb&e=1");
  EXPECT_EQ(files.requests()[0].header("authorization"), "");
  EXPECT_EQ(files.requests()[0].range_begin(), 1000u);
}

TEST_F(PullHttp, a_redirect_within_the_server_keeps_the_token) {
  const ScopedEnv token("HF_TOKEN", "hf_secret");
  const HttpServer server([&](const HttpRequest& r) {
    if (r.path != "/cache/x") return HttpReply{.status = 307, .headers = {"Location: /cache/x"}};
    return with_ranges(r, file_);
  });
  expect_pulled(pull(server));
  ASSERT_EQ(server.requests().size(), 2u);
  EXPECT_EQ(server.requests()[1].header("authorization"), "Bearer hf_secret");
}

TEST_F(PullHttp, redirects_without_end_and_to_local_files_are_refused) {
  home_.write("secret", file_);
  const HttpServer circle(
      [](const HttpRequest&) { return HttpReply{.status = 302, .headers = {"Location: /again"}}; });
  EXPECT_EQ(pull(circle).code(), Code::kIo);
  EXPECT_LE(circle.requests().size(), 11u);
  const HttpServer local([&](const HttpRequest&) {
    return HttpReply{.status = 302,
                     .headers = {"Location: file://" + home_.path("secret").string()}};
  });
  EXPECT_EQ(pull(local).code(), Code::kIo);
  EXPECT_FALSE(fs::exists(home_.path("models/h.gguf")));
}

// --- refusals ------------------------------------------------------------------------------------

TEST_F(PullHttp, refusals_name_the_address_the_status_and_the_way_out) {
  const struct {
    int status;
    const char* token;
    std::vector<std::string> words;
  } kCases[] = {
      {404, "", {"HTTP 404", "does not exist"}},
      {401, "", {"HTTP 401", "licence", "set HF_TOKEN"}},
      {403, "", {"HTTP 403", "licence", "set HF_TOKEN"}},
      {403, "hf_secret", {"HTTP 403", "licence", "this HF_TOKEN may not"}},
      {429, "", {"HTTP 429", "later"}},
      {503, "", {"HTTP 503", "later"}},
  };
  have(file_.substr(0, 1000));
  for (const auto& c : kCases) {
    const ScopedEnv token("HF_TOKEN", c.token);
    const HttpServer server(
        [&](const HttpRequest&) { return HttpReply{.status = c.status, .body = "an error page"}; });
    const auto path = pull(server);
    EXPECT_EQ(path.code(), Code::kIo);
    EXPECT_NE(path.message().find(server.url() + "/owner/repo/resolve/main/h-q4_1.gguf"),
              std::string::npos);
    for (const std::string& word : c.words) {
      EXPECT_NE(path.message().find(word), std::string::npos) << path.message();
    }
    EXPECT_EQ(path.message().find("hf_secret"), std::string::npos);
    EXPECT_TRUE(partial() == file_.substr(0, 1000));  // no error page in the file
  }
}

TEST_F(PullHttp, a_server_that_does_not_listen_is_an_error_with_its_address) {
  std::string url;
  {
    const HttpServer gone([](const HttpRequest&) { return HttpReply{}; });
    url = gone.url();
  }
  const ScopedEnv endpoint("HF_ENDPOINT", url);
  const auto path = pull_model(entry());
  EXPECT_EQ(path.code(), Code::kIo);
  EXPECT_NE(path.message().find(url), std::string::npos) << path.message();
}

TEST_F(PullHttp, a_token_does_not_cross_the_network_in_the_clear) {
  const ScopedEnv token("HF_TOKEN", "hf_secret");
  for (const char* address : {"http://models.invalid", "http://127.0.0.1@models.invalid",
                              "http://127.0.0.1:x@models.invalid", "http://localhost.invalid"}) {
    const ScopedEnv endpoint("HF_ENDPOINT", address);
    const auto path = pull_model(entry());
    EXPECT_EQ(path.code(), Code::kInvalidArgument) << path.message();
    EXPECT_NE(path.message().find("in the clear"), std::string::npos) << path.message();
  }
  const ScopedEnv endpoint("HF_ENDPOINT", "models.invalid");
  EXPECT_NE(pull_model(entry()).message().find("HF_ENDPOINT is models.invalid"), std::string::npos);
}

TEST_F(PullHttp, without_curl_the_message_says_so_and_what_else_can_be_done) {
  const HttpServer server([&](const HttpRequest& r) { return with_ranges(r, file_); });
  const ScopedEnv path("PATH", home_.path("nothing").string());
  const auto file = pull(server);
  EXPECT_EQ(file.code(), Code::kIo);
  for (const char* text : {"need the program curl", "/resolve/main/h-q4_1.gguf", "-m"}) {
    EXPECT_NE(file.message().find(text), std::string::npos) << file.message();
  }
}

TEST_F(PullHttp, neither_a_configuration_of_curl_nor_a_line_break_changes_what_is_asked) {
  home_.write(".curlrc", "header = \"X-Other: 1\"\nrange = 0-5\n");
  const ScopedEnv curl_home("CURL_HOME", home_.path(".").string());
  const HttpServer server([&](const HttpRequest& r) { return with_ranges(r, file_); });
  expect_pulled(pull(server));
  EXPECT_EQ(server.requests()[0].header("x-other"), "");
  EXPECT_EQ(server.requests()[0].header("range"), "");
  fs::remove(home_.path("models/h.gguf"));
  const ScopedEnv token("HF_TOKEN", "hf_\"secret\\");
  expect_pulled(pull(server));
  EXPECT_EQ(server.requests()[1].header("authorization"), "Bearer hf_\"secret\\");
  fs::remove(home_.path("models/h.gguf"));
  const ScopedEnv broken("HF_TOKEN", "hf_secret\nheader = \"X-Other: 1\"");
  const auto path = pull(server);
  EXPECT_EQ(path.code(), Code::kInvalidArgument) << path.message();
  EXPECT_NE(path.message().find("HF_TOKEN holds the control character 10"), std::string::npos);
  EXPECT_EQ(server.requests().size(), 2u);
}

TEST_F(PullHttp, a_silent_server_is_left_at_once_when_the_pull_is_cancelled) {
  const HttpServer server([&](const HttpRequest&) {
    return HttpReply{.body = file_, .sent = 70'000, .silent_ms = 30'000};
  });
  CancelToken cancel;
  PullOptions options;
  options.cancel = &cancel;
  std::chrono::steady_clock::time_point fired;
  std::thread user([&] {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (partial().empty() && std::chrono::steady_clock::now() < limit) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    // Into the silence.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    fired = std::chrono::steady_clock::now();
    cancel.cancel();
  });
  const auto path = pull(server, options);
  const auto back = std::chrono::steady_clock::now();
  user.join();
  const std::chrono::duration<double> late = back - fired;
  EXPECT_EQ(path.code(), Code::kCancelled) << path.message();
  EXPECT_LT(late.count(), 3.0);  // 0.1 s and what a busy machine takes; the server waits longer
  EXPECT_TRUE(partial() == file_.substr(0, 70'000));
}

}  // namespace
}  // namespace heed
