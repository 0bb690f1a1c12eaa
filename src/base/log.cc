#include "base/log.h"

namespace herdgate {
namespace {

// The rank of LOG differs: in the server log it stands above ERROR, towards clients below INFO (as in PostgreSQL).
int server_rank(Level level) { return level == Level::log ? 205 : static_cast<int>(level) * 10; }

}  // namespace

std::string_view level_name(Level level) {
  switch (level) {
    case Level::debug5:
      return "DEBUG5";
    case Level::debug4:
      return "DEBUG4";
    case Level::debug3:
      return "DEBUG3";
    case Level::debug2:
      return "DEBUG2";
    case Level::debug1:
      return "DEBUG1";
    case Level::log:
      return "LOG";
    case Level::info:
      return "INFO";
    case Level::notice:
      return "NOTICE";
    case Level::warning:
      return "WARNING";
    case Level::error:
      return "ERROR";
    case Level::fatal:
      return "FATAL";
    case Level::panic:
      return "PANIC";
  }
  return "LOG";
}

bool passes_server_threshold(Level level, Level threshold) { return server_rank(level) >= server_rank(threshold); }

bool passes_client_threshold(Level level, Level threshold) {
  return static_cast<int>(level) >= static_cast<int>(threshold);
}

}  // namespace herdgate
