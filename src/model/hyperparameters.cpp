#include "model/hyperparameters.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "base/text.h"
#include "model/file_type.h"
#include "model/key_rules.h"
#include "model/key_section.h"
#include "model/rope_keys.h"
#include "model/sampling_keys.h"
#include "model/tensor_rules.h"

namespace heed {
namespace {

Status read_sizes(const KeySection& section, Hyperparameters& h) {
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
  const char* const eps_key =
      h.arch->encoder ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
  HEED_ASSIGN(const double eps, section.number(eps_key));
  if (!(eps > 0 && eps < 1)) {
    return error(Code::kOutOfRange, "key '", section.name(eps_key), "' is ", eps,
                 ", must be between 0 and 1");
  }
  h.norm_eps = static_cast<float>(eps);
  return Status::ok();
}

// A key that chooses between formulas of which heed computes those of `values` only.
Status check_one_of(const KeySection& section, const char* key,
                    std::initializer_list<double> values, const char* what) {
  if (!section.has(key)) return Status::ok();
  HEED_ASSIGN(const double value, section.number(key));
  if (std::ranges::find(values, value) != values.end()) return Status::ok();
  return error(Code::kUnsupported, "key '", section.name(key), "' is ", value,
               ": heed does not compute ", what, " here; run this model with llama.cpp");
}

// A file without the key would be read token after token by llama.cpp.
Status check_encoder(const KeySection& section, const Hyperparameters& h) {
  if (!h.arch->encoder) return Status::ok();
  HEED_ASSIGN(const int causal, section.integer("attention.causal", 0, 1, 1));
  if (causal != 0) {
    return error(Code::kUnsupported, "key '", section.name("attention.causal"),
                 "' is not false: heed computes ", h.arch->name,
                 " with tokens that see all of their text; convert the model again");
  }
  for (int i = 1; i < h.layers; ++i) {
    if (h.layer[static_cast<size_t>(i)].kv_heads == h.layer[0].kv_heads) continue;
    return error(Code::kUnsupported, "key '", section.name("attention.head_count_kv"),
                 "' differs from layer to layer; those of an encoder must be alike");
  }
  return Status::ok();
}

// llama.cpp knows router and shares of these architectures by name and does not read what a file
// says about them; what it says must agree.
Status check_router(const KeySection& section, Gating gating) {
  HEED_TRY(
      check_one_of(section, "expert_gating_func", {static_cast<double>(gating)}, "another router"));
  if (gating == Gating::kNormalisedSoftmax) {
    HEED_TRY(check_one_of(section, "expert_weights_norm", {1}, "shares that are not normalised"));
  }
  return check_one_of(section, "expert_weights_scale", {0, 1}, "scaled shares");  // 0: unset
}

Status read_groups(const KeySection& section, Hyperparameters& h) {
  HEED_ASSIGN(const int groups, section.integer("expert_group_count", 0, h.experts, 0));
  if (groups <= 1) return Status::ok();
  if (h.experts % groups != 0 || groups == h.experts) {
    return error(Code::kCorrupt, "key '", section.name("expert_group_count"), "' is ", groups, ": ",
                 h.experts, " experts do not form groups of two or more; convert the model ",
                 "again");
  }
  HEED_ASSIGN(const int used, section.integer("expert_group_used_count", 1, groups - 1));
  if (used * (h.experts / groups) < h.experts_used) {
    return error(Code::kCorrupt, "key '", section.name("expert_group_used_count"), "' is ", used,
                 ": so many groups of ", h.experts / groups, " hold fewer experts than the ",
                 h.experts_used, " that a token takes; convert the model again");
  }
  h.router.groups = groups;
  h.router.groups_used = used;
  return Status::ok();
}

// Files without the key are DeepSeek's second version, or GLM 4.7 Flash as it was first converted,
// which llama.cpp knows by its sizes. Whether keys and table agree, check_tensors asks later.
Gating gating_of_sizes(const GgufFile& file, int layers) {
  constexpr int64_t kGlmVocabulary = 154880;
  const GgufTensor* table = file.find_tensor("token_embd.weight");
  const bool glm =
      (layers == 47 || layers == 48) && table != nullptr && table->ne[1] == kGlmVocabulary;
  return glm ? Gating::kSigmoid : Gating::kNormalisedSoftmax;
}

// As the file says.
Status read_router(const KeySection& section, const GgufFile& file, Hyperparameters& h) {
  HEED_TRY(check_one_of(section, "expert_gating_func", {0, 1, 2, 3}, "another router"));
  HEED_ASSIGN(const int number, section.integer("expert_gating_func", 0, 3, 0));
  Gating gating = static_cast<Gating>(number);
  if (gating == Gating::kNone) gating = gating_of_sizes(file, h.layers);
  h.router.score = gating == Gating::kSigmoid           ? RouterScore::kSigmoid
                   : gating == Gating::kSoftmaxOfChosen ? RouterScore::kLogits
                                                        : RouterScore::kSoftmax;
  HEED_ASSIGN(const int normalised, section.integer("expert_weights_norm", 0, 1, 0));
  h.router.normalised = normalised != 0 || gating == Gating::kSoftmaxOfChosen;
  HEED_ASSIGN(const double scale, section.positive("expert_weights_scale", 1));
  h.router.scale = static_cast<float>(scale);
  return read_groups(section, h);
}

Status read_experts(const KeySection& section, const GgufFile& file, Hyperparameters& h) {
  const Gating gating = h.arch->gating;
  if (gating == Gating::kNone) return Status::ok();
  HEED_ASSIGN(h.dense_layers, section.integer("leading_dense_block_count", 0, h.layers, 0));
  if (h.dense_layers == h.layers) return Status::ok();
  HEED_ASSIGN(h.experts, section.integer("expert_count", 1, limits::kExperts));
  HEED_ASSIGN(h.experts_used, section.integer("expert_used_count", 1, h.experts));
  if (gating != Gating::kOfFile) return check_router(section, gating);
  HEED_ASSIGN(const int ff, section.integer("expert_feed_forward_length", 1, limits::kFf));
  HEED_ASSIGN(const int shared, section.integer("expert_shared_count", 1, limits::kFf / ff));
  h.shared_ff = shared * ff;
  return read_router(section, file, h);
}

// The form in which a file holds latent attention: keys and values of heads as they multiply, or
// what makes them out of a token's latent values.
Status read_latent(const KeySection& section, Hyperparameters& h) {
  h.head_k = h.dk;
  h.head_v = h.dv;
  if (!h.arch->latent) return Status::ok();
  for (const char* key : {"attention.key_length_mla", "attention.value_length_mla"}) {
    if (section.has(key)) continue;
    return error(Code::kUnsupported, "key '", section.name(key), "' is missing: the file holds ",
                 "keys and values of all heads in one tensor (attn_kv_b), as was usual before ",
                 "April 2025; heed computes attn_k_b and attn_v_b. Convert the model again with a ",
                 "newer convert_hf_to_gguf.py, or run this one with llama.cpp");
  }
  HEED_ASSIGN(h.latent, section.integer("attention.kv_lora_rank", 2, kMaxHeadSize - 2));
  HEED_ASSIGN(h.q_rank, section.integer("attention.q_lora_rank", 0, limits::kEmbd, 0));
  HEED_ASSIGN(h.head_k, section.integer("attention.key_length_mla", h.n_rot + 1, limits::kEmbd));
  HEED_ASSIGN(h.head_v, section.integer("attention.value_length_mla", 1, limits::kEmbd));
  if (h.dv == h.latent && h.dk == h.latent + h.n_rot && h.n_rot >= 2) return Status::ok();
  return error(Code::kCorrupt, "keys of ", h.dk, " and values of ", h.dv, " dims are not the ",
               h.latent, " latent ones of '", section.name("attention.kv_lora_rank"), "' with ",
               h.n_rot, " that turn behind them; the file contradicts itself, convert it again");
}

// True where layer `layer` sees a window only.
Result<bool> is_windowed(const KeySection& section, const Architecture& arch, int layer) {
  const GgufKey* pattern = section.find("attention.sliding_window_pattern");
  if (pattern != nullptr && pattern->is_array) {
    HEED_ASSIGN(const int flag,
                section.integer_at("attention.sliding_window_pattern", layer, 0, 1));
    return flag != 0;
  }
  HEED_ASSIGN(const int period, section.integer("attention.sliding_window_pattern", 0,
                                                limits::kLayers, arch.window.period));
  return period == 0 || layer % period < period - 1;
}

Status read_layers(const KeySection& section, const GgufFile& file, Hyperparameters& h) {
  HEED_ASSIGN(const int window, section.integer("attention.sliding_window", 0, limits::kContext,
                                                h.arch->window.size));
  if (window > 0 && !h.arch->window.known) {
    return error(Code::kUnsupported, "key '", section.name("attention.sliding_window"), "' is ",
                 window, ": heed knows no window rule for the architecture ", h.arch->name);
  }
  HEED_ASSIGN(const LayerRopes ropes, read_ropes(section, file, window > 0, h));
  for (int i = 0; i < h.layers; ++i) {
    LayerHyper layer;
    HEED_ASSIGN(layer.heads, section.integer_at("attention.head_count", i, 1, limits::kHeads));
    HEED_ASSIGN(layer.kv_heads,
                section.integer_at("attention.head_count_kv", i, 1, limits::kHeads, layer.heads));
    if (h.has_experts(i)) {
      HEED_ASSIGN(layer.ff, section.integer("expert_feed_forward_length", 1, limits::kFf));
    } else {
      HEED_ASSIGN(layer.ff, section.integer_at("feed_forward_length", i, 1, limits::kFf));
    }
    if (layer.heads % layer.kv_heads != 0) {
      return error(Code::kUnsupported, "layer ", i, " has ", layer.heads, " query heads on ",
                   layer.kv_heads, " KV heads: must be a multiple");
    }
    if (h.latent > 0 && layer.kv_heads != 1) {
      return error(Code::kCorrupt, "layer ", i, " has ", layer.kv_heads, " KV heads; the heads of ",
                   "latent attention share one, convert the model again");
    }
    layer.rope = ropes.global;
    if (window > 0) {
      HEED_ASSIGN(const bool windowed, is_windowed(section, *h.arch, i));
      layer.window = windowed ? window : 0;
      if (windowed) layer.rope = ropes.windowed;
    }
    const int unrotated = h.arch->unrotated_period;
    if (unrotated > 0 && i % unrotated == unrotated - 1) layer.rope = ropes.unrotated;
    h.layer.push_back(layer);
  }
  return Status::ok();
}

Result<float> read_cap(const KeySection& section, const char* key, float fallback) {
  if (!section.has(key)) return fallback;
  HEED_ASSIGN(const double cap, section.positive(key, 0));
  return static_cast<float>(cap);
}

// Keys that an architecture does not have are known to hold what changes nothing (key_rules.cpp).
Status read_scales(const KeySection& section, Hyperparameters& h) {
  const bool wide = h.arch->wide_scale_layers != 0 && h.layers == h.arch->wide_scale_layers;
  const int width = wide ? h.embd / h.layer[0].heads : h.head_k;
  const float usual_scale = 1.0f / std::sqrt(static_cast<float>(width));
  HEED_ASSIGN(const double attention, section.positive("attention.scale", usual_scale));
  h.attention_scale = static_cast<float>(attention);
  HEED_ASSIGN(h.score_cap, read_cap(section, "attn_logit_softcapping", h.arch->score_cap));
  HEED_ASSIGN(h.logit_cap, read_cap(section, "final_logit_softcapping", h.arch->logit_cap));
  const double usual = h.arch->scale_embeddings ? std::sqrt(h.embd) : 1;
  HEED_ASSIGN(const double embedding, section.positive("embedding_scale", usual));
  h.embedding_scale = static_cast<float>(embedding);
  HEED_ASSIGN(const double residual, section.positive("residual_scale", 1));
  h.residual_scale = static_cast<float>(residual);
  HEED_ASSIGN(const double logit, section.positive("logit_scale", 1));
  h.logit_scale = static_cast<float>(1 / logit);  // the key divides
  return Status::ok();
}

}  // namespace

int64_t Hyperparameters::size(Size what, int i) const {
  switch (what) {
    case Size::kNone: return 1;
    case Size::kEmbd: return embd;
    case Size::kQ: return int64_t{layer[i].heads} * head_k;
    case Size::kK: return int64_t{layer[i].kv_heads} * dk;
    case Size::kV: return int64_t{layer[i].kv_heads} * dv;
    case Size::kAttn: return int64_t{layer[i].heads} * head_v;
    case Size::kFf: return layer[i].ff;
    case Size::kQNorm: return arch->wide_qk_norm ? size(Size::kQ, i) : dk;
    case Size::kKNorm: return arch->wide_qk_norm ? size(Size::kK, i) : dk;
    case Size::kHeads: return layer[i].heads;
    case Size::kExperts: return experts;
    case Size::kQRank: return q_rank;
    case Size::kLatent: return latent;
    case Size::kLatentKey: return latent + n_rot;
    case Size::kKeyPart: return head_k - n_rot;
    case Size::kValue: return head_v;
    case Size::kSharedFf: return shared_ff;
  }
  return 0;
}

TensorSet Hyperparameters::required(int i) const {
  TensorSet set = arch->required;
  const bool dense = arch->gating != Gating::kNone && !has_experts(i);
  if (dense) set = (set & ~expert_choice().with) | expert_choice().without;
  if (q_rank > 0) set = (set & ~query_rank_choice().without) | query_rank_choice().with;
  return set;
}

TensorSet Hyperparameters::optional(int i) const {
  return has_experts(i) ? arch->optional : arch->optional & ~expert_choice().with;
}

Result<Hyperparameters> Hyperparameters::read(const GgufFile& file) {
  HEED_ASSIGN(const std::string name, file.text("general.architecture"));
  const Result<std::string> type = file.text("general.type", "");
  if (type.is_ok() && *type == "adapter") {
    return Status(Code::kUnsupported,
                  "is an adapter, not a model; give its model, and the adapter with --lora");
  }
  Hyperparameters h;
  HEED_ASSIGN(h.arch, find_architecture(name));
  HEED_TRY(check_keys(file, *h.arch));
  const KeySection section(file, *h.arch);
  HEED_TRY(read_sizes(section, h));
  HEED_TRY(read_latent(section, h));
  HEED_TRY(read_experts(section, file, h));
  HEED_TRY(read_layers(section, file, h));
  HEED_TRY(check_encoder(section, h));
  HEED_TRY(read_scales(section, h));
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
  info.v_in_k = hyper.latent > 0;
  info.ff = hyper.layer.back().ff;
  info.experts = hyper.experts;
  info.experts_used = hyper.experts_used;
  info.vocab = hyper.vocab;
  info.trained_context = hyper.context;
  for (const Rope& rope : hyper.ropes) {
    if (rope.factors == RopeFactors::kByContext) info.rope_context = hyper.original_context;
  }
  info.default_k = hyper.arch->key_format;
  info.default_v = info.v_in_k ? info.default_k : hyper.arch->value_format;
  for (const LayerHyper& layer : hyper.layer) info.window.push_back(layer.window);
  info.encoder = hyper.arch->encoder;
  const KeySection section(file, *hyper.arch);
  HEED_ASSIGN(const int pooling, section.integer("pooling_type", 0, 4, 0));
  info.pooling = static_cast<Pooling>(pooling);
  const GgufKey* chat = file.find("tokenizer.chat_template");
  info.has_chat_template = chat != nullptr && chat->type == GgufType::kString && !chat->is_array;
  HEED_ASSIGN(info.sampling, read_sampling_keys(file));
  return info;
}

}  // namespace heed
