#include "model/hyperparameters.h"

#include <cmath>

#include "base/text.h"
#include "model/file_type.h"
#include "model/key_rules.h"
#include "model/sampling_keys.h"
#include "model/tensor_rules.h"

namespace heed {
namespace {

// Reads the section of one architecture, "llama.KEY".
class Section {
 public:
  Section(const GgufFile& file, const Architecture& arch) : file_(file), prefix_(arch.name) {
    prefix_ += '.';
  }

  bool has(const char* key) const { return file_.find(prefix_ + key) != nullptr; }
  std::string name(const char* key) const { return prefix_ + key; }

  Result<int> integer(const char* key, int64_t low, int64_t high,
                      std::optional<int64_t> fallback = {}) const {
    HEED_ASSIGN(const int64_t value, file_.integer(name(key), fallback));
    HEED_TRY(check_range(key, value, low, high));
    return static_cast<int>(value);
  }
  // Per layer where the file has an array, else the same for all.
  Result<int> integer_at(const char* key, int layer, int64_t low, int64_t high,
                         std::optional<int64_t> fallback = {}) const {
    HEED_ASSIGN(const int64_t value,
                file_.integer_at(name(key), static_cast<uint64_t>(layer), fallback));
    HEED_TRY(check_range(key, value, low, high));
    return static_cast<int>(value);
  }
  Result<double> number(const char* key, std::optional<double> fallback = {}) const {
    return file_.number(name(key), fallback);
  }
  Result<std::string> text(const char* key, std::string fallback) const {
    return file_.text(name(key), std::move(fallback));
  }
  const GgufKey* find(const char* key) const { return file_.find(prefix_ + key); }

 private:
  Status check_range(const char* key, int64_t value, int64_t low, int64_t high) const {
    if (value >= low && value <= high) return Status::ok();
    return error(Code::kOutOfRange, "key '", name(key), "' is ", value, ", must be ", low, " to ",
                 high);
  }

  const GgufFile& file_;
  std::string prefix_;
};

Status read_sizes(const Section& section, Hyperparameters& h) {
  HEED_ASSIGN(h.layers, section.integer("block_count", 1, limits::kLayers));
  HEED_ASSIGN(h.embd, section.integer("embedding_length", 1, limits::kEmbd));
  HEED_ASSIGN(const int context, section.integer("context_length", 1, limits::kContext));
  h.context = context;
  HEED_ASSIGN(const int heads, section.integer_at("attention.head_count", 0, 1, limits::kHeads));
  HEED_ASSIGN(h.dk, section.integer("attention.key_length", 2, kMaxHeadSize, h.embd / heads));
  HEED_ASSIGN(h.dv, section.integer("attention.value_length", 2, kMaxHeadSize, h.embd / heads));
  if (h.dk % 2 != 0 || h.dv % 2 != 0) {
    return error(Code::kUnsupported, "head sizes ", h.dk, " (keys) and ", h.dv,
                 " (values) must be even");
  }
  HEED_ASSIGN(h.n_rot, section.integer("rope.dimension_count", 0, h.dk, h.dk));
  if (h.n_rot % 2 != 0) {
    return error(Code::kCorrupt, "key '", section.name("rope.dimension_count"), "' is ", h.n_rot,
                 ", must be even");
  }
  HEED_ASSIGN(const double eps, section.number("attention.layer_norm_rms_epsilon"));
  if (!(eps > 0 && eps < 1)) {
    return error(Code::kOutOfRange, "key '", section.name("attention.layer_norm_rms_epsilon"),
                 "' is ", eps, ", must be between 0 and 1");
  }
  h.norm_eps = static_cast<float>(eps);
  return Status::ok();
}

Result<double> read_base(const Section& section, const char* key) {
  HEED_ASSIGN(const double base, section.number(key, 10000.0));
  if (!(base > 0)) {
    return error(Code::kOutOfRange, "key '", section.name(key), "' is ", base, ", must be above 0");
  }
  return base;
}

// Linear scaling divides positions by a factor, YaRN those of slow pairs. LongRoPE changes
// frequencies one by one; a file that asks for it would answer wrongly without.
Status read_scaling(const Section& section, int64_t context, Rope& rope) {
  HEED_ASSIGN(const std::string type, section.text("rope.scaling.type", "linear"));
  if (type == "none") return Status::ok();
  if (type != "linear" && type != "yarn") {
    return error(Code::kUnsupported, "key '", section.name("rope.scaling.type"), "' is '",
                 type.substr(0, 64),
                 "': heed scales rotations by 'none', 'linear' and 'yarn' only; "
                 "run this model with llama.cpp");
  }
  const char* key =
      section.has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  HEED_ASSIGN(const double factor, section.number(key, 0.0));
  if (!(factor >= 0)) {
    return error(Code::kOutOfRange, "key '", section.name(key), "' is ", factor,
                 ", must not be negative");
  }
  rope.scale = factor == 0 ? 1.0 : 1.0 / factor;  // 0 means unset, as in llama.cpp
  if (type == "linear") return Status::ok();
  if (!(rope.base > 1)) {
    return error(Code::kOutOfRange, "key '", section.name("rope.freq_base"), "' is ", rope.base,
                 ", YaRN needs a base above 1");
  }
  HEED_ASSIGN(rope.yarn_context, section.integer("rope.scaling.original_context_length", 1,
                                                 limits::kContext, context));
  return Status::ok();
}

// Layers whose window holds `windowed` rotate with a base of their own and no scaling (Gemma 3).
Status read_ropes(const Section& section, const GgufFile& file, bool windowed, Hyperparameters& h) {
  Rope rope;
  HEED_ASSIGN(rope.base, read_base(section, "rope.freq_base"));
  HEED_TRY(read_scaling(section, h.context, rope));
  rope.factors = file.find_tensor("rope_freqs.weight") != nullptr;
  h.ropes.push_back(rope);
  if (!windowed) return Status::ok();
  Rope local;
  HEED_ASSIGN(local.base, read_base(section, "rope.freq_base_swa"));
  h.ropes.push_back(local);
  return Status::ok();
}

// True where layer `layer` sees a window only.
Result<bool> is_windowed(const Section& section, const Architecture& arch, int layer) {
  const GgufKey* pattern = section.find("attention.sliding_window_pattern");
  if (pattern != nullptr && pattern->is_array) {
    HEED_ASSIGN(const int flag,
                section.integer_at("attention.sliding_window_pattern", layer, 0, 1));
    return flag != 0;
  }
  HEED_ASSIGN(const int period, section.integer("attention.sliding_window_pattern", 0,
                                                limits::kLayers, arch.window_period));
  return period == 0 || layer % period < period - 1;
}

Status read_layers(const Section& section, const GgufFile& file, Hyperparameters& h) {
  HEED_ASSIGN(const int window,
              section.integer("attention.sliding_window", 0, limits::kContext, 0));
  if (window > 0 && h.arch->window_period == 0) {
    return error(Code::kUnsupported, "key '", section.name("attention.sliding_window"), "' is ",
                 window, ": heed knows no window rule for the architecture ", h.arch->name);
  }
  HEED_TRY(read_ropes(section, file, window > 0, h));
  for (int i = 0; i < h.layers; ++i) {
    LayerHyper layer;
    HEED_ASSIGN(layer.heads, section.integer_at("attention.head_count", i, 1, limits::kHeads));
    HEED_ASSIGN(layer.kv_heads,
                section.integer_at("attention.head_count_kv", i, 1, limits::kHeads, layer.heads));
    HEED_ASSIGN(layer.ff, section.integer_at("feed_forward_length", i, 1, limits::kFf));
    if (layer.heads % layer.kv_heads != 0 || layer.heads / layer.kv_heads > limits::kGroup) {
      return error(Code::kUnsupported, "layer ", i, " has ", layer.heads, " query heads on ",
                   layer.kv_heads, " KV heads: must be a multiple, at most ", limits::kGroup,
                   " times");
    }
    if (window > 0) {
      HEED_ASSIGN(const bool windowed, is_windowed(section, *h.arch, i));
      layer.window = windowed ? window : 0;
      layer.rope = windowed ? 1 : 0;
    }
    h.layer.push_back(layer);
  }
  return Status::ok();
}

void derive_scales(Hyperparameters& h) {
  const bool wide = h.arch->wide_scale_layers != 0 && h.layers == h.arch->wide_scale_layers;
  const int width = wide ? h.embd / h.layer[0].heads : h.dk;
  h.attention_scale = 1.0f / std::sqrt(static_cast<float>(width));
  if (h.arch->scale_embeddings) h.embedding_scale = std::sqrt(static_cast<float>(h.embd));
}

}  // namespace

int64_t Hyperparameters::size(Size what, int i) const {
  switch (what) {
    case Size::kNone: return 1;
    case Size::kEmbd: return embd;
    case Size::kQ: return int64_t{layer[i].heads} * dk;
    case Size::kK: return int64_t{layer[i].kv_heads} * dk;
    case Size::kV: return int64_t{layer[i].kv_heads} * dv;
    case Size::kAttn: return int64_t{layer[i].heads} * dv;
    case Size::kFf: return layer[i].ff;
    case Size::kDk: return dk;
  }
  return 0;
}

Result<Hyperparameters> Hyperparameters::read(const GgufFile& file) {
  HEED_ASSIGN(const std::string name, file.text("general.architecture"));
  Hyperparameters h;
  HEED_ASSIGN(h.arch, find_architecture(name));
  HEED_TRY(check_keys(file, *h.arch));
  const Section section(file, *h.arch);
  HEED_TRY(read_sizes(section, h));
  HEED_TRY(read_layers(section, file, h));
  derive_scales(h);
  HEED_TRY(check_tensors(file, h));
  return h;
}

Result<ModelInfo> model_info(const GgufFile& file, const Hyperparameters& hyper) {
  ModelInfo info;
  info.path = file.path();
  info.architecture = hyper.arch->name;
  const Result<std::string> title = file.text("general.name", "");
  if (title.is_ok()) info.name = *title;  // a label only
  info.file_bytes = file.size();
  for (const GgufTensor& tensor : file.tensors()) {
    info.parameters += static_cast<uint64_t>(tensor.elements());
  }
  info.file_type = file_type_name(file);
  info.layers = hyper.layers;
  info.embd = hyper.embd;
  info.heads = hyper.layer[0].heads;
  info.kv_heads = hyper.layer[0].kv_heads;
  info.dk = hyper.dk;
  info.dv = hyper.dv;
  info.ff = hyper.layer[0].ff;
  info.vocab = hyper.vocab;
  info.trained_context = hyper.context;
  info.default_k = hyper.arch->keys;
  for (const LayerHyper& layer : hyper.layer) info.window.push_back(layer.window);
  const GgufKey* chat = file.find("tokenizer.chat_template");
  info.has_chat_template = chat != nullptr && chat->type == GgufType::kString && !chat->is_array;
  HEED_ASSIGN(info.sampling, read_sampling_keys(file));
  return info;
}

}  // namespace heed
