// What the reading of a file has found, as long as there is room for it.
//
// Shape    add() each; take() once at the end: the findings in order, then how many more of each severity there were.
// Limits   kMaxFindings of each severity: warnings, however many, hide no error.
// Errors   none.
// Threads  pure.
// Source   our own.
#pragma once
#include <fmt/format.h>

#include <array>

#include "config/load.h"

namespace herdgate::config {

class Findings {
 public:
  void add(Finding finding) {
    if (++counts_[static_cast<std::size_t>(finding.severity)] <= kMaxFindings) listed_.push_back(std::move(finding));
  }
  std::vector<Finding> take(const std::string& file) {
    constexpr std::string_view kNames[] = {"messages", "warnings", "errors"};
    for (std::size_t i = 0; i < counts_.size(); ++i)
      if (counts_[i] > kMaxFindings)
        listed_.push_back({static_cast<Severity>(i), file, 0,
                           fmt::format("further {} not listed: {}", kNames[i], counts_[i] - kMaxFindings)});
    return std::move(listed_);
  }

 private:
  std::vector<Finding> listed_;
  std::array<std::size_t, 3> counts_{};  // by Severity
};

}  // namespace herdgate::config
