// Policies by name. Each states what it loses where it was measured.
#include <array>

#include "heed/policy.h"

namespace heed {
namespace {

constexpr std::array kPresets = {
    Preset{"full", "", "Nothing named: dense attention over pages of the model's own format"},
};

}  // namespace

std::span<const Preset> presets() { return kPresets; }

const Preset* find_preset(std::string_view name) {
  for (const Preset& preset : kPresets) {
    if (name == preset.name) return &preset;
  }
  return nullptr;
}

}  // namespace heed
