// Errors of reading foreign protocol bytes.
#pragma once
#include "base/result.h"

namespace herdgate::wire {
enum class Errc { malformed = 1, bad_length, too_large, unexpected_message };
HG_DECLARE_ERRC(Errc)
}  // namespace herdgate::wire
template <>
struct std::is_error_code_enum<herdgate::wire::Errc> : std::true_type {};
