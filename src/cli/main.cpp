#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "cli/terminal.h"
#include "cli/verb.h"

int main(int count, char** words) {
  // A file that passes this process's limit is an error of the write then, and no signal.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    const int code =
        heed::cli::main_with(std::vector<std::string>(words + (count > 0 ? 1 : 0), words + count));
    // A result that did not arrive is no result (a full disk behind `> file`).
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
    heed::cli::note("the result could not be written to stdout");
    return code == heed::cli::kDone ? heed::cli::kFailed : code;
  } catch (const std::exception& e) {
    // Out of memory, or a bug: the message is all there is to say.
    heed::cli::note(std::string("internal error: ") + e.what());
    return heed::cli::kFailed;
  }
}
