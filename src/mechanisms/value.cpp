// Values of parameters: read, checked and written.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/in_quotes.h"
#include "base/nearest.h"
#include "base/text.h"
#include "heed/mechanisms.h"

namespace heed {
namespace {

struct BoolWord {
  std::string_view word;
  bool value;
};
constexpr std::array kBoolWords = {
    BoolWord{"true", true},    BoolWord{"false", false},    BoolWord{"on", true},
    BoolWord{"off", false},    BoolWord{"1", true},         BoolWord{"0", false},
    BoolWord{"enabled", true}, BoolWord{"disabled", false},
};

struct ByteUnit {
  std::string_view suffix;
  double bytes;
};
constexpr std::array kByteUnits = {ByteUnit{"KiB", 1024.0}, ByteUnit{"MiB", 1048576.0},
                                   ByteUnit{"GiB", 1073741824.0}};

template <class T>
std::optional<T> whole_text(std::string_view text) {
  T value{};
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// 1e6 and 2.5: what people write; never nan.
std::optional<double> number_in(std::string_view text) {
  if (!text.empty() && text[0] == '+') text.remove_prefix(1);
  const std::optional<double> value = whole_text<double>(text);
  return value && !std::isnan(*value) ? value : std::nullopt;
}

std::string number_text(double value) {
  std::array<char, 32> buffer{};
  const auto [end, fault] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  std::string out(buffer.data(), end);
  // A + would begin a wrapper.
  std::erase(out, '+');
  return out;
}

std::optional<Budget> budget_in(std::string_view text) {
  if (text.ends_with('%')) {
    const auto percent = number_in(text.substr(0, text.size() - 1));
    if (!percent || *percent < 0 || *percent > 100) return std::nullopt;
    return Budget{Budget::Unit::kPercent, *percent};
  }
  for (const ByteUnit& unit : kByteUnits) {
    if (!text.ends_with(unit.suffix)) continue;
    const auto count = number_in(text.substr(0, text.size() - unit.suffix.size()));
    if (!count || *count < 0 || *count * unit.bytes > 0x1p53) return std::nullopt;
    return Budget{Budget::Unit::kBytes, std::floor(*count * unit.bytes)};
  }
  const auto entries = whole_text<int64_t>(text);
  if (!entries || *entries < 0 || *entries > int64_t{1} << 53) return std::nullopt;
  return Budget{Budget::Unit::kEntries, static_cast<double>(*entries)};
}

std::string budget_text(const Budget& budget) {
  switch (budget.unit) {
    case Budget::Unit::kEntries: return cat(static_cast<int64_t>(budget.amount));
    case Budget::Unit::kPercent: return cat(number_text(budget.amount), "%");
    case Budget::Unit::kBytes: return cat(number_text(budget.amount / 1024), "KiB");
  }
  return {};
}

std::optional<Value> value_in(const Parameter& parameter, std::string_view text) {
  const auto within = [&](double x) { return x >= parameter.least && x <= parameter.most; };
  switch (parameter.type) {
    case ParameterType::kInt: {
      // 4e3 is as whole as 4000.
      const auto exact = whole_text<int64_t>(text);
      if (exact) {
        if (!within(static_cast<double>(*exact))) return std::nullopt;
        return Value(*exact);
      }
      const auto number = number_in(text);
      if (!number || !within(*number) || std::floor(*number) != *number) return std::nullopt;
      return Value(static_cast<int64_t>(*number));
    }
    case ParameterType::kFloat: {
      const auto number = number_in(text);
      if (!number || !within(*number)) return std::nullopt;
      return Value(*number == 0 ? 0.0 : *number);  // -0 is 0
    }
    case ParameterType::kBool:
      for (const BoolWord& b : kBoolWords) {
        if (text == b.word) return Value(b.value);
      }
      return std::nullopt;
    case ParameterType::kChoice:
      for (const std::string_view word : words_in(parameter.choices)) {
        if (text == word) return Value(std::string(text));
      }
      return std::nullopt;
    case ParameterType::kFile:
      if (text.empty() && !parameter.optional) return std::nullopt;
      if (text.find('\0') != std::string_view::npos || text.size() > 4096) return std::nullopt;
      return Value(std::string(text));
    case ParameterType::kBudget: {
      const auto budget = budget_in(text);
      if (!budget) return std::nullopt;
      return Value(*budget);
    }
  }
  return std::nullopt;
}

std::string listed(std::string_view choices) {
  std::string out;
  for (const std::string_view word : words_in(choices)) {
    out += out.empty() ? "" : ", ";
    out += word;
  }
  return out;
}

}  // namespace

std::string value_text(const Value& value) {
  struct Writer {
    std::string operator()(int64_t n) const { return cat(n); }
    std::string operator()(double x) const { return number_text(x); }
    std::string operator()(bool b) const { return b ? "true" : "false"; }
    std::string operator()(const std::string& text) const { return text; }
    std::string operator()(const Budget& budget) const { return budget_text(budget); }
  };
  return std::visit(Writer{}, value);
}

std::string valid_values(const Parameter& parameter) {
  switch (parameter.type) {
    case ParameterType::kInt:
      return cat("a whole number from ", number_text(parameter.least), " to ",
                 static_cast<int64_t>(parameter.most));
    case ParameterType::kFloat:
      return cat("a number from ", number_text(parameter.least), " to ",
                 number_text(parameter.most));
    case ParameterType::kBool: return "true or false";
    case ParameterType::kChoice: return cat("one of ", listed(parameter.choices));
    case ParameterType::kFile: return "a file's name";
    case ParameterType::kBudget: return "entries kept (512), a share (20%) or bytes (64MiB)";
  }
  return {};
}

Result<Value> parse_value(const Parameter& parameter, std::string_view text) {
  if (auto value = value_in(parameter, text)) return *std::move(value);
  const std::string near = parameter.type == ParameterType::kChoice
                               ? nearest_name(text, words_in(parameter.choices))
                               : std::string();
  return error(Code::kInvalidArgument, parameter.name, " is ", in_quotes(text), ", must be ",
               valid_values(parameter), near.empty() ? "" : cat("; did you mean '", near, "'?"));
}

Setting default_setting(const Mechanism& mechanism) {
  Setting out{&mechanism, {}};
  for (const Parameter& p : mechanism.parameters) {
    // Rows are tested to have valid defaults; a file that must be given has none.
    const auto value = value_in(p, p.standard);
    out.values.push_back(value ? *value : Value(std::string()));
  }
  return out;
}

}  // namespace heed
