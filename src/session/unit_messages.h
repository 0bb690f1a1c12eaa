// The messages of an extended unit, taken apart once for whoever looks at them: what plans the unit, and what writes
// it. Pure.
//
// Shape    take_apart(unit) as request.h has cut it. A message knows its names; what its planner found under the name
//          of a statement is kept with it (known), for as long as the session's statements are the same (statements).
// Limits   views into the unit and into the session: they hold while neither is touched, which is for one call.
// Errors   Shape::malformed and Shape::cut; the one who writes the unit answers them in their place.
// Threads  a worker keeps one list and lends it to the session that it serves (Worker::lend_messages).
// Source   PostgreSQL manual, "Message Formats".
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "session/request.h"
#include "vsession/virtual_session.h"

namespace herdgate::session {

struct UnitMessage {
  enum class Shape : std::uint8_t { good, malformed, cut /* a Bind whose names are not all there */ };
  char type = 0;
  char what = 'P';  // Describe and Close: 'S' statement, 'P' portal
  Shape shape = Shape::good;
  std::uint32_t max_rows = 0;  // Execute; 0: all
  ByteView whole;
  std::string_view statement, portal;  // not of a Parse: wire::parse_parse(payload()) has all of it
  const vsession::PreparedPtr* known = nullptr;
  std::shared_ptr<const sql::Facts> facts;  // of a Parse, once they were asked for (Session::facts_of)

  ByteView payload() const { return whole.substr(wire::kHeaderBytes); }
  bool good() const { return shape == Shape::good; }
  // Bind: formats, values and result formats, as they came.
  ByteView rest() const {
    const char* begin = statement.data() + statement.size() + 1;
    return {begin, static_cast<std::size_t>(whole.data() + whole.size() - begin)};
  }
};

struct UnitMessages {
  static constexpr std::size_t kMaxKept = 1024;  // messages whose room is kept for the next unit
  std::vector<UnitMessage> list;
  std::uint64_t statements = 0;  // VirtualSession::prepared_changes() when they were taken apart
};

void take_apart(ByteView unit, std::vector<UnitMessage>& into);

}  // namespace herdgate::session
