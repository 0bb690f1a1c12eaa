// What can go wrong with the monitor's own file.
#pragma once
#include "base/result.h"

namespace herdgate::monitor {
enum class Errc { state_file_unreadable = 1, state_file_unwritable };
HG_DECLARE_ERRC(Errc)
}  // namespace herdgate::monitor

template <>
struct std::is_error_code_enum<herdgate::monitor::Errc> : std::true_type {};
