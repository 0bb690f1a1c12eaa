// What clients send, cut into requests: every request is whole, ends where its messages end, and is the same however
// the bytes arrive. The first octet says in how large pieces they do.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/assert.h"
#include "session/request.h"
#include "session/unit_messages.h"
#include "wire/frontend.h"

using namespace herdgate;
using session::first_frame;
using session::Frame;
using session::next_request;
using session::Request;
using Kind = Request::Kind;

namespace {

struct Cut {
  Kind kind;
  std::size_t bytes, missing;
  bool synced;
  bool operator==(const Cut&) const = default;
};

void check_unit(ByteView unit, const Request& request) {
  for (ByteView rest = unit; rest.size() >= wire::kHeaderBytes;) {
    const Frame frame = first_frame(rest);
    HG_ASSERT(!frame.whole.empty());
    rest.remove_prefix(frame.whole.size());
    HG_ASSERT((frame.type == wire::fe::kSync) == (request.synced && rest.empty()));
    HG_ASSERT(frame.type != wire::fe::kFlush || rest.empty());
    if (frame.type == wire::fe::kParse) static_cast<void>(wire::parse_parse(frame.payload));
    HG_ASSERT(rest.empty() || rest.size() >= wire::kHeaderBytes || request.streamed);
  }
  std::vector<session::UnitMessage> messages;
  take_apart(unit, messages);
  std::size_t bytes = 0;
  for (const session::UnitMessage& message : messages) {
    bytes += message.whole.size();
    if (message.type == wire::fe::kBind && message.good()) HG_ASSERT(message.rest().size() < message.whole.size());
  }
  HG_ASSERT(bytes == unit.size());
}

void check(ByteView input, const Request& request) {
  if (request.kind == Kind::need_more || request.kind == Kind::broken) return;
  HG_ASSERT(request.bytes > 0 && request.bytes <= input.size());
  HG_ASSERT(request.missing == 0 || request.streamed || request.kind == Kind::copy_data);
  if (request.kind == Kind::extended) return check_unit(input.substr(0, request.bytes), request);
  HG_ASSERT(first_frame(input).whole.size() == request.bytes);
}

// Requests of a stream that comes `step` octets at a time.
std::vector<Cut> cuts(ByteView stream, std::size_t step) {
  std::vector<Cut> found;
  std::size_t begin = 0, end = 0, missing = 0;
  while (end < stream.size()) {
    end = std::min(stream.size(), end + step);
    for (;;) {
      const std::size_t late = std::min(missing, end - begin);
      begin += late;
      missing -= late;
      const ByteView input = stream.substr(begin, end - begin);
      const Request request = next_request(input);
      check(input, request);
      if (request.kind == Kind::broken) found.push_back({request.kind, 0, 0, false});
      if (request.kind == Kind::broken) return found;
      if (request.kind == Kind::need_more) break;
      // Pieces of a message that streams differ in length, not in their sum.
      found.push_back({request.kind, request.bytes + request.missing, 0, request.synced});
      begin += request.bytes;
      missing = request.missing;
      if (missing > 0) break;
    }
  }
  return found;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kLargest = 4096;  // below kMaxUnitBytes: beyond it the place of a cut depends on the pieces
  if (size == 0 || size > kLargest) return 0;
  const ByteView stream(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto whole = cuts(stream, std::max<std::size_t>(stream.size(), 1));
  HG_ASSERT(cuts(stream, 1 + data[0] % 16) == whole);
  return 0;
}
