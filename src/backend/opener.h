// Opens one server link: connect, start-up, log in, collect what the server tells until it is ready.
//
// Shape    constructed = started; `done` is called exactly once, from the loop, never from the constructor. Destroying
//          it gives up. Without credentials it stops when the server has said how it wants the login (on_method) and
//          goes on with provide().
// Limits   the deadline of OpenRequest bounds everything up to the wait for provide(), which its caller bounds, and the
//          time that was left for it at first everything behind that; kMaxGreetingBytes of messages.
// Errors   OpenFailure: connect_failed, nobody_listens, name_not_found and timed_out speak against the node; login_*,
//          own_shortage, crowded and not_looked_up do not.
// Threads  one loop. PBKDF2 runs on the BlockingPool.
// Source   PostgreSQL manual, "Start-up"; protocol 3.2 falls back by NegotiateProtocolVersion.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "auth/server_auth.h"
#include "backend/errc.h"
#include "backend/link.h"
#include "base/sqlstate.h"
#include "net/socket.h"
#include "wire/backend.h"

namespace herdgate::backend {

struct OpenFailure {
  Error error;
  std::optional<wire::Report> server;    // the server's own words, when it gave any
  std::optional<auth::Refusal> refusal;  // ours, when we could not log in
  // The server has no slot for anybody: its 53300, not by the limit of a role or database. Without `server` the pool
  // knows it by an earlier one, and nobody has been asked.
  bool no_slot = false;
  // True when this speaks against the node itself, so that it should be probed.
  bool against_node() const;
  // It starts up, recovers or shuts down: 57P03.
  bool not_ready() const { return server && server->sqlstate == sqlstate::kCannotConnectNow; }
  // It was told to end its sessions, 57P01 or 57P02, this one before it had begun: the next one says more.
  bool cut_short() const {
    return server && (server->sqlstate == sqlstate::kAdminShutdown || server->sqlstate == sqlstate::kCrashShutdown);
  }
  // It has no room for one more session: 53300 and their like. That says nothing of who wants it.
  bool full() const { return server && server->sqlstate.starts_with("53"); }
  // The login itself was refused: what earlier ones have taught may not hold any more.
  bool login_refused() const {
    const bool said = server && error.code == make_error_code(Errc::login_failed) && !cut_short() && !full();
    return said || refusal.has_value();
  }
  // True when another node may take the session all the same: this one is out of reach, or has refused it by its own
  // words (full, not that far in its replay, a login trigger that writes), or our name service fails, or we are short
  // of descriptors or of time for passwords: of another node a link may be there.
  bool elsewhere() const;
};

struct Opened {
  net::Socket socket;
  Greeting greeting;
  auth::ServerMethod method = auth::ServerMethod::trust;
  bool proved = false;  // the server has compared a secret
};

struct OpenRequest {
  LinkKey key;
  net::Destination to;
  Deadline deadline;
  net::TcpOptions tcp;
  std::optional<auth::Credentials> credentials;
  net::BlockingPool* names = nullptr;  // looks the host up; null: the pool where PBKDF2 runs
  // Settings that the session begins with, whatever the server, the database or the role would have it begin with.
  std::vector<std::pair<std::string, std::string>> settings = {};
};

class Opener final : public net::Watcher {
 public:
  static constexpr int kNewestMinor = 2;  // protocol 3.2
  static constexpr std::size_t kMaxGreetingBytes = 256 * 1024;
  static constexpr std::size_t kMaxNoticeBytes = 16 * 1024;  // of a login; what is more is not passed on
  using OnDone = std::function<void(tl::expected<Opened, OpenFailure>)>;
  using OnMethod = std::function<void(auth::ServerMethod)>;

  Opener(net::Loop& loop, net::BlockingPool& blocking, OpenRequest request, OnDone done, OnMethod on_method = {});
  ~Opener() override;
  void provide(auth::Credentials credentials);
  void on_ready(unsigned ready) override;

 private:
  void connected(Result<net::Socket> socket);
  void write_some();
  void take(ByteView bytes);
  void on_frame(char type, ByteView payload);
  void step(auth::Step step);
  void limit_the_wait();
  void fail(Error error);
  void fail(OpenFailure failure);
  void succeed();

  net::Loop& loop_;
  net::BlockingPool& blocking_;
  OpenRequest request_;
  OnDone done_;
  OnMethod on_method_;
  auth::ServerAuth auth_;
  std::unique_ptr<net::Connecting> connecting_;
  net::Socket socket_;
  Greeting greeting_;
  Bytes in_, out_;
  net::TimerId timer_ = 0;
  Duration limit_ = Duration::max();
  bool started_login_ = false, finished_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Sends a cancel request for a link and closes; `done` when the server has closed the connection, so that afterwards no
// late cancel can hit whatever runs there next, or when the deadline has passed.
class Canceller final : public net::Watcher {
 public:
  enum class Delivery {
    over,      // the server has had it, or will never have it
    in_doubt,  // sent, and not heard of in time: it may still come
  };
  using OnDone = std::function<void(Delivery)>;
  Canceller(net::Loop& loop, net::BlockingPool& blocking, const OpenRequest& to, const Greeting& greeting, OnDone done);
  ~Canceller() override;
  void on_ready(unsigned ready) override;

 private:
  void finish(Delivery how);
  net::Loop& loop_;
  Bytes message_;
  OnDone done_;
  std::unique_ptr<net::Connecting> connecting_;
  net::Socket socket_;
  net::TimerId timer_ = 0;
};

}  // namespace herdgate::backend
