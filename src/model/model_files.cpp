// Finding, listing and removing models in $HEED_HOME/models (declared in pull.h).
#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/text.h"
#include "model/ollama_store.h"
#include "model/pull.h"
#include "model/split_set.h"

namespace heed {
namespace {

namespace fs = std::filesystem;

uint64_t size_or_zero(const fs::path& path) {
  std::error_code fault;
  const uint64_t size = fs::file_size(path, fault);
  return fault ? 0 : size;
}

// Bytes of everything below a folder, 0 when there is none.
uint64_t folder_bytes(const fs::path& folder) {
  uint64_t sum = 0;
  std::error_code ignored;
  for (auto it = fs::recursive_directory_iterator(folder, ignored);
       it != fs::recursive_directory_iterator(); it.increment(ignored)) {
    std::error_code gone;
    if (it->is_regular_file(gone)) sum += size_or_zero(it->path());
  }
  return sum;
}

// The files of a set by the path of one of its parts, or the one file.
std::vector<fs::path> files_of(const fs::path& path) {
  const auto name = split_name(path.string());
  if (!name) return {path};
  std::vector<fs::path> files;
  for (int part = 1; part <= name->parts; ++part) files.emplace_back(name->path_of(part));
  return files;
}

bool ends_with_gguf(std::string_view name) { return name.ends_with(".gguf"); }

Result<fs::path> models_folder() {
  HEED_ASSIGN(const std::string home, heed_home());
  return fs::path(home) / "models";
}

Result<std::string> resolve_path(const std::string& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    return error(Code::kInvalidArgument, path, ": is a folder, not a GGUF file");
  }
  if (path.find('/') == path.npos) {
    HEED_ASSIGN(const fs::path models, models_folder());
    if (fs::is_regular_file(models / path, ignored)) {
      return first_part_path((models / path).string());
    }
    return error(Code::kNotFound, path, ": no such file here or in ", models.string());
  }
  return error(Code::kNotFound, path, ": no such file");
}

// A file that the catalogue does not list. A set stands under its first part.
std::optional<StoredModel> other_model(const fs::path& path) {
  StoredModel item{path.filename(), path.string(), 0, true, false, "", ""};
  const std::vector<fs::path> files = files_of(path);
  std::error_code ignored;
  if (path != files.front() && fs::exists(files.front(), ignored)) return {};
  for (const fs::path& file : files) {
    item.bytes += size_or_zero(file);
    item.installed &= fs::exists(file, ignored);
  }
  if (files.size() > 1) item.about = cat(files.size(), " parts");
  return item;
}

}  // namespace

Result<std::string> resolve_model(std::string_view name_or_path) {
  const std::string text(name_or_path);
  if (text.empty()) return error(Code::kInvalidArgument, "the name of the model is empty");
  if (is_ollama_name(text)) {
    HEED_ASSIGN(const OllamaModel model, find_ollama_model(text));
    return model.path;
  }
  std::error_code ignored;
  if (fs::is_regular_file(text, ignored)) return first_part_path(text);
  if (text.find('/') != text.npos || ends_with_gguf(text)) return resolve_path(text);

  HEED_ASSIGN(const auto catalogue, load_catalogue());
  const Result<ModelEntry> entry = find_model(catalogue, text);
  if (!entry.is_ok()) {
    return error(entry.code(), entry.message(), "; a path to a .gguf file works too");
  }
  HEED_ASSIGN(const fs::path models, models_folder());
  const fs::path path = models / entry->file;
  if (!fs::exists(path, ignored)) {
    return error(Code::kNotFound, "model ", entry->name, " (", entry->bytes / 1000000,
                 " MB) is not on this machine; run: heed pull ", entry->name);
  }
  if (const uint64_t size = size_or_zero(path); size != entry->bytes) {
    return error(Code::kCorrupt, path.string(), ": has ", size, " bytes, the catalogue says ",
                 entry->bytes, "; run: heed rm ", entry->name, " && heed pull ", entry->name);
  }
  return path.string();
}

Result<std::string> ensure_model(std::string_view name_or_path, const PullOptions& options) {
  Result<std::string> path = resolve_model(name_or_path);
  if (path.is_ok() || path.code() != Code::kNotFound || is_ollama_name(name_or_path)) return path;
  HEED_ASSIGN(const auto catalogue, load_catalogue());
  const Result<ModelEntry> entry = find_model(catalogue, name_or_path);
  // Not a known name: what resolve_model said about the path or the name stands.
  if (!entry.is_ok()) return path;
  return pull_model(*entry, options);
}

Result<std::vector<StoredModel>> list_models() {
  HEED_ASSIGN(const auto catalogue, load_catalogue());
  HEED_ASSIGN(const fs::path models, models_folder());
  std::vector<StoredModel> list;
  std::vector<std::string> known;
  for (const ModelEntry& entry : catalogue) {
    StoredModel item{entry.name,   (models / entry.file).string(), 0, false, true, entry.about,
                     entry.licence};
    item.bytes = size_or_zero(item.path);
    item.installed = item.bytes == entry.bytes;
    if (!item.installed) item.bytes += folder_bytes(models / ".partial" / entry.file);
    known.push_back(entry.file);
    list.push_back(std::move(item));
  }
  const size_t catalogued = list.size();
  std::error_code ignored;
  for (const auto& file : fs::directory_iterator(models, ignored)) {
    const std::string name = file.path().filename();
    if (!file.is_regular_file(ignored) || !ends_with_gguf(name)) continue;
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    if (auto item = other_model(file.path())) list.push_back(std::move(*item));
  }
  std::sort(list.begin() + static_cast<std::ptrdiff_t>(catalogued), list.end(),
            [](const StoredModel& a, const StoredModel& b) { return a.name < b.name; });
  for (const OllamaModel& model : list_ollama_models()) {
    list.push_back({model.name, model.path, model.bytes, true, false, "in Ollama's store", ""});
  }
  return list;
}

Result<uint64_t> remove_model(std::string_view name) {
  if (is_ollama_name(name)) {
    return error(Code::kUnsupported, name,
                 ": heed changes nothing in Ollama's store; run: ollama rm ",
                 name.substr(name.find(':') + 1));
  }
  if (name.find('/') != name.npos || name == "." || name == "..") {
    return error(Code::kInvalidArgument, "\"", name,
                 "\" is a path; rm takes a name that `heed ls` shows");
  }
  HEED_ASSIGN(const fs::path models, models_folder());
  std::string file(name);
  if (!ends_with_gguf(name)) {
    HEED_ASSIGN(const auto catalogue, load_catalogue());
    HEED_ASSIGN(const ModelEntry entry, find_model(catalogue, name));
    file = entry.file;
  }
  const fs::path partial = models / ".partial" / file;
  uint64_t bytes = folder_bytes(partial);
  std::error_code fault;
  bool existed = false;
  for (const fs::path& path : files_of(models / file)) {
    bytes += size_or_zero(path);
    existed |= fs::remove(path, fault);
    if (fault) return error(Code::kIo, path.string(), ": ", fault.message());
  }
  const bool had_partial = fs::remove_all(partial, fault) > 0;
  if (fault) return error(Code::kIo, partial.string(), ": ", fault.message());
  if (!existed && !had_partial) {
    return error(Code::kNotFound, (models / file).string(), ": is not there");
  }
  return bytes;
}

}  // namespace heed
