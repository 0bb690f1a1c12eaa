#include "connection.h"

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <system_error>

#include "auth/digest.h"
#include "output.h"

namespace herdgate::pcp_client {
namespace {

tl::unexpected<Failure> failure(std::string text) { return tl::unexpected<Failure>(Failure{std::move(text)}); }

std::string words_of(int error) { return std::generic_category().message(error); }

OrFailure<int> connect_unix(const std::string& folder, int port) {
  const std::string path = fmt::format("{}/.s.PGSQL.{}", folder, port);
  const auto because = [&](int error) {
    return failure(fmt::format("ERROR: connection to socket \"{}\" failed with error \"{}\"\n", path, words_of(error)));
  };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return because(ENAMETOOLONG);
  path.copy(address.sun_path, path.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  return because(error);
}

OrFailure<int> connect_tcp(const std::string& host, int port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  const auto because = [&](const std::string& why) {
    return failure(fmt::format("ERROR: connection to host \"{}\" failed with error \"{}\"\n", host, why));
  };
  const int bad = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (bad != 0) return because(::gai_strerror(bad));
  int error = ENOENT;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    const int fd = ::socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC, each->ai_protocol);
    if (fd >= 0 && ::connect(fd, each->ai_addr, each->ai_addrlen) == 0) {
      ::freeaddrinfo(found);
      return fd;
    }
    error = errno;
    if (fd >= 0) ::close(fd);
  }
  ::freeaddrinfo(found);
  return because(words_of(error));
}

}  // namespace

Connection::Connection(Connection&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), debug_(other.debug_), input_(std::move(other.input_)), used_(other.used_) {}

Connection::~Connection() {
  if (fd_ < 0) return;
  (void)send({pcp::Ask::bye, 0, 0, {}, {}});
  ::close(fd_);
}

OrFailure<Connection> Connection::open(const Login& login) {
  if (login.user.size() > pcp::kMaxUserBytes) return failure("ERROR: PCP authorization failed. username too long.\n");
  const bool local = login.host.empty() || login.host.front() == '/';
  const auto fd = local ? connect_unix(login.host.empty() ? kDefaultSocketFolder : login.host, login.port)
                        : connect_tcp(login.host, login.port);
  if (!fd) return tl::unexpected<Failure>(fd.error());
  Connection out(*fd, login.debug);
  if (auto in = out.log_in(login); !in) return tl::unexpected<Failure>(in.error());
  return out;
}

OrFailure<Done> Connection::log_in(const Login& login) {
  if (auto sent = send({pcp::Ask::salt, 0, 0, {}, {}}); !sent) return sent;
  auto frame = receive();
  if (!frame) return tl::unexpected<Failure>(frame.error());
  if (frame->letter == 'E') return failure(trouble_text(pcp::parse_trouble(frame->payload)));
  if (frame->letter != 'm' || frame->payload.size() != pcp::kSaltBytes)
    return failure("ERROR: authentication failed. The server's challenge was not understood.\n");
  const Bytes salt(frame->payload);
  const auto stored = auth::md5_hex(login.password);
  const auto proof = stored ? pcp::login_proof(*stored, login.user, salt) : stored;
  if (!proof) return failure(fmt::format("ERROR: authentication failed. {}\n", proof.error().text()));
  if (auto sent = send({pcp::Ask::login, 0, 0, login.user, *proof}); !sent) return sent;
  frame = receive();
  if (!frame) return tl::unexpected<Failure>(frame.error());
  if (frame->letter == 'E') return failure(trouble_text(pcp::parse_trouble(frame->payload)));
  const auto words = pcp::texts(frame->payload);
  if (frame->letter != 'r' || words.empty() || words.front() != pcp::kLoggedIn)
    return failure("ERROR: authentication failed. The server's answer was not understood.\n");
  return Done{};
}

OrFailure<Done> Connection::send(const pcp::Request& request) {
  Bytes out;
  pcp::put_request(out, request);
  const bool shown = debug_ && request.ask != pcp::Ask::salt && request.ask != pcp::Ask::login;
  if (shown) fmt::print(stderr, "DEBUG: send: tos=\"{}\", len={}\n", out.front(), out.size() - 1);
  for (ByteView rest = out; !rest.empty();) {
    const ssize_t sent = ::send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    // A server that has refused us closes; what it said is still to be read.
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) return Done{};
    if (sent < 0) return failure(fmt::format("ERROR: could not send the request: {}\n", words_of(errno)));
    rest.remove_prefix(static_cast<std::size_t>(sent));
  }
  return Done{};
}

OrFailure<Done> Connection::read_more() {
  char buffer[65536];
  for (;;) {
    const ssize_t got = ::recv(fd_, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failure(fmt::format("ERROR: could not read the answer: {}\n", words_of(errno)));
    if (got == 0) return failure("ERROR: could not read the answer: the server closed the connection\n");
    input_.append(buffer, static_cast<std::size_t>(got));
    return Done{};
  }
}

OrFailure<pcp::Frame> Connection::receive() {
  for (;;) {
    const auto frame = pcp::first_frame(ByteView(input_).substr(used_), pcp::kReplyLimit);
    if (!frame) return failure(fmt::format("ERROR: could not understand the answer: {}\n", frame.error().text()));
    if (*frame) {
      used_ += (**frame).whole_bytes;
      if (debug_) fmt::print(stderr, "DEBUG: recv: tos=\"{}\", len={}\n", (**frame).letter, (**frame).whole_bytes - 1);
      return **frame;
    }
    input_.erase(0, std::exchange(used_, 0));
    if (auto more = read_more(); !more) return tl::unexpected<Failure>(more.error());
  }
}

OrFailure<pcp::Reply> Connection::ask(const pcp::Request& request) {
  if (auto sent = send(request); !sent) return tl::unexpected<Failure>(sent.error());
  pcp::Reply reply;
  for (;;) {
    const auto frame = receive();
    if (!frame) return tl::unexpected<Failure>(frame.error());
    const auto whole = reply.add(*frame);
    if (!whole) return failure(fmt::format("ERROR: could not understand the answer: {}\n", whole.error().text()));
    if (*whole) return reply;
  }
}

}  // namespace herdgate::pcp_client
