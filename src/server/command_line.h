// The command line of pgpool, as a value.
//
// Shape    parse_command_line({"-f", "x.conf", "stop"}) -> CommandLine. What is wrong is said in `problem`; the caller
//          prints it with the usage and ends with exit code 1. Paths are as written.
// Errors   never fails: Action::usage_error.
// Threads  not at the same time on two threads (getopt keeps its place in globals).
// Source   Pgpool-II 4.6 manual, "pgpool"; --check is ours.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "admin/stop_mode.h"

namespace herdgate::server {

enum class Action { start, stop, reload, check, help, version, usage_error };
using admin::StopMode;

struct CommandLine {
  Action action = Action::start;
  std::string config_file, hba_file, pcp_file, key_file;  // empty: the default
  StopMode stop_mode = StopMode::smart;
  bool detach = true, debug = false, discard_status = false, clear_oidmaps = false, assertions = false;
  std::string problem;
};

// `words` without the program's own name.
CommandLine parse_command_line(const std::vector<std::string>& words);

std::string usage_text();
std::string version_text();  // "pgpool-II version 4.6.1 (Herdgate)"; scripts read the third word

}  // namespace herdgate::server
