// A LoRA adapter over a fixed model: any bytes give factors that fit it, or an error that says why.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "../tests/support/tiny_gguf.h"
#include "model/adapter.h"
#include "model/library_log.h"

namespace {

struct Base {
  Base() : bytes(heed::tiny::make_file(heed::tiny::small_spec()).encode().bytes) {
    file = std::move(*heed::GgufFile::from_bytes(bytes, "model"));
    hyper = std::move(*heed::Hyperparameters::read(*file));
  }
  std::vector<uint8_t> bytes;
  std::unique_ptr<heed::GgufFile> file;
  heed::Hyperparameters hyper;
};

void check(const heed::LoraAdapter& adapter, bool with_data) {
  for (int t = 0; t < adapter.targets(); ++t) {
    const heed::LoraAdapter::Factors* const factors = adapter.find(t);
    if (factors == nullptr) continue;
    const bool fits = factors->rank >= 1 && factors->b->inputs() >= factors->rank &&
                      std::isfinite(factors->scale) &&
                      (factors->a == nullptr || factors->a->outputs() == factors->rank);
    if (!fits) std::abort();
    if (with_data && factors->a == nullptr && factors->table == nullptr) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  heed::route_library_logs();
  static const Base base;
  const auto file = heed::GgufFile::from_bytes({data, size}, "fuzz");
  if (!file.is_ok()) return 0;  // fuzz/gguf.cpp is about these
  for (const bool with_data : {false, true}) {
    const auto adapter = heed::LoraAdapter::make(**file, *base.file, base.hyper, "hash", with_data);
    if (adapter.is_ok()) {
      check(**adapter, with_data);
    } else if (adapter.message().empty()) {
      std::abort();
    }
  }
  return 0;
}
