// The cluster machine: what happened in, the next state and what is to be done out. Pure: no sockets, no clock.
//
// Shape    step(state, event, now) → {state, actions}. The control thread feeds it, carries out the actions and
//          publishes view_of(state) when told to. One alternative of Event per thing that can happen.
// Units    replication delay in octets of WAL or in microseconds, as the Rules says.
// Limits   kMaxNodes nodes; at most a handful of log lines an event, each change is said once.
// Errors   none: an event about an unknown node changes nothing.
// Threads  values.
// Source   Pgpool-II 4.6 manual, "Failover and Failback", "Streaming Replication Check"; log texts as its users know
// them.
#pragma once
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "cluster/rules.h"
#include "cluster/state_file.h"
#include "cluster/view.h"

namespace herdgate::cluster {

// A node as the control thread knows it: the published part and what only this machine needs.
struct Member {
  Node node;
  bool kept_down = false;  // the state file said down: only an attach brings it back
  bool answered = false;   // a probe has come to an end since start
  bool invalid = false;    // says it is a primary while another node is; said in the log
  std::string complaint;   // trouble that does not take the node down; said in the log once per text
  bool operator==(const Member&) const = default;
};

struct State {
  Rules rules;
  std::vector<Member> members;  // ascending ids
  NodeId primary = kNoNode;
  bool searching = false;  // "no primary" was said in the log
  std::uint64_t epoch = 0;
  std::string file_text;  // what the state file holds now
  bool operator==(const State&) const = default;
};

// How a probe ended. Only `unreachable` takes a node down: any answer proves a living server.
enum class Outcome : std::uint8_t {
  healthy,      // logged in, or answered at all when there is no user to log in with
  refused,      // a server that works but refused us (wrong password, no such database, …)
  not_ready,    // starting up, shutting down, or full: neither takes a node down nor brings one back
  unreachable,  // no connection, no answer in time, or something that is no PostgreSQL
};

struct Started {
  Rules rules;
  std::optional<StateFile> file;  // nullopt: there is none, or -D
};
struct SettingsChanged {
  Rules rules;
};
struct ProbeResult {
  NodeId node;
  Outcome outcome = Outcome::healthy;
  std::optional<bool> in_recovery;  // when it was asked and answered
  std::string text;                 // what went wrong
};
struct NodeReplication {
  NodeId node;
  std::optional<std::uint64_t> delay_bytes;
  std::optional<std::chrono::microseconds> delay_time;
  std::string state, sync_state;
};
struct ReplicationReport {
  std::vector<NodeReplication> nodes;  // of one round; a node that is not in it has no known delay
};
struct ConnectionFailed {  // a hint from a session or a pool, no proof
  NodeId node;
};
struct FirstConnection {
  NodeId node;
};
using Event = std::variant<Started, SettingsChanged, ProbeResult, ReplicationReport, ConnectionFailed, FirstConnection>;

struct Said {
  Level level = Level::log;
  std::string text, detail;
};

struct Actions {
  std::vector<NodeId> probe;              // at once
  std::optional<std::string> state_file;  // new content to be written
  std::vector<Said> log;
  bool publish = false;  // the view has changed
};

struct Stepped {
  State state;
  Actions actions;
};

Stepped step(const State& state, const Event& event, WallTime now);

// False for nodes that a probe could not change: unused ones and those that the state file holds down.
bool worth_probing(const Member& member);

ViewPtr view_of(const State& state);

}  // namespace herdgate::cluster
