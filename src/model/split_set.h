// A model in parts, NAME-00001-of-0000N.gguf to NAME-0000N-of-0000N.gguf as llama.cpp's
// llama-gguf-split writes them: GGUF files that have some of the tensors each. The model's keys are
// in the first. Parts are found by their names and checked by their keys.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "heed/status.h"
#include "model/gguf_file.h"

namespace heed {

struct SplitName {
  std::string stem;  // what stands before -00001-of-0000N.gguf, folders included
  int part = 0;      // from 1
  int parts = 0;

  std::string path_of(int number) const;
};
// Nothing for names of another form.
std::optional<SplitName> split_name(std::string_view path);

// A model's file, with the tensors of all parts where it is split; `path` may name any part.
// Errors: a part that is missing, misnamed, of another set or damaged, each by its name.
Result<std::unique_ptr<GgufFile>> open_model_file(const std::string& path,
                                                  FileAccess access = FileAccess::kMap);

// The name by which a model is known to readers that take the first part only. That of a set whose
// first part is missing, of what is no part and of what cannot be read is its own.
std::string first_part_path(const std::string& path);

}  // namespace heed
