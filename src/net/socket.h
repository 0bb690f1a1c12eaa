// A connected non-blocking stream socket, and what is needed to get one: addresses, connecting, listening.
//
// Shape    read() and writev() do one system call each and say whether the direction is still ready. The narrow
//          place where TLS goes later: nothing above sees the descriptor except to watch it.
// Errors   Io::failed with errno_value; Io::closed is an orderly end of the peer's stream.
// Threads  a Socket belongs to one thread at a time; it may be handed over while it is not watched.
#pragma once
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "net/loop.h"

namespace herdgate::net {

struct Io {
  enum State : std::uint8_t { ok, would_block, closed, failed } state = ok;
  std::size_t bytes = 0;     // moved by this call
  bool still_ready = false;  // false: wait for the next edge before calling again
  int errno_value = 0;
};

class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept;
  ~Socket() { close(); }

  Io read(Loop& loop, std::span<char> into);             // one recv
  Io write(Loop& loop, std::string_view bytes);          // one send, MSG_NOSIGNAL
  Io writev(Loop& loop, std::span<const iovec> pieces);  // one sendmsg, MSG_NOSIGNAL; at most kMaxPieces pieces
  // The same, or by the loop's end of this turn, together with what others send: then what the socket does not take
  // comes back by Watcher::on_unsent() of who watches it.
  Io send_soon(Loop& loop, std::span<const iovec> pieces);
  void shutdown_write();
  void close();
  int fd() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};
inline constexpr std::size_t kMaxPieces = 64;

// Where a peer is: "127.0.0.1(5432)" or "[local]". For log lines, pool_hba and SHOW.
struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  bool is_unix() const { return storage.ss_family == AF_UNIX; }
  std::string host() const;  // numeric address, or "[local]"
  int port() const;          // 0 for UNIX sockets
};

// The same of a client, in a few octets: for those who keep many.
class Peer {
 public:
  explicit Peer(const Address& address);
  Address address() const;

 private:
  std::array<unsigned char, 16> octets_{};
  std::uint32_t scope_ = 0;
  std::uint16_t port_ = 0;
  sa_family_t family_ = AF_UNSPEC;
};

// The peer's host name, verified by looking it up again; empty when it has none or the two do not agree. Blocks: for
// the BlockingPool.
std::string verified_host_name(const Address& address);

struct TcpOptions {
  int keepalives_idle_s = 0, keepalives_interval_s = 0, keepalives_count = 0, user_timeout_ms = 0;  // 0 = system's
  // Of a listening socket: who connects and says nothing is handed over a second later; it saves a wake-up for each
  // of the others.
  bool defer_accept = false;
};
// Also TCP_NODELAY; a no-op on UNIX sockets. On a listening socket: for all that it accepts, Linux hands them down.
void apply_tcp_options(int fd, const TcpOptions& options);

// host: a name, a numeric address, or a folder beginning with '/' (then the UNIX socket .s.PGSQL.<port> in it; with
// kIsPath the path of the socket itself).
struct Destination {
  static constexpr int kIsPath = -1;
  std::string host;
  int port = 0;
};

// Connects without blocking the loop; names are resolved on the BlockingPool. Every address is tried in turn.
// `done` is called exactly once, never from within connect(), unless the returned handle is destroyed first.
class BlockingPool;
class Connecting {
 public:
  virtual ~Connecting() = default;      // destroying it gives up
  virtual bool looking_up() const = 0;  // the name is not resolved yet
};
struct ConnectOptions {
  Deadline deadline;
  TcpOptions tcp;
};
using Connected = std::function<void(Result<Socket>)>;
std::unique_ptr<Connecting> connect(Loop& loop, BlockingPool& pool, const Destination& to,
                                    const ConnectOptions& options, Connected done);

Result<gid_t> group_id(const std::string& group);  // by number, or by name as this machine knows it
// Whether what this user makes in the folder can be the group's: for root, for a member, or as the folder has it.
bool may_give_to(gid_t group, const std::string& folder);

// Listens on one address; `accepted` gets each new socket (non-blocking, close-on-exec). When descriptors run out, or
// there is no room, it pauses for a moment and says so through `troubled`, once in a while, instead of spinning. The
// callbacks may pause it, not destroy it. One client is accepted for each turn, and more when the turn has much else to
// do: so accept4() is not called for nothing, and a turn's length does not bound how many get in. It is made anywhere;
// from start() to close() it belongs to the thread of its loop.
class Listener final : public Watcher {
 public:
  using Accepted = std::function<void(Socket, const Address&)>;
  using Troubled = std::function<void(const Error&)>;
  using Room = std::function<bool()>;
  // hand_down: of the sockets that it accepts; null: the system's.
  static Result<std::vector<std::unique_ptr<Listener>>> tcp(Loop& loop, const std::string& address, int port,
                                                            int backlog, const TcpOptions* hand_down = nullptr);
  struct UnixOptions {
    std::string path, group;
    int mode = 0777, backlog = 64;
  };
  static Result<std::unique_ptr<Listener>> unix_socket(Loop& loop, const UnixOptions& options);
  ~Listener() override;
  void serve_on(Loop& loop) { loop_ = &loop; }  // before start(): another loop than the one it was made for
  // room: whether one more may come in; until then it waits in the kernel's queue. Null: there always is.
  Result<Done> start(Accepted accepted, Troubled troubled, Room room = {});
  void close();  // whoever connects from now on is refused; a UNIX socket's file is removed
  void pause();
  void resume();
  int port() const;  // the real one, when asked for 0
  void on_ready(unsigned ready) override;

 private:
  explicit Listener(Loop& loop, Socket socket, std::string path);
  bool accept_one();
  void watch();
  void unwatch();
  void rest();
  void troubled(const Error& error);
  Loop* loop_;
  Socket socket_;
  std::string path_;         // UNIX socket file to remove at the end
  std::uint64_t inode_ = 0;  // … if it is still this one
  Accepted accepted_;
  Troubled troubled_;
  Room room_;
  bool watched_ = false, paused_ = false;
  TimePoint quiet_until_{};  // nothing is said of trouble
  TimerId retry_ = 0;
};

// A few threads for what blocks (name look-up, PBKDF2, later PAM and LDAP). Bounded; results come back by Loop::post.
class BlockingPool {
 public:
  static constexpr std::size_t kMaxQueued = 10'000;
  explicit BlockingPool(int threads);
  ~BlockingPool();  // waits for running jobs, drops queued ones
  // Runs `job` on a pool thread, then posts `done` to `home`, which must outlive this pool. False: the queue is full,
  // neither will run.
  bool submit(Loop& home, std::function<void()> job, std::function<void()> done);
  // What the destructor does, earlier: afterwards nothing is posted any more, and submit() refuses.
  void stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace herdgate::net
