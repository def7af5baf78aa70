#include "model/rope_keys.h"

#include "base/text.h"

namespace heed {
namespace {

Result<double> read_base(const KeySection& section, const char* key, double fallback) {
  HEED_ASSIGN(const double base, section.number(key, fallback));
  if (!(base > 0)) {
    return error(Code::kOutOfRange, "key '", section.name(key), "' is ", base, ", must be above 0");
  }
  return base;
}

Status check_yarn(const KeySection& section, const Rope& rope) {
  if (rope.yarn_slow >= rope.yarn_fast) {
    return error(Code::kOutOfRange, "key '", section.name("rope.scaling.yarn_beta_fast"), "' is ",
                 rope.yarn_fast, ", must be above the slow end, ", rope.yarn_slow);
  }
  if (rope.base > 1) return Status::ok();
  return error(Code::kOutOfRange, "key '", section.name("rope.freq_base"), "' is ", rope.base,
               ", YaRN needs a base above 1");
}

// DeepSeek's share of the logarithm belongs to all scores; its files hold a tenth of it. Turned
// pairs then do not grow. Where the file has no share, YaRN's length goes into both, as in
// llama.cpp.
Status read_score_share(const KeySection& section, Rope& rope) {
  HEED_ASSIGN(const double share, section.positive("rope.scaling.yarn_log_multiplier", 0));
  rope.yarn_scores = share / 0.1;
  rope.yarn_taken = share > 0 ? 1 : 0;
  return Status::ok();
}

Status read_yarn(const KeySection& section, bool latent, Rope& rope) {
  rope.yarn = true;
  HEED_ASSIGN(rope.yarn_fast, section.positive("rope.scaling.yarn_beta_fast", rope.yarn_fast));
  HEED_ASSIGN(rope.yarn_slow, section.positive("rope.scaling.yarn_beta_slow", rope.yarn_slow));
  if (latent) {
    HEED_TRY(read_score_share(section, rope));
  } else {
    HEED_ASSIGN(rope.yarn_taken, section.positive("rope.scaling.yarn_log_multiplier", 0));
  }
  return check_yarn(section, rope);
}

// Linear scaling divides positions by a factor, YaRN those of slow pairs; LongRoPE is factors of
// the file, found by read_factors.
Status read_scaling(const KeySection& section, bool latent, Rope& rope) {
  HEED_ASSIGN(const std::string type, section.text("rope.scaling.type", "linear"));
  if (type == "none") return Status::ok();
  if (type == "dynamic" || type == "ntk") {
    return error(Code::kUnsupported, "key '", section.name("rope.scaling.type"), "' is '", type,
                 "': a base that grows with the text would turn every key in the store again, and ",
                 "llama.cpp does not know it either; set the key to 'none' (gguf-py's "
                 "gguf_new_metadata.py or a new conversion) and run with --rope-scaling ntk ",
                 "--rope-scale FACTOR, the same base for every token");
  }
  if (type != "linear" && type != "yarn" && type != "longrope") {
    return error(Code::kUnsupported, "key '", section.name("rope.scaling.type"), "' is '",
                 type.substr(0, 64),
                 "': heed scales rotations by 'none', 'linear', 'yarn' and 'longrope' only; "
                 "run this model with llama.cpp");
  }
  const char* key =
      section.has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  HEED_ASSIGN(const double factor, section.positive(key, 1));
  rope.scale = 1 / factor;
  if (type == "yarn") return read_yarn(section, latent, rope);
  if (!latent || factor == 1) return Status::ok();
  return error(Code::kUnsupported, "key '", section.name(key), "' is ", factor,
               ": heed scales the rotation of latent attention by YaRN only; run this model with ",
               "llama.cpp");
}

Status read_factors(const KeySection& section, const GgufFile& file, Rope& rope) {
  const bool one = file.find_tensor("rope_freqs.weight") != nullptr;
  const bool far = file.find_tensor("rope_factors_long.weight") != nullptr;
  const bool near = file.find_tensor("rope_factors_short.weight") != nullptr;
  HEED_ASSIGN(const std::string type, section.text("rope.scaling.type", ""));
  if (far != near || (type == "longrope" && !far)) {
    return error(Code::kCorrupt, "tensor 'rope_factors_", far ? "short" : "long",
                 ".weight' is missing; the file is incomplete, pull or convert it again");
  }
  if (one && far) {
    return error(Code::kCorrupt, "tensors 'rope_freqs.weight' and 'rope_factors_long.weight' ",
                 "exclude each other; convert the model again");
  }
  rope.factors = one ? RopeFactors::kOne : far ? RopeFactors::kByContext : RopeFactors::kNone;
  return Status::ok();
}

Result<Rope> read_global(const KeySection& section, const GgufFile& file, bool latent) {
  Rope rope;
  HEED_ASSIGN(rope.base, read_base(section, "rope.freq_base", rope.base));
  HEED_ASSIGN(rope.length, section.number("rope.scaling.attn_factor", 1.0));
  if (!(rope.length > 0)) {
    return error(Code::kOutOfRange, "key '", section.name("rope.scaling.attn_factor"), "' is ",
                 rope.length, ", must be above 0");
  }
  HEED_TRY(read_factors(section, file, rope));
  HEED_TRY(read_scaling(section, latent, rope));
  return rope;
}

// That of layers which see a window and do not share the others'.
Result<Rope> read_windowed(const KeySection& section, WindowRope kind, const Rope& global) {
  Rope rope;
  if (kind == WindowRope::kUnscaled) {
    rope.base = global.base;
    return rope;
  }
  if (kind == WindowRope::kOwnBase) {
    rope = global;
  } else {
    HEED_ASSIGN(rope.length, section.number("rope.scaling.attn_factor", 1.0));
  }
  HEED_ASSIGN(rope.base, read_base(section, "rope.freq_base_swa", rope.base));
  if (rope.yarn) HEED_TRY(check_yarn(section, rope));
  return rope;
}

int add(const Rope& rope, Hyperparameters& h) {
  h.ropes.push_back(rope);
  return static_cast<int>(h.ropes.size()) - 1;
}

Status read_temperature(const KeySection& section, Hyperparameters& h) {
  HEED_ASSIGN(const double temperature, section.positive("attention.temperature_scale", 0));
  h.query_temperature = static_cast<float>(temperature);
  if (temperature == 0 || h.n_rot == h.dk) return Status::ok();
  return error(Code::kUnsupported, "key '", section.name("attention.temperature_scale"), "' is ",
               temperature, ", but of ", h.dk, " dims of a head only ", h.n_rot,
               " turn: heed lengthens queries while it turns them; run this model with llama.cpp");
}

}  // namespace

Result<LayerRopes> read_ropes(const KeySection& section, const GgufFile& file, bool windowed,
                              Hyperparameters& h) {
  LayerRopes of;
  HEED_ASSIGN(const Rope global, read_global(section, file, h.latent > 0));
  HEED_ASSIGN(h.original_context,
              section.integer("rope.scaling.original_context_length", 0, limits::kContext, 0));
  if (h.original_context == 0) h.original_context = h.context;
  const Rope still{.turns = false};
  bool turns = true;
  if (h.arch->rope_switch) {  // elsewhere the key is a fact about the training
    HEED_ASSIGN(const int finetuned, section.integer("rope.scaling.finetuned", 0, 1, 1));
    turns = finetuned != 0;
  }
  of.global = of.windowed = add(turns ? global : still, h);
  // One of its own even where the numbers are the same: RopeOptions change the others' alone.
  if (windowed && turns && h.arch->window.rope != WindowRope::kShared) {
    HEED_ASSIGN(const Rope local, read_windowed(section, h.arch->window.rope, global));
    of.windowed = add(local, h);
  }
  if (h.arch->unrotated_period > 0) of.unrotated = add(still, h);
  HEED_TRY(read_temperature(section, h));
  return of;
}

}  // namespace heed
