// Errors of getting a server link.
#pragma once
#include "base/result.h"

namespace herdgate::pool {
enum class Errc { wait_timed_out = 1, queue_full, node_gone, login_failed, stopping, no_such_node, all_taken };
HG_DECLARE_ERRC(Errc)
}  // namespace herdgate::pool
template <>
struct std::is_error_code_enum<herdgate::pool::Errc> : std::true_type {};
