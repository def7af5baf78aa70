// heed show: what a model file is, what it takes, and which kernel serves each of its weights.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>

#include "cli/interrupt.h"
#include "cli/model_source.h"
#include "cli/parse.h"
#include "cli/sampling_report.h"
#include "cli/show_adapter.h"
#include "cli/show_layers.h"
#include "cli/terminal.h"
#include "heed/adapters.h"
#include "heed/embed.h"
#include "model/weight_uses.h"

namespace heed::cli {
namespace {

using Json = nlohmann::ordered_json;

// Tensors that are the same but for their layer.
struct WeightClass {
  WeightUse use;  // its name has * for the layer, its bytes are of all
  int tensors = 0;
};

// "blk.7.attn_q.weight" is "blk.*.attn_q.weight".
std::string class_name(const std::string& name) {
  constexpr std::string_view kBlock = "blk.";
  if (!name.starts_with(kBlock)) return name;
  size_t at = kBlock.size();
  while (at < name.size() && std::isdigit(static_cast<unsigned char>(name[at])) != 0) ++at;
  return at == kBlock.size() ? name : fmt::format("{}*{}", kBlock, name.substr(at));
}

// In the order in which each class is first met.
std::vector<WeightClass> classes_of(const std::vector<WeightUse>& weights, bool each) {
  std::vector<WeightClass> classes;
  std::map<std::string, size_t> known;
  for (const WeightUse& use : weights) {
    const std::string name = each ? use.name : class_name(use.name);
    const auto key = fmt::format("{} {} {} {} {} {}", name, use.type, use.inputs, use.outputs,
                                 use.experts, use.kernel);
    const auto [at, added] = known.try_emplace(key, classes.size());
    if (added) {
      classes.push_back({use, 0});
      classes.back().use.name = name;
      classes.back().use.file_bytes = classes.back().use.resident_bytes = 0;
    }
    WeightClass& c = classes[at->second];
    ++c.tensors;
    c.use.file_bytes += use.file_bytes;
    c.use.resident_bytes += use.resident_bytes;
  }
  return classes;
}

std::string shape_text(const WeightUse& use) {
  std::string text = fmt::format("{}", use.inputs);
  if (use.outputs != 1) text += fmt::format(" x {}", use.outputs);
  if (use.experts != 1) text += fmt::format(" x {}", use.experts);
  return text;
}

int windowed_layers(const ModelInfo& info) {
  return static_cast<int>(
      std::count_if(info.window.begin(), info.window.end(), [](int w) { return w > 0; }));
}

void print_info(const ModelInfo& info, const std::string& linear) {
  fmt::print("model         {}\n", model_title(info));
  fmt::print("file          {}, {}, {:.1f} million parameters\n", printable(info.path),
             bytes_text(info.file_bytes), static_cast<double>(info.parameters) * 1e-6);
  fmt::print("context       {} tokens", info.trained_context);
  if (info.rope_context > 0) fmt::print(", LongRoPE beyond {}", info.rope_context);
  fmt::print("\n");
  fmt::print("layers        {}, width {}, feed-forward {}, vocabulary {}\n", info.layers, info.embd,
             info.ff, info.vocab);
  if (info.experts > 0) {
    fmt::print("experts       {} in a layer, each with a feed-forward of {}; a token takes {}\n",
               info.experts, info.ff, info.experts_used);
  }
  fmt::print("attention     {} query heads on {} KV heads of {}", info.heads, info.kv_heads,
             info.dk == info.dv ? fmt::format("{}", info.dk)
                                : fmt::format("{} (values {})", info.dk, info.dv));
  if (const int windowed = windowed_layers(info); windowed > 0) {
    fmt::print(", {} of {} layers see a window of {}", windowed, info.layers,
               *std::max_element(info.window.begin(), info.window.end()));
  }
  fmt::print("\npages         K {}, V {}\n", format_name(info.default_k),
             format_name(info.default_v));
  if (info.encoder || info.pooling != Pooling::kNone) {
    fmt::print("embeddings    {}pooling {}\n", info.encoder ? "encoder, " : "",
               pooling_name(info.pooling));
  }
  fmt::print("chat template {}\n", info.has_chat_template ? "yes" : "none");
  if (!info.sampling.empty()) fmt::print("sampling      {}\n", sampling_text(info.sampling));
  fmt::print("products      {}\n", linear);
}

void print_weights(const std::vector<WeightClass>& classes) {
  size_t name = 4, shape = 5;
  for (const WeightClass& c : classes) {
    name = std::max(name, printable(c.use.name).size());
    shape = std::max(shape, shape_text(c.use).size());
  }
  fmt::print("\n{:>7}  {:<{}}  {:<7}  {:>{}}  {:>10}  {:>10}  {}\n", "tensors", "name", name,
             "type", "shape", shape, "in file", "loaded", "kernel");
  for (const WeightClass& c : classes) {
    fmt::print("{:>7}  {:<{}}  {:<7}  {:>{}}  {:>10}  {:>10}  {}\n", c.tensors,
               printable(c.use.name), name, c.use.type, shape_text(c.use), shape,
               bytes_text(c.use.file_bytes), bytes_text(c.use.resident_bytes), c.use.kernel);
  }
}

Json weights_json(const std::vector<WeightClass>& classes) {
  Json rows = Json::array();
  for (const WeightClass& c : classes) {
    rows.push_back({{"name", c.use.name},
                    {"tensors", c.tensors},
                    {"type", c.use.type},
                    {"inputs", c.use.inputs},
                    {"outputs", c.use.outputs},
                    {"experts", c.use.experts},
                    {"file_bytes", c.use.file_bytes},
                    {"resident_bytes", c.use.resident_bytes},
                    {"kernel", c.use.kernel}});
  }
  return rows;
}

Json info_json(const ModelInfo& info, const std::string& linear) {
  return {{"path", info.path},
          {"name", info.name},
          {"architecture", info.architecture},
          {"file_type", info.file_type},
          {"file_bytes", info.file_bytes},
          {"parameters", info.parameters},
          {"trained_context", info.trained_context},
          {"rope_context", info.rope_context},
          {"layers", info.layers},
          {"embd", info.embd},
          {"ff", info.ff},
          {"experts", info.experts},
          {"experts_used", info.experts_used},
          {"vocab", info.vocab},
          {"heads", info.heads},
          {"kv_heads", info.kv_heads},
          {"dk", info.dk},
          {"dv", info.dv},
          {"window", info.window},
          {"k_format", format_name(info.default_k)},
          {"v_format", format_name(info.default_v)},
          {"has_chat_template", info.has_chat_template},
          {"encoder", info.encoder},
          {"pooling", pooling_name(info.pooling)},
          {"sampling", sampling_json(info.sampling)},
          {"linear", linear}};
}

class ShowVerb final : public Verb {
 public:
  const char* name() const override { return "show"; }
  const char* summary() const override {
    return "Describe a model file and the kernels that serve its weights";
  }
  const char* examples() const override {
    return "  heed show -m smollm2:135m\n"
           "  heed show -m smollm2:135m -c 8192\n"
           "  heed show -m smollm2:135m --weights --linear ggml\n"
           "  heed show -m any.gguf --weights -v -o json\n"
           "  heed show -m lora.gguf\n";
  }

  void options(CLI::App& app) override {
    add_model(app, model_)->required();
    add(app, "-c,--ctx-size", prompt_, "Predict the memory of a prompt of so many tokens")
        ->check(CLI::Range(int64_t{0}, int64_t{1} << 31));
    add_flag(app, "--weights", weights_, "Types, sizes and kernels of the weights, by class");
    add_flag(app, "-v,--verbose", each_, "With --weights: every tensor on a line of its own");
    add_linear(app, linear_);
    add(app, "-o,--output", output_, "Form of the result")
        ->check(one_of({"text", "json"}))
        ->capture_default_str();
    add_flag(app, "--offline", offline_, "Use only what is on this machine");
  }

  int run() override {
    if (each_ && !weights_) return usage_error(name(), "--verbose lists weights; add --weights");
    watch_interrupts();
    const Status shown = show();
    if (shown.code() == Code::kCancelled) {
      acknowledge_interrupt();
      note("interrupted");
      return interrupt_exit_code();
    }
    return shown.is_ok() ? kDone : fail(shown);
  }

 private:
  Status show() const {
    HEED_ASSIGN(const std::string path,
                model_path(model_, offline_, ProgressLine::Mode::kOnTerminal));
    HEED_ASSIGN(const bool adapter, is_adapter_file(path));
    if (adapter) return show_adapter(path, output_ == "json", weights_);
    ModelOptions options;
    HEED_ASSIGN(options.linear, parse_linear(linear_));
    HEED_ASSIGN(const ModelInfo info, Model::inspect(path));
    HEED_ASSIGN(const LayerFacts layers, layer_facts(path, prompt_, options));
    HEED_ASSIGN(const ModelWeightUses uses, list_weight_uses(path, options));
    const auto classes = classes_of(uses.weights, each_);
    if (output_ == "json") {
      Json json = info_json(info, uses.linear);
      add_layer_facts(layers, json);
      if (weights_) json["weights"] = weights_json(classes);
      print_json(json);
      return Status::ok();
    }
    print_info(info, uses.linear);
    print_layer_facts(layers);
    if (weights_) print_weights(classes);
    return Status::ok();
  }

  std::string model_, linear_ = "heed", output_ = "text";
  int64_t prompt_ = 0;
  bool weights_ = false, each_ = false, offline_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_show() { return std::make_unique<ShowVerb>(); }

}  // namespace heed::cli
