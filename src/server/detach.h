// Going into the background, and telling who waits that the start has succeeded.
//
// Shape    Detached::begin() forks: the parent waits in it and ends with the exit code of the start; only the child
//          returns. The child keeps its terminal until ready(), so that start errors are seen there; then the standard
//          streams become /dev/null and the working folder "/".
// Errors   system_failed. A child that dies before ready() makes the parent end with 1.
// Threads  begin() before any thread exists.
// Source   daemon(7), "SysV Daemons"; sd_notify(3), "Description" (the octets of the protocol).
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace herdgate::server {

class Detached {
 public:
  static Result<Detached> begin();
  Detached(Detached&& other) noexcept : pipe_(std::exchange(other.pipe_, -1)) {}
  Detached& operator=(Detached&&) = delete;
  ~Detached();
  struct Leave {
    bool keep_stderr = false;  // it is the log's already
  };
  Result<Done> ready(Leave leave);

 private:
  explicit Detached(int pipe) : pipe_(pipe) {}
  int pipe_;
};

// Tells the service manager. `address` is $NOTIFY_SOCKET: a path, or a name with '@' in front (abstract); empty: nobody
// wants to know.
Result<Done> notify_service_manager(std::string_view address, std::string_view message);

}  // namespace herdgate::server
