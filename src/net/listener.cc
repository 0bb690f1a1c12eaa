#include <grp.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <vector>

#include "base/assert.h"
#include "net/addresses.h"
#include "net/errc.h"
#include "net/socket.h"

namespace herdgate::net {
namespace {

// One more is accepted in a turn for so many descriptors that are ready in it.
constexpr int kReadyForOneMore = 16;
constexpr std::chrono::milliseconds kAcceptAgainAfter{100};
constexpr std::chrono::minutes kSayAgainAfter{1};

std::string words_of(int error) { return std::generic_category().message(error); }

tl::unexpected<Error> listen_error(int error, const std::string& where) {
  return fail(error == EADDRINUSE ? Errc::address_in_use : Errc::listen_failed, where + ": " + words_of(error));
}

struct Bound {
  Socket socket;
  int error = 0;  // errno of the step that failed
};

Bound bind_and_listen(const Address& address, int backlog, const TcpOptions* hand_down = nullptr) {
  Bound bound{Socket(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))};
  const int on = 1, fd = bound.socket.fd();
  if (fd < 0) return {Socket(), errno};
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // '*' means one socket for each family; without this the second bind would collide with the first.
  if (address.storage.ss_family == AF_INET6) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (hand_down != nullptr) apply_tcp_options(fd, *hand_down);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.length) != 0) bound.error = errno;
  if (bound.error == 0 && backlog > 0 && ::listen(fd, backlog) != 0) bound.error = errno;
  return bound;
}

void set_port(Address& address, int port) {
  const auto number = htons(static_cast<std::uint16_t>(port));
  if (address.storage.ss_family == AF_INET) reinterpret_cast<sockaddr_in&>(address.storage).sin_port = number;
  if (address.storage.ss_family == AF_INET6) reinterpret_cast<sockaddr_in6&>(address.storage).sin6_port = number;
}

// The address family is switched off, or the machine does not have this address at present.
bool family_missing(int error) { return error == EAFNOSUPPORT || error == EADDRNOTAVAIL; }

// A file that a dead process left behind is removed; one that somebody listens on, or that is no socket, stays.
Result<Done> remove_stale(const std::string& path, const Address& address) {
  struct stat about {};
  if (::lstat(path.c_str(), &about) != 0) return Done{};
  if (!S_ISSOCK(about.st_mode)) return fail(Errc::address_in_use, path + " exists and is not a socket");
  const Socket probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int refused = ::connect(probe.fd(), reinterpret_cast<const sockaddr*>(&address.storage), address.length);
  if (refused == 0 || errno != ECONNREFUSED) return fail(Errc::address_in_use, path + ": another server listens on it");
  if (::unlink(path.c_str()) != 0) return listen_error(errno, path);
  return Done{};
}

// The socket is bound but does not listen yet, so nobody can come in before mode and group are right.
Result<Done> set_access(const Listener::UnixOptions& options) {
  if (!options.group.empty()) {
    HG_TRY(const gid_t id, group_id(options.group));
    if (::chown(options.path.c_str(), static_cast<uid_t>(-1), id) != 0)
      return listen_error(errno, fmt::format("group \"{}\" for {}", options.group, options.path));
  }
  if (::chmod(options.path.c_str(), static_cast<mode_t>(options.mode)) != 0) return listen_error(errno, options.path);
  return Done{};
}

std::uint64_t inode_of(const std::string& path) {
  struct stat about {};
  return ::lstat(path.c_str(), &about) == 0 ? about.st_ino : 0;
}

}  // namespace

Result<gid_t> group_id(const std::string& group) {
  gid_t id = 0;
  const auto [end, error] = std::from_chars(group.data(), group.data() + group.size(), id);
  if (error == std::errc{} && end == group.data() + group.size()) return id;
  struct group entry {};
  struct group* found = nullptr;
  std::vector<char> buffer(16 * 1024);
  ::getgrnam_r(group.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (found == nullptr) return fail(Errc::listen_failed, fmt::format("group \"{}\" does not exist", group));
  return found->gr_gid;
}

bool may_give_to(gid_t group, const std::string& folder) {
  if (::geteuid() == 0 || ::getegid() == group) return true;
  struct stat about {};
  if (::stat(folder.c_str(), &about) == 0 && (about.st_mode & S_ISGID) != 0 && about.st_gid == group) return true;
  std::vector<gid_t> groups(static_cast<std::size_t>(std::max(::getgroups(0, nullptr), 0)));
  groups.resize(static_cast<std::size_t>(std::max(::getgroups(static_cast<int>(groups.size()), groups.data()), 0)));
  return std::ranges::find(groups, group) != groups.end();
}

Listener::Listener(Loop& loop, Socket socket, std::string path)
    : loop_(&loop), socket_(std::move(socket)), path_(std::move(path)), inode_(path_.empty() ? 0 : inode_of(path_)) {}

Listener::~Listener() { close(); }

void Listener::close() {
  if (!socket_.open()) return;
  loop_->cancel(std::exchange(retry_, 0));
  unwatch();
  ::shutdown(socket_.fd(), SHUT_RD);  // the kernel may hold the socket open for a while: see Ring::remove()
  socket_.close();
  // A later server may have put its own socket in this place.
  if (!path_.empty() && inode_of(path_) == inode_) ::unlink(path_.c_str());
}

Result<std::vector<std::unique_ptr<Listener>>> Listener::tcp(Loop& loop, const std::string& address, int port,
                                                             int backlog, const TcpOptions* hand_down) {
  std::vector<std::string> hosts{address};
  if (address == "*") hosts = {"0.0.0.0", "::"};
  std::vector<std::unique_ptr<Listener>> listeners;
  int missing = 0;
  for (const std::string& host : hosts) {
    const Resolved found = resolve(host, port, Resolve::passive);
    if (found.addresses.empty()) return fail(Errc::name_not_found, host + ": " + found.problem);
    for (Address each : found.addresses) {
      set_port(each, port);
      Bound bound = bind_and_listen(each, backlog, hand_down);
      if (bound.error == 0) {
        listeners.emplace_back(new Listener(loop, std::move(bound.socket), {}));
        if (port == 0) port = listeners.back()->port();  // one port for all of them
        continue;
      }
      if (!family_missing(bound.error)) return listen_error(bound.error, fmt::format("{}:{}", each.host(), port));
      missing = bound.error;
    }
  }
  if (listeners.empty()) return listen_error(missing, fmt::format("{}:{}", address, port));
  return listeners;
}

Result<std::unique_ptr<Listener>> Listener::unix_socket(Loop& loop, const UnixOptions& options) {
  HG_TRY(const Address address, unix_address(options.path));
  HG_CHECK(remove_stale(options.path, address));
  Bound bound = bind_and_listen(address, /*backlog=*/0);
  if (bound.error != 0) return listen_error(bound.error, options.path);
  std::unique_ptr<Listener> listener(new Listener(loop, std::move(bound.socket), options.path));
  HG_CHECK(set_access(options));
  if (::listen(listener->socket_.fd(), options.backlog) != 0) return listen_error(errno, options.path);
  return listener;
}

Result<Done> Listener::start(Accepted accepted, Troubled troubled, Room room) {
  HG_ASSERT(!accepted_);
  HG_CHECK(loop_->watch(socket_.fd(), *this, Loop::Trigger::level));
  watched_ = true;
  accepted_ = std::move(accepted);
  troubled_ = std::move(troubled);
  room_ = std::move(room);
  return Done{};
}

void Listener::watch() {
  if (watched_ || paused_ || !accepted_ || !socket_.open()) return;
  watched_ = loop_->watch(socket_.fd(), *this, Loop::Trigger::level).has_value();
  if (!watched_) rest();  // the kernel is short of memory
}

// While nobody is accepted it is not watched: its level would wake the loop at once, again and again.
void Listener::unwatch() {
  if (std::exchange(watched_, false)) loop_->unwatch(socket_.fd());
}

void Listener::rest() {
  unwatch();
  if (retry_ != 0) return;
  retry_ = loop_->after(kAcceptAgainAfter, [this] {
    retry_ = 0;
    watch();
  });
}

void Listener::pause() {
  paused_ = true;
  loop_->cancel(std::exchange(retry_, 0));
  unwatch();
}

void Listener::resume() {
  if (std::exchange(paused_, false)) watch();
}

int Listener::port() const {
  Address own;
  own.length = sizeof own.storage;
  return ::getsockname(socket_.fd(), reinterpret_cast<sockaddr*>(&own.storage), &own.length) == 0 ? own.port() : 0;
}

void Listener::on_ready(unsigned) {
  for (int more = loop_->ready_now() / kReadyForOneMore; accept_one() && more > 0; --more) {
  }
}

// False: there may be no other at the moment.
bool Listener::accept_one() {
  if (!watched_) return false;
  if (room_ && !room_()) {
    troubled(Error{Errc::no_room, {}});
    return false;
  }
  Address peer;
  peer.length = sizeof peer.storage;
  const int fd =
      ::accept4(socket_.fd(), reinterpret_cast<sockaddr*>(&peer.storage), &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) {
    accepted_(Socket(fd), peer);
    return true;
  }
  const int error = errno;
  if (error == EAGAIN || error == EWOULDBLOCK) return false;
  // Anything else is the trouble of that one connection (accept(2) hands on its pending network errors).
  if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM) return true;
  troubled(Error{Errc::accept_failed, words_of(error)});
  return false;
}

// One that leaves lets one in, and then there is trouble again: it would fill the log.
void Listener::troubled(const Error& error) {
  const TimePoint now = loop_->now();
  if (now >= quiet_until_) {
    quiet_until_ = now + kSayAgainAfter;
    troubled_(error);
  }
  rest();
}

}  // namespace herdgate::net
