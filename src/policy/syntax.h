// Where a policy's text is cut; quoted parts are never.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "heed/status.h"

namespace heed {

std::string_view trimmed(std::string_view text);

// At every separator outside of quotes, each part trimmed. At + not within a number (1e+5).
std::vector<std::string_view> split(std::string_view text, char separator);
// Before and behind the first separator outside of quotes; false: there is none.
bool cut(std::string_view text, char separator, std::string_view* before, std::string_view* behind);

// Errors: a quote is not closed.
Status check_quotes(std::string_view text);
// "a\"b" is a"b; what has no quotes is itself. Errors: something stands before or behind quotes.
Result<std::string> unquote(std::string_view text);
// In quotes where it would be cut.
std::string quote_value(std::string_view text);

}  // namespace heed
