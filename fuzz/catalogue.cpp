// models.json of a user: any bytes give entries that are safe to use, or an error.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "model/catalogue.h"

namespace {

// A component of the path is "..": two dots may begin a name.
bool climbs(std::string_view path) {
  for (size_t from = 0; from <= path.size();) {
    const size_t end = std::min(path.find('/', from), path.size());
    if (path.substr(from, end - from) == "..") return true;
    from = end + 1;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto entries = heed::parse_catalogue(text, "fuzz");
  if (!entries.is_ok()) return 0;
  for (const heed::ModelEntry& entry : *entries) {
    // What reaches file systems and command lines holds no separator and begins no option.
    if (entry.file.find('/') != entry.file.npos || entry.file.starts_with(".")) std::abort();
    for (const heed::ModelSource& source : entry.sources) {
      for (const heed::PackagePart& part : source.parts) {
        if (part.package.starts_with("-") || climbs(part.member)) std::abort();
      }
    }
    if (!heed::find_model(*entries, entry.name).is_ok()) std::abort();
  }
  return 0;
}
