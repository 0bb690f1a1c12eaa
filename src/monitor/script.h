// A shell command run beside the proxy: its output goes to the log line by line, its end is reported.
//
// Shape    start_script(); `ended` comes once, from the loop, when the shell has ended or was killed at the limit.
//          Output of processes that it left behind is logged until they close it, if the Script is kept.
// Limits   `limit`, then SIGTERM to its process group and after kKillGrace SIGKILL; lines are cut at kMaxLineBytes,
//          and after kMaxLines no more are logged.
// Errors   a shell that could not be started ends with `problem`.
// Threads  one loop; starting and waiting do not block it (posix_spawn, pidfd).
// Source   pidfd_open(2), posix_spawn(3).
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "net/loop.h"

namespace herdgate::monitor {

inline constexpr std::size_t kMaxLineBytes = 4096, kMaxLines = 10'000;
inline constexpr Duration kKillGrace = std::chrono::seconds(5);

struct ScriptEnd {
  int exit_code = 0;  // valid when the rest says nothing
  int signal = 0;     // it died of
  bool timed_out = false;
  std::string problem;  // why it could not be started
  bool well() const { return exit_code == 0 && signal == 0 && !timed_out && problem.empty(); }
  std::string text() const;  // "exit code 1", "killed by signal 9", "took longer than its limit", …
};

struct ScriptEvents {
  std::function<void(const std::string&)> line;
  std::function<void(const ScriptEnd&)> ended;
  std::function<void()> closed;  // after `ended`: nobody holds its output any more
};

class Script {
 public:
  virtual ~Script() = default;  // no event comes after that; the command goes on
};
// limit 0: none.
std::unique_ptr<Script> start_script(net::Loop& loop, const std::string& command, Duration limit, ScriptEvents events);

}  // namespace herdgate::monitor
