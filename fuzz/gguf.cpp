// A GGUF header: whatever heed accepts, ggml's own reader must survive too, because llama.cpp reads
// the tokenizer from the same file behind heed's checks.
#include <gguf.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "model/gguf_file.h"
#include "model/hyperparameters.h"
#include "model/library_log.h"
#include "model/vocabulary_rules.h"

namespace {

void touch(const heed::GgufFile& file) {
  uint64_t sum = 0;
  for (const heed::GgufTensor& tensor : file.tensors()) {
    const uint8_t* data = file.data(tensor);
    sum += data[0] + data[tensor.bytes - 1];
  }
  for (const heed::GgufKey& key : file.keys()) {
    if (key.type != heed::GgufType::kString) continue;
    heed::GgufStrings strings(key);
    for (std::string_view text; strings.next(text);) sum += text.size();
  }
  volatile uint64_t keep = sum;
  (void)keep;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  heed::route_library_logs();
  const auto file = heed::GgufFile::from_bytes({data, size}, "fuzz");
  if (!file.is_ok()) {
    if (file.message().empty()) std::abort();  // an error that says nothing
    return 0;
  }
  touch(**file);
  const auto hyper = heed::Hyperparameters::read(**file);
  if (hyper.is_ok()) {
    const auto info = heed::model_info(**file, *hyper);
    if (!info.is_ok() && info.message().empty()) std::abort();
  }
  const heed::Status vocabulary = heed::check_vocabulary(**file);
  if (!vocabulary.is_ok() && vocabulary.message().empty()) std::abort();
  gguf_free(gguf_init_from_buffer(data, size, {.no_alloc = true, .ctx = nullptr}));
  return 0;
}
