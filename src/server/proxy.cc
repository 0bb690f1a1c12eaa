#include "server/proxy.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <openssl/rand.h>

#include "base/sqlstate.h"
#include "session/session.h"

namespace herdgate::server {
namespace {

// Where there are not descriptors enough for all nodes, each has its share of them.
pool::Limits limits_of(const config::Settings& settings, const SocketBounds& sockets) {
  const std::size_t configured =
      static_cast<std::size_t>(settings.max_pool) * static_cast<std::size_t>(settings.num_init_children);
  const std::size_t nodes = std::max<std::size_t>(settings.backends.size(), 1);
  const std::size_t share = std::max<std::size_t>(static_cast<std::size_t>(sockets.links) / nodes, 1);
  return pool::Limits{.per_node = std::min(configured, share), .per_key = static_cast<std::size_t>(settings.pool_size)};
}

SocketBounds bounds_of(const config::Settings& settings) {
  return socket_bounds(needed_descriptors(settings.num_init_children, settings.max_pool, settings.backends.size()),
                       raise_descriptor_limit());
}

// A result has to fit into a block of the original's memory, head included, and into memqcache_maxcache.
std::unique_ptr<cache::Store> query_cache(const Clock& clock, const config::Settings& settings) {
  constexpr std::int64_t kBlockHead = 64;
  if (!settings.memory_cache_enabled) return nullptr;
  const std::int64_t in_block = std::max<std::int64_t>(settings.memqcache_cache_block_size - kBlockHead, 0);
  cache::Store::Options options;
  options.total_bytes = static_cast<std::size_t>(settings.memqcache_total_size);
  options.max_entries = static_cast<std::size_t>(settings.memqcache_max_num_cache);
  options.max_answer_bytes = static_cast<std::size_t>(std::min(settings.memqcache_maxcache, in_block));
  options.expire = settings.memqcache_expire;
  if (settings.memqcache_method == config::CacheMethod::memcached)
    options.max_answer_bytes = static_cast<std::size_t>(settings.memqcache_maxcache);
  return std::make_unique<cache::Store>(clock, options);
}

std::unique_ptr<cache::Sharing> memcached(const config::Settings& settings, catalog::Epochs& epochs) {
  if (!settings.memory_cache_enabled || settings.memqcache_method != config::CacheMethod::memcached) return nullptr;
  auto sharing = std::make_unique<cache::Sharing>();
  const std::string& host = settings.memqcache_memcached_host;
  sharing->to = {host, host.starts_with('/') ? net::Destination::kIsPath : settings.memqcache_memcached_port};
  sharing->space = settings.memqcache_memcached_namespace;
  sharing->redefined = [&epochs](std::string_view database) {
    constexpr auto kChange = catalog::Epochs::Change::results;
    return database.empty() ? epochs.define_in_all(kChange) : epochs.define(database, kChange);
  };
  sharing->expiry =
      static_cast<std::uint32_t>(std::min<std::int64_t>(settings.memqcache_expire.count(), cache::kLongestExpiry));
  sharing->max_answer_bytes = static_cast<std::size_t>(settings.memqcache_maxcache);
  return sharing;
}

std::optional<config::IpAddress> ip_of(const sockaddr* address) {
  config::IpAddress ip;
  if (address == nullptr) return std::nullopt;
  if (address->sa_family == AF_INET) {
    std::memcpy(ip.octets.data(), &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, 4);
  } else if (address->sa_family == AF_INET6) {
    ip.v6 = true;
    std::memcpy(ip.octets.data(), &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, 16);
  } else {
    return std::nullopt;
  }
  return ip;
}

// For samehost and samenet in pool_hba.conf.
std::vector<config::Interface> local_interfaces() {
  std::vector<config::Interface> found;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return found;
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    const auto address = ip_of(at->ifa_addr), mask = ip_of(at->ifa_netmask);
    if (address && mask) found.push_back({*address, *mask});
  }
  freeifaddrs(list);
  return found;
}

// 57P01 and 57P02: the server takes its sessions down.
bool says_shutdown(std::string_view farewell) {
  return farewell == sqlstate::kAdminShutdown || farewell == sqlstate::kCrashShutdown;
}

// A server that ended one session with words (pg_terminate_backend, a time limit) works. One that is shutting down says
// so to whoever connects next.
bool puts_in_doubt(std::string_view farewell) {
  return farewell.empty() || farewell == sqlstate::kCrashShutdown || farewell == sqlstate::kCannotConnectNow;
}

// A server that crashed may have lost what it had shown, and one that was stopped may have been given a backup. Of the
// latter the rounds of sr_check_period tell, where there are any: it has read its configuration anew.
bool may_come_back_older(const config::Settings& settings, const cluster::View& view, NodeId node,
                         std::string_view farewell) {
  const bool streaming = settings.backend_clustering_mode == config::ClusteringMode::streaming_replication;
  // What a standby had shown, its primary had committed.
  if (streaming && node != view.write_node()) return false;
  const bool rounds = streaming && settings.sr_check_period.count() > 0;
  return puts_in_doubt(farewell) || (!rounds && says_shutdown(farewell));
}

// By itself half the cores: clients or servers on the same machine want the others, and a worker that is busy finds
// several events at each wait, where two half idle ones are woken for each (docs/performance.md).
std::size_t worker_count(const config::Settings& settings) {
  if (settings.num_workers > 0) return static_cast<std::size_t>(settings.num_workers);
  return std::max(1u, std::thread::hardware_concurrency() / 2);
}

}  // namespace

Proxy::Proxy(const Clock& clock, Log& log, net::Loop& control, net::BlockingPool& blocking, Files files)
    : clock_(clock),
      log_(log),
      control_(control),
      blocking_(blocking),
      files_(std::move(files)),
      interfaces_(std::make_shared<const std::vector<config::Interface>>(local_interfaces())),
      client_sockets_(bounds_of(*files_.settings).clients),
      shared_(log, limits_of(*files_.settings, bounds_of(*files_.settings))) {
  shared_.query_cache = query_cache(clock, *files_.settings);
  shared_.memcached = memcached(*files_.settings, shared_.epochs);
  shared_.started = clock.wall();
  std::string secret(32, '\0');
  RAND_bytes(reinterpret_cast<unsigned char*>(secret.data()), static_cast<int>(secret.size()));
  shared_.mock_secret = auth::Secret(secret);
}

Proxy::~Proxy() {
  for (auto& worker : workers_) worker->loop().stop();
  for (std::thread& thread : threads_) thread.join();
  // Its jobs post their results to loops that end with the workers.
  blocking_.stop();
  probing_.stop();
  shared_.names.stop();
  shared_.server_names.stop();
  if (shared_.memcached) shared_.memcached->names.stop();
  control_.cancel(pause_timer_);
  control_.cancel(outdating_);
  control_.cancel(reload_timer_);
  monitor_.reset();
}

void Proxy::start(bool discard_state, std::function<void()> ready) {
  start_doubt_.begin();
  monitor::Hooks hooks;
  hooks.publish = [this](cluster::ViewPtr view) { take_view(std::move(view)); };
  hooks.credentials = [this](const std::string& user, const std::string& password) {
    return monitor_credentials(user, password);
  };
  hooks.settled = [this](std::function<void()> done) { when_settled(std::move(done)); };
  hooks.first_look = [this, ready = std::move(ready)] { start_doubt_.look(ready); };
  hooks.reloaded = [this] { hint_server_reloads(); };
  hooks.defaults_altered = [this] { renew_links(); };
  // A link logged in under a name that is another one's now; it may have been made while its standby lagged behind.
  hooks.names_changed = [this] {
    renew_links();
    forget_answers();
  };
  hooks.primary_crashed = [this] {
    if (shared_.query_cache) outdate_answers();  // no link was there that would have told us (hint_node_trouble())
  };
  hooks.shut_gate = [this](std::function<void()> empty) { shut_gate(std::move(empty)); };
  hooks.open_gate = [this] { open_gate(); };
  hooks.health = [this](const report::HealthByNode& figures) {
    shared_.health.store(std::make_shared<const report::HealthByNode>(figures));
  };
  monitor_ =
      std::make_unique<monitor::Monitor>(monitor::ProbeMeans{control_, probing_, scratch_}, log_, std::move(hooks));
  monitor_->start(files_.settings, discard_state);
  view_ = monitor_->view();
  const std::size_t count = worker_count(*files_.settings);
  const session::WorkerMeans means{clock_, shared_, *this, blocking_};
  for (std::size_t i = 0; i < count; ++i)
    workers_.push_back(std::make_unique<session::Worker>(WorkerId(static_cast<int>(i)), means, snapshot()));
  LogContext who;
  const bool ring = workers_.front()->loop().kernel() == net::Loop::Kernel::io_uring;
  HG_LOG(log_, who, Level::debug1, "{} workers wait by {}", count, ring ? "io_uring" : "epoll");
  for (auto& worker : workers_) threads_.emplace_back([&worker = *worker] { worker.loop().run(); });
}

void Proxy::take_view(cluster::ViewPtr view) {
  const auto differ = [&](const cluster::View& before) {  // in raw mode nobody is called primary
    return view->primary != before.primary || view->write_node() != before.write_node();
  };
  const bool promoted = view_ != nullptr && differ(*view_);
  view_ = std::move(view);
  const NodeId now = view_->primary;
  const NodeId before = now != kNoNode ? std::exchange(last_primary_, now) : now;
  const bool checks = before != kNoNode && before != now && files_.settings->commit_outcome_check;
  if (checks) commit_check_.begin();
  announce_roles();
  publish();
  if (promoted) forget_answers();
  if (promoted && now != kNoNode) ++primary_changes_;
  if (checks) commit_check_.ask(before, now, monitor_->target_of(now));
}

// Once, when the primary has been found and every node in use has answered: 0 not in use, 1 primary, 2 standby.
void Proxy::announce_roles() {
  const bool streaming = files_.settings->backend_clustering_mode == config::ClusteringMode::streaming_replication;
  if (roles_announced_ || !streaming || view_->primary == kNoNode) return;
  for (const cluster::Node& node : view_->nodes)
    if (node.live() && node.real_role == cluster::Role::unknown) return;
  roles_announced_ = true;
  LogContext who;
  for (const cluster::Node& node : view_->nodes) {
    const int role = node.id == view_->primary ? 1 : node.live() && node.real_role == cluster::Role::standby ? 2 : 0;
    HG_LOG(log_, who, Level::log, "node status[{}]: {}", node.id.value, role);
  }
}

session::SnapshotPtr Proxy::snapshot() const {
  auto snapshot = std::make_shared<session::Snapshot>();
  snapshot->settings = files_.settings;
  snapshot->hba = files_.hba;
  snapshot->passwords = files_.passwords;
  snapshot->interfaces = interfaces_;
  snapshot->key = files_.key;
  snapshot->view = view_;
  snapshot->pauses = pauses_;
  snapshot->restrains = pauses_ != nullptr || view_->primary_awaited || view_->switching;
  return snapshot;
}

// The new primary may lack what the old one has shown, definitions too. What is read of that one from now on by a
// session that does not know yet goes with the second flush.
void Proxy::forget_answers() {
  const auto forget = [this] {
    shared_.epochs.define_in_all(catalog::Epochs::Change::results);
    if (shared_.query_cache) flush_query_cache();
  };
  forget();
  when_settled(forget);
}

// Of memcached no worker of ours uses anything until one of them has emptied it.
void Proxy::flush_query_cache() {
  if (!shared_.memcached) return shared_.query_cache->flush();
  ++shared_.memcached->owed;
  for (auto& worker : workers_) worker->post([&worker = *worker] { worker.remote_cache()->pay(); });
}

// A server that dies takes all its links with it, and memcached is emptied for all proxies: once a second.
void Proxy::outdate_answers() {
  shared_.epochs.define_in_all(catalog::Epochs::Change::results);
  if (!shared_.memcached) return shared_.query_cache->outdate();
  if (outdating_ != 0) {
    outdate_again_ = true;
    return;
  }
  flush_query_cache();
  outdating_ = control_.after(std::chrono::seconds(1), [this] {
    outdating_ = 0;
    if (std::exchange(outdate_again_, false)) outdate_answers();
  });
}

// Live links have taken over whatever they had not set themselves. Their answers of before the change, and those that
// were filed under the old settings since, go. What was prepared before has its constants by the old ones: first of
// all, whoever parses its text from now on is to get another one, and its answers are kept no more.
void Proxy::server_has_reloaded() {
  shared_.epochs.define_in_all(catalog::Epochs::Change::results);
  shared_.accounts.settings_changed();
  shared_.logins.forget_reported();
  if (shared_.query_cache) flush_query_cache();
}

void Proxy::renew_links() {
  for (auto& worker : workers_) {
    worker->post([this, &worker = *worker] {
      worker.pool().renew();
      shared_.logins.forget_reported();  // last, for a login may have learned it from a link of before
    });
  }
}

StartDoubt::Whom Proxy::whom_to_ask() const {
  const NodeId node = view_->write_node();
  return {node, monitor_->login_of(node)};
}

// Whoever asks for that may have changed definitions too, directly at a server.
bool Proxy::drop_query_cache() {
  if (shared_.query_cache) forget_answers();
  return shared_.query_cache != nullptr;
}

void Proxy::publish() {
  const session::SnapshotPtr now = snapshot();
  for (auto& worker : workers_) worker->post([&worker = *worker, now] { worker.take_snapshot(now); });
}

// What was posted to the workers before, the last snapshot for one, has been done when this calls back.
void Proxy::when_settled(std::function<void()> done) {
  auto left = std::make_shared<std::size_t>(workers_.size());
  auto then = std::make_shared<std::function<void()>>(std::move(done));
  for (auto& worker : workers_) {
    worker->post([this, left, then] {
      control_.post([left, then] {
        if (--*left == 0) (*then)();
      });
    });
  }
}

void Proxy::shut_gate(std::function<void()> empty) {
  shared_.gate.shut([this, empty = std::move(empty)] { control_.post(empty); });
}

void Proxy::open_gate() {
  const auto limit = static_cast<std::size_t>(files_.settings->num_init_children);
  for (const session::ClientGate::Waiting& who : shared_.gate.open(limit)) worker(who.worker).let_in(who, limit);
}

// A single worker accepts by itself: to be handed a socket by another thread costs one sleep and one wake-up more for
// each client (docs/decisions/0002-the-worker-accepts.md).
void Proxy::serve(std::vector<std::unique_ptr<net::Listener>> listeners) {
  listeners_ = std::move(listeners);
  if (workers_.size() > 1)
    return listen_on(control_,
                     [this](net::Socket socket, const net::Address& peer) { hand_out(std::move(socket), peer); });
  workers_.front()->post([this, &worker = *workers_.front()] {
    listen_on(worker.loop(), [&worker](net::Socket socket, const net::Address& peer) {
      worker.load().fetch_add(1, std::memory_order_relaxed);
      worker.accept(std::move(socket), peer);
    });
  });
}

void Proxy::listen_on(net::Loop& loop, net::Listener::Accepted accepted) {
  const auto troubled = [this](const Error& error) {
    LogContext who;
    HG_LOG(log_, who, Level::warning, "{}; new clients wait", error.text());
  };
  for (const auto& listener : listeners_) {
    listener->serve_on(loop);
    const auto started = listener->start(accepted, troubled, [this] { return has_room(); });
    if (!started) troubled(started.error());
  }
}

void Proxy::close_listeners() {
  const auto close = [this] {
    for (const auto& listener : listeners_) listener->close();
  };
  if (workers_.size() > 1) return close();
  workers_.front()->post(close);
}

// Those that have not logged in count too: a flood of them must leave us the descriptors for links, probes and scripts.
bool Proxy::has_room() const {
  std::int64_t open = 0;
  for (const auto& worker : workers_) open += worker->load().load(std::memory_order_relaxed);
  return open < client_sockets_.load(std::memory_order_relaxed);
}

// To the worker with the fewest clients.
void Proxy::hand_out(net::Socket socket, const net::Address& peer) {
  session::Worker* least = workers_.front().get();
  for (auto& worker : workers_) {
    if (worker->load().load(std::memory_order_relaxed) < least->load().load(std::memory_order_relaxed))
      least = worker.get();
  }
  least->load().fetch_add(1, std::memory_order_relaxed);
  auto parcel = std::make_shared<net::Socket>(std::move(socket));
  least->post([least, parcel, peer] { least->accept(std::move(*parcel), peer); });
}

void Proxy::reload(Files files) {
  // Nobody has looked after what was kept without invalidation.
  const auto kept_by = [](const config::Settings& s) {
    return std::tie(s.cache_safe_memqcache_table_list, s.cache_unsafe_memqcache_table_list,
                    s.memqcache_auto_cache_invalidation);
  };
  const bool otherwise = kept_by(*files.settings) != kept_by(*files_.settings);
  files_ = std::move(files);
  interfaces_ = std::make_shared<const std::vector<config::Interface>>(local_interfaces());
  const SocketBounds sockets = bounds_of(*files_.settings);  // nodes may have come
  client_sockets_ = sockets.clients;
  shared_.accounts.set_limits(limits_of(*files_.settings, sockets));
  shared_.logins.clear();
  monitor_->reload(files_.settings);
  view_ = monitor_->view();
  publish();
  if (otherwise) forget_answers();
}

void Proxy::stop(bool fast, std::function<void()> stopped) {
  close_listeners();
  // A count for each call: a smart stop may be followed by a fast one, and answers to the first may be under way.
  auto left = std::make_shared<std::size_t>(workers_.size());
  auto done = std::make_shared<std::function<void()>>(std::move(stopped));
  for (auto& worker : workers_) {
    worker->post([this, &worker = *worker, fast, left, done] {
      worker.stop(fast, [this, left, done] {
        control_.post([left, done] {
          if (--*left == 0) (*done)();
        });
      });
    });
  }
}

void Proxy::collect(std::function<void(const report::Server&)> done) {
  session::Worker& first = *workers_.front();
  first.post([this, &first, done = std::move(done)] {
    first.collect([this, done](report::Server server) {
      auto whole = std::make_shared<report::Server>(std::move(server));
      control_.post([this, done, whole] {
        // Whoever has just changed the cluster is to see it. The counts go by position, which stays.
        if (whole->view->nodes.size() == view_->nodes.size()) whole->view = view_;
        done(*whole);
      });
    });
  });
}

void Proxy::post_all_others(WorkerId from, std::function<void(pool::Pool&)> work) {
  for (auto& worker : workers_) {
    if (worker->id() != from) worker->post([&worker = *worker, work] { work(worker.pool()); });
  }
}

void Proxy::post(WorkerId to, std::function<void(pool::Pool&)> work) {
  session::Worker& there = worker(to);
  there.post([&there, work = std::move(work)] { work(there.pool()); });
}

void Proxy::hint_node_trouble(NodeId node, const std::string& why, std::string_view farewell) {
  control_.post([this, node, why, farewell = std::string(farewell)] {
    LogContext who;
    HG_LOG(log_, who, Level::debug1, "connection to node {} failed in a session: {}", node.value, why);
    // First: what the monitor decides may leave the node without its role.
    if (shared_.query_cache && may_come_back_older(*files_.settings, *view_, node, farewell)) outdate_answers();
    monitor_->connection_failed(node, says_shutdown(farewell), puts_in_doubt(farewell));
  });
}

void Proxy::outcomes_closed() {
  for (auto& worker : workers_) worker->post([&worker = *worker] { worker.wake_waiting(); });
}

void Proxy::pause(const session::Pauses::Change& change, WorkerId from, PauseDone done) {
  control_.post([this, change, from, done = std::move(done)] {
    set_pause(change, [this, from, done](const session::Pauses::Outcome& outcome) {
      worker(from).post([done, outcome] { done(outcome); });
    });
  });
}

void Proxy::set_pause(const session::Pauses::Change& change, PauseDone done) {
  session::Pauses pauses = pauses_ ? *pauses_ : session::Pauses{};
  const session::Pauses::Outcome outcome = pauses.set(change, control_.now(), files_.settings->pause_timeout);
  LogContext who;
  HG_LOG(log_, who, outcome.taken ? Level::log : Level::warning, "{}", outcome.words);
  if (outcome.taken) publish_pauses(std::move(pauses));
  when_settled([outcome, done = std::move(done)] { done(outcome); });
}

void Proxy::publish_pauses(session::Pauses pauses) {
  pauses_ = pauses.databases.empty() ? nullptr : std::make_shared<const session::Pauses>(std::move(pauses));
  publish();
  end_old_pauses();
}

// pause_timeout: nobody waits for ever for whoever forgot to say RESUME.
void Proxy::end_old_pauses() {
  control_.cancel(std::exchange(pause_timer_, 0));
  const TimePoint next = pauses_ ? pauses_->next_end() : TimePoint::max();
  if (next == TimePoint::max()) return;
  pause_timer_ = control_.after(std::max(Duration::zero(), next - control_.now()), [this] {
    pause_timer_ = 0;
    session::Pauses left = *pauses_;
    LogContext who;
    for (const std::string& database : left.end_old(control_.now()))
      HG_LOG(log_, who, Level::warning, "pause_timeout is over, new work in {} goes on",
             session::paused_subject(database));
    publish_pauses(std::move(left));
  });
}

// The signal reaches the server's processes a moment after the answer: what was asked of a link in between counts no
// more after the second time. Later ones are noticed by the rounds of sr_check_period.
void Proxy::hint_server_reloads() {
  static constexpr Duration kSignalTakes = std::chrono::seconds(1);
  control_.post([this] {
    server_has_reloaded();
    if (reload_timer_ != 0) control_.cancel(reload_timer_);
    reload_timer_ = control_.after(kSignalTakes, [this] {
      reload_timer_ = 0;
      server_has_reloaded();
    });
  });
}

void Proxy::hint_node_reached(NodeId node) {
  // Only the first connection matters; the snapshot says whether it has been made.
  control_.post([this, node] {
    const cluster::Node* known = view_->find(node);
    if (known != nullptr && known->status == cluster::NodeStatus::waiting) monitor_->first_connection(node);
  });
}

std::optional<auth::Credentials> Proxy::monitor_credentials(const std::string& user,
                                                            const std::string& password) const {
  auth::StoredSecret stored;
  if (!password.empty()) {
    auto parsed = auth::parse_stored(password);
    if (parsed) stored = *parsed;
  } else if (const config::PasswordEntry* entry = files_.passwords->find_user(user)) {
    stored = session::stored_secret(*entry);
  }
  if (auto opened = auth::unlock(stored, files_.key)) stored = *opened;
  auto credentials = auth::credentials_from(stored, user);
  if (!credentials) return std::nullopt;
  return *credentials;
}

}  // namespace herdgate::server
