// The command line of a pcp_* program.
//
// Shape    read_options(program, argc, argv) -> Options, or a Stop: what to print and the code to exit with.
// Errors   exit codes as scripts know them: 1 for options that are wrong, 0 for numbers that are out of range.
// Threads  none (getopt_long).
// Source   Pgpool-II 4.6 manual, "PCP Commands"; codes and texts as its programs were seen to give them.
#pragma once
#include <variant>
#include <vector>

#include "programs.h"

namespace herdgate::pcp_client {

inline constexpr int kDefaultPort = 9898, kLeastPort = 1025, kGreatestPort = 65535;
inline constexpr int kGreatestNode = 128;

struct Options {
  std::string host;  // empty: the UNIX socket in /tmp
  int port = kDefaultPort;
  std::string user;  // empty: the operating system user
  std::optional<int> number;
  std::string database;  // empty: all
  enum class Ask : std::uint8_t { if_missing, never, always } password = Ask::if_missing;
  bool all = false, verbose = false, debug = false;
  bool gracefully = false, switchover = false;
  char mode = pcp::option::kSmart, scope = pcp::option::kLocal;
  std::vector<std::string> warnings;
};
struct Stop {
  int exit_code = 0;
  std::string text;  // for stderr
};
std::variant<Options, Stop> read_options(const Program& program, int argc, char** argv);

// What the options ask for.
pcp::Request request_for(const Program& program, const Options& options);

}  // namespace herdgate::pcp_client
