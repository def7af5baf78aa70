#include "eval/result_store.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "model/catalogue.h"
#include "model/file_hash.h"
#include "model/sha256.h"

namespace heed::eval {
namespace {

Result<std::filesystem::path> file_of(const std::string& key) {
  HEED_ASSIGN(const std::string home, heed_home());
  return std::filesystem::path(home) / "results" / (sha256_hex(key) + ".json");
}

}  // namespace

Result<std::string> program_revision() {
  // The file that runs is the one revision that cannot be forgotten to be raised.
  static const Result<std::string> revision = file_sha256("/proc/self/exe", nullptr);
  return revision;
}

std::optional<double> kept_result(const std::string& key) {
  const auto path = file_of(key);
  if (!path.is_ok()) return std::nullopt;
  std::ifstream in(*path);
  if (!in) return std::nullopt;
  const auto json = nlohmann::json::parse(in, nullptr, false);
  if (!json.is_object() || json.value("key", std::string()) != key) return std::nullopt;
  const auto value = json.find("value");
  if (value == json.end() || !value->is_number()) return std::nullopt;
  return value->get<double>();
}

Status keep_result(const std::string& key, double value) {
  HEED_ASSIGN(const auto path, file_of(key));
  std::error_code code;
  std::filesystem::create_directories(path.parent_path(), code);
  if (code) return error(Code::kIo, path.parent_path().string(), ": ", code.message());
  auto partial = path;
  partial += cat(".", getpid());
  {
    std::ofstream out(partial);
    out << nlohmann::ordered_json{{"key", key}, {"value", value}}.dump() << '\n';
    if (!out.flush()) return error(Code::kIo, partial.string(), ": cannot be written");
  }
  std::filesystem::rename(partial, path, code);
  if (!code) return Status::ok();
  std::error_code ignored;
  std::filesystem::remove(partial, ignored);
  return error(Code::kIo, path.string(), ": ", code.message());
}

}  // namespace heed::eval
