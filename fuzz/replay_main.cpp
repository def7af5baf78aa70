// Runs a fuzz target with any compiler: over every file of the folders and files named on the
// command line, so that the corpus is a regression test, and then, with --mutate SECONDS, over
// changed and joined copies of them for that long. Those are the same in each run, up to where its
// time ends. An input that ends the program is left in a file. An empty corpus is a failure: it
// would prove nothing.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::string;

Bytes input;  // the one that runs
char kept_name[64];

// Nothing here but what a signal handler may call.
void keep_input(int signal) {
  const int fd = ::creat(kept_name, 0600);
  if (fd < 0 || ::write(fd, input.data(), input.size()) < 0) ::_exit(1);
  const char words[] = "the input that ended this is in ";
  for (const char* text : {words, static_cast<const char*>(kept_name), "\n"}) {
    if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) break;
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void run(Bytes bytes) {
  input = std::move(bytes);
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

// One of the ways in which files go wrong.
void mutate(Bytes& bytes, const std::vector<Bytes>& corpus, heed::Random& random) {
  constexpr uint8_t kOften[] = {0, 1, 0x7F, 0x80, 0xFF, '"', '{', '\n'};
  if (bytes.empty()) bytes = "\n";
  const size_t at = random.below(bytes.size());
  const size_t length = 1 + random.below(std::min<size_t>(bytes.size() - at, 64));
  const Bytes& other = corpus[random.below(corpus.size())];
  switch (random.below(7)) {
    case 0: bytes[at] = static_cast<char>(bytes[at] ^ 1 << random.below(8)); break;
    case 1: bytes[at] = static_cast<char>(kOften[random.below(std::size(kOften))]); break;
    case 2:
      bytes[at] = static_cast<char>(bytes[at] + 1 - 2 * static_cast<int>(random.below(2)));
      break;
    case 3: bytes.erase(at, length); break;
    case 4: bytes.insert(at, bytes.substr(at, length)); break;
    case 5: bytes.resize(at); break;
    default:  // the rest of another one
      if (!other.empty()) bytes.replace(at, bytes.npos, other.substr(random.below(other.size())));
      break;
  }
}

uint64_t run_mutations(const std::vector<Bytes>& corpus, int seconds) {
  constexpr size_t kLongest = 1 << 16;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  heed::Random random(1);
  uint64_t runs = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) {
    Bytes bytes = corpus[random.below(corpus.size())];
    for (uint64_t n = 1 + random.below(8); n > 0; --n) mutate(bytes, corpus, random);
    if (bytes.size() > kLongest) bytes.resize(kLongest);
    run(std::move(bytes));
  }
  return runs;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  int seconds = 0;
  for (int i = 1; i < argc; ++i) {
    const std::filesystem::path path(argv[i]);
    std::error_code error;
    if (path == "--mutate" && i + 1 < argc) {
      seconds = std::atoi(argv[++i]);
    } else if (std::filesystem::is_directory(path, error)) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(path, error)) {
        if (entry.is_regular_file()) files.push_back(entry.path());
      }
    } else {
      files.push_back(path);
    }
  }
  std::sort(files.begin(), files.end());
  std::snprintf(kept_name, sizeof kept_name, "fuzz-input-%d", static_cast<int>(::getpid()));
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL})
    std::signal(signal, keep_input);
  std::vector<Bytes> corpus;
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    if (!in) {
      std::fprintf(stderr, "%s: cannot be read\n", file.c_str());
      return 1;
    }
    corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    run(corpus.back());
  }
  if (corpus.empty()) return 1;
  std::printf("replayed %zu inputs\n", files.size());
  if (seconds > 0) {
    std::printf("and %llu changed ones\n",
                static_cast<unsigned long long>(run_mutations(corpus, seconds)));
  }
  return 0;
}
