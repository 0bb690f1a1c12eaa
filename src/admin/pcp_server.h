// The PCP service: listens, keeps the connections, reads pcp.conf at every login, hands requests to PcpCommands.
//
// Shape    open() binds; then it works on the control loop until it is destroyed. One request at a time for each
//          connection. What a connection says is decided by pcp::Conversation; here are only sockets and time.
// Limits   kMaxClients are served; kMaxRefused more hear why not, then no more are accepted until one leaves.
//          authentication_timeout (kLoginLimit where it is 0) for the login as a whole; kIdleLimit between requests;
//          kSendLimit for an answer to be taken; kLingerLimit for the peer to close after the last word,
//          kLingerBytes from it are read meanwhile. A few reads in a turn, however fast a client sends.
// Errors   open() says what could not be bound. A client's trouble is its own.
// Threads  the control thread; pcp.conf is read and checked on the BlockingPool.
// Source   Pgpool-II 4.6 manual, "PCP Settings", "pcp.conf".
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "admin/pcp_commands.h"
#include "base/log.h"
#include "net/socket.h"

namespace herdgate::admin {

inline constexpr std::size_t kMaxClients = 100, kMaxRefused = 100;
inline constexpr int kPcpBacklog = 1024;
inline constexpr Duration kLoginLimit = std::chrono::seconds(60);
inline constexpr Duration kIdleLimit = std::chrono::hours(1);
inline constexpr Duration kSendLimit = std::chrono::seconds(60);
inline constexpr Duration kLingerLimit = std::chrono::seconds(5);
inline constexpr std::size_t kLingerBytes = 256 * 1024;

class PcpConnection;

struct PcpMeans {
  net::Loop& loop;
  net::BlockingPool& blocking;
  Log& log;
  // The text of pcp.conf; called on the BlockingPool.
  std::function<Result<std::string>()> read_users;
};

class PcpServer {
 public:
  PcpServer(PcpMeans means, Services& services);
  ~PcpServer();
  PcpServer(const PcpServer&) = delete;
  PcpServer& operator=(const PcpServer&) = delete;

  Result<Done> open();
  std::vector<int> ports() const;  // of the TCP listeners; the real ones

 private:
  friend class PcpConnection;
  Result<Done> listen();
  void accept(net::Socket socket, const net::Address& peer);
  void admit_again();
  void say(Level level, std::string_view text, std::string_view detail = {});
  void remove(std::uint64_t id);  // at the end of the turn

  PcpMeans means_;
  Services& services_;
  PcpCommands commands_;
  LogContext who_;
  std::vector<std::unique_ptr<net::Listener>> listeners_;
  std::map<std::uint64_t, std::shared_ptr<PcpConnection>> connections_;
  std::size_t served_ = 0;  // of the connections; the others are being refused
  std::uint64_t last_id_ = 0;
  bool paused_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace herdgate::admin
