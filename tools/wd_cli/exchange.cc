#include "exchange.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/clock.h"

namespace herdgate::wd_cli {
namespace {

std::string words_of(int error) { return std::generic_category().message(error); }

tl::unexpected<Failure> no_connection(const std::string& path, int error) {
  const char* hint =
      "Does pgpool run with use_watchdog = on? Its pgpool.conf is named by -f, or the folder and the "
      "number of its socket by -s and -p.";
  if (error == EACCES) hint = "The socket is for the operating system user that runs pgpool.";
  return failure("could not connect to the watchdog", fmt::format("\"{}\": {}.", path, words_of(error)), hint);
}

class Connection {
 public:
  Connection() : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    if (fd_ >= 0) ::close(fd_);
  }

  OrFailure<bool> open(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return no_connection(path, ENAMETOOLONG);
    path.copy(address.sun_path, path.size());
    // While the watchdog's queue is full connect() waits, for as long as a send may wait.
    const timeval patience{kPatience.count(), 0};
    if (fd_ < 0 || ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
        ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      return no_connection(path, errno == EAGAIN ? ETIMEDOUT : errno);
    return true;
  }

  OrFailure<bool> send(ByteView rest) {
    while (!rest.empty()) {
      if (!ready(POLLOUT)) return silence();
      const ssize_t sent = ::send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      // A watchdog that has refused us closes; what it said is still to be read.
      if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) return true;
      if (sent < 0) return failure("could not send the request to the watchdog", words_of(errno) + ".");
      rest.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  OrFailure<Bytes> receive() {
    Bytes input;
    for (;;) {
      const auto packet = first_packet(input);
      if (!packet) return tl::unexpected<Failure>(packet.error());
      if (*packet) return input;
      if (!ready(POLLIN)) return silence();
      char buffer[65536];
      const ssize_t got = ::recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (got < 0) return failure("could not read the watchdog's answer", words_of(errno) + ".");
      if (got == 0 && input.empty()) return input;
      if (got == 0)
        return failure("could not read the watchdog's answer",
                       fmt::format("It closed the connection after {} octets.", input.size()));
      input.append(buffer, static_cast<std::size_t>(got));
    }
  }

 private:
  static tl::unexpected<Failure> silence() {
    return failure("the watchdog did not answer", fmt::format("It had {} s.", kPatience.count()),
                   "Its log says what it is busy with; whether it has heard the request is not known.");
  }

  bool ready(short what) const {
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_.at - SystemClock().now());
      if (left.count() <= 0) return false;
      pollfd about{fd_, what, 0};
      const int found = ::poll(&about, 1, static_cast<int>(left.count()));
      if (found > 0) return true;
      if (found < 0 && errno != EINTR) return false;
    }
  }

  int fd_;
  const Deadline deadline_ = Deadline::after(SystemClock().now(), kPatience);
};

}  // namespace

OrFailure<Bytes> exchange(const std::string& socket_path, ByteView request) {
  Connection connection;
  if (const auto open = connection.open(socket_path); !open) return tl::unexpected<Failure>(open.error());
  if (const auto sent = connection.send(request); !sent) return tl::unexpected<Failure>(sent.error());
  return connection.receive();
}

}  // namespace herdgate::wd_cli
