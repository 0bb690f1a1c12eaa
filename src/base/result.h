// Result<T>: the value, or an Error with a code of its module and the circumstances in words.
//
// Shape    Error{code, context}: `code` is for programs to compare, `context` for people ("node 2, /tmp:5433").
// Errors   a module keeps its codes in its own errc.h as an enum plus one table of names; see HG_DECLARE_ERRC.
// Threads  values; none.
#pragma once
#include <string>
#include <string_view>
#include <system_error>
#include <tl/expected.hpp>

namespace herdgate {

struct Error {
  std::error_code code;
  std::string context;
  // "what: context", the form in which logs and --check print it.
  std::string text() const { return context.empty() ? code.message() : code.message() + ": " + context; }
  bool operator==(const std::error_code& other) const { return code == other; }
};

template <class T>
using Result = tl::expected<T, Error>;

// The value of a Result that says only "it worked".
struct Done {};

inline tl::unexpected<Error> fail(std::error_code code, std::string context = {}) {
  return tl::unexpected<Error>(Error{code, std::move(context)});
}
inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

// An error_category made from a plain table of names; index = enum value, entry 0 unused (0 means success).
template <class Enum>
class TableCategory final : public std::error_category {
 public:
  template <std::size_t N>
  constexpr TableCategory(const char* name, const char* const (&messages)[N])
      : name_(name), messages_(messages), count_(N) {}
  const char* name() const noexcept override { return name_; }
  std::string message(int value) const override {
    return value >= 0 && static_cast<std::size_t>(value) < count_ ? messages_[value] : "unknown error";
  }

 private:
  const char* name_;
  const char* const* messages_;
  std::size_t count_;
};

}  // namespace herdgate

// In errc.h, inside the module's namespace, after `enum class Errc { … }` (values from 1):
//   HG_DECLARE_ERRC(Errc)
// after the namespace:            template <> struct std::is_error_code_enum<herdgate::wire::Errc> : std::true_type {};
// in errc.cc:                     HG_DEFINE_ERRC(Errc, "wire", "success", "bad length", …)
#define HG_DECLARE_ERRC(E)                      \
  const std::error_category& errc_category(E*); \
  inline std::error_code make_error_code(E e) { return {static_cast<int>(e), errc_category(static_cast<E*>(nullptr))}; }

#define HG_DEFINE_ERRC(E, NAME, ...)                                     \
  const std::error_category& errc_category(E*) {                         \
    static constexpr const char* kMessages[] = {__VA_ARGS__};            \
    static const ::herdgate::TableCategory<E> category(NAME, kMessages); \
    return category;                                                     \
  }

#define HG_CONCAT_(a, b) a##b
#define HG_CONCAT(a, b) HG_CONCAT_(a, b)
// HG_TRY(auto x, f()): declares x from the value of f(), or returns its error. Not for expressions with co_await.
#define HG_TRY(declaration, expression) HG_TRY_(HG_CONCAT(hg_try_, __LINE__), declaration, expression)
#define HG_TRY_(temporary, declaration, expression)                      \
  auto temporary = (expression);                                         \
  if (!temporary) return ::herdgate::fail(std::move(temporary.error())); \
  declaration = std::move(*temporary)
// HG_CHECK(f()): for Result<Done>.
#define HG_CHECK(expression) HG_CHECK_(HG_CONCAT(hg_check_, __LINE__), expression)
#define HG_CHECK_(temporary, expression) \
  if (auto temporary = (expression); !temporary) return ::herdgate::fail(std::move(temporary.error()))
