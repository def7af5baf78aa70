// JSON schemas as grammars, by llama.cpp's converter.
#include "json-schema-to-grammar.h"  // of llama.cpp's common code

#include <exception>
#include <new>

#include "base/guard.h"
#include "base/text.h"
#include "heed/sampling.h"
#include "model/grammar.h"
#include "model/library_log.h"
#include "model/limited_child.h"

namespace heed {
namespace {

Result<std::string> convert(const std::string& schema) {
  try {
    return json_schema_to_grammar(common_json::parse(schema));
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& e) {
    return error(Code::kInvalidArgument, "the JSON schema cannot become a grammar: ", e.what());
  }
}

Result<std::string> grammar_of(const std::string& json_schema) {
  const GrammarLimits limits;
  if (json_schema.size() > limits.text) {
    return error(Code::kOutOfRange, "JSON schema of ", json_schema.size(), " bytes; at most ",
                 limits.text);
  }
  route_library_logs();
  // The converter recurses as deep as the schema and its patterns go, and a list of optional keys
  // or a wide range of numbers can make it write without end.
  HEED_ASSIGN(std::string gbnf,
              run_limited("the JSON schema", {}, [&] { return convert(json_schema); }));
  const Status good = check_grammar(gbnf);
  if (!good.is_ok()) return good.with_context("the JSON schema as a grammar");
  return gbnf;
}

}  // namespace

Result<std::string> grammar_of_schema(const std::string& json_schema) {
  return guarded("the JSON schema", [&] { return grammar_of(json_schema); });
}

}  // namespace heed
