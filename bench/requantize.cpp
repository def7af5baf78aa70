// bench_requantize IN.gguf OUT.gguf [TYPE]: the same model in another weight type (default Q4_0),
// through llama.cpp's own quantiser. The speed marks of SmolLM2 are stated on Q4_0, which ggml can
// repack, while the file of SmolLM2 on the Python index is Q4_1, which it cannot. Weights that are
// already quantised are dequantised first: fine for speed, and kl_vs_ref is measured against the
// new file itself.
#include <llama.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>

#include "heed/engine.h"
#include "model/library_log.h"

namespace {

struct Type {
  const char* name;
  llama_ftype ftype;
};
constexpr std::array kTypes = {
    Type{"Q4_0", LLAMA_FTYPE_MOSTLY_Q4_0}, Type{"Q4_1", LLAMA_FTYPE_MOSTLY_Q4_1},
    Type{"Q5_0", LLAMA_FTYPE_MOSTLY_Q5_0}, Type{"Q8_0", LLAMA_FTYPE_MOSTLY_Q8_0},
    Type{"F16", LLAMA_FTYPE_MOSTLY_F16},   Type{"BF16", LLAMA_FTYPE_MOSTLY_BF16},
    Type{"F32", LLAMA_FTYPE_ALL_F32},      Type{"Q4_K_M", LLAMA_FTYPE_MOSTLY_Q4_K_M},
};

const Type* find_type(const char* name) {
  for (const Type& type : kTypes) {
    if (std::strcmp(type.name, name) == 0) return &type;
  }
  return nullptr;
}

int requantise(const std::string& from, const std::string& to, llama_ftype ftype) {
  const auto info = heed::Model::inspect(from);  // says what is wrong with the file, if anything
  if (!info.is_ok()) {
    std::fprintf(stderr, "%s\n", info.message().c_str());
    return 1;
  }
  heed::route_library_logs();
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.ftype = ftype;
  params.allow_requantize = true;
  params.nthread = static_cast<int>(std::thread::hardware_concurrency());
  const std::string partial = to + ".partial";
  if (llama_model_quantize(from.c_str(), partial.c_str(), &params) != 0) {
    std::fprintf(stderr, "%s: llama.cpp cannot quantise it: %s\n", from.c_str(),
                 heed::take_library_error().c_str());
    std::error_code ignored;
    std::filesystem::remove(partial, ignored);
    return 1;
  }
  std::error_code code;
  std::filesystem::rename(partial, to, code);
  if (code) {
    std::fprintf(stderr, "%s: %s\n", to.c_str(), code.message().c_str());
    return 1;
  }
  return 0;
}

}  // namespace

int main(int count, char** words) {
  const Type* type = count == 4 ? find_type(words[3]) : &kTypes[0];
  if (count < 3 || count > 4 || type == nullptr) {
    std::fprintf(stderr, "usage: bench_requantize IN.gguf OUT.gguf [TYPE], TYPE one of");
    for (const Type& known : kTypes) std::fprintf(stderr, " %s", known.name);
    std::fprintf(stderr, "; default Q4_0\n");
    return 2;
  }
  return requantise(words[1], words[2], type->ftype);
}
