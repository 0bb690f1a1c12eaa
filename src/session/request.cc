#include "session/request.h"

namespace herdgate::session {
namespace {
using namespace wire;

bool is_extended(char type) {
  return type == fe::kParse || type == fe::kBind || type == fe::kDescribe || type == fe::kExecute ||
         type == fe::kClose || type == fe::kFlush || type == fe::kSync;
}

Request broken(const char* problem) {
  Request request;
  request.kind = Request::Kind::broken;
  request.problem = problem;
  return request;
}

Request whole(Request::Kind kind, ByteView input, std::size_t total) {
  Request request;
  if (input.size() < total) return request;
  request.kind = kind;
  request.bytes = total;
  return request;
}

// COPY data passes through in whatever pieces it comes.
Request copy_piece(ByteView input, std::size_t total) {
  Request request;
  request.kind = Request::Kind::copy_data;
  request.bytes = std::min(total, input.size());
  request.missing = total - request.bytes;
  return request;
}

// The names at the head of a Bind: where it goes hangs on them.
bool has_names(ByteView bind) {
  const std::size_t portal = bind.find('\0', kHeaderBytes);
  return portal != ByteView::npos && bind.find('\0', portal + 1) != ByteView::npos;
}

Request extended_unit(ByteView input) {
  Request unit;
  unit.kind = Request::Kind::extended;
  while (input.size() - unit.bytes >= kHeaderBytes) {
    const ByteView rest = input.substr(unit.bytes);
    const char type = rest[0];
    if (!is_extended(type)) {
      if (unit.bytes > 0) return unit;  // a simple query in the middle of a batch: what came before goes first
      return broken("unexpected message type");
    }
    const std::uint32_t length = load_u32(rest.data() + 1);
    if (length < 4 || length > kMaxMessage) return broken("invalid message length");
    const std::size_t total = length + 1;
    if (rest.size() < total) {
      if (unit.bytes + total <= kMaxUnitBytes || (type == fe::kParse && unit.bytes == 0)) return Request{};
      if (unit.bytes > 0) return unit;  // cut: what is whole goes ahead
      if (type != fe::kBind || (!has_names(rest) && rest.size() < kMaxUnitBytes)) return Request{};
      unit.bytes = rest.size();
      unit.streamed = true;
      unit.missing = total - rest.size();
      return unit;
    }
    unit.bytes += total;
    if (type == fe::kSync) {
      unit.synced = true;
      return unit;
    }
    if (type == fe::kFlush || unit.bytes >= kMaxUnitBytes) return unit;
  }
  return Request{};
}

}  // namespace

Request next_request(ByteView input) {
  if (input.size() < kHeaderBytes) return Request{};
  const char type = input[0];
  const std::uint32_t length = load_u32(input.data() + 1);
  if (length < 4 || length > kMaxMessage) return broken("invalid message length");
  const std::size_t total = length + 1;
  switch (type) {
    case fe::kQuery:
      return whole(Request::Kind::query, input, total);
    case fe::kFunctionCall:
      return whole(Request::Kind::function_call, input, total);
    case fe::kTerminate:
      return whole(Request::Kind::terminate, input, total);
    case fe::kCopyData:
    case fe::kCopyDone:
    case fe::kCopyFail:
      return copy_piece(input, total);
    default:
      return extended_unit(input);
  }
}

}  // namespace herdgate::session
