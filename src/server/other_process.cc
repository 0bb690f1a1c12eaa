#include "server/other_process.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "server/errc.h"
#include "server/pid_file.h"

namespace herdgate::server {
namespace {

// Holds on to one process, not to its number, where the kernel can; so it sees the end at once, also of a process whose
// parent does not ask for it.
class OtherProcess {
 public:
  explicit OtherProcess(pid_t pid) : pid_(pid), fd_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {}
  ~OtherProcess() {
    if (fd_ >= 0) ::close(fd_);
  }
  OtherProcess(const OtherProcess&) = delete;
  OtherProcess& operator=(const OtherProcess&) = delete;

  Result<Done> send(int number) const {
    if (::kill(pid_, number) == 0) return Done{};
    if (errno == ESRCH) return fail(Errc::not_running, fmt::format("process {}", pid_));
    return fail(Errc::signal_failed, fmt::format("process {}: {}", pid_, std::generic_category().message(errno)));
  }
  bool ended_within_a_second() const {
    if (fd_ < 0) {
      constexpr timespec kSecond{1, 0};
      ::nanosleep(&kSecond, nullptr);
      return !process_lives(pid_);
    }
    pollfd about{fd_, POLLIN, 0};
    return ::poll(&about, 1, 1000) > 0;
  }

 private:
  pid_t pid_;
  int fd_;
};

Result<pid_t> running_server(const std::string& pid_path) {
  HG_TRY(const std::optional<pid_t> pid, read_pid_file(pid_path));
  if (!pid) return fail(Errc::pid_file_unreadable, fmt::format("\"{}\" does not exist", pid_path));
  if (process_lives(*pid)) return *pid;
  const bool removed = remove_left_pid_file(pid_path, *pid);
  return fail(Errc::not_running, fmt::format("process {}{}", *pid, removed ? "; its pid file is removed" : ""));
}

}  // namespace

int signal_of(StopMode mode) {
  switch (mode) {
    case StopMode::smart:
      return SIGTERM;
    case StopMode::fast:
      return SIGINT;
    case StopMode::immediate:
      return SIGQUIT;
  }
  return SIGTERM;
}

Result<Done> stop_server(const std::string& pid_path, StopMode mode) {
  HG_TRY(const pid_t pid, running_server(pid_path));
  const OtherProcess server(pid);
  for (int second = 0;; ++second) {
    if (second % kRepeatSignalSeconds == 0) {
      const auto sent = server.send(signal_of(mode));
      // Gone between two looks is what was wanted.
      if (!sent && (second == 0 || sent.error().code != make_error_code(Errc::not_running))) return sent;
    }
    std::fputc('.', stderr);
    std::fflush(stderr);
    if (server.ended_within_a_second()) break;
  }
  std::fputs("done.\n", stderr);
  // A server that was killed leaves its file behind; one that was started anew meanwhile has its own number in it.
  (void)remove_left_pid_file(pid_path, pid);
  return Done{};
}

Result<Done> reload_server(const std::string& pid_path) {
  HG_TRY(const pid_t pid, running_server(pid_path));
  return OtherProcess(pid).send(SIGHUP);
}

}  // namespace herdgate::server
