#include "model/model_identity.h"

#include <filesystem>

#include "base/block_hash.h"
#include "base/new_file.h"
#include "base/read_file.h"
#include "base/text.h"
#include "model/catalogue.h"
#include "model/sha256.h"

namespace heed {
namespace {

constexpr uint64_t kSmall = uint64_t{64} << 20;  // hashed in some milliseconds
constexpr size_t kDigits = 32;

// "STAMP\nHASH\n", or nothing that can be used.
std::string kept(const std::string& path, const std::string& stamp) {
  const Result<std::string> text = read_file(path, path);
  if (!text.is_ok() || text->size() != stamp.size() + kDigits + 2) return {};
  if (!text->starts_with(stamp + '\n') || text->back() != '\n') return {};
  return text->substr(stamp.size() + 1, kDigits);
}

// What cannot be kept is found again.
void keep(const std::string& path, const std::string& stamp, const std::string& hash) {
  std::error_code fault;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), fault);
  const std::string text = stamp + '\n' + hash + '\n';
  const auto file = NewFile::create(path, 0);
  if (!file.is_ok() || !(*file)->write(0, text.data(), text.size()).is_ok()) return;
  (void)(*file)->commit().is_ok();
}

Result<std::string> hash_of(const GgufFile& file) {
  BlockHash hash;
  for (const auto& part : file.files()) {
    HEED_TRY(part->read_through(
        [&hash](std::span<const uint8_t> bytes) { hash.update(bytes.data(), bytes.size()); }));
  }
  return to_hex(hash.finish());
}

}  // namespace

Result<std::string> model_identity(const GgufFile& file) {
  HEED_TRY(file.unchanged());
  const Result<std::string> home = heed_home();
  if (file.size() < kSmall || !file.mapped() || !home.is_ok()) return hash_of(file);
  std::string stamp;
  for (const auto& part : file.files()) {
    const std::string one = part->stamp();
    if (one.empty()) return hash_of(file);
    stamp += cat(stamp.empty() ? "" : ", ", one);
  }
  const std::string path = cat(*home, "/hashes/", sha256_hex(stamp));
  if (const std::string hash = kept(path, stamp); !hash.empty()) return hash;
  HEED_ASSIGN(const std::string hash, hash_of(file));
  keep(path, stamp, hash);
  return hash;
}

}  // namespace heed
