// What can go wrong with the catalog's answers.
#pragma once
#include "base/result.h"

namespace herdgate::catalog {
enum class Errc { bad_answer = 1 };
HG_DECLARE_ERRC(Errc)
}  // namespace herdgate::catalog

template <>
struct std::is_error_code_enum<herdgate::catalog::Errc> : std::true_type {};
