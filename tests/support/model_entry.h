// Entries of a catalogue for files that a test makes up.
#pragma once

#include <string>

#include "base/random.h"
#include "model/catalogue.h"
#include "model/sha256.h"

namespace heed {

// A file in which no two places look alike.
inline std::string noise(size_t size) {
  std::string out(size, '\0');
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>(random_bits(1, i));
  return out;
}

// NAME:1 in NAME.gguf, with these bytes and one source.
inline ModelEntry entry_of(const std::string& name, const std::string& bytes,
                           const ModelSource& source) {
  ModelEntry entry;
  entry.name = name + ":1";
  entry.file = name + ".gguf";
  entry.bytes = bytes.size();
  entry.sha256 = sha256_hex(bytes);
  entry.sources = {source};
  return entry;
}

}  // namespace heed
