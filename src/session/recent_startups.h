// What start-up packets asked for lately, and the set of parameters that was made of it: most clients ask for the same
// as the one before them.
//
// Limits   kKept of them, the oldest makes way.
// Threads  one worker.
#pragma once
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "vsession/virtual_session.h"

namespace herdgate::session {

class RecentStartups {
 public:
  static constexpr std::size_t kKept = 8;
  using Asked = std::vector<std::pair<std::string, std::string>>;  // names and values in the order in which they came

  vsession::ParameterSetPtr find(const Asked& asked) const {
    for (const Entry& entry : entries_) {
      if (entry.made && entry.asked == asked) return entry.made;
    }
    return nullptr;
  }
  void add(Asked asked, vsession::ParameterSetPtr made) {
    entries_[next_] = {std::move(asked), std::move(made)};
    next_ = (next_ + 1) % kKept;
  }

 private:
  struct Entry {
    Asked asked;
    vsession::ParameterSetPtr made;
  };
  std::array<Entry, kKept> entries_;
  std::size_t next_ = 0;
};

}  // namespace herdgate::session
