// Errors of one server link.
#pragma once
#include "base/result.h"

namespace herdgate::backend {
enum class Errc {
  connect_failed = 1,
  login_failed,
  login_refused,
  protocol_broken,
  closed_by_server,
  closed_by_us,
  timed_out,
  query_failed,
  result_too_large,
  not_looked_up,   // the name of the server could not be looked up: trouble of ours, not of the server
  name_not_found,  // the name service says that there is no such name
  own_shortage,    // of descriptors, memory or ports: ours too
  crowded,         // too many passwords are being hashed
  nobody_listens,  // as connect_failed, and there is no server for certain
};
HG_DECLARE_ERRC(Errc)
}  // namespace herdgate::backend
template <>
struct std::is_error_code_enum<herdgate::backend::Errc> : std::true_type {};
