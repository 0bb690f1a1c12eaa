#include "session/unit_messages.h"

#include "wire/frontend.h"

namespace herdgate::session {
namespace {
using Shape = UnitMessage::Shape;

void read_bind(UnitMessage& message) {
  const auto bind = wire::parse_bind_head(message.payload());
  message.shape = !bind ? Shape::malformed : *bind ? Shape::good : Shape::cut;
  if (!message.good()) return;
  message.portal = (*bind)->portal;
  message.statement = (*bind)->statement;
}

void read_execute(UnitMessage& message) {
  const auto execute = wire::parse_execute(message.payload());
  message.shape = execute ? Shape::good : Shape::malformed;
  if (!execute) return;
  message.portal = execute->portal;
  message.max_rows = static_cast<std::uint32_t>(execute->max_rows);
}

void read_describe_or_close(UnitMessage& message) {
  const auto read = wire::parse_describe_or_close(message.payload());
  message.shape = read ? Shape::good : Shape::malformed;
  if (!read) return;
  message.what = read->what;
  (read->what == 'S' ? message.statement : message.portal) = read->name;
}

}  // namespace

void take_apart(ByteView unit, std::vector<UnitMessage>& into) {
  into.clear();
  for (ByteView rest = unit; rest.size() >= wire::kHeaderBytes;) {
    const Frame frame = first_frame(rest);
    rest.remove_prefix(frame.whole.size());
    UnitMessage& message = into.emplace_back();
    message.type = frame.type;
    message.whole = frame.whole;
    switch (frame.type) {
      case wire::fe::kBind:
        read_bind(message);
        break;
      case wire::fe::kExecute:
        read_execute(message);
        break;
      case wire::fe::kDescribe:
      case wire::fe::kClose:
        read_describe_or_close(message);
        break;
      default:
        break;
    }
  }
}

}  // namespace herdgate::session
