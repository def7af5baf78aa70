#include <exception>
#include <string>
#include <vector>

#include "cli/terminal.h"
#include "cli/verb.h"

int main(int count, char** words) {
  try {
    return heed::cli::main_with(
        std::vector<std::string>(words + (count > 0 ? 1 : 0), words + count), HEED_VERSION);
  } catch (const std::exception& e) {
    // Out of memory, or a bug: the message is all there is to say.
    heed::cli::note(std::string("internal error: ") + e.what());
    return heed::cli::kFailed;
  }
}
