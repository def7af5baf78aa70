#include "model/ollama_store.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/nearest.h"
#include "base/read_file.h"
#include "base/text.h"
#include "model/gguf_parser.h"

namespace heed {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::string_view kPrefix = "ollama:";
constexpr std::string_view kHost = "registry.ollama.ai";
constexpr std::string_view kNamespace = "library";
constexpr std::string_view kTag = "latest";
constexpr std::string_view kLayerType = "application/vnd.ollama.image.";
constexpr size_t kMostListed = 8;

struct OllamaName {
  std::string host{kHost}, space{kNamespace}, model, tag{kTag};

  fs::path manifest(const fs::path& store) const {
    return store / "manifests" / host / space / model / tag;
  }
  std::string spelled() const {
    std::string text;
    if (host != kHost) text = cat(host, "/");
    if (host != kHost || space != kNamespace) text += cat(space, "/");
    return cat(text, model, ":", tag);
  }
};

// A name becomes folders, so nothing in it may lead elsewhere.
bool usable(std::string_view part, bool host) {
  if (part.empty() || part.front() == '.') return false;
  return std::all_of(part.begin(), part.end(), [host](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || (host && c == ':');
  });
}

Result<OllamaName> parse_name(std::string_view text) {
  OllamaName name;
  std::string_view rest = text.substr(kPrefix.size());
  const size_t slash = rest.rfind('/');
  const size_t colon = rest.rfind(':');
  if (colon != rest.npos && (slash == rest.npos || colon > slash)) {
    name.tag = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
  }
  name.model = slash == rest.npos ? rest : rest.substr(slash + 1);
  if (slash != rest.npos) {
    const std::string_view before = rest.substr(0, slash);
    const size_t first = before.find('/');
    if (first != before.npos) name.host = before.substr(0, first);
    name.space = first == before.npos ? before : before.substr(first + 1);
  }
  const bool good = usable(name.host, true) && usable(name.space, false) &&
                    usable(name.model, false) && usable(name.tag, false);
  if (good) return name;
  return error(Code::kInvalidArgument, "\"", printable(text),
               "\" is no name of an Ollama model: ollama:[[HOST/]NAMESPACE/]NAME[:TAG]");
}

Result<fs::path> store_folder() {
  const auto value = [](const char* name) {
    const char* text = std::getenv(name);
    return std::string(text == nullptr ? "" : text);
  };
  const std::string own = value("OLLAMA_MODELS"), home = value("HOME");
  if (own.empty() && home.empty()) {
    return error(Code::kNotFound,
                 "neither OLLAMA_MODELS nor HOME is set; set OLLAMA_MODELS to the "
                 "folder of Ollama's models");
  }
  fs::path folder = own.empty() ? fs::path(home) / ".ollama" / "models" : fs::path(own);
  std::error_code ignored;
  if (fs::is_directory(folder / "manifests", ignored)) return folder;
  return error(Code::kNotFound, folder.string(),
               ": holds no models of Ollama's; set OLLAMA_MODELS "
               "to the folder that has manifests and blobs (the Linux service's is "
               "/usr/share/ollama/.ollama/models)");
}

// One entry of a manifest's "layers".
struct Layer {
  std::string kind;  // "model", "template": behind kLayerType
  fs::path blob;
  uint64_t bytes = 0;
};

Result<Layer> read_layer(const Json& json, const fs::path& store) {
  const auto text = [&json](const char* key) {
    const auto at = json.find(key);  // the end where this is no object
    return at != json.end() && at->is_string() ? at->get<std::string>() : std::string();
  };
  Layer layer;
  layer.kind = text("mediaType");
  if (layer.kind.starts_with(kLayerType)) layer.kind.erase(0, kLayerType.size());
  std::string digest = text("digest");
  const bool hex = digest.size() == 71 && digest.starts_with("sha256:") &&
                   digest.find_first_not_of("0123456789abcdef", 7) == digest.npos;
  if (!hex) {
    return error(Code::kCorrupt, "the digest of layer '", printable(layer.kind), "' is \"",
                 printable(digest), "\", not sha256: and 64 hexadecimal digits");
  }
  digest[6] = '-';
  layer.blob = store / "blobs" / digest;
  const auto size = json.find("size");
  if (size == json.end() || !size->is_number_unsigned()) {
    return error(Code::kCorrupt, "layer '", printable(layer.kind), "' has no size");
  }
  layer.bytes = size->get<uint64_t>();
  return layer;
}

Status check_blob(const Layer& layer) {
  std::error_code fault;
  const uint64_t bytes = fs::file_size(layer.blob, fault);
  if (fault) return error(Code::kCorrupt, layer.blob.string(), ": ", fault.message());
  if (bytes == layer.bytes) return Status::ok();
  return error(Code::kCorrupt, layer.blob.string(), ": has ", bytes, " bytes, the manifest says ",
               layer.bytes);
}

Status take_layer(const Layer& layer, OllamaModel& model) {
  const bool file = layer.kind == "model", adapter = layer.kind == "adapter";
  if (!file && !adapter) {
    if (layer.kind != "license") model.ignored.push_back(layer.kind);
    return Status::ok();
  }
  HEED_TRY(check_blob(layer));
  if (file && !model.path.empty()) {
    return error(Code::kUnsupported, "has more than one GGUF file; heed runs models of one");
  }
  if (file) model.path = layer.blob;
  if (adapter) model.adapters.push_back(layer.blob);
  model.bytes += layer.bytes;
  return Status::ok();
}

Result<OllamaModel> read_manifest(const OllamaName& name, const fs::path& store) {
  const std::string path = name.manifest(store);
  HEED_ASSIGN(const std::string text, read_file(path, path));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto layers = json.find("layers");
  if (layers == json.end() || !layers->is_array()) {
    return error(Code::kCorrupt, path, ": is no manifest with a list of layers");
  }
  OllamaModel model;
  model.name = cat(kPrefix, name.spelled());
  for (const Json& entry : *layers) {
    HEED_ASSIGN(const Layer layer, read_layer(entry, store));
    HEED_TRY(take_layer(layer, model));
  }
  if (model.path.empty()) {
    return error(Code::kUnsupported, "has no GGUF file among its layers");
  }
  return model;
}

// As an error of this model with Ollama's own way out.
Result<OllamaModel> read_model(const OllamaName& name, const fs::path& store) {
  Result<OllamaModel> model = read_manifest(name, store);
  if (model.is_ok()) return model;
  const char* out = model.code() == Code::kUnsupported ? "" : "; run: ollama pull ";
  return error(model.code(), kPrefix, name.spelled(), ": ", model.message(), out,
               *out == '\0' ? std::string() : name.spelled());
}

std::vector<OllamaName> names_in(const fs::path& store) {
  std::vector<OllamaName> names;
  const fs::path root = store / "manifests";
  std::error_code ignored;
  for (auto at = fs::recursive_directory_iterator(root, ignored);
       at != fs::recursive_directory_iterator(); at.increment(ignored)) {
    if (at.depth() != 3) continue;
    at.disable_recursion_pending();
    if (!at->is_regular_file(ignored)) continue;
    const fs::path relative = at->path().lexically_relative(root);
    std::array<std::string, 4> parts;
    std::copy(relative.begin(), relative.end(), parts.begin());
    const bool good = usable(parts[0], true) &&
                      std::all_of(parts.begin() + 1, parts.end(),
                                  [](const std::string& part) { return usable(part, false); });
    if (good) names.push_back({parts[0], parts[1], parts[2], parts[3]});
  }
  std::sort(names.begin(), names.end(),
            [](const OllamaName& a, const OllamaName& b) { return a.spelled() < b.spelled(); });
  return names;
}

// Another tag of the same model, or a name that is spelled much alike.
std::string nearest(const OllamaName& name, const std::vector<OllamaName>& known) {
  std::vector<std::string> spellings;
  for (const OllamaName& other : known) {
    if (other.host == name.host && other.space == name.space && other.model == name.model) {
      return other.spelled();
    }
    spellings.push_back(other.spelled());
  }
  return nearest_name(name.spelled(), spellings);
}

Status unknown(const OllamaName& name, const fs::path& store) {
  const std::vector<OllamaName> known = names_in(store);
  std::string hint;
  if (const std::string near = nearest(name, known); !near.empty()) {
    hint = cat("; did you mean ", kPrefix, near, "?");
  } else if (!known.empty()) {
    hint = "; it holds ";
    for (size_t i = 0; i < std::min(known.size(), kMostListed); ++i) {
      hint += cat(i == 0 ? "" : ", ", kPrefix, known[i].spelled());
    }
    if (known.size() > kMostListed) hint += cat(" and ", known.size() - kMostListed, " more");
  }
  return error(Code::kNotFound, kPrefix, name.spelled(), " is not in Ollama's store ",
               store.string(), hint, "; to get it run: ollama pull ", name.spelled());
}

}  // namespace

bool is_ollama_name(std::string_view name) { return name.starts_with(kPrefix); }

Result<OllamaModel> find_ollama_model(std::string_view text) {
  HEED_ASSIGN(const OllamaName name, parse_name(text));
  HEED_ASSIGN(const fs::path store, store_folder());
  std::error_code ignored;
  if (!fs::is_regular_file(name.manifest(store), ignored)) return unknown(name, store);
  return read_model(name, store);
}

std::vector<OllamaModel> list_ollama_models() {
  std::vector<OllamaModel> models;
  const Result<fs::path> store = store_folder();
  if (!store.is_ok()) return models;
  for (const OllamaName& name : names_in(*store)) {
    Result<OllamaModel> model = read_model(name, *store);
    if (model.is_ok()) models.push_back(std::move(*model));
  }
  return models;
}

}  // namespace heed
