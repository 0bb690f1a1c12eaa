#include "wire/frontend.h"

#include <algorithm>

#include "wire/message_writer.h"
#include "wire/payload_reader.h"

namespace herdgate::wire {
namespace {

constexpr std::uint32_t kCancelCode = 80877102, kSslCode = 80877103, kGssCode = 80877104;
constexpr std::size_t kMinSecret = 4, kMaxSecret = 256;
constexpr std::string_view kProtocolOption = "_pq_.";

tl::unexpected<Error> malformed(std::string_view message) { return fail(Errc::malformed, std::string(message)); }

Result<Startup> parse_cancel(PayloadReader reader) {
  Startup startup{.kind = Startup::Kind::cancel};
  startup.pid = reader.i32();
  startup.secret = Bytes(reader.rest());
  if (!reader.fits() || startup.secret.size() < kMinSecret || startup.secret.size() > kMaxSecret)
    return malformed("CancelRequest");
  return startup;
}

// Pairs of names and values up to an empty name, which is the last octet.
Result<Done> parse_parameters(PayloadReader reader, Startup& startup) {
  for (;;) {
    const std::string_view name = reader.cstr();
    if (name.empty()) break;
    const std::string_view value = reader.cstr();
    if (name.starts_with(kProtocolOption)) {
      startup.unknown_options.emplace_back(name);
    } else {
      startup.parameters.emplace_back(name, value);
    }
  }
  if (!reader.whole()) return malformed("StartupMessage");
  return Done{};
}

}  // namespace

std::string_view Startup::parameter(std::string_view name) const {
  for (const auto& [key, value] : parameters) {
    if (key == name) return value;
  }
  return "";
}

Result<Startup> parse_startup(ByteView payload) {
  if (payload.size() + 4 > kMaxStartup) return fail(Errc::too_large, "StartupMessage");
  PayloadReader reader(payload);
  const std::uint32_t code = reader.u32();
  if (!reader.fits()) return malformed("StartupMessage");
  if (code == kCancelCode) return parse_cancel(reader);
  Startup startup;
  if (code == kSslCode || code == kGssCode) {
    if (!reader.whole()) return malformed(code == kSslCode ? "SSLRequest" : "GSSENCRequest");
    startup.kind = code == kSslCode ? Startup::Kind::ssl_request : Startup::Kind::gss_request;
    return startup;
  }
  startup.major = static_cast<int>(code >> 16);
  startup.minor = static_cast<int>(code & 0xffff);
  // What other majors look like behind the version is not ours to know.
  if (startup.major == 3) HG_CHECK(parse_parameters(reader, startup));
  return startup;
}

Result<Parse> parse_parse(ByteView payload) {
  PayloadReader reader(payload);
  Parse message;
  message.statement = reader.cstr();
  message.query = reader.cstr();
  message.types = reader.rest();
  reader.bytes(std::size_t{4} * reader.u16());
  if (!reader.whole()) return malformed("Parse");
  return message;
}

Result<Bind> parse_bind(ByteView payload) {
  PayloadReader reader(payload);
  Bind message;
  message.portal = reader.cstr();
  message.statement = reader.cstr();
  message.rest = reader.rest();
  reader.formats();
  reader.values();
  reader.formats();
  if (!reader.whole()) return malformed("Bind");
  return message;
}

Result<std::optional<Bind>> parse_bind_head(ByteView payload_so_far) {
  PayloadReader reader(payload_so_far);
  Bind message;
  message.portal = reader.cstr();
  message.statement = reader.cstr();
  message.rest = reader.rest();
  if (!reader.fits()) return std::optional<Bind>{};
  return std::optional<Bind>(message);
}

Result<DescribeOrClose> parse_describe_or_close(ByteView payload) {
  PayloadReader reader(payload);
  DescribeOrClose message;
  message.what = reader.u8();
  message.name = reader.cstr();
  if (!reader.whole() || (message.what != 'S' && message.what != 'P')) return malformed("Describe or Close");
  return message;
}

Result<Execute> parse_execute(ByteView payload) {
  PayloadReader reader(payload);
  Execute message;
  message.portal = reader.cstr();
  message.max_rows = reader.i32();
  if (!reader.whole()) return malformed("Execute");
  return message;
}

Result<std::string_view> parse_query(ByteView payload) {
  PayloadReader reader(payload);
  const std::string_view text = reader.cstr();
  if (!reader.whole()) return malformed("Query or CopyFail");
  return text;
}

Result<std::uint32_t> parse_function_call_oid(ByteView payload) {
  PayloadReader reader(payload);
  const std::uint32_t oid = reader.u32();
  reader.formats();
  reader.values();
  reader.u16();  // format of the result
  if (!reader.whole()) return malformed("FunctionCall");
  return oid;
}

void put_startup(Bytes& out, int minor, const std::vector<std::pair<std::string, std::string>>& parameters) {
  MessageWriter message(out);
  message.u32(std::uint32_t{3} << 16 | static_cast<std::uint32_t>(minor));
  for (const auto& [name, value] : parameters) {
    message.cstr(name);
    message.cstr(value);
  }
  message.u8('\0');
}

void put_cancel(Bytes& out, std::int32_t pid, ByteView secret) {
  MessageWriter message(out);
  message.u32(kCancelCode);
  message.i32(pid);
  message.bytes(secret);
}

void put_query(Bytes& out, std::string_view sql) { MessageWriter(out, fe::kQuery).cstr(sql); }

void put_parse(Bytes& out, const Parse& parse) {
  MessageWriter message(out, fe::kParse);
  message.cstr(parse.statement);
  message.cstr(parse.query);
  if (parse.types.empty()) {
    message.u16(0);
  } else {
    message.bytes(parse.types);
  }
}

// The most frequent message that we write ourselves: its length is known beforehand, so it is put in its place at once.
void put_bind(Bytes& out, const Bind& bind) {
  constexpr ByteView kNothing("\0\0\0\0\0\0", 6);  // no formats, no values, no result formats
  const ByteView rest = bind.rest.empty() ? kNothing : bind.rest;
  const std::size_t size = kHeaderBytes + bind.portal.size() + 1 + bind.statement.size() + 1 + rest.size();
  const std::size_t at = out.size();
  out.resize(at + size);
  char* to = out.data() + at;
  *to = fe::kBind;
  store_u32(to + 1, static_cast<std::uint32_t>(size - 1));
  to = std::copy(bind.portal.begin(), bind.portal.end(), to + kHeaderBytes) + 1;
  to = std::copy(bind.statement.begin(), bind.statement.end(), to) + 1;
  std::copy(rest.begin(), rest.end(), to);
}

void put_describe(Bytes& out, char what, std::string_view name) {
  MessageWriter message(out, fe::kDescribe);
  message.u8(what);
  message.cstr(name);
}

void put_close(Bytes& out, char what, std::string_view name) {
  MessageWriter message(out, fe::kClose);
  message.u8(what);
  message.cstr(name);
}

void put_execute(Bytes& out, std::string_view portal, std::int32_t max_rows) {
  MessageWriter message(out, fe::kExecute);
  message.cstr(portal);
  message.i32(max_rows);
}

void put_empty(Bytes& out, char type) { MessageWriter(out, type); }

void put_message(Bytes& out, char type, ByteView payload) { MessageWriter(out, type).bytes(payload); }

}  // namespace herdgate::wire
