// One probe of one node: is there a PostgreSQL server, what is its role, how far has it written or replayed?
//
// Shape    start_probe() begins at once; `done` is called exactly once, from the loop, never from start_probe(), and
//          may destroy the probe. With a user it logs in and asks; without one it only asks whether the server speaks
//          TLS, which any PostgreSQL server answers before a login. A login costs the server a process: where probes
//          follow soon upon each other, ProbeLogins keeps it for the next ones. What fails on one that was kept is
//          asked once more on a new one.
// Limits   ProbeTarget::connect_limit for connecting and logging in, whole_limit for all of it.
// Errors   in Answer::outcome. A shortage on our own side (descriptors, memory) is no fault of the node: not_ready.
// Threads  one loop.
// Source   PostgreSQL manual, "SSL Session Encryption", "pg_stat_replication"; PostgreSQL 10 and later.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/client.h"
#include "monitor/replication.h"
#include "net/socket.h"

namespace herdgate::monitor {

struct ProbeTarget {
  NodeId node;
  net::Destination to;
  net::TcpOptions tcp;
  std::string user, database;  // empty user: no login
  std::optional<auth::Credentials> credentials;
  Duration connect_limit{}, whole_limit{};
  bool may_keep = false;          // its login serves the next probe too
  std::uint32_t newest_name = 0;  // Answer::newest_name of the last probe
};

struct ProbeMeans {
  net::Loop& loop;
  net::BlockingPool& blocking;
  backend::Scratch& scratch;
};

// The logins of the last probes, each until kLife after it was made: whether new ones are let in is not seen meanwhile.
class ProbeLogins {
 public:
  static constexpr Duration kLife = std::chrono::seconds(10);
  struct Login {
    std::unique_ptr<backend::Client> client;
    TimePoint made{};
    bool used = false;
  };
  explicit ProbeLogins(net::Loop& loop) : loop_(loop) {}
  ~ProbeLogins();
  Login take(const ProbeTarget& target);  // its client is null: there is none
  void keep(const ProbeTarget& target, Login login);

 private:
  struct Kept {
    ProbeTarget target;
    Login login;
    net::TimerId timer = 0;
  };
  net::Loop& loop_;
  std::vector<Kept> kept_;  // one for a node
};

class Probing {
 public:
  virtual ~Probing() = default;  // destroying it gives up
};
using ProbeDone = std::function<void(Answer)>;

// `logins`: null, or what outlives the probe.
std::unique_ptr<Probing> start_probe(const ProbeMeans& means, const ProbeTarget& target, ProbeDone done,
                                     ProbeLogins* logins = nullptr);

// What an error of a probe says about the node.
cluster::Outcome outcome_of(const Error& error);

}  // namespace herdgate::monitor
