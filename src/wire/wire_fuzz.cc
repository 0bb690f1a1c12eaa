// Foreign bytes against every parser and the scanner. What must hold: no crash; what a parser takes, its builder gives
// back octet by octet; the scanner's pieces, one behind the other, are its input.
#include <cstdint>

#include "base/assert.h"
#include "wire/backend.h"
#include "wire/frontend.h"
#include "wire/stream_scanner.h"

namespace herdgate::wire {
namespace {

bool all_but_rows(char type) { return type != be::kDataRow && type != be::kCopyData; }

ByteView payload_of(const Bytes& message) { return ByteView(message).substr(kHeaderBytes); }

void startup(ByteView input) {
  const auto parsed = parse_startup(input);
  if (!parsed) return;
  Bytes again;
  if (parsed->kind == Startup::Kind::cancel) put_cancel(again, parsed->pid, parsed->secret);
  if (parsed->kind == Startup::Kind::startup && parsed->major == 3 && parsed->unknown_options.empty())
    put_startup(again, parsed->minor, parsed->parameters);
  if (!again.empty()) HG_ASSERT(ByteView(again).substr(4) == input);
}

void extended(ByteView input) {
  Bytes again;
  if (const auto parse = parse_parse(input)) {
    put_parse(again, *parse);
    HG_ASSERT(payload_of(again) == input);
    again.clear();
  }
  if (const auto bind = parse_bind(input)) {
    put_bind(again, *bind);
    HG_ASSERT(payload_of(again) == input);
    const auto head = parse_bind_head(input);
    HG_ASSERT(head && *head && (*head)->portal == bind->portal && (*head)->statement == bind->statement);
    again.clear();
  }
  if (const auto what = parse_describe_or_close(input)) {
    put_describe(again, what->what, what->name);
    HG_ASSERT(payload_of(again) == input);
    again.clear();
  }
  if (const auto execute = parse_execute(input)) {
    put_execute(again, execute->portal, execute->max_rows);
    HG_ASSERT(payload_of(again) == input);
    again.clear();
  }
  if (const auto query = parse_query(input)) {
    put_query(again, *query);
    HG_ASSERT(payload_of(again) == input);
  }
  static_cast<void>(parse_function_call_oid(input));
}

void from_server(ByteView input) {
  Bytes again;
  if (const auto status = parse_parameter_status(input)) {
    put_parameter_status(again, status->name, status->value);
    HG_ASSERT(payload_of(again) == input);
    again.clear();
  }
  if (const auto key = parse_backend_key(input)) {
    put_backend_key(again, key->pid, key->secret);
    HG_ASSERT(payload_of(again) == input);
    again.clear();
  }
  if (const auto tag = parse_command_tag(input)) {
    put_command_complete(again, *tag);
    HG_ASSERT(payload_of(again) == input);
  }
  static_cast<void>(parse_report(input));
  static_cast<void>(parse_notification(input));
  static_cast<void>(parse_ready(input));
  static_cast<void>(parse_data_row(input));
}

// The first octet says how long the chunks are and which way they are walked.
void scanner(ByteView input) {
  if (input.empty()) return;
  const auto how = static_cast<unsigned char>(input[0]);
  const ByteView stream = input.substr(1);
  StreamScanner scanner(all_but_rows, 64);
  Bytes pieces;
  for (ByteView rest = stream; !rest.empty();) {
    const ByteView chunk = rest.substr(0, 1 + how / 2);
    rest.remove_prefix(chunk.size());
    scanner.begin(chunk);
    for (;;) {
      if (how % 2 == 1) pieces += scanner.take_rows(be::kDataRow).bytes;
      const auto piece = scanner.next();
      if (!piece) {
        HG_ASSERT(stream.starts_with(pieces) && !scanner.next());
        return;
      }
      if (piece->kind == Piece::Kind::end) break;
      pieces += piece->bytes;
    }
    const std::size_t given = stream.size() - rest.size();
    HG_ASSERT(stream.starts_with(pieces) && (scanner.mid_message() || pieces.size() == given));
  }
}

}  // namespace
}  // namespace herdgate::wire

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const herdgate::ByteView input(reinterpret_cast<const char*>(data), size);
  herdgate::wire::startup(input);
  herdgate::wire::extended(input);
  herdgate::wire::from_server(input);
  herdgate::wire::scanner(input);
  return 0;
}
