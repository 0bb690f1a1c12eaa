// The client's side: frames of one answer in, its rows and values out. Pure.
//
// Shape    add() frame after frame until it says that the answer is whole; then trouble, rows (each without its tag)
//          and values (what followed CommandComplete) are set. Notices gather beside them.
// Limits   kMaxRows rows.
// Errors   bad_payload for frames that no answer has.
// Threads  values.
#pragma once
#include "pcp/message.h"

namespace herdgate::pcp {

inline constexpr std::size_t kMaxRows = 1'000'000;

class Reply {
 public:
  Result<bool> add(const Frame& frame);  // true: the answer is whole

  std::optional<Trouble> trouble;
  std::vector<Trouble> notices;
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> values;
};

}  // namespace herdgate::pcp
