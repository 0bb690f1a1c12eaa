// pgpool: the server, and the commands that stop and reload it.
#include <cstdio>
#include <exception>

#include "server/program.h"

int main(int argc, char** argv) {
  try {
    return herdgate::server::run_program(herdgate::server::parse_command_line({argv + 1, argv + argc}));
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "FATAL:  could not go on: %s\n", problem.what());
    return 1;
  }
}
