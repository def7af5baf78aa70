// Damaged files of sessions: every one is refused, and what lives stays as it was.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "heap_counters.h"
#include "session/session.h"
#include "session/session_file.h"
#include "session_fixture.h"
#include "temporary_folder.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

namespace fs = std::filesystem;
using test::random_tokens;

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// A saved sequence of 70 tokens beside a live one in the same engine.
class Damaged : public ::testing::Test {
 protected:
  void SetUp() override {
    engine_ = test::make_engine(model_.path(), {}, 1);
    live_ = test::prefilled(*engine_, random_tokens(40, 16, 1));
    const SeqId seq = test::prefilled(*engine_, random_tokens(70, 16, 2));
    const auto saved = save_session(*engine_, seq, path());
    ASSERT_TRUE(saved.is_ok()) << saved.message();
    ASSERT_TRUE(engine_->drop(seq).is_ok());
    good_ = bytes_of(path());
    ASSERT_EQ(good_.size(), saved->bytes);
    before_ = engine_->store().bytes();
    const auto twin = engine_->fork(live_);
    expected_ = test::step(*engine_, *twin, 3);
    ASSERT_TRUE(engine_->drop(*twin).is_ok());
  }

  void TearDown() override {
    const Status sound = engine_->store().check();
    EXPECT_TRUE(sound.is_ok()) << sound.message();
    EXPECT_EQ(test::step(*engine_, live_, 3), expected_);
    write_bytes(path(), good_);
    EXPECT_TRUE(restore_session(*engine_, path()).is_ok());
  }

  const std::string& path() const { return path_; }

  void expect_refusal(const std::string& bytes, const std::string& what) {
    write_bytes(path(), bytes);
    expect_refusal(what);
  }

  // The good file with one bit changed in place, and back.
  void expect_flip_refused(int fd, uint64_t bit) {
    const auto at = static_cast<off_t>(bit / 8);
    const char good = good_[bit / 8], bad = static_cast<char>(good ^ 1 << bit % 8);
    ASSERT_EQ(::pwrite(fd, &bad, 1, at), 1);
    expect_refusal("bit " + std::to_string(bit));
    ASSERT_EQ(::pwrite(fd, &good, 1, at), 1);
  }

  void expect_refusal(const std::string& what) {
    const test::PeakMeter peak;
    const auto restored = restore_session(*engine_, path());
    // The size of a file bounds the heap that refusing it takes, not the sizes that it claims.
    const auto size = static_cast<int64_t>(fs::file_size(path()));
    ASSERT_LE(peak.bytes(), 4 * size + (int64_t{1} << 20)) << what;
    ASSERT_FALSE(restored.is_ok()) << what;
    EXPECT_FALSE(restored.message().empty()) << what;
    EXPECT_NE(restored.code(), Code::kInternal) << what << ": " << restored.message();
    const StoreBytes now = engine_->store().bytes();
    ASSERT_EQ(now.committed, before_.committed) << what;
    ASSERT_EQ(now.pages, before_.pages) << what;
  }

  tiny::TemporaryFile model_{tiny::small_spec()};
  test::TemporaryFolder folder_;
  std::string path_ = folder_ / "a.session";
  std::unique_ptr<Engine> engine_;
  SeqId live_ = -1;
  std::string good_;
  std::vector<float> expected_;
  StoreBytes before_;
};

TEST_F(Damaged, every_length_up_to_the_pages_and_many_beyond_is_refused) {
  SessionHeader header;
  std::memcpy(&header, good_.data(), sizeof(header));
  const auto pages = static_cast<size_t>(header.offset_of(kPages));
  for (size_t n = good_.size(); n > 0;) {
    n -= n <= pages ? 1 : std::min<size_t>(n - pages, 97);
    ASSERT_EQ(::truncate(path().c_str(), static_cast<off_t>(n)), 0);
    expect_refusal(std::to_string(n) + " bytes");
  }
  expect_refusal(good_ + "x", "a byte more");
}

TEST_F(Damaged, every_flipped_bit_of_the_header_is_refused) {
  const int fd = ::open(path().c_str(), O_WRONLY | O_CLOEXEC);
  for (uint64_t bit = 0; bit < 8 * sizeof(SessionHeader); ++bit) expect_flip_refused(fd, bit);
  ::close(fd);
}

TEST_F(Damaged, ten_thousand_flipped_bits_elsewhere_are_refused) {
  const int fd = ::open(path().c_str(), O_WRONLY | O_CLOEXEC);
  const uint64_t header = 8 * sizeof(SessionHeader), behind = 8 * good_.size() - header;
  for (uint64_t i = 0; i < 10000; ++i)
    expect_flip_refused(fd, header + random_below(11, i, behind));
  ::close(fd);
}

// What a forger or a bug may write: checksums agree, and the numbers do not.
TEST_F(Damaged, numbers_that_contradict_each_other_are_refused_behind_true_checksums) {
  SessionHeader good;
  std::memcpy(&good, good_.data(), sizeof(good));
  const auto forge = [&](SessionSection section, size_t at, auto value, const char* what) {
    std::string bad = good_;
    SessionHeader header = good;
    const auto offset = static_cast<size_t>(header.offset_of(section));
    std::memcpy(bad.data() + offset + at, &value, sizeof(value));
    if (section < kPages) {
      header.sum[section] = block_hash(bad.data() + offset, header.size[section], section);
    }
    header.own = header.own_sum();
    std::memcpy(bad.data(), &header, sizeof(header));
    expect_refusal(bad, what);
  };
  forge(kOutline, 0, int64_t{1}, "a first position");
  forge(kOutline, 8, int64_t{71}, "more tokens than are listed");
  forge(kOutline, 8, int64_t{-1}, "fewer than none");
  forge(kOutline, 16, int32_t{69}, "a short list");
  forge(kOutline, 16, int32_t{129}, "a list with more pages");
  forge(kOutline, 16, int32_t{-1}, "a list of less than nothing");
  forge(kOutline, 20, uint32_t{1}, "an array of positions that is not there");
  forge(kOutline, 20, uint32_t{0x20}, "an array of another kind");
  forge(kOutline, 20, uint32_t{0x100}, "one behind the byte");
  forge(kOutline, 24, uint64_t{64}, "small pages");
  forge(kOutline, 24, ~uint64_t{0}, "pages larger than memory");
  forge(kTokens, 0, int32_t{16}, "a token behind the vocabulary");
  forge(kTokens, 0, int32_t{-1}, "a token before it");
  forge(kKvText, 0, 'x', "another fact");

  for (int section = 0; section < kSessionSections; ++section) {
    for (const uint64_t size : {uint64_t{1}, ~uint64_t{0}, uint64_t{1} << 40}) {
      SessionHeader header = good;
      header.size[static_cast<size_t>(section)] += size;
      header.own = header.own_sum();
      std::string bad = good_;
      std::memcpy(bad.data(), &header, sizeof(header));
      expect_refusal(bad, "a section of another size");
    }
  }
}

// The file has every byte that its header promises, and takes no room on the disk.
TEST_F(Damaged, no_section_takes_memory_before_its_checksum_agrees) {
  constexpr uint64_t kHuge = uint64_t{16} << 20;
  for (int section = 0; section < kPages; ++section) {
    SessionHeader header;
    std::memcpy(&header, good_.data(), sizeof(header));
    const auto behind = static_cast<size_t>(header.offset_of(static_cast<SessionSection>(section)) +
                                            header.size[section]);
    header.size[static_cast<size_t>(section)] += kHuge;
    header.own = header.own_sum();
    std::string front = good_.substr(0, behind);
    std::memcpy(front.data(), &header, sizeof(header));
    write_bytes(path(), front);
    fs::resize_file(path(), behind + kHuge);
    {
      std::ofstream rest(path(), std::ios::binary | std::ios::app);
      rest << good_.substr(behind);
    }
    const test::PeakMeter meter;
    expect_refusal("a section of 16 MiB");
    EXPECT_LT(meter.bytes(), 4 << 20) << section;
  }
}

TEST_F(Damaged, another_version_is_refused_by_its_number) {
  SessionHeader header;
  std::memcpy(&header, good_.data(), sizeof(header));
  header.version = 2;
  header.own = {};  // another version may have it elsewhere
  std::string other = good_;
  std::memcpy(other.data(), &header, sizeof(header));
  write_bytes(path(), other);
  const auto restored = restore_session(*engine_, path());
  EXPECT_EQ(restored.code(), Code::kUnsupported);
  EXPECT_NE(restored.message().find("version 2"), std::string::npos) << restored.message();
}

TEST_F(Damaged, a_damaged_page_behind_the_prefix_does_not_matter_to_it) {
  std::string bad = good_;
  bad.back() ^= 1;  // padding of the last list's second page
  write_bytes(path(), bad);
  RestoreOptions options;
  const std::vector<Token> prefix = random_tokens(64, 16, 2);
  options.prefix_of = prefix;
  const auto restored = restore_session(*engine_, path(), options);
  ASSERT_TRUE(restored.is_ok()) << restored.message();
  EXPECT_EQ(restored->tokens, 64);
  EXPECT_FALSE(restore_session(*engine_, path()).is_ok());
  ASSERT_TRUE(engine_->drop(restored->seq).is_ok());
}

TEST_F(Damaged, restoring_survives_every_failing_allocation) {
  int refused = 0;
  const int failures = test::with_each_allocation_failing([&] {
    const auto restored = restore_session(*engine_, path());
    const test::Untouched rest;
    if (restored.is_ok()) {
      ASSERT_TRUE(engine_->drop(restored->seq).is_ok());
      return;
    }
    ++refused;
    EXPECT_EQ(restored.code(), Code::kResourceExhausted) << restored.message();
    EXPECT_EQ(engine_->store().bytes().committed, before_.committed);
    EXPECT_TRUE(engine_->store().check().is_ok());
  });
  EXPECT_GT(failures, 20);
  EXPECT_GE(refused, failures - 2);
}

TEST_F(Damaged, sharing_survives_every_failing_allocation) {
  const std::vector<Token> tokens = random_tokens(30, 16, 1);
  const int failures = test::with_each_allocation_failing([&] {
    const auto shared = share_prefix(*engine_, tokens);
    const test::Untouched rest;
    if (shared.is_ok()) {
      EXPECT_EQ(shared->tokens, 30);
      ASSERT_TRUE(engine_->drop(shared->seq).is_ok());
    } else {
      EXPECT_EQ(shared.code(), Code::kResourceExhausted) << shared.message();
    }
    EXPECT_EQ(engine_->store().bytes().committed, before_.committed);
  });
  EXPECT_GT(failures, 3);
}

// Saves of a longer sequence over the file of a shorter one.
class Interrupted : public Damaged {
 protected:
  void SetUp() override {
    Damaged::SetUp();
    longer_ = test::prefilled(*engine_, random_tokens(100, 16, 2));
    before_ = engine_->store().bytes();
  }

  // 70 tokens of the old file or 100 of the new one; anything else fails.
  int64_t tokens_there() {
    const auto restored = restore_session(*engine_, path());
    EXPECT_TRUE(restored.is_ok()) << restored.message();
    if (!restored.is_ok()) return -1;
    EXPECT_TRUE(engine_->drop(restored->seq).is_ok());
    EXPECT_TRUE(restored->tokens == 70 || restored->tokens == 100) << restored->tokens;
    return restored->tokens;
  }

  SeqId longer_ = -1;
};

TEST_F(Interrupted, a_kill_at_every_write_leaves_the_old_file_or_the_new_one) {
  int points = 0, renamed = 0;
  for (int n = 0;; ++n) {
    write_bytes(path(), good_);
    const pid_t child = ::fork();
    if (child == 0) {
      int step = 0;
      const WriteFaults faults{[&] {
                                 if (step++ == n) ::kill(::getpid(), SIGKILL);
                                 return 0;
                               },
                               40};
      ::_exit(save_session_with(*engine_, longer_, path(), &faults).is_ok() ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    if (WIFEXITED(status)) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
      break;
    }
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    ++points;
    renamed += tokens_there() == 100;
  }
  EXPECT_GE(points, 200);
  EXPECT_EQ(renamed, 1);  // before the folder is flushed
  EXPECT_EQ(tokens_there(), 100);
  EXPECT_FALSE(fs::exists(path() + ".new"));
}

TEST_F(Interrupted, an_error_at_every_write_leaves_the_old_file_and_says_why) {
  int failed = 0;
  for (int n = 0;; ++n) {
    int step = 0;
    const WriteFaults faults{[&] { return step++ == n ? ENOSPC : 0; }, 1024};
    const auto saved = save_session_with(*engine_, longer_, path(), &faults);
    if (saved.is_ok()) break;
    ++failed;
    EXPECT_EQ(saved.code(), Code::kResourceExhausted);
    EXPECT_NE(saved.message().find("No space left"), std::string::npos) << saved.message();
    EXPECT_NE(saved.message().find(path()), std::string::npos) << saved.message();
    ASSERT_EQ(bytes_of(path()), good_);
    EXPECT_FALSE(fs::exists(path() + ".new"));
  }
  EXPECT_GE(failed, 15);
  EXPECT_EQ(tokens_there(), 100);
}

TEST_F(Interrupted, saving_survives_every_failing_allocation) {
  int refused = 0;
  const int failures = test::with_each_allocation_failing([&] {
    {
      const test::Untouched rest;
      write_bytes(path(), good_);
    }
    const auto saved = save_session(*engine_, longer_, path());
    const test::Untouched rest;
    refused += saved.is_ok() ? 0 : 1;
    if (!saved.is_ok()) {
      EXPECT_EQ(saved.code(), Code::kResourceExhausted) << saved.message();
    }
    // Behind the rename an error is reported although the new file is there.
    const int64_t there = tokens_there();
    EXPECT_TRUE(there == 100 || (!saved.is_ok() && there == 70)) << there;
    EXPECT_FALSE(fs::exists(path() + ".new"));
  });
  EXPECT_GT(failures, 20);
  EXPECT_GT(refused, failures / 2);
}

}  // namespace
}  // namespace heed
