// Errors of keeping a client's session.
#pragma once
#include "base/result.h"

namespace herdgate::vsession {
enum class Errc { duplicate_prepared = 1, too_many_prepared, too_many_parameters, bad_parameter_name };
HG_DECLARE_ERRC(Errc)
}  // namespace herdgate::vsession
template <>
struct std::is_error_code_enum<herdgate::vsession::Errc> : std::true_type {};
