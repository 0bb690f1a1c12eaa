#include <cerrno>
#include <utility>

#include "net/addresses.h"
#include "net/errc.h"
#include "net/socket.h"

namespace herdgate::net {
namespace {

// A name server that fails for the moment is asked again, so often and after so long.
constexpr int kResolveTries = 5;
constexpr std::chrono::milliseconds kResolveAgainAfter{100};
// connect() on a UNIX socket whose queue is full says EAGAIN, and nothing tells when there is room.
constexpr std::chrono::milliseconds kQueueFullAgainAfter{10};

// This machine is short of something; the peer has not heard of us.
bool is_own_shortage(int error) { return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM; }

// This machine does not have the family of the address. Without a route by IPv4 the server may be there all the same.
bool is_without_family(int error, sa_family_t family) {
  return error == EAFNOSUPPORT || (error == ENETUNREACH && family == AF_INET6);
}

std::string where(const Destination& to) {
  if (to.port == Destination::kIsPath) return to.host;
  return to.host.starts_with('/') ? fmt::format("{}/.s.PGSQL.{}", to.host, to.port)
                                  : fmt::format("{}:{}", to.host, to.port);
}

class Attempt final : public Connecting, public Watcher {
 public:
  Attempt(Loop& loop, BlockingPool& pool, const Destination& to, const ConnectOptions& options, Connected done)
      : loop_(loop), pool_(pool), to_(to), options_(options), done_(std::move(done)) {
    if (options_.deadline.at != TimePoint::max())
      deadline_timer_ = loop_.after(options_.deadline.at - loop_.now(), [this] { give_up(); });
    // From the loop, never from here: `done` must not run within connect().
    later(Duration::zero(), &Attempt::find_addresses);
  }
  ~Attempt() override {
    loop_.cancel(deadline_timer_);
    loop_.cancel(step_timer_);
    drop_socket();
  }
  void on_ready(unsigned ready) override;
  bool looking_up() const override { return look_ups_ > 0 && addresses_.empty(); }

 private:
  void later(Duration delay, void (Attempt::*step)()) {
    step_timer_ = loop_.after(delay, [this, step] {
      step_timer_ = 0;
      (this->*step)();
    });
  }
  void find_addresses();
  void look_up();
  void looked_up(const Resolved& found);
  void try_next();
  void try_address();
  void address_failed(int error);
  void address_timed_out() { address_failed(ETIMEDOUT); }
  void give_up();
  void finish(Result<Socket> result);
  void drop_socket();
  Errc failure() const;

  Loop& loop_;
  BlockingPool& pool_;
  Destination to_;
  ConnectOptions options_;
  Connected done_;
  TimerId deadline_timer_ = 0, step_timer_ = 0;
  int look_ups_ = 0;
  std::vector<Address> addresses_;
  std::size_t next_ = 0;  // index of the address after the one being tried
  Socket socket_;
  bool watched_ = false;
  std::string problem_;
  bool short_ = false;    // of an address we do not know whether it would have answered
  bool tried_ = false;    // one did not
  bool refused_ = false;  // … and it was said that nobody listens there
  bool unclear_ = false;  // … and it was not said
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // look-ups hold it weakly
};

void Attempt::find_addresses() {
  if (to_.host.starts_with('/')) {
    auto address = unix_address(where(to_));
    if (!address) return finish(fail(std::move(address.error())));
    addresses_.push_back(*address);
    return try_next();
  }
  Resolved numeric = resolve(to_.host, to_.port, Resolve::numeric);
  if (numeric.addresses.empty()) return look_up();
  addresses_ = std::move(numeric.addresses);
  try_next();
}

void Attempt::look_up() {
  ++look_ups_;
  auto found = std::make_shared<Resolved>();
  // Nobody looks up for an attempt that has been given up while it was queued.
  auto job = [found, to = to_, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) *found = resolve(to.host, to.port, Resolve::any);
  };
  auto done = [this, found, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) looked_up(*found);
  };
  if (!pool_.submit(loop_, std::move(job), std::move(done))) finish(fail(Errc::busy, where(to_)));
}

void Attempt::looked_up(const Resolved& found) {
  if (found.addresses.empty() && found.temporary && look_ups_ < kResolveTries)
    return later(kResolveAgainAfter * look_ups_, &Attempt::look_up);
  if (found.addresses.empty())
    return finish(
        fail(found.unknown ? Errc::name_service_failed : Errc::name_not_found, to_.host + ": " + found.problem));
  addresses_ = found.addresses;
  try_next();
}

Errc Attempt::failure() const {
  if (short_ || !tried_) return Errc::own_shortage;
  return unclear_ || !refused_ ? Errc::connect_failed : Errc::nobody_listens;
}

void Attempt::try_next() {
  if (next_ == addresses_.size()) return finish(fail(failure(), where(to_) + ": " + problem_));
  ++next_;
  try_address();
}

void Attempt::try_address() {
  const Address& address = addresses_[next_ - 1];
  drop_socket();
  socket_ = Socket(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket_.open()) return address_failed(errno);
  apply_tcp_options(socket_.fd(), options_.tcp);
  if (::connect(socket_.fd(), reinterpret_cast<const sockaddr*>(&address.storage), address.length) == 0)
    return finish(std::move(socket_));
  if (errno == EAGAIN && address.is_unix()) return later(kQueueFullAgainAfter, &Attempt::try_address);
  if (errno != EINPROGRESS && errno != EINTR) return address_failed(errno);
  if (auto watched = loop_.watch(socket_.fd(), *this, Loop::Trigger::edges); !watched)
    return finish(fail(Errc::own_shortage, watched.error().text()));
  watched_ = true;
  // One address that never answers must not eat the time of those after it: each gets an equal share of what is left.
  const std::size_t left = addresses_.size() - next_ + 1;
  if (left > 1 && options_.deadline.at != TimePoint::max())
    later((options_.deadline.at - loop_.now()) / static_cast<Duration::rep>(left), &Attempt::address_timed_out);
}

void Attempt::on_ready(unsigned) {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(socket_.fd(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return address_failed(error);
  // A first event may come before the handshake is over; only a connected socket has a peer.
  sockaddr_storage peer{};
  size = sizeof peer;
  if (::getpeername(socket_.fd(), reinterpret_cast<sockaddr*>(&peer), &size) != 0) return;
  loop_.unwatch(socket_.fd());
  watched_ = false;
  finish(std::move(socket_));
}

void Attempt::address_failed(int error) {
  loop_.cancel(std::exchange(step_timer_, 0));
  drop_socket();
  problem_ = std::generic_category().message(error);
  const bool refused = error == ECONNREFUSED || error == ENOENT;
  // No port of ours is free, or the machine does not have this family: where there is another address that one decides.
  if (is_own_shortage(error)) {
    short_ = true;
  } else if (error != EADDRNOTAVAIL) {
    tried_ = true;
    refused_ |= refused;
    unclear_ |= !refused && !is_without_family(error, addresses_[next_ - 1].storage.ss_family);
  }
  try_next();
}

void Attempt::give_up() {
  deadline_timer_ = 0;
  finish(fail(looking_up() ? Errc::name_service_failed : Errc::timed_out, where(to_)));
}

// The last thing that happens here: `done` may destroy this object.
void Attempt::finish(Result<Socket> result) {
  loop_.cancel(std::exchange(deadline_timer_, 0));
  loop_.cancel(std::exchange(step_timer_, 0));
  drop_socket();
  alive_.reset();
  const Connected done = std::exchange(done_, nullptr);
  if (done) done(std::move(result));
}

void Attempt::drop_socket() {
  if (watched_) loop_.unwatch(socket_.fd());
  watched_ = false;
  socket_.close();
}

}  // namespace

std::unique_ptr<Connecting> connect(Loop& loop, BlockingPool& pool, const Destination& to,
                                    const ConnectOptions& options, Connected done) {
  return std::make_unique<Attempt>(loop, pool, to, options, std::move(done));
}

}  // namespace herdgate::net
