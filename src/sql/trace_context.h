// The trace context that a client put into a comment of its statement. Pure.
//
// Shape    traceparent("/*traceparent='00-…-01'*/ select 1") -> the value, a view into the text; "" when there is none.
//          A comment counts when it stands in front of the statement or behind it (there it wins), blanks and
//          semicolons aside.
// Limits   kMaxComment octets of a comment are looked at.
// Errors   none: what is not exactly a traceparent is no traceparent.
// Threads  pure.
// Source   W3C Trace Context, "traceparent Header"; the sqlcommenter specification.
#pragma once
#include <string_view>

namespace herdgate::sql {

inline constexpr std::size_t kMaxComment = 4096;
inline constexpr std::size_t kTraceparentSize = 55;

std::string_view traceparent(std::string_view text);

}  // namespace herdgate::sql
