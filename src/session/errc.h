// Errors of auth_query that are of the moment.
#pragma once
#include "base/result.h"

namespace herdgate::session {
enum class Errc {
  auth_query_slow = 1,  // the server is there; the context says how long it was waited for
  auth_query_hindered,  // the server says so
  auth_query_crowded,   // too many logins wait for it
};
HG_DECLARE_ERRC(Errc)
}  // namespace herdgate::session
template <>
struct std::is_error_code_enum<herdgate::session::Errc> : std::true_type {};
