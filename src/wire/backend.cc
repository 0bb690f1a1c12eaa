#include "wire/backend.h"

#include "wire/message_writer.h"
#include "wire/payload_reader.h"

namespace herdgate::wire {
namespace {

// Error fields, as the manual letters them.
enum Field : char {
  kSeverity = 'S',
  kSeverityPlain = 'V',
  kSqlstate = 'C',
  kMessage = 'M',
  kDetail = 'D',
  kHint = 'H',
  kFile = 'F',
  kLine = 'L',
  kRoutine = 'R'
};
constexpr std::uint16_t kUnknownSize = 0xffff;     // −1
constexpr std::uint32_t kNoModifier = 0xffffffff;  // −1
constexpr std::size_t kMinSecret = 4, kMaxSecret = 256;

tl::unexpected<Error> malformed(std::string_view message) { return fail(Errc::malformed, std::string(message)); }

void put_field(MessageWriter& message, Field field, std::string_view text) {
  message.u8(field);
  message.cstr(text);
}

void put_report(Bytes& out, char type, const Report& report) {
  MessageWriter message(out, type);
  put_field(message, kSeverity, report.severity);
  put_field(message, kSqlstate, report.sqlstate);
  put_field(message, kMessage, report.message);
  if (!report.detail.empty()) put_field(message, kDetail, report.detail);
  if (!report.hint.empty()) put_field(message, kHint, report.hint);
  put_field(message, kFile, report.file);
  put_field(message, kLine, std::to_string(report.line));
  if (*report.routine != '\0') put_field(message, kRoutine, report.routine);
  message.u8('\0');
}

void take_field(ServerReport& report, char field, std::string_view text) {
  switch (field) {
    case kSeverity:
      if (report.severity.empty()) report.severity = text;
      break;
    case kSeverityPlain:
      report.severity = text;
      break;
    case kSqlstate:
      report.sqlstate = text;
      break;
    case kMessage:
      report.message = text;
      break;
    case kDetail:
      report.detail = text;
      break;
    case kHint:
      report.hint = text;
      break;
    case kRoutine:
      report.routine = text;
      break;
    default:
      break;  // the manual: unknown fields are to be ignored
  }
}

}  // namespace

void put_error(Bytes& out, const Report& report) { put_report(out, be::kError, report); }
void put_notice(Bytes& out, const Report& report) { put_report(out, be::kNotice, report); }

Result<ServerReport> parse_report(ByteView payload) {
  PayloadReader reader(payload);
  ServerReport report;
  for (char field = reader.u8(); field != '\0'; field = reader.u8()) take_field(report, field, reader.cstr());
  if (!reader.whole()) return malformed("ErrorResponse or NoticeResponse");
  return report;
}

Result<ParameterStatus> parse_parameter_status(ByteView payload) {
  PayloadReader reader(payload);
  ParameterStatus status;
  status.name = reader.cstr();
  status.value = reader.cstr();
  if (!reader.whole()) return malformed("ParameterStatus");
  return status;
}

void put_parameter_status(Bytes& out, std::string_view name, std::string_view value) {
  MessageWriter message(out, be::kParameterStatus);
  message.cstr(name);
  message.cstr(value);
}

Result<BackendKey> parse_backend_key(ByteView payload) {
  PayloadReader reader(payload);
  BackendKey key;
  key.pid = reader.i32();
  key.secret = reader.rest();
  if (!reader.fits() || key.secret.size() < kMinSecret || key.secret.size() > kMaxSecret)
    return malformed("BackendKeyData");
  return key;
}

void put_backend_key(Bytes& out, std::int32_t pid, ByteView secret) {
  MessageWriter message(out, be::kBackendKeyData);
  message.i32(pid);
  message.bytes(secret);
}

Result<Notification> parse_notification(ByteView payload) {
  PayloadReader reader(payload);
  Notification notification;
  notification.pid = reader.i32();
  notification.channel = reader.cstr();
  notification.payload = reader.cstr();
  if (!reader.whole()) return malformed("NotificationResponse");
  return notification;
}

void put_notification(Bytes& out, const Notification& notification) {
  MessageWriter message(out, be::kNotification);
  message.i32(notification.pid);
  message.cstr(notification.channel);
  message.cstr(notification.payload);
}

Result<char> parse_ready(ByteView payload) {
  if (payload.size() != 1 || std::string_view("ITE").find(payload[0]) == std::string_view::npos)
    return malformed("ReadyForQuery");
  return payload[0];
}

Result<std::string_view> parse_command_tag(ByteView payload) {
  PayloadReader reader(payload);
  const std::string_view tag = reader.cstr();
  if (!reader.whole()) return malformed("CommandComplete");
  return tag;
}

Result<std::vector<std::optional<std::string_view>>> parse_data_row(ByteView payload) {
  PayloadReader reader(payload);
  const std::size_t count = reader.u16();
  if (count * 4 > reader.rest().size()) return malformed("DataRow");  // before memory is taken for it
  std::vector<std::optional<std::string_view>> columns(count);
  for (auto& column : columns) {
    ByteView value;
    if (reader.value(value)) column = value;
  }
  if (!reader.whole()) return malformed("DataRow");
  return columns;
}

void put_ready(Bytes& out, char status) { MessageWriter(out, be::kReady).u8(status); }
void put_command_complete(Bytes& out, std::string_view tag) { MessageWriter(out, be::kCommandComplete).cstr(tag); }
void put_empty_query(Bytes& out) { MessageWriter(out, be::kEmptyQuery); }
void put_parse_complete(Bytes& out) { MessageWriter(out, be::kParseComplete); }
void put_bind_complete(Bytes& out) { MessageWriter(out, be::kBindComplete); }
void put_close_complete(Bytes& out) { MessageWriter(out, be::kCloseComplete); }
void put_no_data(Bytes& out) { MessageWriter(out, be::kNoData); }

void put_parameter_description(Bytes& out, std::span<const std::uint32_t> types) {
  MessageWriter message(out, be::kParameterDescription);
  message.u16(static_cast<std::uint16_t>(types.size()));
  for (const std::uint32_t type : types) message.u32(type);
}

void put_text_row_description(Bytes& out, std::span<const std::string> columns) {
  MessageWriter message(out, be::kRowDescription);
  message.u16(static_cast<std::uint16_t>(columns.size()));
  for (const std::string& column : columns) {
    message.cstr(column);
    message.u32(0);  // of no table
    message.u16(0);  // nor a column of it
    message.u32(0);  // type
    message.u16(kUnknownSize);
    message.u32(kNoModifier);
    message.u16(0);  // format: text
  }
}

void put_text_row(Bytes& out, std::span<const std::string> values) {
  MessageWriter message(out, be::kDataRow);
  message.u16(static_cast<std::uint16_t>(values.size()));
  for (const std::string& value : values) {
    message.u32(static_cast<std::uint32_t>(value.size()));
    message.bytes(value);
  }
}

void put_authentication(Bytes& out, std::int32_t code, ByteView data) {
  MessageWriter message(out, be::kAuthentication);
  message.i32(code);
  message.bytes(data);
}

// The manual speaks of the newest minor version; what servers send and libpq reads is the whole version word.
void put_negotiate(Bytes& out, std::int32_t newest_minor, std::span<const std::string> unknown_options) {
  MessageWriter message(out, be::kNegotiate);
  message.i32(3 << 16 | newest_minor);
  message.u32(static_cast<std::uint32_t>(unknown_options.size()));
  for (const std::string& option : unknown_options) message.cstr(option);
}

}  // namespace herdgate::wire
