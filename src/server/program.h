// The program `pgpool`: what each of its commands does, as an exit code.
//
// Source   Pgpool-II 4.6 manual, "pgpool".
#pragma once
#include "server/command_line.h"

namespace herdgate::server {

int run_program(const CommandLine& line);

}  // namespace herdgate::server
