// Files that another process cuts while they are mapped: whoever reads what is gone gets an error,
// and the process lives.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "model/mapped_file.h"
#include "session_fixture.h"
#include "split_files.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

namespace fs = std::filesystem;

void expect_cut(const Status& status, const std::string& path) {
  EXPECT_EQ(status.code(), Code::kCorrupt) << status.message();
  EXPECT_NE(status.message().find(path), std::string::npos) << status.message();
}

TEST(CutFile, pages_that_are_gone_read_as_zeros_and_are_told_of) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const std::vector<uint8_t> bytes(4 * page, 7);
  const tiny::TemporaryFile file(bytes);
  const auto opened = MappedFile::open(file.path(), FileAccess::kMap);
  ASSERT_TRUE(opened.is_ok()) << opened.message();
  ASSERT_TRUE((*opened)->mapped());
  const uint8_t* data = (*opened)->bytes().data();
  ASSERT_EQ(data[2 * page], 7);
  struct stat before {};
  ASSERT_EQ(::stat(file.path().c_str(), &before), 0);

  fs::resize_file(file.path(), page + 1);
  EXPECT_EQ(data[0], 7);
  EXPECT_EQ(data[3 * page], 0);
  EXPECT_EQ(data[2 * page], 0);
  expect_cut((*opened)->unchanged(), file.path());

  // Also once size and time are what they were.
  file.rewrite(bytes);
  const timespec times[] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(::utimensat(AT_FDCWD, file.path().c_str(), times, 0), 0);
  expect_cut((*opened)->unchanged(), file.path());
  EXPECT_NE((*opened)->unchanged().message().find("could not be read"), std::string::npos);
  const auto again = MappedFile::open(file.path(), FileAccess::kMap);
  ASSERT_TRUE(again.is_ok());
  EXPECT_TRUE((*again)->unchanged().is_ok());
  EXPECT_EQ((*again)->bytes()[3 * page], 7);
}

// Maps a page behind the end of a file and reads it, in a child; returns how that ended.
int end_of_a_fault_elsewhere(const std::string& path, bool closed_before) {
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    auto guarded = MappedFile::open(path, FileAccess::kMap);
    const int fd = ::open(path.c_str(), O_RDONLY);
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    const auto* data = static_cast<const volatile uint8_t*>(
        ::mmap(nullptr, 2 * page, PROT_READ, MAP_PRIVATE, fd, 0));
    if (closed_before) guarded->reset();
    ::close(STDERR_FILENO);  // a sanitizer's report
    ::_exit(data[page]);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

TEST(CutFile, faults_elsewhere_end_the_process_as_they_would) {
  const tiny::TemporaryFile file(std::vector<uint8_t>(16, 7));
  for (const bool closed_before : {false, true}) {
    const int end = end_of_a_fault_elsewhere(file.path(), closed_before);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    EXPECT_NE(end, 0);  // its handler has the last word
#else
    EXPECT_EQ(end, SIGBUS);
#endif
  }
}

// Cut when the first, second, ... tensor is about to be read.
TEST(CutFile, a_load_ends_with_an_error_wherever_the_file_is_cut) {
  tiny::Spec spec;
  spec.ff = 512;
  spec.weight_type = tiny::kTensorQ4_0;  // packed, or dequantised
  const std::vector<uint8_t> good = tiny::make_file(spec).encode().bytes;
  for (const Weights weights : {Weights::kAsStored, Weights::kF32}) {
    int cuts = 0;
    for (bool whole = false; !whole; ++cuts) {
      const tiny::TemporaryFile file(good);
      int calls = 0;
      ModelOptions options;
      options.threads = 1;
      options.weights = weights;
      options.progress = [&](double done) {
        if (done < 1 && calls++ == cuts) fs::resize_file(file.path(), 4096);
      };
      const auto model = Model::load(file.path(), options);
      whole = calls <= cuts;
      if (whole) {
        EXPECT_TRUE(model.is_ok()) << model.message();
      } else {
        expect_cut(model.status(), file.path());
      }
    }
    EXPECT_GT(cuts, 10);
  }
}

TEST(CutFile, a_part_of_a_set_that_is_cut_is_named) {
  tiny::Spec spec;
  spec.weight_type = tiny::kTensorQ4_0;
  const tiny::SplitFiles set(tiny::make_file(spec), 3);
  bool cut = false;
  ModelOptions options;
  options.threads = 1;
  options.progress = [&](double) {
    if (!cut) fs::resize_file(set.path(3), 1024);
    cut = true;
  };
  expect_cut(Model::load(set.path(1), options).status(), set.path(3));
}

// Behind the check at its begin: the logits of a prompt's rows are computed 64 rows at a time.
TEST(CutFile, a_step_during_which_the_file_is_cut_is_an_error) {
  for (const Linear linear : {Linear::kHeed, Linear::kGgml}) {
    const tiny::TemporaryFile file(tiny::Spec{});
    const auto engine = test::make_engine(file.path(), {}, 1, linear);
    const auto seq = engine->create_sequence();
    ASSERT_TRUE(seq.is_ok());
    PrefillOptions call;
    call.on_logits = [&](int64_t, View<const float, 2>) { fs::resize_file(file.path(), 4096); };
    expect_cut(engine->prefill(*seq, test::random_tokens(200, 80, 1), call), file.path());
    EXPECT_TRUE(engine->store().check().is_ok());
    EXPECT_TRUE(engine->drop(*seq).is_ok());
  }
}

// Anywhere in a step of a thread of its own: the answer is that of a whole file or an error.
TEST(CutFile, steps_are_right_or_errors_whenever_the_file_is_cut) {
  const std::vector<uint8_t> good = tiny::make_file(tiny::Spec{}).encode().bytes;
  std::vector<float> expected;
  {
    const tiny::TemporaryFile file(good);
    const auto engine = test::make_engine(file.path(), {}, 1, Linear::kGgml);
    expected = test::logits_of(*engine, test::prefilled(*engine, {1, 2, 3}));
  }
  for (int i = 0; i < 40; ++i) {
    const tiny::TemporaryFile file(good);
    const auto engine = test::make_engine(file.path(), {}, 1, Linear::kGgml);
    std::atomic<bool> begun = false;
    std::jthread cutter([&] {
      while (!begun) std::this_thread::yield();
      std::this_thread::sleep_for(std::chrono::microseconds(25 * i));
      fs::resize_file(file.path(), 512);
    });
    begun = true;
    for (;;) {
      const auto seq = engine->create_sequence();
      ASSERT_TRUE(seq.is_ok());
      const Status status = engine->prefill(*seq, std::vector<Token>{1, 2, 3});
      if (!status.is_ok()) {
        expect_cut(status, file.path());
        EXPECT_EQ(engine->length(*seq), 0);
        break;
      }
      ASSERT_EQ(test::logits_of(*engine, *seq), expected);
      ASSERT_TRUE(engine->drop(*seq).is_ok());
    }
  }
}

}  // namespace
}  // namespace heed
