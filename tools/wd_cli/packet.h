// Packets of the watchdog's socket: bytes ⇄ values. Pure: no sockets, no clock.
//
// Shape    a type, a length, and JSON that may end in a NUL. One connection carries one request and one answer.
// Units    octets; the length is big-endian and counts the JSON alone.
// Limits   an answer has at most kAnswerLimit.
// Errors   a Failure: an answer that is too long; or what the watchdog says went wrong.
// Threads  pure.
// Source   Pgpool-II 4.6 manual, "Watchdog IPC"; 4.6.1, as it answered to the same bytes.
#pragma once
#include <optional>
#include <string>

#include "base/bytes.h"
#include "failure.h"

namespace herdgate::wd_cli {

inline constexpr std::size_t kHeaderBytes = 5;
inline constexpr std::size_t kAnswerLimit = 1u << 20;  // 128 nodes need some 50 kB

// `key`: wd_authkey, empty for none.
Bytes nodes_request(const std::string& key);
Bytes state_request(int node, bool alive, const std::string& message, const std::string& key);

struct Packet {
  char type = 0;
  ByteView json;  // without the NUL
};
// The packet at the front, its JSON in `input`; nullopt: it is not whole yet.
OrFailure<std::optional<Packet>> first_packet(ByteView input);

// Nothing when the watchdog did what it was asked for, else why not, as a sentence.
std::optional<std::string> refusal(const Packet& answer);

}  // namespace herdgate::wd_cli
