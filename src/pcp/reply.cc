#include "pcp/reply.h"

#include "pcp/errc.h"

namespace herdgate::pcp {

Result<bool> Reply::add(const Frame& frame) {
  if (frame.letter == 'E') {
    trouble = parse_trouble(frame.payload);
    return true;
  }
  if (frame.letter == 'N' && frame.payload.starts_with('S')) {
    notices.push_back(parse_trouble(frame.payload));
    return false;
  }
  const auto all = texts(frame.payload);
  if (all.empty()) return fail(Errc::bad_payload, "an empty answer");
  std::vector<std::string> rest(all.begin() + 1, all.end());
  if (all.front() == kDone) {
    values = std::move(rest);
    return true;
  }
  if (all.front() == kArraySize) return false;  // the rows are counted as they come
  if (all.front() != kNodeInfo && all.front() != kProcessInfo && all.front() != kProcessConfig)
    return fail(Errc::bad_payload, "an unknown answer");
  if (rows.size() >= kMaxRows) return fail(Errc::bad_payload, "too many rows");
  rows.push_back(std::move(rest));
  return false;
}

}  // namespace herdgate::pcp
