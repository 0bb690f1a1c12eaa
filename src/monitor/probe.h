// One probe of one node: is there a PostgreSQL server, what is its role, how far has it written or replayed?
//
// Shape    start_probe() begins at once; `done` is called exactly once, from the loop, never from start_probe(), and
// may
//          destroy the probe. With a user it logs in and asks; without one it only asks whether the server speaks TLS,
//          which any PostgreSQL server answers before a login.
// Limits   ProbeTarget::connect_limit for connecting and logging in, whole_limit for all of it.
// Errors   in Answer::outcome. A shortage on our own side (descriptors, memory) is no fault of the node: not_ready.
// Threads  one loop.
// Source   PostgreSQL manual, "SSL Session Encryption", "pg_stat_replication"; PostgreSQL 10 and later.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

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
};

struct ProbeMeans {
  net::Loop& loop;
  net::BlockingPool& blocking;
  backend::Scratch& scratch;
};

class Probing {
 public:
  virtual ~Probing() = default;  // destroying it gives up
};
using ProbeDone = std::function<void(Answer)>;

std::unique_ptr<Probing> start_probe(const ProbeMeans& means, const ProbeTarget& target, ProbeDone done);

// What an error of a probe says about the node.
cluster::Outcome outcome_of(const Error& error);

}  // namespace herdgate::monitor
