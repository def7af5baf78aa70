// Downloads one file over https, http or from file://, continuing what an earlier attempt left. The
// program curl does it, which PATH must hold.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "heed/model.h"
#include "heed/status.h"

namespace heed {

struct Download {
  std::string url;             // https://, http:// or file:///; only http is redirected to http
  std::string bearer_token;    // sent to the first host only; empty: none
  std::string token_variable;  // of the environment, named when a server refuses; empty: no token
  std::string target;          // appended to where it exists; kept on errors, to continue later
  uint64_t bytes = 0;          // expected size of the complete file
};

using DownloadProgress = std::function<void(uint64_t done, uint64_t total)>;

// Fills `target` up to `bytes`; a connection that ends early is opened again as long as each brings
// the file further. Errors: kCancelled (within 200 ms, also of a silent server), kIo (with the way
// out for 401, 403, 404 and an unreachable host), kInvalidArgument (a token in the clear),
// kResourceExhausted (disk full), kCorrupt (another size than expected).
Status download(const Download& what, const DownloadProgress& progress, const CancelToken* cancel);

}  // namespace heed
