#include "server/detach.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "server/errc.h"

namespace herdgate::server {
namespace {

tl::unexpected<Error> system_error(std::string_view what) {
  return fail(Errc::system_failed, fmt::format("{}: {}", what, std::generic_category().message(errno)));
}

// The child writes one octet when it is ready; a pipe that closes without it is a start that failed.
[[noreturn]] void await_child(int pipe) {
  char octet = 0;
  ssize_t got;
  do {
    got = ::read(pipe, &octet, 1);
  } while (got < 0 && errno == EINTR);
  ::_exit(got == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
}

}  // namespace

Result<Detached> Detached::begin() {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return system_error("pipe");
  const pid_t pid = ::fork();
  if (pid < 0) return system_error("fork");
  if (pid > 0) {
    ::close(pipe[1]);
    await_child(pipe[0]);
  }
  ::close(pipe[0]);
  if (::setsid() < 0) return system_error("setsid");
  return Detached(pipe[1]);
}

Result<Done> Detached::ready(Leave leave) {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return system_error("/dev/null");
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fd == STDERR_FILENO && leave.keep_stderr) continue;
    if (::dup2(null, fd) < 0) return system_error("dup2");
  }
  ::close(null);
  if (::chdir("/") != 0) return system_error("chdir /");
  const char octet = 1;
  if (::write(pipe_, &octet, 1) != 1 && errno != EPIPE) return system_error("write");
  ::close(std::exchange(pipe_, -1));
  return Done{};
}

Detached::~Detached() {
  if (pipe_ >= 0) ::close(pipe_);
}

Result<Done> notify_service_manager(std::string_view address, std::string_view message) {
  if (address.empty()) return Done{};
  sockaddr_un to{};
  if (address.size() >= sizeof to.sun_path) return fail(Errc::system_failed, "NOTIFY_SOCKET is too long");
  to.sun_family = AF_UNIX;
  address.copy(to.sun_path, address.size());
  if (address.front() == '@') to.sun_path[0] = '\0';
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return system_error("socket");
  // Without the trailing zeros: an abstract name has exactly the length given.
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
  const ssize_t sent = ::sendto(fd, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                                reinterpret_cast<const sockaddr*>(&to), length);
  const int error = errno;
  ::close(fd);
  errno = error;
  if (sent < 0) return system_error(fmt::format("NOTIFY_SOCKET {}", address));
  return Done{};
}

}  // namespace herdgate::server
