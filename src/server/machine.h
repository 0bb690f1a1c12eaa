// What a start would miss on this machine: `--check` says it before somebody stops the server that is at work.
//
// Shape    missing_here(settings) -> warnings, each beginning with the parameter's name; none when all is there.
//          Folders are judged by the rights of the user that asks.
// Limits   listens for a moment on each address, on a port that the system chooses: a server that is at work there is
//          not disturbed, and that it has the port is not told.
// Threads  blocks on the disk and on name look-up; has an event loop of its own meanwhile.
#pragma once
#include <string>
#include <vector>

#include "config/load.h"

namespace herdgate::server {

std::vector<config::Finding> missing_here(const config::Settings& settings);

// Empty, or why io_method cannot be what it is set to: a start is refused.
std::string no_io_method(const config::Settings& settings);

}  // namespace herdgate::server
