#include "eval/llama_memory.h"

#include <llama.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>

#include "base/text.h"
#include "eval/llama_params.h"
#include "model/library_log.h"
#include "model/tokenizer.h"

// llama.cpp declares these in src/llama-ext.h, which it does not install; the version is pinned
// (cmake/deps), and LlamaMemory.covers_what_llama_then_takes notices another layout.
struct llama_memory_breakdown_data {
  size_t model = 0;
  size_t context = 0;
  size_t compute = 0;
};
std::map<ggml_backend_buffer_type_t, llama_memory_breakdown_data> llama_get_memory_breakdown(
    const llama_context* context);

namespace heed::eval {
namespace {

struct FreeModel {
  void operator()(llama_model* model) const { llama_model_free(model); }
};
struct FreeContext {
  void operator()(llama_context* context) const { llama_free(context); }
};

Result<LlamaMemory> measure(llama_model* model, const LlamaOptions& wanted, bool every_row) {
  const LlamaOptions options = within_context(wanted);
  llama_context_params params = context_params(options);
  // A buffer for more rows is address space that llama.cpp never touches.
  if (!every_row) params.n_outputs_max = 1;
  const std::unique_ptr<llama_context, FreeContext> context(llama_init_from_model(model, params));
  if (context == nullptr) {
    return error(Code::kUnsupported, "llama.cpp cannot make a context of ", options.context,
                 " tokens (", describe(options), "): ", library_reason());
  }
  LlamaMemory memory;
  for (const auto& [type, part] : llama_get_memory_breakdown(context.get())) {
    memory.weights += part.model;
    memory.context += part.context;
    memory.compute += part.compute;
  }
  const auto vocab = static_cast<uint64_t>(llama_vocab_n_tokens(llama_model_get_vocab(model)));
  const auto rows = static_cast<uint64_t>(every_row ? options.batch : 1);
  memory.weights += kVocabularyBytesPerToken * vocab;
  memory.compute += rows * vocab * sizeof(float);
  // Its adapters are copies of their files, one set for each context.
  for (const ScaledFile& lora : options.loras) {
    std::error_code ignored;
    const auto bytes = std::filesystem::file_size(lora.path, ignored);
    if (!ignored) memory.context += bytes;
  }
  return memory;
}

}  // namespace

Result<std::vector<LlamaMemory>> predict_llama_memory(const std::string& path,
                                                      std::span<const LlamaOptions> options,
                                                      bool every_row) {
  std::vector<LlamaMemory> answers;
  if (options.empty()) return answers;
  for (const LlamaOptions& one : options) HEED_TRY(check_llama_options(one));
  route_library_logs();
  take_library_error();
  llama_model_params params = llama_model_default_params();
  params.n_gpu_layers = 0;
  params.use_extra_bufts = options[0].repack;
  params.no_alloc = true;
  params.load_mode = LLAMA_LOAD_MODE_NONE;
  const std::unique_ptr<llama_model, FreeModel> model(
      llama_model_load_from_file(path.c_str(), params));
  if (model == nullptr) {
    return error(Code::kUnsupported, path, ": llama.cpp cannot load it: ", library_reason());
  }
  for (const LlamaOptions& one : options) {
    HEED_ASSIGN(answers.emplace_back(), measure(model.get(), one, every_row));
  }
  return answers;
}

Result<LlamaMemory> predict_llama_memory(const std::string& path, const LlamaOptions& options,
                                         bool every_row) {
  HEED_ASSIGN(const auto answers,
              predict_llama_memory(path, std::span<const LlamaOptions>(&options, 1), every_row));
  return answers[0];
}

}  // namespace heed::eval
