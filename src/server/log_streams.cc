#include "server/log_streams.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <utility>

#include "server/log_writer.h"

namespace herdgate::server {
namespace {

constexpr int kPollMs = 50;  // how soon an end of patience is noticed

bool wait_writable(int fd, const Patience& patience) {
  while (!patience.over(std::chrono::steady_clock::now())) {
    pollfd about{fd, POLLOUT, 0};
    const int count = ::poll(&about, 1, kPollMs);
    if (count > 0) return (about.revents & (POLLNVAL | POLLERR)) == 0;
    if (count < 0 && errno != EINTR) return false;
  }
  return false;
}

// Where to cut so that no UTF-8 character is torn.
std::size_t piece_size(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return text.size();
  std::size_t size = limit;
  while (size > limit - 4 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  return size;
}

}  // namespace

StderrStream::StderrStream(int fd) : fd_(fd) {
  struct stat about {};
  never_blocks_ = ::fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
}

bool StderrStream::write(std::string_view bytes, const Patience& patience) {
  while (!bytes.empty()) {
    if (!never_blocks_ && !wait_writable(fd_, patience)) return false;
    std::size_t size = bytes.size();
    if (!never_blocks_ && size > PIPE_BUF) {
      // Whole lines where they fit: other processes may write to the same pipe.
      const std::size_t end = bytes.rfind('\n', PIPE_BUF - 1);
      size = end == std::string_view::npos ? PIPE_BUF : end + 1;
    }
    const ssize_t put = ::write(fd_, bytes.data(), size);
    if (put < 0 && errno != EINTR && errno != EAGAIN) return false;
    if (put > 0) bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return true;
}

SyslogStream::~SyslogStream() {
  if (fd_ >= 0) ::close(fd_);
}

bool SyslogStream::connect() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  sockaddr_un to{};
  if (path_.size() >= sizeof to.sun_path) return false;
  to.sun_family = AF_UNIX;
  path_.copy(to.sun_path, path_.size());
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    ::close(fd);
    return false;
  }
  fd_ = fd;
  return true;
}

bool SyslogStream::send(std::string_view datagram, const Patience& patience) {
  bool fresh = false;
  for (;;) {
    if (fd_ < 0) {
      if (fresh || !connect()) return false;
      fresh = true;
    }
    if (::send(fd_, datagram.data(), datagram.size(), MSG_NOSIGNAL) >= 0) return true;
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      if (!wait_writable(fd_, patience)) return false;
      continue;
    }
    // The daemon was started anew: its old socket is dead, a new one has the same name.
    ::close(std::exchange(fd_, -1));
  }
}

// Numbered, because daemons fold equal messages into "repeated N times"; in pieces, because they cut long ones.
bool SyslogStream::write(std::string_view head, std::string_view message, const Patience& patience) {
  ++messages_;
  while (message.ends_with('\n')) message.remove_suffix(1);
  const bool split = message.size() > LogWriter::kMaxSyslogBytes || message.find('\n') != std::string_view::npos;
  for (int piece = 1; !message.empty(); ++piece) {
    const std::size_t line_end = std::min(message.find('\n'), message.size());
    const std::size_t size = piece_size(message.substr(0, line_end), LogWriter::kMaxSyslogBytes);
    const std::string number = split ? fmt::format("[{}-{}] ", messages_, piece) : fmt::format("[{}] ", messages_);
    if (!send(fmt::format("{}{}{}", head, number, message.substr(0, size)), patience)) return false;
    message.remove_prefix(size);
    if (message.starts_with('\n')) message.remove_prefix(1);
  }
  return true;
}

}  // namespace herdgate::server
