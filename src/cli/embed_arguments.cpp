#include "cli/embed_arguments.h"

#include "base/text.h"
#include "cli/parse.h"
#include "cli/prompt.h"

namespace heed::cli {
namespace {

std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t end; (end = text.find(separator, begin)) != std::string::npos;) {
    parts.push_back(text.substr(begin, end - begin));
    begin = end + separator.size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

// A file's last line ends with a newline, behind which no text begins.
std::string without_last_newline(std::string text) {
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

void bind_texts(CLI::App& app, EmbedArguments& o) {
  add_model(app, o.model)->required();
  app.add_option("TEXT", o.positional, "Texts, a quoted word each");
  app.add_option("-p,--prompt", o.prompt, "Texts with a separator between them");
  add(app, "-f,--file", o.file, "File of them; - is stdin, which is read where no text is given")
      ->type_name("FILE");
  add(app, "--embd-separator", o.separator,
      "What stands between texts of -p, -f and stdin; default: a line end");
  app.add_flag("-e,--escape,!--no-escape", o.escapes,
               "Read \\n, \\t, \\\\ and so on in -p and --embd-separator (default)");
  add_flag(app, "--truncate", o.truncate,
           "Cut texts that are longer than the context instead of refusing them, and say so");
}

void bind_result(CLI::App& app, EmbedArguments& o) {
  add(app, "--pooling", o.pooling_word,
      "How tokens' rows become the text's vector; default: what the model's file asks for")
      ->check(one_of({"none", "mean", "cls", "last", "rank"}));
  add(app, "--embd-normalize", o.norm,
      "-1: no norm, 0: largest magnitude 32760, 1: taxicab, 2: euclidean, p: p-norm")
      ->check(CLI::Range(-1, 1 << 20))
      ->capture_default_str();
  add(app, "--embd-output-format", o.format,
      "Print as llama.cpp does: array, json (OpenAI's form), json+ (and cosines), raw (lines)")
      ->check(one_of({"array", "json", "json+", "raw"}));
  add(app, "-o,--output", o.output, "Form of the result")
      ->check(one_of({"text", "json"}))
      ->capture_default_str();
}

void bind_engine(CLI::App& app, EmbedArguments& o) {
  add(app, "-c,--ctx-size", o.context, "Tokens a text may have; 0: the trained context")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 31))
      ->capture_default_str();
  add(app, "--ubatch-size", o.ubatch, "Tokens a step, of several texts (-ub)")
      ->check(CLI::Range(1, EngineOptions::kMaxChunk))
      ->capture_default_str();
  add_threads(app, o.threads);
  o.formats.bind(app);
  add_linear(app, o.linear);
  add_flag(app, "--offline", o.offline, "Do not download");
  add_flag(app, "-q,--quiet", o.quiet, "Nothing but the vectors and errors");
  add_flag(app, "--progress", o.progress, "Progress even when stderr is no terminal");
}

}  // namespace

void EmbedArguments::bind(CLI::App& app) {
  bind_texts(app, *this);
  bind_result(app, *this);
  bind_engine(app, *this);
}

Status EmbedArguments::settle() {
  const int sources =
      (positional.empty() ? 0 : 1) + (prompt.empty() ? 0 : 1) + (file.empty() ? 0 : 1);
  if (sources > 1) {
    return Status(Code::kInvalidArgument, "TEXT, -p and -f all give the texts; take one of them");
  }
  if (!format.empty() && output == "json") {
    return Status(Code::kInvalidArgument,
                  "-o json is heed's form and --embd-output-format chooses among llama.cpp's; "
                  "give one of them");
  }
  if (escapes) separator = unescape(separator);
  if (separator.empty()) {
    return Status(Code::kInvalidArgument, "--embd-separator is empty; a text is then a TEXT");
  }
  if (!pooling_word.empty()) {
    HEED_ASSIGN(pooling, parse_pooling(pooling_word));
  }
  HEED_TRY(formats.settle(engine));
  engine.chunk = ubatch;
  engine.context = context;
  return Status::ok();
}

Result<std::vector<std::string>> EmbedArguments::texts() const {
  if (!positional.empty()) {
    std::vector<std::string> texts;
    for (const std::string& text : positional) texts.push_back(clean_text(text, "TEXT", quiet));
    return texts;
  }
  if (!prompt.empty()) {
    return split(clean_text(escapes ? unescape(prompt) : prompt, "-p", quiet), separator);
  }
  PromptSource source;
  source.file = file;
  HEED_ASSIGN(std::string all, read_prompt(source, quiet));
  return split(without_last_newline(std::move(all)), separator);
}

ProgressLine::Mode EmbedArguments::progress_mode() const {
  if (quiet) return ProgressLine::Mode::kOff;
  return progress ? ProgressLine::Mode::kAlways : ProgressLine::Mode::kOnTerminal;
}

}  // namespace heed::cli
