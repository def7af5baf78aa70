// A HEED_HOME and a store of Ollama's of its own for one test.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "scoped_env.h"

namespace heed {

class ModelHome {
 public:
  ModelHome()
      : path_(make()),
        env_("HEED_HOME", path_.string()),
        ollama_("OLLAMA_MODELS", path("ollama").string()) {}
  ~ModelHome() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::filesystem::path path(const std::string& relative = "") const { return path_ / relative; }

  void write(const std::string& relative, const std::string& bytes) const {
    std::filesystem::create_directories(path(relative).parent_path());
    std::ofstream(path(relative), std::ios::binary) << bytes;
  }

  static std::string read(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  static std::filesystem::path make() {
    std::string name = (std::filesystem::temp_directory_path() / "heed-test-XXXXXX").string();
    return mkdtemp(name.data());
  }

  std::filesystem::path path_;
  ScopedEnv env_, ollama_;
};

}  // namespace heed
