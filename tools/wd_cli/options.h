// The command line of wd_cli.
//
// Shape    read_options(argc, argv) -> Options, or a Stop: what to print on stderr and the code to exit with.
// Limits   a message has at most kMaxMessageBytes.
// Errors   whatever is wrong ends with code 1.
// Threads  none (getopt_long).
// Source   Pgpool-II 4.6 manual, "wd_cli"; texts as 4.6.1 was seen to print them.
#pragma once
#include <variant>
#include <vector>

#include "nodes.h"

namespace herdgate::wd_cli {

inline constexpr int kLeastPort = 1024, kGreatestPort = 65535;
inline constexpr std::size_t kMaxMessageBytes = 1000;

struct Options {
  bool inform = false;  // else the nodes are shown
  bool alive = false;   // what is told of a node
  bool all = false, verbose = false, debug = false;
  Criteria criteria;
  std::string message;
  std::optional<std::string> config_file, socket_folder, key;
  std::optional<int> port;  // the number in the socket's name
  std::vector<std::string> warnings;
};
struct Stop {
  int exit_code = 0;
  std::string text;
};
std::variant<Options, Stop> read_options(int argc, char** argv);

}  // namespace herdgate::wd_cli
