#include "cli/show_adapter.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/terminal.h"
#include "heed/adapters.h"

namespace heed::cli {
namespace {

void print_info(const AdapterInfo& info, bool targets) {
  fmt::print("adapter       {}(LoRA for models of architecture {})\n",
             info.name.empty() ? "" : printable(info.name) + " ", printable(info.architecture));
  fmt::print("file          {}, {}, {:.1f} million parameters\n", printable(info.path),
             bytes_text(info.file_bytes), static_cast<double>(info.parameters) * 1e-6);
  fmt::print("rank          {}", info.least_rank);
  if (info.most_rank != info.least_rank) fmt::print(" to {}", info.most_rank);
  fmt::print("{}\n", info.alpha == 0 ? ", no alpha: factors are not scaled"
                                     : fmt::format(", alpha {:g}", info.alpha));
  fmt::print("targets       {} tensors\n", info.targets.size());
  for (const std::string& name : info.targets) {
    if (targets) fmt::print("              {}\n", printable(name));
  }
  fmt::print("use           heed run MODEL --lora {}\n", printable(info.path));
}

}  // namespace

Status show_adapter(const std::string& path, bool json, bool targets) {
  HEED_ASSIGN(const AdapterInfo info, inspect_adapter(path));
  if (!json) {
    print_info(info, targets);
    return Status::ok();
  }
  print_json({{"path", info.path},
              {"adapter", "lora"},
              {"name", info.name},
              {"architecture", info.architecture},
              {"file_bytes", info.file_bytes},
              {"parameters", info.parameters},
              {"alpha", info.alpha},
              {"least_rank", info.least_rank},
              {"most_rank", info.most_rank},
              {"targets", info.targets}});
  return Status::ok();
}

}  // namespace heed::cli
