// What servers send, and what we send in their place. Pure.
//
// Shape    parse_* give views into the payload; put_* append one whole message.
// Errors   Errc::malformed.
// Source   PostgreSQL manual, "Message Formats", "Error and Notice Message Fields".
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/errc.h"
#include "wire/types.h"

namespace herdgate::wire {

// An ErrorResponse or NoticeResponse that we make ourselves. Fields S, C, M, then D and H if any, then F and L (no V),
// as Pgpool-II sends them.
struct Report {
  std::string severity = "ERROR";  // ERROR, FATAL, PANIC; NOTICE, WARNING, DEBUG, INFO, LOG
  std::string sqlstate = "XX000";
  std::string message, detail, hint;
  const char* file = "";
  int line = 0;
  const char* routine = "";  // where drivers know an error by it
};
void put_error(Bytes& out, const Report& report);
void put_notice(Bytes& out, const Report& report);

// Fields of an ErrorResponse or NoticeResponse that a server sent.
struct ServerReport {
  std::string_view severity, sqlstate, message, detail, hint;  // severity: the unlocalised V field when present
  std::string_view routine;                                    // of the server's source
};
Result<ServerReport> parse_report(ByteView payload);

struct ParameterStatus {
  std::string_view name, value;
};
Result<ParameterStatus> parse_parameter_status(ByteView payload);
void put_parameter_status(Bytes& out, std::string_view name, std::string_view value);

struct BackendKey {
  std::int32_t pid = 0;
  ByteView secret;
};
Result<BackendKey> parse_backend_key(ByteView payload);
void put_backend_key(Bytes& out, std::int32_t pid, ByteView secret);

struct Notification {
  std::int32_t pid = 0;
  std::string_view channel, payload;
};
Result<Notification> parse_notification(ByteView payload);
void put_notification(Bytes& out, const Notification& notification);

Result<char> parse_ready(ByteView payload);  // 'I', 'T' or 'E'
Result<std::string_view> parse_command_tag(ByteView payload);
// Columns of a DataRow; nullopt is SQL NULL.
Result<std::vector<std::optional<std::string_view>>> parse_data_row(ByteView payload);

void put_ready(Bytes& out, char status);
void put_command_complete(Bytes& out, std::string_view tag);
void put_empty_query(Bytes& out);
void put_parse_complete(Bytes& out);
void put_bind_complete(Bytes& out);
void put_close_complete(Bytes& out);
void put_no_data(Bytes& out);
void put_parameter_description(Bytes& out, std::span<const std::uint32_t> types);
// Own results: every column is text (type OID 0, size −1, format text), as Pgpool-II's SHOW commands send.
void put_text_row_description(Bytes& out, std::span<const std::string> columns);
void put_text_row(Bytes& out, std::span<const std::string> values);
void put_authentication(Bytes& out, std::int32_t code, ByteView data = {});
void put_negotiate(Bytes& out, std::int32_t newest_minor, std::span<const std::string> unknown_options);

}  // namespace herdgate::wire
