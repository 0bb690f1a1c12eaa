// The cluster machine: what happened in, the next state and what is to be done out. Pure: no sockets, no clock.
//
// Shape    step(state, event, now) → {state, actions}. The control thread feeds it, carries out the actions and
//          publishes view_of(state) when told to. One alternative of Event per thing that can happen. Changes of nodes
//          (down, attach, promote …) are demands in a queue, worked off one at a time; see operation.h.
// Units    replication delay in octets of WAL or in microseconds, as the Rules says.
// Limits   kMaxNodes nodes, kMaxDemands demands, kMaxRounds rounds; at most a handful of log lines an event, each
//          change is said once.
// Errors   none: an event about an unknown node changes nothing. Actions::refusal answers a Requested.
// Threads  values.
// Source   Pgpool-II 4.6 manual, "Failover and Failback", "Streaming Replication Check"; log texts as its users know
//          them.
#pragma once
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "cluster/operation.h"
#include "cluster/request.h"
#include "cluster/rules.h"
#include "cluster/state_file.h"
#include "cluster/switchover.h"
#include "cluster/upstream.h"
#include "cluster/view.h"

namespace herdgate::cluster {

// A node as the control thread knows it: the published part and what only this machine needs.
struct Member {
  Node node;
  bool returns = false;        // down, and used again without being asked as soon as it answers
  bool held = false;           // down or unused by request or by the status file: only an attach brings it back
  bool has_to_follow = false;  // down, and follow_primary_command has still to make it a standby of the new primary
  bool unfit = false;  // down, and what it has may not be the primary's: it never comes back without being asked
  NodeId superseded = kNoNode;  // was the primary until this one took over: must not come back as one
  bool reported = false;        // … and that it answers again was said
  bool suspected = false;       // a session could not work with it; the next probe decides
  bool doubted = false;   // the primary: a session could not work with it, and nothing has shown yet that it works
  bool ending = false;    // a session was told that it shuts down; the next probe decides
  bool silent = false;    // the last probe did not reach it
  bool rises = false;     // has left recovery since the primary was last heard to be out of it
  bool answered = false;  // a probe has come to an end since start
  bool heard = false;     // has said what it is since another node last turned into a primary
  bool missed = false;    // … was asked since then, and is silent or refused to say
  bool invalid = false;   // says it is a primary while another node is; said in the log
  bool streams = false;   // the primary's last report shows it receiving
  std::optional<Upstream> upstream;
  std::optional<WallTime> delay_known;  // when delay_time was worked out
  std::optional<WallTime> last_auto_failback;
  std::string complaint;  // trouble that does not take the node down; said in the log once per text
  bool operator==(const Member&) const = default;
};

// Where the primary was at a round of questions.
struct WrittenTo {
  WallTime at;
  std::uint64_t position = 0;
  bool operator==(const WrittenTo&) const = default;
};
inline constexpr std::size_t kMaxRounds = 64;

struct State {
  Rules rules;
  std::vector<Member> members;  // ascending ids
  NodeId primary = kNoNode;
  NodeId appointed = kNoNode;       // taken for the primary by request, whatever it says of itself
  bool searching = false;           // "no primary" was said in the log
  std::vector<WrittenTo> rounds;    // kMaxRounds at most, by time: the older, the fewer of them
  std::uint64_t rounds_missed = 0;  // since the last of them: the primary did not answer
  std::deque<Demand> demands;
  std::optional<Operation> operation;
  std::uint64_t operations = 0;  // begun so far; names the one under way
  std::optional<LostPrimary> lost;
  std::optional<Following> following;
  std::uint64_t epoch = 0;
  std::string file_text;  // what the state file holds now
  bool operator==(const State&) const = default;
};

// How a probe ended. Only `unreachable` takes a node down: any answer proves a living server.
enum class Outcome : std::uint8_t {
  healthy,      // logged in, or answered at all when there is no user to log in with
  refused,      // a server that works but refused us (wrong password, no such database, it is full, …)
  not_ready,    // starting up or shutting down: neither takes a node down nor brings one back
  unreachable,  // no connection, no answer in time, or something that is no PostgreSQL
};

// A server that is there for clients, if not for us.
inline bool works(Outcome outcome) { return outcome == Outcome::healthy || outcome == Outcome::refused; }

struct Started {
  Rules rules;
  std::optional<StateFile> file;         // nullopt: there is none, or -D
  std::optional<Unfinished> unfinished;  // what a proxy left that died meanwhile
};
struct SettingsChanged {
  Rules rules;
};
struct ProbeResult {
  NodeId node;
  Outcome outcome = Outcome::healthy;
  std::optional<bool> in_recovery;   // when it was asked and answered
  std::string text;                  // what went wrong
  std::optional<Upstream> upstream;  // a standby that receives
  bool nameless = false;             // unreachable: the name service knows no such name
};
// The end of a health check, retries included.
struct HealthChecked {
  NodeId node;
  Outcome outcome = Outcome::healthy;
  std::string text;
};
// What a node that was to be asked at once (Actions::ask) says.
struct Answered {
  NodeId node;
  Outcome outcome = Outcome::healthy;
  std::optional<bool> in_recovery;
  std::string text;
  bool nameless = false;  // as above
};
struct NodeReplication {
  NodeId node;
  std::optional<std::uint64_t> delay_bytes;
  std::optional<std::chrono::microseconds> delay_time;
  std::string state, sync_state;
  std::optional<ReplayedTo> replayed_to = {};
};
struct ReplicationReport {
  std::vector<NodeReplication> nodes;  // of one round; empty: the primary did not answer
  std::uint64_t primary_position = 0;  // in the WAL
};
struct ConnectionFailed {  // a hint from a session or a pool, no proof
  NodeId node;
  bool shutdown = false;  // the server said that it shuts down
  bool doubt = true;      // the server may not work at all
};
struct FirstConnection {
  NodeId node;
};
struct Requested {
  Request request;
};
struct CommandEnded {
  RunCommand::Kind kind = RunCommand::failover;
  NodeId node;
};
struct PromotionEnded {
  NodeId promoted = kNoNode;  // kNoNode: not done, `text` says why
  std::string text;
  std::vector<std::pair<NodeId, std::string>> left_behind;  // standbys that could not follow, and why
  bool already = false;  // … by somebody else: it was found out of recovery, and nothing was done
  // Standbys that have been pointed at the promoted one.
  std::vector<NodeId> pointed = {};
};
// A standby that was pointed at the new primary does not receive from it.
struct LeftBehind {
  NodeId node;
  std::string reason;
  bool silent = false;  // … or is not known to: it does not answer
};
// A step of a built-in switchover has ended.
struct SwitchStepEnded {
  SwitchStep::Kind kind = SwitchStep::check;
  std::uint64_t operation = 0;
  std::string problem;   // check, drain: why not; stop: why the primary still works. Empty: well
  bool returned = true;  // stop: the old primary answers as a standby
};
struct AlarmRang {
  Alarm::Kind kind = Alarm::successors;
  std::uint64_t operation = 0;
};
using Event =
    std::variant<Started, SettingsChanged, ProbeResult, HealthChecked, Answered, ReplicationReport, ConnectionFailed,
                 FirstConnection, Requested, CommandEnded, PromotionEnded, LeftBehind, SwitchStepEnded, AlarmRang>;

struct Said {
  Level level = Level::log;
  std::string text, detail;
};

struct Actions {
  std::vector<NodeId> probe;              // soon, by the schedule
  std::vector<NodeId> ask;                // at once, each ends with an Answered
  std::optional<std::string> state_file;  // new content to be written
  std::vector<Said> log;
  std::vector<RunCommand> run;  // each ends with a CommandEnded
  std::optional<Promotion> promote;
  std::optional<SwitchStep> switch_step;  // ends with a SwitchStepEnded
  std::vector<SwitchoverEnd> switchovers_ended;
  std::vector<Alarm> alarms;
  std::vector<OutOfUse> lost;
  std::vector<NodeId> returned;  // into use
  std::optional<Refusal> refusal;
  bool publish = false;  // the view has changed; before anything else is carried out
};

struct Stepped {
  State state;
  Actions actions;
};

Stepped step(const State& state, const Event& event, WallTime now);

// False for nodes that a probe could not change: unused ones and those that only an attach brings back.
bool worth_probing(const Member& member);
// False at start, until the primary is known or every node was asked.
bool looked_around(const State& state);
// What Control::busy_with() says.
std::string_view busy_with(const State& state);

ViewPtr view_of(const State& state);

}  // namespace herdgate::cluster
