// The sampling that a file recommends, keys general.sampling.*.
#pragma once

#include <vector>

#include "heed/sampling.h"
#include "model/gguf_file.h"

namespace heed {

// In the order of the file. Errors: a key that is no number or text where llama.cpp writes one.
Result<std::vector<SamplingKey>> read_sampling_keys(const GgufFile& file);

}  // namespace heed
