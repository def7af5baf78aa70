// Finding, listing and removing models in $HEED_HOME/models (declared in pull.h).
#include <algorithm>
#include <filesystem>

#include "base/text.h"
#include "model/pull.h"

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
    if (fs::is_regular_file(models / path, ignored)) return (models / path).string();
    return error(Code::kNotFound, path, ": no such file here or in ", models.string());
  }
  return error(Code::kNotFound, path, ": no such file");
}

}  // namespace

Result<std::string> resolve_model(std::string_view name_or_path) {
  const std::string text(name_or_path);
  if (text.empty()) return error(Code::kInvalidArgument, "the name of the model is empty");
  std::error_code ignored;
  if (fs::is_regular_file(text, ignored)) return text;
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
  if (path.is_ok() || path.code() != Code::kNotFound) return path;
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
    list.push_back({name, file.path().string(), size_or_zero(file.path()), true, false, "", ""});
  }
  std::sort(list.begin() + static_cast<std::ptrdiff_t>(catalogued), list.end(),
            [](const StoredModel& a, const StoredModel& b) { return a.name < b.name; });
  return list;
}

Result<uint64_t> remove_model(std::string_view name) {
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
  const uint64_t bytes = size_or_zero(models / file) + folder_bytes(partial);
  std::error_code fault;
  const bool existed = fs::remove(models / file, fault);
  if (fault) return error(Code::kIo, (models / file).string(), ": ", fault.message());
  const bool had_partial = fs::remove_all(partial, fault) > 0;
  if (fault) return error(Code::kIo, partial.string(), ": ", fault.message());
  if (!existed && !had_partial) {
    return error(Code::kNotFound, (models / file).string(), ": is not there");
  }
  return bytes;
}

}  // namespace heed
