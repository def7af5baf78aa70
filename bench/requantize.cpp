// bench_requantize IN.gguf OUT.gguf [TYPE]: the same model in another weight type (default Q4_0),
// through llama.cpp's own quantiser. The speed marks of SmolLM2 are stated on Q4_0, which ggml can
// repack, while the file of SmolLM2 on the Python index is Q4_1, which it cannot. Weights that are
// already quantised are dequantised first: fine for speed, and kl_vs_ref is measured against the
// new file itself.
#include <array>
#include <cstdio>
#include <cstring>

#include "quantise_file.h"

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

}  // namespace

int main(int count, char** words) {
  const Type* type = count == 4 ? find_type(words[3]) : &kTypes[0];
  if (count < 3 || count > 4 || type == nullptr) {
    std::fprintf(stderr, "usage: bench_requantize IN.gguf OUT.gguf [TYPE], TYPE one of");
    for (const Type& known : kTypes) std::fprintf(stderr, " %s", known.name);
    std::fprintf(stderr, "; default Q4_0\n");
    return 2;
  }
  return heed::bench::quantise_file(words[1], words[2], type->ftype) ? 0 : 1;
}
