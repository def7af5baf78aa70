// --policy, --prefill, --correct and their variables.
#pragma once

#include <string>

#include "cli/page_formats.h"
#include "heed/policy_file.h"

namespace CLI {
class App;
}

namespace heed::cli {

class PolicyOptions {
 public:
  // Adds an option for each stage that the build has, and --policy.
  void bind(CLI::App& app);
  // With the formats that -ctk and -ctv name. `argument`: of a verb that takes the policy without
  // --policy too.
  Result<Policy> settle(const PageFormats& formats, const std::string& argument = {}) const;

 private:
  PolicyWords words_;
  std::string prefill_, correct_;
};

}  // namespace heed::cli
