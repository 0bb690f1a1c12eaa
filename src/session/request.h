// Cuts a client's byte stream into requests: a simple query, a function call, or Parse … Sync as one unit. Pure.
//
// Shape    next_request(input) looks at the front of the input and says what is there, without consuming it.
// Limits   a unit of more than kMaxUnitBytes, or one with a Flush, is cut before its Sync (Request::cut); a Bind longer
//          than that is streamed (Request::streamed: only its head is there, with its names unless they are that long).
// Errors   Request::Kind::broken with a reason: FATAL 08P01 for this client.
// Source   PostgreSQL manual, "Message Flow".
#pragma once
#include <algorithm>
#include <string_view>

#include "base/bytes.h"
#include "wire/types.h"

namespace herdgate::session {

inline constexpr std::size_t kMaxUnitBytes = 64 * 1024;

struct Request {
  enum class Kind : std::uint8_t {
    need_more,
    broken,
    query,
    function_call,
    extended,
    copy_data /* d, c or f */,
    terminate,
  } kind = Kind::need_more;
  std::size_t bytes = 0;     // how much of the input it covers (whole messages)
  bool synced = false;       // extended: ends with Sync
  bool streamed = false;     // extended: the last message is a Bind of which `bytes` counts only what is there
  std::size_t missing = 0;   // streamed, copy_data: octets of its last message still to come
  const char* problem = "";  // broken
};
Request next_request(ByteView input);

// One message at the front of `input` that is known to be whole.
struct Frame {
  char type;
  ByteView payload, whole;
};
inline Frame first_frame(ByteView input) {
  const std::size_t total = load_u32(input.data() + 1) + 1;
  const ByteView whole = input.substr(0, std::min(total, input.size()));
  return Frame{whole[0], whole.substr(wire::kHeaderBytes), whole};
}

}  // namespace herdgate::session
