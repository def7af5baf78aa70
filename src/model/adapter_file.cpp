#include "model/adapter_file.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/guard.h"
#include "base/nearest.h"
#include "base/text.h"
#include "model/gguf_parser.h"

namespace heed {
namespace {

constexpr std::string_view kA = ".lora_a", kB = ".lora_b";
constexpr std::string_view kActivated = "adapter.alora.invocation_tokens";
// Of the section "adapter."; those that say nothing about the mathematics are left alone.
constexpr std::array<std::string_view, 4> kKnownKeys = {
    "adapter.type", "adapter.lora.alpha", "adapter.lora.task_name", "adapter.lora.prompt_prefix"};

Status check_keys(const GgufFile& file) {
  HEED_ASSIGN(const std::string type, file.text("general.type", ""));
  if (type != "adapter") {
    return error(Code::kUnsupported, "is no adapter: key 'general.type' is '", printable(type),
                 "', must be 'adapter'",
                 type.empty() || type == "model" ? "; a model goes behind -m" : "");
  }
  HEED_ASSIGN(const std::string kind, file.text("adapter.type"));
  if (kind != "lora") {
    return error(Code::kUnsupported, "key 'adapter.type' is '", printable(kind),
                 "'; heed knows 'lora'");
  }
  if (const GgufKey* key = file.find(kActivated)) {
    return error(Code::kUnsupported, "key '", kActivated, "' (", key->count,
                 " tokens): an adapter that works only behind certain tokens, which heed does not "
                 "know; take a plain LoRA adapter");
  }
  for (const GgufKey& key : file.keys()) {
    const bool known =
        !key.name.starts_with("adapter.") ||
        std::find(kKnownKeys.begin(), kKnownKeys.end(), key.name) != kKnownKeys.end();
    if (known) continue;
    const std::string near = nearest_name(key.name, kKnownKeys);
    return error(Code::kUnsupported, "key '", printable(key.name), "' is not known",
                 near.empty() ? std::string() : cat("; did its writer mean '", near, "'?"));
  }
  return Status::ok();
}

// NAME of "NAME.lora_a" or "NAME.lora_b".
Result<std::string_view> target_of(const GgufTensor& tensor) {
  const std::string_view name = tensor.name;
  if (name.ends_with(kA) || name.ends_with(kB)) return name.substr(0, name.size() - kA.size());
  const bool norm = name.ends_with("_norm.weight");
  return error(Code::kUnsupported, "tensor '", printable(name), "' is no factor (NAME", kA,
               ", NAME", kB, ")",
               norm ? ": this adapter replaces norms, which heed does not; merge it into its model"
                    : "; convert the adapter again");
}

Status check_pair(const LoraPair& pair) {
  const GgufTensor* const present = pair.a != nullptr ? pair.a : pair.b;
  if (pair.a == nullptr || pair.b == nullptr) {
    return error(Code::kCorrupt, "tensor '", printable(present->name), "' stands alone: '",
                 printable(pair.target), pair.a == nullptr ? kA : kB,
                 "' is missing; convert the adapter again");
  }
  for (const GgufTensor* tensor : {pair.a, pair.b}) {
    if (tensor->ne[2] != 1 || tensor->ne[3] != 1) {
      return error(Code::kUnsupported, "tensor '", printable(tensor->name), "' has shape ",
                   tensor->shape(),
                   ": factors of experts or heads are not applied; heed adapts "
                   "plain matrices, merge this adapter into its model");
    }
    const bool usable =
        ggml_get_type_traits(tensor->type)->to_float != nullptr || tensor->type == GGML_TYPE_F32;
    if (!usable) {
      return error(Code::kUnsupported, "tensor '", printable(tensor->name), "' has type ",
                   ggml_type_name(tensor->type), ", factors are F32, F16, BF16 or quantised");
    }
  }
  const int64_t of_a = pair.a->ne[pair.is_table() ? 0 : 1];
  if (of_a == pair.rank()) return Status::ok();
  return error(Code::kCorrupt, "tensors '", printable(pair.a->name), "' of ", pair.a->shape(),
               " and '", printable(pair.b->name), "' of ", pair.b->shape(), ": ranks ", of_a,
               " and ", pair.rank(), " differ; convert the adapter again");
}

Status read_pairs(const GgufFile& file, std::vector<LoraPair>& pairs) {
  for (const GgufTensor& tensor : file.tensors()) {
    HEED_ASSIGN(const std::string_view target, target_of(tensor));
    const bool is_a = tensor.name.ends_with(kA);
    const GgufTensor* const other = file.find_tensor(cat(target, is_a ? kB : kA));
    if (!is_a && other != nullptr) continue;  // its pair is made with the other
    pairs.push_back({target, is_a ? &tensor : other, is_a ? other : &tensor});
    HEED_TRY(check_pair(pairs.back()));
  }
  if (!pairs.empty()) return Status::ok();
  return error(Code::kCorrupt, "holds no factors (tensors NAME", kA, " and NAME", kB, ")");
}

}  // namespace

float AdapterFile::scale_of(const LoraPair& pair) const {
  return info.alpha == 0 ? 1.0f : static_cast<float>(info.alpha / static_cast<double>(pair.rank()));
}

Result<AdapterFile> AdapterFile::read(const GgufFile& file) {
  HEED_TRY(check_keys(file));
  AdapterFile adapter;
  AdapterInfo& info = adapter.info;
  HEED_ASSIGN(info.architecture, file.text("general.architecture"));
  HEED_ASSIGN(info.alpha, file.number("adapter.lora.alpha", 0.0));
  if (std::fabs(info.alpha) > static_cast<double>(std::numeric_limits<float>::max())) {
    return error(Code::kOutOfRange, "key 'adapter.lora.alpha' is ", info.alpha,
                 ", more than a float holds");
  }
  const Result<std::string> title = file.text("general.name", "");
  if (title.is_ok()) info.name = *title;  // a label only
  info.path = file.path();
  info.file_bytes = file.size();
  HEED_TRY(read_pairs(file, adapter.pairs));
  info.least_rank = adapter.pairs.front().rank();
  for (const LoraPair& pair : adapter.pairs) {
    info.least_rank = std::min(info.least_rank, pair.rank());
    info.most_rank = std::max(info.most_rank, pair.rank());
    info.parameters += static_cast<uint64_t>(pair.a->elements() + pair.b->elements());
    info.targets.emplace_back(pair.target);
  }
  return adapter;
}

Status check_finite(std::string_view tensor, const float* values, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (std::isfinite(values[i])) continue;
    return error(Code::kCorrupt, "tensor '", printable(tensor), "' holds ", values[i],
                 " at element ", i, "; the file is damaged or its training failed");
  }
  return Status::ok();
}

Result<bool> is_adapter_file(const std::string& path) {
  return guarded("reading the file's header", [&]() -> Result<bool> {
    HEED_ASSIGN(const auto file, GgufFile::open(path));
    const Result<std::string> type = file->text("general.type", "");
    return type.is_ok() && *type == "adapter";
  });
}

Result<AdapterInfo> inspect_adapter(const std::string& path) {
  return guarded("reading the adapter's header", [&]() -> Result<AdapterInfo> {
    HEED_ASSIGN(const auto file, GgufFile::open(path));
    Result<AdapterFile> adapter = AdapterFile::read(*file);
    if (!adapter.is_ok()) return adapter.status().with_context(path);
    return std::move(adapter->info);
  });
}

}  // namespace heed
