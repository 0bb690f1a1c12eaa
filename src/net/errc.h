// Errors of getting a socket. What happens on a connected one is told by Io.
#pragma once
#include "base/result.h"

namespace herdgate::net {
enum class Errc {
  watch_failed = 1,
  name_not_found,
  connect_failed,
  timed_out,
  busy,  // our own queue of look-ups is too long
  bad_address,
  address_in_use,
  listen_failed,
  accept_failed,
  no_room,              // for another connection
  name_service_failed,  // the name could not be looked up now; it may exist
  own_shortage,         // of descriptors, memory or ports: nobody was asked
  no_ring,              // io_uring cannot be used here
  nobody_listens,       // at any of the addresses: as connect_failed, and there is no server for certain
};
HG_DECLARE_ERRC(Errc)
}  // namespace herdgate::net
template <>
struct std::is_error_code_enum<herdgate::net::Errc> : std::true_type {};
