// Rows of the registry for programs.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "heed/mechanisms.h"

namespace heed::cli {

nlohmann::ordered_json mechanism_json(const Mechanism& mechanism);
// JSON Schema (draft 2020-12) of policy files.
nlohmann::ordered_json policy_schema();

}  // namespace heed::cli
