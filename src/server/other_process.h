// `pgpool stop` and `pgpool reload`: the short-lived program that speaks to the running server.
//
// Shape    stop_server / reload_server send a signal to the process in the pid file. stop waits until it has ended: a
//          dot a second on stderr, the signal again every kRepeatSignalSeconds, then "done.".
// Errors   pid_file_unreadable, not_running, signal_failed.
// Source   Pgpool-II 4.6 manual, "pgpool".
#pragma once
#include <chrono>
#include <string>

#include "base/result.h"
#include "server/command_line.h"

namespace herdgate::server {

inline constexpr int kRepeatSignalSeconds = 5;

int signal_of(StopMode mode);
Result<Done> stop_server(const std::string& pid_path, StopMode mode);
Result<Done> reload_server(const std::string& pid_path);

}  // namespace herdgate::server
