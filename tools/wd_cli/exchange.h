// One request to the watchdog over its UNIX socket, and its answer. Calls block, up to kPatience.
//
// Shape    exchange(socket, request) -> the octets of the answer's packet; empty when the watchdog closed the
//          connection without one, which is how 4.6.1 says that a state was taken.
// Limits   kPatience for connecting, sending and reading together, however slowly the octets come; kAnswerLimit.
// Errors   a Failure: no connection, no answer in time, an answer that is cut off or too long.
// Threads  one.
// Source   unix(7).
#pragma once
#include <chrono>

#include "packet.h"

namespace herdgate::wd_cli {

inline constexpr std::chrono::seconds kPatience{10};

OrFailure<Bytes> exchange(const std::string& socket_path, ByteView request);

}  // namespace herdgate::wd_cli
