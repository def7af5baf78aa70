#include "eval/adapter_files.h"

#include <algorithm>

#include "base/text.h"
#include "model/adapter.h"
#include "model/model_impl.h"

namespace heed::eval {
namespace {

// llama.cpp multiplies by the table's factors where it multiplies by the head, and aborts.
Status check_llama_takes(const Adaptation& adaptation, const Model& model,
                         const std::string& way_out) {
  if (!model.impl().hyper->tied_head) return Status::ok();
  for (const ScaledLora& lora : adaptation.loras) {
    const AdapterInfo& info = lora.adapter->info();
    const auto& targets = info.targets;
    if (std::find(targets.begin(), targets.end(), "token_embd.weight") == targets.end()) continue;
    return error(Code::kUnsupported, info.path, ": adapts token_embd.weight, which is the head of ",
                 model.info().path, " too, and llama.cpp cannot do that; ", way_out);
  }
  return Status::ok();
}

}  // namespace

std::vector<std::string> AdapterFiles::lora_paths() const {
  std::vector<std::string> paths;
  for (const ScaledFile& file : loras) paths.push_back(file.path);
  return paths;
}

Result<std::shared_ptr<const Adaptation>> AdapterFiles::load(const Model& model) const {
  if (loras.empty() && controls.empty()) return std::shared_ptr<const Adaptation>();
  auto made = std::make_shared<Adaptation>();
  for (const ScaledFile& file : loras) {
    HEED_ASSIGN(auto lora, load_lora(model, file.path));
    made->loras.push_back({std::move(lora), file.scale});
  }
  if (!controls.empty()) {
    HEED_ASSIGN(made->control, load_control_vector(model, controls, range));
  }
  return std::shared_ptr<const Adaptation>(std::move(made));
}

Status adapt_peer(const AdapterFiles& files, const Adaptation* adaptation, const Model& model,
                  const std::string& way_out, LlamaOptions& llama) {
  if (adaptation == nullptr) return Status::ok();
  HEED_TRY(check_llama_takes(*adaptation, model, way_out));
  llama.loras = files.loras;
  // Its zeros outside the range say which layers it steers.
  if (adaptation->control) llama.control = control_values(*adaptation->control);
  return Status::ok();
}

std::string adapters_suffix(size_t loras, bool steers) {
  if (loras == 0) return steers ? ", a control vector" : "";
  return cat(", ", loras, " LoRA", steers ? " and a control vector" : "");
}

}  // namespace heed::eval
