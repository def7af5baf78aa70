// A tiny model as a set of files in a folder of its own, as llama-gguf-split lays one out.
#pragma once

#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tiny_gguf.h"

namespace heed::tiny {

class SplitFiles {
 public:
  SplitFiles(const File& whole, int count) : folder_(make_folder()) {
    const auto n = static_cast<uint32_t>(count);
    for (uint32_t i = 0; i < n; ++i) {
      File part;
      if (i == 0) part.keys = whole.keys;
      part.set(scalar_key<uint16_t>("split.no", kU16, static_cast<uint16_t>(i)));
      part.set(scalar_key<uint16_t>("split.count", kU16, static_cast<uint16_t>(n)));
      part.set(scalar_key<int32_t>("split.tensors.count", kI32,
                                   static_cast<int32_t>(whole.tensors.size())));
      const size_t size = whole.tensors.size();
      part.tensors.assign(whole.tensors.begin() + static_cast<std::ptrdiff_t>(size * i / n),
                          whole.tensors.begin() + static_cast<std::ptrdiff_t>(size * (i + 1) / n));
      parts.push_back(std::move(part));
    }
    write();
  }
  ~SplitFiles() { std::filesystem::remove_all(folder_); }
  SplitFiles(const SplitFiles&) = delete;
  SplitFiles& operator=(const SplitFiles&) = delete;

  // `number` from 1.
  std::string path(int number) const {
    char name[64];
    std::snprintf(name, sizeof(name), "tiny-%05d-of-%05zu.gguf", number, parts.size());
    return (folder_ / name).string();
  }
  void write() const {
    for (size_t i = 0; i < parts.size(); ++i) write(i + 1, parts[i].encode().bytes);
  }
  void write(size_t number, const std::vector<uint8_t>& bytes) const {
    std::ofstream out(path(static_cast<int>(number)), std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
  }

  std::vector<File> parts;  // write() brings changes to the files

 private:
  static std::filesystem::path make_folder() {
    std::string name = (std::filesystem::temp_directory_path() / "heed-split-XXXXXX").string();
    return mkdtemp(name.data());
  }

  std::filesystem::path folder_;
};

}  // namespace heed::tiny
