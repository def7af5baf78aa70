#include "session/kv_hash.h"

#include <map>

#include "base/text.h"
#include "model/architecture.h"
#include "model/model_identity.h"
#include "session/engine_impl.h"
#include "session/rope_options.h"

namespace heed {
namespace {

// Of a model, so that what follows it on its line can still be shown.
constexpr size_t kLongestName = 64;
// Of a value, for a message.
constexpr size_t kLongestShown = 256;

// Foreign text that stays within its line.
std::string one_line(std::string_view text, size_t longest) {
  std::string out(text.substr(0, longest));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return out;
}

// Without its end; the rest stays in `text`.
std::string_view take_line(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), line.size() + 1));
  return line;
}

// What changed_ropes() makes of the options, so that an option which says what the file says
// anyhow makes no difference.
std::string rope_text(const Engine::Impl& engine, const Rope& rope) {
  if (!rope.turns) return "none";
  const Hyperparameters& hyper = engine.hyper();
  std::ostringstream out;
  out.exceptions(std::ios::badbit);
  out.precision(17);
  out << "base " << rope.base << ", scale " << rope.scale;
  if (rope.factors == RopeFactors::kByContext) {
    out << (engine.options.context > hyper.original_context ? ", long" : ", short") << " factors";
  }
  if (rope.yarn) {
    const int64_t asked = engine.options.rope.original_context;
    out << ", YaRN " << rope.yarn_fast << " to " << rope.yarn_slow << " of "
        << (asked > 0 ? asked : hyper.original_context) << ", " << rope.yarn_taken;
  }
  if (rope.length != 1) out << ", length " << rope.length;
  return std::move(out).str();
}

std::map<std::string_view, std::string_view> facts(std::string_view text) {
  std::map<std::string_view, std::string_view> out;
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    const size_t equals = std::min(line.find('='), line.size());
    out[line.substr(0, equals)] = line.substr(std::min(equals + 1, line.size()));
  }
  return out;
}

}  // namespace

Result<std::string> engine_lines(Engine::Impl& engine) {
  if (engine.identity.empty()) {
    HEED_ASSIGN(engine.identity, model_identity(*engine.model->impl().file));
  }
  const ModelInfo& info = engine.model->info();
  const std::string& name = info.name.empty() ? info.architecture : info.name;
  std::string text = cat("model=", one_line(name, kLongestName), " ",
                         one_line(info.file_type, kLongestName), " ", engine.identity, "\n");
  text += cat("k=", format_name(*engine.options.k), "\nv=", format_name(*engine.options.v), "\n");
  const std::vector<Rope> ropes = changed_ropes(engine.options.rope, engine.hyper());
  for (size_t i = 0; i < ropes.size(); ++i) {
    text += cat("rotation", i, "=", rope_text(engine, ropes[i]), "\n");
  }
  if (engine.options.prefill != nullptr) {
    const std::string_view prefill = engine.options.prefill->text();  // whole: it decides
    text += cat("prefill=", one_line(prefill, prefill.size()), "\n");
  }
  return cat(text, "products=", info.linear, "\n");
}

std::string sequence_lines(const Engine::Impl& engine, SeqId seq) {
  const auto adaptation = engine.adaptations->of(seq);
  const std::string all = adaptation ? adaptation_text(*adaptation) : std::string();
  std::string_view left = all;
  std::string text;
  for (int i = 0; !left.empty(); ++i) text += cat("adaptation", i, "=", take_line(left), "\n");
  return text;
}

std::string kv_text_of(std::string_view engine_lines, std::string_view sequence_lines) {
  return cat("kv=", kKvTextVersion, "\n", engine_lines, sequence_lines);
}

Result<std::string> kv_text(Engine::Impl& engine, SeqId seq) {
  HEED_ASSIGN(const std::string common, engine_lines(engine));
  return kv_text_of(common, sequence_lines(engine, seq));
}

std::string kv_difference(std::string_view there, std::string_view here) {
  const auto theirs = facts(there), ours = facts(here);
  auto all = theirs;
  all.insert(ours.begin(), ours.end());
  const auto value = [](const auto& of, std::string_view name) {
    const auto at = of.find(name);
    return at == of.end() ? std::string_view("not set") : at->second;
  };
  std::string out;
  for (const auto& [name, unused] : all) {
    const std::string_view a = value(theirs, name), b = value(ours, name);
    if (a == b) continue;
    out += cat(out.empty() ? "" : "; ", one_line(name, kLongestShown), " is ",
               one_line(a, kLongestShown), " there and ", one_line(b, kLongestShown), " here");
  }
  // The texts decide, whatever the facts read out of them say.
  return out.empty() && there != here ? "the same facts are told otherwise" : out;
}

}  // namespace heed
