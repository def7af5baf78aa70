// Sampler options as far as they need no model: a command line refuses them before loading.
#pragma once

#include <string>
#include <vector>

#include "heed/sampling.h"
#include "heed/status.h"

namespace heed {

// Names (with the nearest in the refusal) and ranges.
Status check_sampler(const SamplerOptions& options);

// The stages of the chain by llama.cpp's canonical names, its default chain when none are named.
Result<std::vector<std::string>> sampler_chain(const SamplerOptions& options);

// "top_k;temperature", llama.cpp's --samplers, as names; commas part them too.
std::vector<std::string> samplers_from_names(const std::string& names);

// "edskypmxt", llama.cpp's --sampler-seq, as names.
Result<std::vector<std::string>> samplers_from_letters(const std::string& letters);

}  // namespace heed
