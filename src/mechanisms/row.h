// A row of the registry: what is said of a mechanism, and how one is made.
#pragma once

#include <memory>

#include "heed/mechanisms.h"

namespace heed {

class PrefillSelector;
class Corrector;

struct Row {
  Mechanism about;
  // One of these makes it; a row without any is not part of the build and nobody sees it.
  Result<std::unique_ptr<const PrefillSelector>> (*make_prefill)(const Setting& setting) = nullptr;
  Result<std::unique_ptr<const Corrector>> (*make_corrector)(const Setting& setting) = nullptr;
  bool built_in = false;  // the step itself does it

  bool present() const { return built_in || make_prefill != nullptr || make_corrector != nullptr; }
};

// The rows of a build by name and alias. Tests make registries of their own.
class Registry {
 public:
  explicit Registry(std::span<const Row* const> rows, bool with_absent = false);

  std::span<const Mechanism* const> mechanisms() const { return mechanisms_; }
  std::vector<const Mechanism*> of(Stage stage) const;
  // nullptr: it has none of that name.
  const Mechanism* find(std::string_view name) const;
  const Row& row_of(const Mechanism& mechanism) const;

 private:
  std::vector<const Mechanism*> mechanisms_;  // by stage
  std::vector<const Row*> rows_;              // in the same order
};

const Registry& registry();
// With those whose implementation is not there yet.
std::span<const Row* const> written_rows();

// "A-Shape" is "a_shape".
std::string plain_name(std::string_view name);

}  // namespace heed
