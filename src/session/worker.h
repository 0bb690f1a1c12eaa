// One worker: an event loop with its sessions, its links, its caches. Everything in it is touched by its thread only.
//
// Shape    accept() takes a new client; other threads reach a worker through post(). Sessions retire themselves; the
//          worker destroys them at the end of the turn.
// Threads  its own; post() is thread-safe.
#pragma once
#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "backend/link.h"
#include "base/entropy.h"
#include "base/histogram.h"
#include "base/random.h"
#include "cache/admission.h"
#include "cache/recent_texts.h"
#include "cache/remote.h"
#include "cache/verdict.h"
#include "catalog/catalog.h"
#include "catalog/recent_answers.h"
#include "net/loop.h"
#include "net/socket.h"
#include "pool/pool.h"
#include "report/figures.h"
#include "route/recent_plans.h"
#include "session/auth_query.h"
#include "session/cache_scratch.h"
#include "session/client_stream.h"
#include "session/identity.h"
#include "session/left_out.h"
#include "session/recent_startups.h"
#include "session/running.h"
#include "session/shared.h"
#include "session/unit_messages.h"
#include "sql/facts.h"

namespace herdgate::session {

class Session;
class Worker;

// All workers together, as one worker sees them.
class Workers : public pool::Peers {
 public:
  virtual Worker& worker(WorkerId id) = 0;
  virtual std::size_t count() const = 0;
  virtual void hint_node_trouble(NodeId node, const std::string& why,
                                 std::string_view farewell) = 0;  // to the control thread
  virtual void outcomes_closed() = 0;  // Shared::outcomes_open is 0 again: who waits for that looks at it
  // PGPOOL PAUSE and RESUME; `done` comes on the worker `from` when all workers keep to it.
  using PauseDone = std::function<void(const Pauses::Outcome&)>;
  virtual void pause(const Pauses::Change& change, WorkerId from, PauseDone done) = 0;
  virtual void hint_node_reached(NodeId node) = 0;
  // A server has been told to read its configuration anew, which changes what live links have.
  virtual void hint_server_reloads() = 0;
};

// A session's last commit of a transaction whose id was known.
struct ToldCommit {
  WorkerId worker;
  SessionId session;
  std::uint64_t id = 0;
};

// What one worker contributes to a report.
struct WorkerReport {
  std::vector<report::SlotRow> slots;
  std::vector<report::LinkRow> links;
};

struct ClientCounts {
  std::uint64_t connections = 0, logins = 0;
  std::array<std::uint64_t, report::kRefusals.size()> refused{};
};

// … and to the metrics, which do without the rows.
struct WorkerFigures {
  ClientCounts clients;
  std::vector<Histogram> query_times;  // by node, kNoNode first
  std::map<NodeId, Histogram> link_waits;
  std::vector<report::PoolFigures> pools;
};

// What all workers have in common.
struct WorkerMeans {
  const Clock& clock;
  Shared& shared;
  Workers& workers;
  net::BlockingPool& blocking;
};

class Worker {
 public:
  static constexpr std::size_t kMaxSpare = 64;
  Worker(WorkerId id, const WorkerMeans& means, SnapshotPtr snapshot);
  ~Worker();

  WorkerId id() const { return id_; }
  net::Loop& loop() { return loop_; }
  Shared& shared() { return shared_; }
  Workers& workers() { return workers_; }
  net::BlockingPool& blocking() { return blocking_; }
  net::BlockingPool& names() { return shared_.names; }
  pool::Pool& pool() { return *pool_; }
  backend::Scratch& scratch() { return scratch_; }
  sql::FactsCache& facts() { return facts_; }
  catalog::Catalog& catalog() { return catalog_; }
  catalog::RecentAnswers& recent_answers() { return recent_answers_; }
  route::RecentPlans& recent_plans() { return recent_plans_; }  // made under snapshot()
  cache::Fill& spare_fill() { return spare_fill_; }
  CacheScratch& cache_scratch() { return cache_scratch_; }
  cache::RecentVerdicts& recent_verdicts() { return recent_verdicts_; }  // by the numbers of recent_plans()
  cache::RecentTexts& recent_texts() { return recent_texts_; }
  cache::Admission& admission() { return *admission_; }          // there is one where there is a query cache
  cache::Tally& cache_tally() { return *cache_tally_; }          // … too
  cache::Remote* remote_cache() { return remote_cache_.get(); }  // null: memqcache_method is not memcached
  AuthQueries& auth_queries() { return auth_queries_; }
  RecentStartups& recent_startups() { return recent_startups_; }
  Random& random() { return random_; }
  RandomStock& secrets() { return secrets_; }
  Gathering::Spare& gathering() { return gathering_; }
  IdentityPtr identity(const Asked& asked, const auth::Credentials& credentials) {
    return identities_.share(asked, credentials);
  }
  RunningPtr lend_running();
  void take_back(RunningPtr running);
  UnitMessages lend_messages() { return std::exchange(unit_messages_, {}); }
  void take_back(UnitMessages messages) {
    if (messages.list.capacity() <= UnitMessages::kMaxKept) unit_messages_ = std::move(messages);
  }
  WorkerCounters& counters() { return counters_; }
  ClientCounts& clients() { return clients_; }
  // How long requests took that this node has answered; kNoNode: answered without a server.
  Histogram& query_times(NodeId node) { return query_times_[static_cast<std::size_t>(node.value + 1)]; }
  LeftOut& left_out() { return left_out_; }
  const SnapshotPtr& snapshot() const { return snapshot_; }
  Log& log() { return shared_.log; }

  void post(std::function<void()> work) { loop_.post(std::move(work)); }
  void accept(net::Socket socket, const net::Address& peer);  // on its own thread
  void take_snapshot(SnapshotPtr snapshot);
  void wake_waiting();
  Session* find(SessionId id);
  void retire(Session& session);
  // A client's place is free: whoever waits longest at the gate gets it, here or on another worker.
  void leave_gate(std::size_t limit);
  // Any thread: a client that waited at the gate has its place now.
  void let_in(const ClientGate::Waiting& who, std::size_t limit);
  std::size_t sessions() const { return sessions_.size(); }
  // Clients given to this worker and not yet gone; for whoever hands out new ones. Any thread.
  std::atomic<int>& load() { return load_; }
  // smart: no new clients, ends when the last has left; fast: everybody is told and leaves now.
  void stop(bool fast, std::function<void()> empty);
  // log_hostname: the name of a client's host, verified; its address where there is none or it is not known yet.
  void host_name(const net::Address& peer, std::function<void(const std::string&)> done);
  std::string known_host_name(const net::Address& peer) const;
  // DROP DATABASE and the like: the server refuses them while links of ours lie idle there.
  void make_way_for(const sql::Statement& statement);
  // What new sessions of a role or a database begin with has been altered: no link of now is lent to another session.
  void renew_links();
  // Any thread, once, of the first worker: see server/start_doubt.h. In memcached it is a mark over everything.
  void end_start_doubt();
  WorkerReport report() const;
  WorkerFigures figures() const;
  // Commits that sessions were told of and whose ids are known.
  std::vector<ToldCommit> told_commits() const;
  // The primary of now lacks this one: its session is told.
  void commit_is_lost(const ToldCommit& commit, NodeId from, NodeId to);
  // Asks every worker, then calls `done` on this one. Slower than a snapshot, always true.
  void collect(std::function<void(report::Server)> done);

  static constexpr std::size_t kMaxHostNames = 1024;
  static constexpr Duration kHostNameLives = std::chrono::minutes(5);

 private:
  void check_empty();
  void say_counters();
  void use_memcached();
  WorkerId id_;
  net::Loop loop_;
  Shared& shared_;
  Workers& workers_;
  net::BlockingPool& blocking_;
  SnapshotPtr snapshot_;
  backend::Scratch scratch_;
  sql::FactsCache facts_;
  catalog::Catalog catalog_;
  catalog::RecentAnswers recent_answers_;
  route::RecentPlans recent_plans_;
  cache::RecentVerdicts recent_verdicts_;
  cache::RecentTexts recent_texts_;
  std::unique_ptr<cache::Admission> admission_;
  cache::Tally* cache_tally_ = nullptr;
  cache::Fill spare_fill_;  // for its buffers
  CacheScratch cache_scratch_;
  Random random_;
  RandomStock secrets_;  // for cancel requests
  Identities identities_;
  std::vector<RunningPtr> spare_;  // used over and over by sessions while they are served
  UnitMessages unit_messages_;
  RecentStartups recent_startups_;
  Gathering::Spare gathering_;
  WorkerCounters counters_;
  ClientCounts clients_;
  std::vector<Histogram> query_times_{kMaxNodes + 1};
  LeftOut left_out_;
  std::unique_ptr<pool::Pool> pool_;
  std::unique_ptr<cache::Remote> remote_cache_;
  std::optional<cache::Remote::Mark> start_doubt_;
  AuthQueries auth_queries_{*this};
  AgedMap<std::string, std::string> host_names_{kMaxHostNames};  // by address
  std::unordered_map<SessionId, std::unique_ptr<Session>> sessions_;
  std::deque<std::unique_ptr<Session>> retired_;  // in the order in which their ends are deferred
  std::function<void()> empty_;
  bool stopping_ = false;
  std::atomic<int> load_{0};
};

// Counts one statement sent to a node, for SHOW POOL_BACKEND_STATS.
void count_statement(WorkerCounters& counters, NodeId node, sql::Kind kind);

}  // namespace herdgate::session
