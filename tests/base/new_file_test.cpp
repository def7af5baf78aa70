// Files that appear whole or not at all.
#include "base/new_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <iterator>

#include "temporary_folder.h"

namespace heed {
namespace {

namespace fs = std::filesystem;

class Written : public ::testing::Test {
 protected:
  std::string path() const { return folder_ / "file"; }
  std::string text() const {
    std::ifstream in(path(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  Status write(const std::string& text, const WriteFaults* faults = nullptr) const {
    HEED_ASSIGN(const auto file, NewFile::create(path(), text.size(), faults));
    HEED_TRY(file->write(0, text.data(), text.size()));
    return file->commit();
  }
  test::TemporaryFolder folder_;
};

TEST_F(Written, pieces_land_one_behind_the_other) {
  std::string a = "one ", b, c = "three";
  iovec pieces[] = {{b.data(), 0}, {a.data(), a.size()}, {b.data(), 0}, {c.data(), c.size()}};
  const auto file = NewFile::create(path(), 0);
  ASSERT_TRUE(file.is_ok()) << file.message();
  EXPECT_TRUE((*file)->write(2, pieces).is_ok());
  EXPECT_TRUE((*file)->write(0, "> ", 2).is_ok());
  EXPECT_FALSE(fs::exists(path()));
  EXPECT_TRUE((*file)->commit().is_ok());
  EXPECT_EQ(text(), "> one three");
}

TEST_F(Written, without_commit_the_old_one_stays_and_nothing_else) {
  ASSERT_TRUE(write("old").is_ok());
  {
    const auto file = NewFile::create(path(), 100);
    ASSERT_TRUE((*file)->write(0, "new", 3).is_ok());
  }
  EXPECT_EQ(text(), "old");
  EXPECT_FALSE(fs::exists(path() + ".new"));
}

TEST_F(Written, every_call_that_fails_leaves_the_old_one) {
  for (const int code : {ENOSPC, EIO, EDQUOT}) {
    int failed = 0;
    for (int n = 0; n < 9; ++n) {
      ASSERT_TRUE(write("old").is_ok());
      int step = 0;
      const WriteFaults faults{[&] { return step++ == n ? code : 0; }, 5};
      const Status status = write("the new text", &faults);
      EXPECT_FALSE(fs::exists(path() + ".new"));
      EXPECT_EQ(text(), status.is_ok() ? "the new text" : "old") << n;
      if (status.is_ok()) continue;
      ++failed;
      EXPECT_EQ(status.code(), code == EIO ? Code::kIo : Code::kResourceExhausted);
      EXPECT_NE(status.message().find("unchanged"), std::string::npos) << status.message();
    }
    // Open, empty, reserve, three writes, flush, rename; a file system that cannot reserve is no
    // reason to fail, nor is a folder that cannot be flushed.
    EXPECT_EQ(failed, code == EIO ? 7 : 8);
  }
}

TEST_F(Written, one_writer_at_a_time) {
  const auto first = NewFile::create(path(), 0);
  ASSERT_TRUE(first.is_ok());
  const auto second = NewFile::create(path(), 0);
  EXPECT_EQ(second.code(), Code::kIo);
  EXPECT_NE(second.message().find("another process"), std::string::npos) << second.message();
  ASSERT_TRUE((*first)->write(0, "first", 5).is_ok());
  ASSERT_TRUE((*first)->commit().is_ok());
  EXPECT_TRUE(write("second").is_ok()) << "the lock went with the name";
  EXPECT_EQ(text(), "second");
}

TEST_F(Written, what_a_killed_one_left_behind_is_taken_over) {
  std::ofstream(path() + ".new") << "half of something that was longer than this";
  ASSERT_TRUE(write("whole").is_ok());
  EXPECT_EQ(text(), "whole");
  fs::create_symlink("/etc/passwd", path() + ".new");
  EXPECT_EQ(write("through a link").code(), Code::kIo);
  EXPECT_EQ(text(), "whole");
}

TEST_F(Written, a_limit_on_the_size_of_files_is_an_error_that_says_so) {
  ASSERT_TRUE(write("old").is_ok());
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const Status status = write(std::string(5000, 'x'));
    ::_exit(status.code() == Code::kResourceExhausted ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(text(), "old");
}

TEST_F(Written, a_place_is_checked_without_touching_it) {
  EXPECT_TRUE(NewFile::check_place(path()).is_ok());
  ASSERT_TRUE(write("old").is_ok());
  EXPECT_TRUE(NewFile::check_place(path()).is_ok());
  EXPECT_EQ(text(), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 1);
  EXPECT_EQ(NewFile::check_place(folder_.path()).code(), Code::kInvalidArgument);
  for (const std::string& place : {folder_ / "none/a", path() + "/a"}) {
    const Status status = NewFile::check_place(place);
    EXPECT_EQ(status.code(), Code::kIo) << place;
    EXPECT_NE(status.message().find(place), std::string::npos) << status.message();
  }
  fs::create_symlink(folder_ / "none/a", folder_ / "link");
  EXPECT_TRUE(NewFile::check_place(folder_ / "link").is_ok()) << "it would be replaced";
}

}  // namespace
}  // namespace heed
