// The command lines of failover_command, failback_command and follow_primary_command: placeholders filled in. Pure.
//
// Shape    expand(template, facts) → what /bin/sh is given.
// Limits   the length of the template and of the names in it.
// Errors   none: an unknown letter vanishes.
// Threads  values.
// Source   Pgpool-II 4.6 manual, "failover_command".
#pragma once
#include <string>
#include <string_view>

#include "base/ids.h"

namespace herdgate::cluster {

struct CommandNode {
  NodeId id = kNoNode;  // kNoNode: there is none
  std::string host;
  int port = 0;
  std::string data_directory;
};

struct CommandFacts {
  CommandNode node;           // %d %h %p %D: the one that was detached or attached
  CommandNode successor;      // %m %H %r %R: the new main node; to follow_primary_command the new primary
  CommandNode old_primary;    // %P %N %S
  NodeId old_main = kNoNode;  // %M
};

std::string expand(std::string_view command, const CommandFacts& facts);

}  // namespace herdgate::cluster
