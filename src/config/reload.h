// What a reload changes: merges freshly read settings into those in force.
//
// Shape    reload(old, fresh) -> Reloaded. Call it only with fresh settings that have no error; otherwise the old ones
//          stay in force whole.
// Threads  pure.
// Source   Pgpool-II 4.6 manual, "Setting Parameters" and "Backend Settings".
#pragma once
#include <string>
#include <vector>

#include "config/settings.h"

namespace herdgate::config {

struct Reloaded {
  Settings merged;
  std::vector<std::string> applied;               // names of what changed, in table order
  std::vector<std::string> ignored_need_restart;  // changed in the file, but only a start takes them
};
Reloaded reload(const Settings& old, const Settings& fresh);

}  // namespace herdgate::config
