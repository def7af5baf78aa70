// What a model file says about sampling, for people and for programs.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "heed/sampling.h"

namespace heed::cli {

// "temp 0.6, top_k 20"; keys that heed does not know are named without a value.
std::string sampling_text(std::span<const SamplingKey> keys);
// {"temp": 0.6, "sequence": "top_k;temperature", "new_key": null}
nlohmann::ordered_json sampling_json(std::span<const SamplingKey> keys);
// On stderr: what the file decided, and which of its wishes heed does not know.
void note_sampling(const ModelInfo& model, std::span<const SamplingKey> taken);

}  // namespace heed::cli
