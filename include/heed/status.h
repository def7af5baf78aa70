// Errors of heed: a Status says what went wrong, a Result<T> is a value or a Status.
// Nothing in the public API throws or aborts on bad input.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace heed {

enum class Code {
  kOk,
  kInvalidArgument,    // the caller passed something that can never work
  kNotFound,           // a file, model, sequence or name does not exist
  kOutOfRange,         // a number is outside its stated limits
  kResourceExhausted,  // memory, context or disk is not enough
  kUnsupported,        // valid, but heed cannot do it (an architecture, a format)
  kCorrupt,            // a file contradicts itself
  kIo,                 // the operating system refused
  kCancelled,          // the caller's cancel token fired
  kInternal,           // a bug in heed
};

// One word for logs and JSON: "invalid_argument", "not_found", ...
const char* code_name(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status ok() { return {}; }
  bool is_ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  // Names the thing, the value, the limit and the way out. Empty when ok.
  const std::string& message() const { return message_; }
  // The same error with `context: ` in front.
  Status with_context(std::string_view context) const;

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

// A value or an error. `value()` may be called only when `is_ok()`.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT: implicit by design
  Result(Status status) : status_(std::move(status)) {  // NOLINT: implicit by design
    if (status_.is_ok()) status_ = Status(Code::kInternal, "a Result was made from an ok Status");
  }

  bool is_ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  Code code() const { return status_.code(); }
  const std::string& message() const { return status_.message(); }

  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return std::move(*value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return std::move(*value_); }

 private:
  std::optional<T> value_;
  Status status_;
};

namespace detail {
inline Status to_status(Status s) { return s; }
template <class T>
Status to_status(const Result<T>& r) {
  return r.status();
}
}  // namespace detail

}  // namespace heed

// Return the error of `expr` (a Status or Result) to the caller.
#define HEED_TRY(expr)                                                                            \
  do {                                                                                            \
    if (auto heed_try_ = (expr); !heed_try_.is_ok()) return ::heed::detail::to_status(heed_try_); \
  } while (0)

// `HEED_ASSIGN(auto x, f());` binds the value of a Result or returns its error.
#define HEED_ASSIGN_CAT2(a, b) a##b
#define HEED_ASSIGN_CAT(a, b) HEED_ASSIGN_CAT2(a, b)
#define HEED_ASSIGN(decl, expr) \
  HEED_ASSIGN_IMPL(HEED_ASSIGN_CAT(heed_result_, __LINE__), decl, expr)
#define HEED_ASSIGN_IMPL(tmp, decl, expr)                  \
  auto tmp = (expr);                                       \
  if (!tmp.is_ok()) return ::heed::detail::to_status(tmp); \
  decl = std::move(*tmp)
