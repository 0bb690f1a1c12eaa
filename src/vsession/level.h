// What a rollback goes back to. Internal to this module.
#pragma once
#include "vsession/virtual_session.h"

namespace herdgate::vsession {

struct VirtualSession::Level {
  std::string name;  // of the savepoint; empty for the transaction itself
  ParameterSetPtr after_commit, current;
  std::vector<ResetName> resets;
  bool wrote = false, read_only = false, read_write_explicit = false;
  std::optional<bool> listen_at_commit;
  std::vector<std::string> temp_tables, temp_until_commit, hold_cursors;
  bool temporary_pin = false, temporary_unnamed = false;
};

}  // namespace herdgate::vsession
