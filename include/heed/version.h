// Which heed this is.
#pragma once

namespace heed {

const char* version();  // "0.1.0"

}  // namespace heed
