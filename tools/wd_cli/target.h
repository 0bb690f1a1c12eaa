// Which watchdog is meant: its socket and the key for it, from the options and pgpool.conf.
//
// Shape    find_target(options) -> Target. What an option gives is not looked for in the file; without a file the
//          defaults hold. The number in the socket's name is wd_port of the node whose number stands in pgpool_node_id.
// Errors   a Failure: a file that cannot be read, a number that is none, a node without wd_port. What else is wrong
//          in pgpool.conf does not matter here; Target::findings has it, for -d.
// Threads  blocks on the disk.
// Source   Pgpool-II 4.6 manual, "wd_cli", "Watchdog".
#pragma once
#include "config/load.h"
#include "options.h"

namespace herdgate::wd_cli {

inline constexpr const char* kDefaultSocketFolder = "/tmp";
inline constexpr int kDefaultPort = 9000;

struct Target {
  std::string socket, key;
  std::vector<config::Finding> findings;
};
OrFailure<Target> find_target(const Options& options);

// The number in a file pgpool_node_id, 0 to 127, with blanks and line ends around it; nullopt: it is none.
std::optional<int> node_number(std::string_view text);

}  // namespace herdgate::wd_cli
