#include "session/worker.h"

#include "session/session.h"
#include "session/words.h"

namespace herdgate::session {

namespace {

net::Loop::Kernel kernel_of(const config::Settings& settings) {
  return settings.io_method == config::IoMethod::epoll ? net::Loop::Kernel::epoll : net::Loop::Kernel::io_uring;
}

}  // namespace

Worker::Worker(WorkerId id, const WorkerMeans& means, SnapshotPtr snapshot)
    : id_(id),
      loop_(means.clock, kernel_of(*snapshot->settings)),
      shared_(means.shared),
      workers_(means.workers),
      blocking_(means.blocking),
      snapshot_(std::move(snapshot)),
      facts_(static_cast<std::size_t>(snapshot_->settings->sql_facts_cache_size)),
      catalog_(means.clock, means.shared.epochs,
               catalog::Catalog::Options{static_cast<std::size_t>(snapshot_->settings->relcache_size),
                                         std::chrono::seconds(snapshot_->settings->relcache_expire)}),
      random_(means.shared.hash_key.k0 ^ static_cast<std::uint64_t>(id.value + 1) * 0x9e3779b97f4a7c15ULL) {
  pool::Pool::Wiring wiring{
      .loop = loop_,
      .blocking = blocking_,
      .names = shared_.server_names,
      .scratch = scratch_,
      .accounts = shared_.accounts,
      .peers = workers_,
      .worker = id_,
      .log = shared_.log,
      .node_trouble = [this](NodeId node, const std::string& why,
                             std::string_view farewell) { workers_.hint_node_trouble(node, why, farewell); },
      .node_reached =
          [this](NodeId node) {
            left_out_.reached(node);
            workers_.hint_node_reached(node);
          },
  };
  pool_ = std::make_unique<pool::Pool>(std::move(wiring));
  pool_->configure(snapshot_->settings, snapshot_->view);
  if (shared_.query_cache) {
    admission_ = std::make_unique<cache::Admission>(shared_.query_cache->sightings());
    cache_tally_ = &shared_.query_cache->tally();
  }
  if (!shared_.memcached) return;
  remote_cache_ = std::make_unique<cache::Remote>(loop_, shared_.memcached->names, shared_.log, *shared_.memcached);
  loop_.post([this] { use_memcached(); });
}

Worker::~Worker() {
  sessions_.clear();
  retired_.clear();
  pool_.reset();
  start_doubt_.reset();
  remote_cache_.reset();
}

// A stop leaves the mark as a writer's that has died: the next start begins with it anew. Any database does for a mark
// over everything: its definitions are heard of by the way.
void Worker::use_memcached() {
  if (id_ == WorkerId(0)) {
    bool waits = false;
    start_doubt_.emplace(remote_cache_->mark("postgres", {.scope = {.everything = true}}, nullptr, waits));
    start_doubt_->sent();
  }
  remote_cache_->start();
}

void Worker::end_start_doubt() {
  post([this] {
    if (start_doubt_) start_doubt_->end(/*known=*/true);
  });
}

void Worker::accept(net::Socket socket, const net::Address& peer) {
  ++clients_.connections;
  const SessionId id(shared_.last_session.fetch_add(1, std::memory_order_relaxed) + 1);
  auto session = std::make_unique<Session>(*this, id, std::move(socket), peer);
  Session* raw = session.get();
  sessions_.emplace(id, std::move(session));
  if (stopping_) return raw->end(shutting_down());
  if (auto started = raw->start(); !started) {
    LogContext who;
    HG_LOG(shared_.log, who, Level::warning, "could not serve a new client: {}", started.error().text());
    raw->end(too_many_clients("The log of the proxy tells why."));
  }
}

RunningPtr Worker::lend_running() {
  if (spare_.empty()) return std::make_unique<Running>();
  RunningPtr lent = std::move(spare_.back());
  spare_.pop_back();
  return lent;
}

void Worker::take_back(RunningPtr running) {
  if (spare_.size() >= kMaxSpare) return;
  running->reset();
  spare_.push_back(std::move(running));
}

Session* Worker::find(SessionId id) {
  const auto it = sessions_.find(id);
  return it == sessions_.end() ? nullptr : it->second.get();
}

void Worker::retire(Session& session) {
  const auto it = sessions_.find(session.id());
  if (it == sessions_.end()) return;
  load_.fetch_sub(1, std::memory_order_relaxed);
  retired_.push_back(std::move(it->second));
  sessions_.erase(it);
  // Each at its own place in the queue: what the session deferred before (the end of its login) still refers to it.
  loop_.defer([this] {
    retired_.pop_front();
    check_empty();
  });
}

void Worker::leave_gate(std::size_t limit) {
  const auto next = shared_.gate.leave(limit);
  if (!next) return;
  workers_.worker(next->worker).let_in(*next, limit);
}

void Worker::let_in(const ClientGate::Waiting& who, std::size_t limit) {
  post([this, id = who.session, limit] {
    if (Session* session = find(id)) return session->let_in();
    leave_gate(limit);  // it has gone meanwhile
  });
}

void Worker::take_snapshot(SnapshotPtr snapshot) {
  snapshot_ = std::move(snapshot);
  pool_->configure(snapshot_->settings, snapshot_->view);
  recent_plans_.clear();
  for (auto& [id, session] : sessions_) {
    if (session->idle()) session->settings_changed();
  }
  auth_queries_.snapshot_came();
  wake_waiting();
}

// Who waits for the herd looks whether it is as wanted.
void Worker::wake_waiting() {
  std::vector<SessionId> waiting;  // serving one of them may end others
  for (auto& [id, session] : sessions_)
    if (session->waits_for_herd()) waiting.push_back(id);
  for (const SessionId id : waiting)
    if (Session* session = find(id)) session->snapshot_came();
}

void Worker::stop(bool fast, std::function<void()> empty) {
  stopping_ = true;
  empty_ = std::move(empty);
  if (fast) {
    std::vector<Session*> all;
    for (auto& [id, session] : sessions_) all.push_back(session.get());
    for (Session* session : all) session->end(shutting_down());
    pool_->stop();
  }
  loop_.defer([this] { check_empty(); });
}

void Worker::check_empty() {
  if (!empty_ || !sessions_.empty()) return;
  pool_->stop();
  say_counters();
  std::exchange(empty_, nullptr)();
}

// What the loop has asked of the kernel; a test holds it against the statements that were served.
void Worker::say_counters() {
  const net::LoopCounters& did = loop_.counters();
  LogContext who;
  HG_LOG(shared_.log, who, Level::debug1,
         "worker {}: {} waits, {} events, {} receives, {} sends ({} with the waits), {} posts", id_.value, did.waits,
         did.events, did.receives, did.sends, did.sent_by_waits, did.posts);
}

void Worker::host_name(const net::Address& peer, std::function<void(const std::string&)> done) {
  if (const auto known = host_names_.find(peer.host(), loop_.now())) return done(*known);
  auto name = std::make_shared<std::string>();
  auto told = std::make_shared<std::function<void(const std::string&)>>(std::move(done));
  const bool queued = names().submit(
      loop_, [name, peer] { *name = net::verified_host_name(peer); },
      [this, name, peer, told] {
        if (name->empty()) *name = peer.host();
        host_names_.put(peer.host(), *name, loop_.now() + kHostNameLives);
        (*told)(*name);
      });
  if (!queued) (*told)(peer.host());
}

std::string Worker::known_host_name(const net::Address& peer) const {
  return host_names_.find(peer.host(), loop_.now()).value_or(peer.host());
}

void Worker::make_way_for(const sql::Statement& statement) {
  if (statement.kind != sql::Kind::ddl) return;
  const std::string_view tag = statement.ddl_tag;
  if (tag != "DROP DATABASE" && tag != "ALTER DATABASE" && tag != "CREATE DATABASE") return;
  renew_links();
}

void Worker::renew_links() {
  const auto renew = [&logins = shared_.logins](pool::Pool& pool) {
    pool.renew();
    logins.forget_reported();  // last, for a login may have learned it from a link of before
  };
  renew(*pool_);
  workers_.post_all_others(id_, renew);  // the server waits for some seconds
}

WorkerReport Worker::report() const {
  WorkerReport report;
  for (const auto& [id, session] : sessions_) report.slots.push_back(session->row());
  report.links = pool_->rows();
  return report;
}

WorkerFigures Worker::figures() const { return {clients_, query_times_, pool_->waits(), pool_->figures()}; }

std::vector<ToldCommit> Worker::told_commits() const {
  std::vector<ToldCommit> told;
  for (const auto& [id, session] : sessions_)
    if (const std::uint64_t commit = session->told_commit(); commit != 0) told.push_back({id_, id, commit});
  return told;
}

void Worker::commit_is_lost(const ToldCommit& commit, NodeId from, NodeId to) {
  if (Session* session = find(commit.session)) session->commit_is_lost(commit.id, from, to);
}

void Worker::collect(std::function<void(report::Server)> done) {
  struct Gathering {
    report::Server server;
    std::size_t open;
    std::function<void(report::Server)> done;
  };
  auto gathering = std::make_shared<Gathering>();
  gathering->server.view = snapshot_->view;
  gathering->server.health = shared_.health.load();
  gathering->server.started = shared_.started;
  if (shared_.query_cache) {
    const cache::Figures f = shared_.query_cache->figures();
    gathering->server.cache = {f.hits, f.selects, 0, 0, 0, 0};
    if (!shared_.memcached)
      gathering->server.cache = {f.hits, f.selects, f.entry_slots, f.entries, f.used_bytes, f.free_bytes};
  }
  gathering->open = workers_.count();
  gathering->done = std::move(done);
  gathering->server.counts.resize(snapshot_->view->nodes.size());
  for (std::size_t i = 0; i < workers_.count(); ++i) {
    Worker& other = workers_.worker(WorkerId(static_cast<int>(i)));
    for (std::size_t n = 0; n < gathering->server.counts.size(); ++n) {
      const NodeCounters& from = other.counters_.nodes[snapshot_->view->nodes[n].id.value];
      report::NodeCounts& to = gathering->server.counts[n];
      to.select += from.select, to.insert += from.insert, to.update += from.update, to.del += from.del;
      to.ddl += from.ddl, to.other += from.other, to.panic += from.panic, to.fatal += from.fatal,
          to.error += from.error;
    }
    other.post([this, &other, gathering] {
      auto part = std::make_shared<WorkerReport>(other.report());
      post([gathering, part] {
        report::Server& server = gathering->server;
        std::move(part->slots.begin(), part->slots.end(), std::back_inserter(server.slots));
        std::move(part->links.begin(), part->links.end(), std::back_inserter(server.links));
        if (--gathering->open == 0) gathering->done(std::move(server));
      });
    });
  }
}

}  // namespace herdgate::session
