// What went wrong, in the three parts that a message has.
//
// Shape    `text` says what was attempted; `detail` what happened and `hint` what to do are sentences, or empty.
// Threads  values.
#pragma once
#include <string>
#include <tl/expected.hpp>

namespace herdgate::wd_cli {

struct Failure {
  std::string text, detail, hint;
  std::string lines() const;  // for stderr
};
template <class T>
using OrFailure = tl::expected<T, Failure>;

inline tl::unexpected<Failure> failure(std::string text, std::string detail = {}, std::string hint = {}) {
  return tl::unexpected<Failure>(Failure{std::move(text), std::move(detail), std::move(hint)});
}

}  // namespace herdgate::wd_cli
