// What clients send: heads of messages as views into the bytes that came in. Pure.
//
// Shape    every parse_* takes the payload (without type and length) and gives views into it, valid as long as it is.
// Errors   Errc::malformed for anything that does not fit the manual's format, trailing octets included.
// Source   PostgreSQL manual, "Message Formats"; protocol 3.2: "Protocol Overview", variable-length cancel keys.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/errc.h"
#include "wire/types.h"

namespace herdgate::wire {

// The first packet of a connection has no type letter: 4 octets length (counting itself), then a code.
struct Startup {
  enum class Kind : std::uint8_t { startup, cancel, ssl_request, gss_request } kind = Kind::startup;
  int major = 0, minor = 0;                                     // startup
  std::vector<std::pair<std::string, std::string>> parameters;  // startup, in order; _pq_.* options not included
  std::vector<std::string> unknown_options;                     // _pq_.* names that we do not know
  std::int32_t pid = 0;                                         // cancel
  Bytes secret;                                                 // cancel: 4 octets, up to 256 with protocol 3.2
  std::string_view parameter(std::string_view name) const;      // "" when absent
};
// payload: after the length word. Protocol 2 and unknown majors come back as Kind::startup with that `major`.
Result<Startup> parse_startup(ByteView payload);

struct Parse {
  std::string_view statement, query;
  ByteView types;  // count (2 octets) and type OIDs (4 each), as they came
};
Result<Parse> parse_parse(ByteView payload);

struct Bind {
  std::string_view portal, statement;
  ByteView rest;  // formats, parameters, result formats, as they came
};
Result<Bind> parse_bind(ByteView payload);
// Of a message that is not whole yet: the two names if they are already there; nullopt when more octets are needed.
Result<std::optional<Bind>> parse_bind_head(ByteView payload_so_far);

struct DescribeOrClose {
  char what = 'S';  // 'S' statement, 'P' portal
  std::string_view name;
};
Result<DescribeOrClose> parse_describe_or_close(ByteView payload);

struct Execute {
  std::string_view portal;
  std::int32_t max_rows = 0;
};
Result<Execute> parse_execute(ByteView payload);
Result<std::string_view> parse_query(ByteView payload);  // also the text of CopyFail
Result<std::uint32_t> parse_function_call_oid(ByteView payload);

// Builders: append one whole message.
void put_startup(Bytes& out, int minor, const std::vector<std::pair<std::string, std::string>>& parameters);
void put_cancel(Bytes& out, std::int32_t pid, ByteView secret);
void put_query(Bytes& out, std::string_view sql);
void put_parse(Bytes& out, const Parse& message);
void put_bind(Bytes& out, const Bind& message);
void put_describe(Bytes& out, char what, std::string_view name);
void put_close(Bytes& out, char what, std::string_view name);
void put_execute(Bytes& out, std::string_view portal, std::int32_t max_rows);
void put_empty(Bytes& out, char type);  // Sync, Flush, Terminate, CopyDone
void put_message(Bytes& out, char type, ByteView payload);

}  // namespace herdgate::wire
