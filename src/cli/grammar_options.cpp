#include "cli/grammar_options.h"

#include "base/read_file.h"
#include "base/text.h"
#include "cli/parse.h"
#include "heed/sampling.h"

namespace heed::cli {
namespace {

Result<std::string> text_of(const std::string& text, const std::string& path, const char* flag) {
  if (path.empty()) return text;
  return read_file(path, cat(flag, " ", path));
}

}  // namespace

void GrammarFlags::bind(CLI::App& app) {
  add(app, "--grammar", grammar, "The answer matches this grammar (GBNF, rule root)")
      ->type_name("GBNF");
  add(app, "--grammar-file", grammar_file, "The same from a file")->type_name("FILE");
  add(app, "-j,--json-schema", schema,
      "The answer is JSON that this schema allows; {} allows any JSON")
      ->type_name("SCHEMA");
  add(app, "--json-schema-file", schema_file, "The same from a file (-jf)")->type_name("FILE");
}

Result<std::string> GrammarFlags::settle() const {
  const int given = static_cast<int>(!grammar.empty()) + static_cast<int>(!grammar_file.empty()) +
                    static_cast<int>(!schema.empty()) + static_cast<int>(!schema_file.empty());
  if (given == 0) return std::string();
  if (given > 1) {
    return Status(
        Code::kInvalidArgument,
        "--grammar, --grammar-file, --json-schema and --json-schema-file all say what the "
        "answer must match; give one");
  }
  if (schema.empty() && schema_file.empty()) {
    HEED_ASSIGN(std::string gbnf, text_of(grammar, grammar_file, "--grammar-file"));
    const Status good = check_grammar(gbnf);
    if (!good.is_ok()) {
      return good.with_context(grammar_file.empty() ? "--grammar" : grammar_file);
    }
    return gbnf;
  }
  HEED_ASSIGN(const std::string text, text_of(schema, schema_file, "--json-schema-file"));
  Result<std::string> gbnf = grammar_of_schema(text);
  if (gbnf.is_ok()) return gbnf;
  return gbnf.status().with_context(schema_file.empty() ? "--json-schema" : schema_file);
}

}  // namespace heed::cli
