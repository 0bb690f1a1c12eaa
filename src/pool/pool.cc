#include "pool/pool.h"

#include <unordered_map>

#include "base/assert.h"
#include "base/sqlstate.h"
#include "pool/cleaner.h"

namespace herdgate::pool {
namespace {

backend::OpenFailure failure(Errc code, std::string context) {
  return backend::OpenFailure{Error{code, std::move(context)}, std::nullopt, std::nullopt};
}

backend::OpenFailure node_taken_down(NodeId node) {
  return {Error{backend::Errc::closed_by_server, fmt::format("node {} was taken down", node.value)}, {}, {}};
}

bool is_superusers(const backend::Greeting& greeting) {
  const auto told = greeting.parameters.find("is_superuser");
  return told != greeting.parameters.end() && told->second == "on";
}

// DISCARD ALL without DISCARD PLANS. The interned statements go as well: what was not seen may have dropped them, or
// prepared others under names that a session takes for its own.
constexpr const char* kResetOpaque[] = {
    "CLOSE ALL",
    "SET SESSION AUTHORIZATION DEFAULT",
    "RESET ALL",
    "UNLISTEN *",
    "SELECT pg_catalog.pg_advisory_unlock_all()",
    "DISCARD TEMP",
    "DISCARD SEQUENCES",
    "DEALLOCATE ALL",
};

}  // namespace

Pool::Pool(Wiring wiring) : wiring_(std::move(wiring)) {
  who_.application = who_.process = "child";
  maintain();
}

Pool::~Pool() {
  *alive_ = false;
  wiring_.loop.cancel(maintenance_);
  cleaning_.clear();
  cancels_.clear();
  for (auto& [link, owner] : all_) {
    link->link->set_user(nullptr);
    link->link->close(Error{Errc::stopping, {}});
    wiring_.accounts.closed(link->link->key(), wiring_.loop.now());
  }
}

void Pool::configure(std::shared_ptr<const config::Settings> settings, cluster::ViewPtr view) {
  settings_ = std::move(settings);
  view_ = std::move(view);
  close_idle([this](const ServerLink& link) { return !usable(link); });
  abandon_dead_nodes();
  serve_slots();  // the limits may have been raised
}

// A server that hangs keeps its connections open; nobody may wait on them once its node is down.
void Pool::abandon_dead_nodes() {
  std::vector<ServerLink*> dead;
  for (const auto& [link, owner] : all_) {
    const cluster::Node* node = view_->find(link->link->key().node);
    if (node != nullptr && !node->live()) dead.push_back(link);
  }
  for (ServerLink* link : dead) {
    if (all_.count(link) == 0) continue;  // gone with one of the others
    link->link->abandon(node_taken_down(link->link->key().node).error);
  }
}

bool Pool::taken_down(NodeId id) const {
  const cluster::Node* node = view_->find(id);
  return node == nullptr || !node->live();
}

void Pool::stop_opening(Pending& pending) {
  pending.opener_.reset();
  if (!std::exchange(pending.holds_slot_, false)) return;
  wiring_.accounts.not_opened(pending.ask_.pool->key, wiring_.loop.now());
  serve_slots();
}

KeyPoolPtr Pool::key_pool(const backend::LinkKey& key) {
  KeyPoolPtr& slot = keys_[key];
  if (!slot) slot = std::make_shared<KeyPool>(KeyPool{key, wiring_.accounts.key_account(key), {}});
  return slot;
}

bool Pool::usable(const ServerLink& link) const {
  if (stopping_ || link.retire || link.outdated || link.link->lost()) return false;
  const cluster::Node* node = view_->find(link.link->key().node);
  return node != nullptr && node->live();
}

ServerLink* Pool::try_take(KeyPool& pool) {
  while (!pool.idle.empty()) {
    ServerLink* link = pool.idle.back();
    pool.idle.pop_back();
    pool.account->idle.fetch_sub(1, std::memory_order_relaxed);
    if (usable(*link) && link->link->clean()) {
      ++link->uses;
      return link;
    }
    close(*link, Error{backend::Errc::closed_by_us, "no longer usable"});
  }
  return nullptr;
}

backend::OpenRequest Pool::open_request(const backend::LinkKey& key) const {
  backend::OpenRequest request;
  request.key = key;
  request.names = &wiring_.names;
  const cluster::Node* node = view_->find(key.node);
  HG_ASSERT(node != nullptr);
  request.to = net::Destination{node->host, node->port};
  const auto limit = settings_->health_check(key.node).connect_timeout;
  request.deadline = Deadline::after(wiring_.loop.now(), limit.count() > 0 ? Duration(limit) : kOpenTimeout);
  request.tcp = net::TcpOptions{static_cast<int>(settings_->tcp_keepalives_idle.count()),
                                static_cast<int>(settings_->tcp_keepalives_interval.count()),
                                settings_->tcp_keepalives_count, static_cast<int>(settings_->tcp_user_timeout.count())};
  return request;
}

Pool::Pending::~Pending() {
  pool_.wiring_.loop.cancel(timer_);
  pool_.wiring_.loop.cancel(handing_);
  if (awaits_) --ask_.pool->awaited;
  if (place_.ticket != 0) {
    pool_.by_ticket_.erase(place_.ticket);
    pool_.wiring_.accounts.withdraw(place_.key, place_.ticket);
  }
  if (handed_ != nullptr) pool_.make_available(*handed_);
  pool_.stop_opening(*this);
}

std::unique_ptr<Pool::Pending> Pool::request(Ask ask, OnResult done) {
  std::unique_ptr<Pending> pending(new Pending(*this));
  pending->ask_ = std::move(ask);
  pending->done_ = std::move(done);
  pending->began_ = wiring_.loop.now();
  Pending* self = pending.get();
  const backend::LinkKey& key = self->ask_.pool->key;
  const cluster::Node* node = view_->find(key.node);
  if (stopping_ || node == nullptr || !node->live()) {
    const Errc why = stopping_ ? Errc::stopping : Errc::node_gone;
    self->timer_ = wiring_.loop.after(Duration::zero(), [this, self, why, id = key.node] {
      complete(*self, tl::unexpected(failure(why, fmt::format("node {}", id.value))));
    });
    return pending;
  }
  if (!self->ask_.fresh && !self->ask_.at_once && worth_waiting(*self->ask_.pool)) {
    enqueue(*self, /*then_here=*/true);
    return pending;
  }
  if (take_slot(self->ask_)) {
    self->holds_slot_ = true;
    open(*self);
    return pending;
  }
  if (self->ask_.at_once) return nullptr;
  enqueue(*self, /*then_here=*/false);
  return pending;
}

bool Pool::take_slot(const Ask& ask) {
  const backend::LinkKey& key = ask.pool->key;
  while (!wiring_.accounts.try_open(key)) {
    if (!evict_one(key, ask.fresh)) return ask.other_node && wiring_.accounts.try_open(key, /*beyond_ceiling=*/true);
  }
  return true;
}

// A link that is being cleaned here, or is idle elsewhere, comes sooner and cheaper than a new one.
bool Pool::worth_waiting(const KeyPool& pool) const {
  return pool.account->idle.load(std::memory_order_relaxed) > pool.awaited;
}

// then_here: what is idle here has not been looked at yet, for something was idle elsewhere.
void Pool::enqueue(Pending& pending, bool then_here) {
  Pending* self = &pending;
  const backend::LinkKey& key = self->ask_.pool->key;
  self->place_ =
      Waiting{.key = key, .worker = wiring_.worker, .fresh = self->ask_.fresh, .refused = self->refusal_.has_value()};
  const auto ticket = wiring_.accounts.enqueue(self->place_);
  if (!ticket) {
    self->timer_ = wiring_.loop.after(Duration::zero(), [this, self] {
      complete(*self, tl::unexpected(failure(Errc::queue_full, fmt::format("{} wait", Accounts::kMaxWaiting))));
    });
    return;
  }
  self->place_.ticket = *ticket;
  stand_in_line(pending);
  if (self->ask_.pool->cleaning < self->ask_.pool->awaited) ask_others(key, then_here ? *ticket : 0);
}

void Pool::stand_in_line(Pending& pending) {
  Pending* self = &pending;
  by_ticket_[self->place_.ticket] = self;
  if (!std::exchange(self->awaits_, true)) ++self->ask_.pool->awaited;
  const Deadline& deadline = self->ask_.deadline;
  if (deadline.at == TimePoint::max()) return;
  self->timer_ = wiring_.loop.after(std::max(Duration::zero(), deadline.at - wiring_.loop.now()), [this, self] {
    const backend::LinkKey& key = self->ask_.pool->key;
    const auto waited = std::chrono::duration_cast<std::chrono::seconds>(wiring_.loop.now() - self->began_);
    backend::OpenFailure late = failure(Errc::wait_timed_out, fmt::format("waited {} s", waited.count()));
    late.no_slot = wiring_.accounts.server_bounds(key);
    if (late.no_slot) late.error.context += fmt::format("; the server of node {} has no room for more", key.node.value);
    complete(*self, tl::unexpected(std::move(late)));
  });
}

// The server had no room for it. Others have links there: it waits for one of those, idle ones are closed for it. Or
// others are opening theirs: who has got in has the rest of his login ahead of him, while most refusals come before it,
// so that it waits for how those end. A server's process outlives our end of its connection for a moment, so that this
// may happen more than once, also when what was closed was the last.
bool Pool::waits_for_room(Pending& pending, const backend::OpenFailure& refusal) {
  const KeyPoolPtr pool = pending.ask_.pool;
  const Accounts::Refused refused = wiring_.accounts.refused(pool->key, wiring_.loop.now());
  if (refused.first) {
    HG_LOG(wiring_.log, who_, Level::warning,
           "the server of node {} has no room for more connections: {} are open; who needs one waits, and "
           "idle ones are closed for him",
           pool->key.node.value, refused.others);
  }
  const bool in_vain = refused.alone() && (!refused.leaving || pending.alone_);
  pending.alone_ = refused.alone();
  if (in_vain) tell_refused(pool->key.node);
  if (in_vain || pending.ask_.at_once || pending.ask_.other_node || stopping_) return false;
  wiring_.loop.defer([old = std::shared_ptr<backend::Opener>(std::move(pending.opener_))] {});  // it is calling us
  pending.refusal_ = refusal;
  if (pending.former_.ticket == 0) {
    enqueue(pending, /*then_here=*/false);
  } else {
    pending.place_ = std::exchange(pending.former_, {});
    pending.place_.refused = true;
    wiring_.accounts.put_back(pending.place_);
    stand_in_line(pending);
    ask_others(pool->key);
  }
  relinquish(pool->key);
  return true;
}

// Nobody has got in: those who waited for that have the server's own words.
void Pool::tell_refused(NodeId node) {
  for (const Waiting& who : wiring_.accounts.in_vain(node)) {
    wiring_.peers.post(who.worker, [ticket = who.ticket](Pool& other) {
      const auto it = other.by_ticket_.find(ticket);
      if (it != other.by_ticket_.end()) other.complete(*it->second, tl::unexpected(*it->second->refusal_));
    });
  }
}

void Pool::open(Pending& pending) {
  wiring_.loop.cancel(std::exchange(pending.timer_, 0));
  Pending* self = &pending;
  backend::OpenRequest request = open_request(pending.ask_.pool->key);
  request.credentials = pending.ask_.credentials;
  pending.opener_ = std::make_unique<backend::Opener>(
      wiring_.loop, wiring_.blocking, std::move(request),
      [this, self](tl::expected<backend::Opened, backend::OpenFailure> result) { opened(*self, std::move(result)); },
      [self](auth::ServerMethod method) {
        if (self->ask_.on_method) self->ask_.on_method(method, *self->opener_);
      });
}

void Pool::opened(Pending& pending, tl::expected<backend::Opened, backend::OpenFailure> result) {
  const backend::LinkKey& key = pending.ask_.pool->key;
  if (!result) {
    pending.holds_slot_ = false;
    if (result.error().no_slot) {
      if (waits_for_room(pending, result.error())) return;
    } else {
      wiring_.accounts.not_opened(key, wiring_.loop.now());
    }
    serve_slots();
    const std::string_view state = result.error().not_ready() ? sqlstate::kCannotConnectNow : std::string_view();
    if (result.error().against_node() || !state.empty())
      wiring_.node_trouble(key.node, result.error().error.text(), state);
    return complete(pending, tl::unexpected(std::move(result.error())));
  }
  wiring_.node_reached(key.node);
  wiring_.accounts.opened(key.node, is_superusers(result->greeting));
  serve_slots();
  pending.method_ = result->method;
  pending.proved_ = result->proved;
  auto owner = std::make_unique<ServerLink>(
      std::make_unique<backend::Link>(LinkId(++last_id_), key, std::move(result->greeting)), wiring_.loop.now(),
      wiring_.loop.clock().wall());
  ServerLink& link = *owner;
  link.home = pending.ask_.pool;
  if (settings_->connection_max_age.count() > 0) {
    // Jitter of 10 %, from the id so that links opened together do not all end together.
    const double share = 1.0 - 0.1 * static_cast<double>((last_id_ * 7919) % 1000) / 1000.0;
    link.retire_at = link.created + std::chrono::duration_cast<Duration>(
                                        std::chrono::duration<double>(settings_->connection_max_age) * share);
  }
  if (auto attached = link.link->attach(wiring_.loop, wiring_.scratch, std::move(result->socket)); !attached) {
    pending.holds_slot_ = false;
    wiring_.accounts.closed(key, wiring_.loop.now());
    serve_slots();
    return complete(pending, tl::unexpected(backend::OpenFailure{attached.error(), std::nullopt, std::nullopt}));
  }
  link.link->set_keeper(this);
  pending.holds_slot_ = false;  // it belongs to the link now
  ++link.uses;
  all_.emplace(&link, std::move(owner));
  complete(pending, &link);
}

void Pool::complete(Pending& pending, Result result) {
  wiring_.loop.cancel(std::exchange(pending.timer_, 0));
  wiring_.loop.cancel(std::exchange(pending.handing_, 0));
  if (pending.place_.ticket != 0) {
    by_ticket_.erase(pending.place_.ticket);
    wiring_.accounts.withdraw(pending.place_.key, std::exchange(pending.place_.ticket, 0));
  }
  waits_[pending.ask_.pool->key.node].record(wiring_.loop.now() - pending.began_);
  const OnResult done = std::move(pending.done_);
  done(std::move(result));  // destroys `pending`
}

std::vector<std::string> Pool::reset_queries(const ServerLink& link, const Return& how) const {
  std::vector<std::string> queries;
  const bool opaque = link.memory.opaque || (how.pinned && !link.untouched);
  const bool runs_list = how.session_ends && !how.pinned && !link.untouched;
  if (runs_list && (how.dirty || !settings_->skip_clean_reset || opaque)) {
    for (const std::string& query : settings_->reset_query_list) {
      const bool abort = query.size() == 5 && strncasecmp(query.c_str(), "abort", 5) == 0;
      if (!abort || link.link->status() != 'I') queries.push_back(query);
    }
  } else if (opaque) {
    if (link.link->status() != 'I') queries.emplace_back("ROLLBACK");
    queries.insert(queries.end(), std::begin(kResetOpaque), std::end(kResetOpaque));
  }
  return queries;
}

void Pool::give_back(ServerLink& link, const Return& how) {
  link.holder = 0;
  link.parting = false;
  link.on_cancels_over = nullptr;
  link.memory.pins.clear();
  link.link->set_user(nullptr);
  link.link->resume();
  const TimePoint now = wiring_.loop.now();
  link.idle_since = now;
  const backend::Link& raw = *link.link;
  const std::string& db = raw.key().database;
  const bool never_cached = how.session_ends && (!settings_->connection_cache || db == "template0" ||
                                                 db == "template1" || db == "postgres" || db == "regression");
  const bool open_transaction_only =
      how.session_ends && raw.ledger().empty() && raw.synced() && raw.unsent() == 0 && !raw.half_sent();
  if (never_cached || !usable(link) || now >= link.retire_at || !(raw.clean() || open_transaction_only))
    return close(link, Error{backend::Errc::closed_by_us, "not kept"});
  std::vector<std::string> queries = reset_queries(link, how);
  if (how.session_ends && link.link->status() != 'I' && queries.empty()) queries.emplace_back("ROLLBACK");
  if (link.cancels_in_flight > 0) {  // cancel() goes on with it
    link.reset = std::move(queries);
    return;
  }
  if (queries.empty() && !link.cancelled) return make_available(link);
  clean(link, std::move(queries));
}

void Pool::count_cleaning(const ServerLink& link, int change) {
  link.home->cleaning += change;
  link.home->account->idle.fetch_add(change, std::memory_order_relaxed);
}

void Pool::clean(ServerLink& link, std::vector<std::string> queries) {
  bool all = false;
  for (const std::string& query : queries) {
    const bool discard_all = strcasecmp(query.c_str(), "discard all") == 0;
    all = all || discard_all || strcasecmp(query.c_str(), "reset all") == 0;
    if (discard_all || strcasecmp(query.c_str(), "deallocate all") == 0) link.memory.forget_statements();
  }
  if (all) {
    link.memory.parameters = no_parameters_;
    link.memory.opaque = link.memory.unseen = false;
  }
  link.cancelled = link.memory.wrote = false;
  auto& cleaner = cleaning_[&link];
  if (!cleaner) count_cleaning(link, 1);
  cleaner = std::make_unique<Cleaner>(*this, link);
  cleaner->start(wiring_.loop, queries);
}

void Pool::make_available(ServerLink& link) {
  if (!usable(link) || wiring_.loop.now() >= link.retire_at || !link.link->clean())
    return close(link, Error{backend::Errc::closed_by_us, "not kept"});
  if (wiring_.accounts.anybody_waits()) {
    const Accounts::Turn turn = wiring_.accounts.next_for(link.link->key());
    if (turn.taker) return hand_over(link, *turn.taker);
    if (turn.make_room) return close(link, Error{backend::Errc::closed_by_us, "room for others"});
  }
  link.home->idle.push_back(&link);
  link.home->account->idle.fetch_add(1, std::memory_order_relaxed);
}

// A link has been cleaned, or could not be. Those who counted on it, here and by relinquish(), may have seen it go to
// another worker's waiter who was before them: in session mode it stays there as long as that client does.
void Pool::cleaned(ServerLink& link, bool fine) {
  const KeyPoolPtr home = link.home;
  if (fine && link.link->clean()) {
    make_available(link);
  } else {
    close(link, Error{backend::Errc::closed_by_us, "it could not be reset"});
  }
  if (home->cleaning > 0 || !wiring_.accounts.waits_for(home->key)) return;
  relinquish(home->key);
  if (home->awaited > 0) ask_others(home->key);
}

// Others may have an idle link of this kind, or one of another kind that can make room.
// counts: the ticket of one who counts on the former.
void Pool::ask_others(const backend::LinkKey& key, std::uint64_t counts) {
  wiring_.peers.post_all_others(wiring_.worker, [key, counts, from = wiring_.worker](Pool& other) {
    other.relinquish(key);
    const Wiring& there = other.wiring_;
    if (counts != 0 && there.accounts.full(key.node) && there.accounts.waits_for(key))
      there.peers.post(from, [key, counts](Pool& asker) { asker.counted_in_vain(key, counts); });
  });
}

// One of the others leaves him waiting. He may have what is idle here closed for him; who has another node does not
// wait for room at this one, when nobody has a link for him: it is tried, and goes there.
void Pool::counted_in_vain(const backend::LinkKey& key, std::uint64_t ticket) {
  relinquish(key);
  const auto it = by_ticket_.find(ticket);
  if (it == by_ticket_.end() || !it->second->ask_.other_node) return;
  if (it->second->ask_.pool->account->idle.load(std::memory_order_relaxed) > 0) return;
  if (!wiring_.accounts.try_open(key, /*beyond_ceiling=*/true)) return;
  if (wiring_.accounts.withdraw(key, ticket)) return granted(ticket, key);
  wiring_.accounts.not_opened(key, wiring_.loop.now());  // somebody gives him one
  serve_slots();
}

void Pool::hand_over(ServerLink& link, const Waiting& to) {
  if (to.worker == wiring_.worker) {
    const auto it = by_ticket_.find(to.ticket);
    if (it == by_ticket_.end()) return make_available(link);
    return hand_to(link, *it->second);
  }
  // At the end of the turn: the link may be in the middle of reading, and then belongs to another thread.
  wiring_.loop.defer([this, &link, to] {
    const auto it = all_.find(&link);
    if (it == all_.end()) return serve_anew(to);
    if (!usable(link) || !link.link->clean()) {
      close(link, Error{backend::Errc::closed_by_server, "on its way to another worker"});
      return serve_anew(to);
    }
    auto parcel = std::make_shared<std::unique_ptr<ServerLink>>(std::move(it->second));
    all_.erase(it);
    link.home = nullptr;
    auto socket = std::make_shared<net::Socket>(link.link->detach());
    wiring_.peers.post(to.worker, [parcel, socket, to](Pool& other) { other.adopt(parcel, std::move(*socket), to); });
  });
}

// Deferred: the giver is still on the stack.
void Pool::hand_to(ServerLink& link, Pending& pending) {
  by_ticket_.erase(pending.place_.ticket);
  const Waiting place = std::exchange(pending.place_, {});
  pending.handed_ = &link;
  pending.handing_ = wiring_.loop.after(Duration::zero(), [this, &pending, place] {
    pending.handing_ = 0;
    ServerLink* handed = std::exchange(pending.handed_, nullptr);
    if (usable(*handed) && handed->link->clean()) {
      ++handed->uses;
      return complete(pending, handed);
    }
    pending.place_ = place;
    by_ticket_[place.ticket] = &pending;
    close(*handed, Error{backend::Errc::closed_by_server, "on its way to who waited for it"});
    serve_anew(place);
  });
}

// The link that was meant for `who` has broken on its way. Its slot is free, so there is something to serve it with.
void Pool::serve_anew(const Waiting& who) {
  wiring_.accounts.put_back(who);
  serve_slots();
}

void Pool::adopt(std::shared_ptr<std::unique_ptr<ServerLink>> parcel, net::Socket socket, const Waiting& to) {
  std::unique_ptr<ServerLink> owner = std::move(*parcel);
  ServerLink& link = *owner;
  link.home = key_pool(link.link->key());
  const auto attached = link.link->attach(wiring_.loop, wiring_.scratch, std::move(socket));
  link.link->set_keeper(this);
  all_.emplace(&link, std::move(owner));
  // What befell its like while it was in neither of the pools.
  if (link.created <= renewed_ || link.created < link.home->older_go) link.outdated = true;
  if (attached && usable(link)) return hand_over(link, to);
  close(link, attached ? Error{backend::Errc::closed_by_us, "no longer usable"} : attached.error());
  serve_anew(to);
}

void Pool::relinquish(const backend::LinkKey& key) {
  const auto it = keys_.find(key);
  while (it != keys_.end() && !it->second->idle.empty()) {
    const Accounts::Turn turn = wiring_.accounts.next_for(key);
    if (!turn.taker && !turn.make_room) break;
    ServerLink* link = turn.taker ? it->second->idle.back() : it->second->idle.front();
    if (!turn.taker) {
      forget_idle(*link);
      return close(*link, Error{backend::Errc::closed_by_us, "room for others"});
    }
    it->second->idle.pop_back();
    it->second->account->idle.fetch_sub(1, std::memory_order_relaxed);
    if (usable(*link) && link->link->clean()) return hand_over(*link, *turn.taker);
    wiring_.accounts.put_back(*turn.taker);
    close(*link, Error{backend::Errc::closed_by_us, "no longer usable"});
  }
  if (!wiring_.accounts.anybody_waits()) return;
  if (it != keys_.end() && it->second->cleaning > 0) return;  // it will be handed over when it is clean
  if (!evict_one(key, wiring_.accounts.fresh_wanted(key))) serve_slots();
}

// Closes an idle link to make room: one of another kind to the same node when the node's limit is reached, of the same
// kind for one who needs a fresh link.
bool Pool::evict_one(const backend::LinkKey& wanted, bool fresh) {
  const bool full = wiring_.accounts.full(wanted.node);
  if (!fresh && !full) return false;
  return close_oldest(wanted.node, [&](const backend::LinkKey& key) { return key == wanted ? fresh : full; });
}

bool Pool::close_oldest(NodeId node, const std::function<bool(const backend::LinkKey&)>& which) {
  ServerLink* oldest = nullptr;
  for (auto& [key, pool] : keys_) {
    if (pool->idle.empty() || key.node != node || !which(key)) continue;
    ServerLink* candidate = pool->idle.front();
    if (oldest == nullptr || candidate->idle_since < oldest->idle_since) oldest = candidate;
  }
  if (oldest == nullptr) return false;
  forget_idle(*oldest);
  close(*oldest, Error{backend::Errc::closed_by_us, "room for others"});
  return true;
}

bool Pool::forget_idle(ServerLink& link) {
  const auto it = keys_.find(link.link->key());
  if (it == keys_.end()) return false;
  const bool was_idle = std::erase(it->second->idle, &link) > 0;
  if (was_idle) it->second->account->idle.fetch_sub(1, std::memory_order_relaxed);
  return was_idle;
}

void Pool::granted(std::uint64_t ticket, const backend::LinkKey& key) {
  const auto it = by_ticket_.find(ticket);
  if (it == by_ticket_.end()) {  // gave up meanwhile
    wiring_.accounts.not_opened(key, wiring_.loop.now());
    return serve_slots();
  }
  Pending& pending = *it->second;
  by_ticket_.erase(it);
  pending.former_ = std::exchange(pending.place_, {});
  pending.holds_slot_ = true;
  if (!taken_down(key.node)) return open(pending);
  stop_opening(pending);
  complete(pending, tl::unexpected(node_taken_down(key.node)));
}

void Pool::serve_slots() {
  if (!wiring_.accounts.anybody_waits()) return;
  while (auto waiting = wiring_.accounts.first_that_may_open()) {
    wiring_.peers.post(waiting->worker,
                       [ticket = waiting->ticket, key = waiting->key](Pool& other) { other.granted(ticket, key); });
  }
}

void Pool::close(ServerLink& link, const Error& why) {
  const auto it = all_.find(&link);
  if (it == all_.end()) return;
  link.on_cancels_over = nullptr;
  for (auto& [id, cancel] : cancels_) {
    if (cancel.link == &link) cancel.link = nullptr;
  }
  link.link->set_user(nullptr);
  if (link.link->lost()) report_loss(link);
  link.link->close(why);
  wiring_.accounts.closed(link.link->key(), wiring_.loop.now());
  // Destroyed later: the caller may be inside one of the link's own events.
  auto parcel = std::make_shared<std::unique_ptr<ServerLink>>(std::move(it->second));
  all_.erase(it);
  if (cleaning_.erase(&link) > 0) count_cleaning(link, -1);
  wiring_.loop.defer([parcel] {});
  serve_slots();
}

// Sessions tell of the links they work with; what a server said as its last word, and links that nobody used, are told
// here.
void Pool::report_loss(const ServerLink& link) {
  const std::string& farewell = link.link->farewell();
  const bool shutdown = farewell == sqlstate::kAdminShutdown || farewell == sqlstate::kCrashShutdown;
  if (shutdown || link.holder == 0)
    wiring_.node_trouble(link.link->key().node, "connection closed " + farewell, farewell);
}

void Pool::discard(ServerLink& link, const Error& why) {
  link.holder = 0;
  close(link, why);
}

void Pool::cancel(ServerLink& link) {
  const backend::LinkKey key = link.link->key();
  if (link.cancels_in_flight > 0 || view_->find(key.node) == nullptr) return;  // one on its way is enough
  backend::OpenRequest to = open_request(key);
  const Deadline limit = Deadline::after(wiring_.loop.now(), kCancelTimeout);
  if (limit.at < to.deadline.at) to.deadline = limit;
  ++link.cancels_in_flight;
  link.cancelled = true;
  link.link->send_now();  // a cancel that comes ahead of the statement it is meant for does nothing
  const std::uint64_t id = ++last_cancel_;
  cancels_[id] = Cancel{std::make_unique<backend::Canceller>(wiring_.loop, wiring_.names, to, link.link->greeting(),
                                                             [this, id, alive = alive_](Delivery how) {
                                                               if (*alive) cancel_over(id, how);
                                                             }),
                        &link};
}

void Pool::cancel_over(std::uint64_t id, Delivery how) {
  ServerLink* link = cancels_.at(id).link;
  cancels_.erase(id);
  if (link == nullptr) return;
  if (how == Delivery::in_doubt) link->retire = true;  // it must not hit whoever would have the link next
  if (--link->cancels_in_flight > 0) return;
  if (link->holder != 0) {
    if (const auto tell = std::exchange(link->on_cancels_over, nullptr)) tell();
    return;
  }
  // Given back while the cancel was on its way: now it can be cleaned and lent again.
  if (link->link->lost()) return close(*link, Error{backend::Errc::closed_by_server, {}});
  if (link->retire) return close(*link, Error{backend::Errc::closed_by_us, "a cancel may still reach it"});
  clean(*link, std::exchange(link->reset, {}));
}

void Pool::close_idle(const std::function<bool(const ServerLink&)>& which) {
  for (auto& [key, pool] : keys_) {
    std::vector<ServerLink*> going;
    for (ServerLink* link : pool->idle) {
      if (which(*link)) going.push_back(link);
    }
    for (ServerLink* link : going) {
      forget_idle(*link);
      close(*link, Error{backend::Errc::closed_by_us, "no longer needed"});
    }
  }
}

void Pool::renew() {
  renewed_ = wiring_.loop.now();
  close_idle([](const ServerLink&) { return true; });
  for (auto& [link, owner] : all_) link->outdated = true;
}

bool Pool::learned(ServerLink& link, Defaults defaults, std::uint64_t epoch) {
  link.memory.defaults = defaults;
  link.memory.defaults_epoch = epoch;
  if (defaults == Defaults::unknown) return false;
  const backend::LinkKey& key = link.link->key();
  const Accounts::Lesson lesson{link.created, wiring_.loop.now(), epoch, defaults};
  switch (wiring_.accounts.learned(key, lesson)) {
    case Accounts::Learned::as_others:
      return false;
    case Accounts::Learned::older:
      link.outdated = true;
      return false;
    case Accounts::Learned::newer:
      break;
  }
  retire_older(key, link.created);
  wiring_.peers.post_all_others(wiring_.worker,
                                [key, than = link.created](Pool& other) { other.retire_older(key, than); });
  return true;
}

void Pool::retire_older(const backend::LinkKey& key, TimePoint than) {
  if (const auto it = keys_.find(key); it != keys_.end()) it->second->older_go = std::max(it->second->older_go, than);
  for (const auto& [link, owner] : all_) {
    if (link->link->key() == key && link->created < than) link->outdated = true;
  }
  close_idle([](const ServerLink& link) { return link.outdated; });
}

// At once: the server may have crashed, and be back with less before anybody asks it again.
void Pool::on_lost_unused(backend::Link&) {
  if (std::exchange(loss_noted_, true)) return;
  wiring_.loop.defer([this, alive = alive_] {
    if (!*alive) return;
    loss_noted_ = false;
    close_idle([](const ServerLink& link) { return link.link->lost(); });
  });
}

void Pool::stop() {
  stopping_ = true;
  close_idle([](const ServerLink&) { return true; });
}

void Pool::maintain() {
  maintenance_ = wiring_.loop.after(std::chrono::seconds(1), [this] { maintain(); });
  if (!settings_) return;
  const TimePoint now = wiring_.loop.now();
  const Duration life = settings_->connection_life_time;
  close_idle([&](const ServerLink& link) {
    return now >= link.retire_at || (life.count() > 0 && now - link.idle_since >= life) || link.link->lost();
  });
  leave_room_to_others();
  std::erase_if(keys_, [](const auto& entry) {
    return entry.second->idle.empty() && entry.second->cleaning == 0 && entry.second.use_count() == 1;
  });
}

// Of a server that we have filled: other proxies, administrators and our own checks want to log in there, too.
void Pool::leave_room_to_others() {
  if (wiring_.worker == WorkerId(0)) {  // for all of them
    wiring_.accounts.feel_for_room(wiring_.loop.now());
    serve_slots();
  }
  for (const cluster::Node& node : view_->nodes) {
    while (wiring_.accounts.crowds(node.id) && close_oldest(node.id, [](const backend::LinkKey&) { return true; })) {
    }
  }
}

std::vector<report::PoolFigures> Pool::figures() const {
  std::unordered_map<const KeyPool*, report::LinkFigures> by_pool;
  for (const auto& [link, owner] : all_) {
    report::LinkFigures& links = by_pool[link->home.get()];
    ++(link->holder != 0 ? links.used : links.idle);
  }
  std::vector<report::PoolFigures> figures;
  figures.reserve(by_pool.size());
  for (const auto& [pool, links] : by_pool) {
    if (pool == nullptr) continue;  // on its way to another worker
    figures.push_back({pool->key.node, pool->key.database, pool->key.user, links});
  }
  return figures;
}

std::vector<report::LinkRow> Pool::rows() const {
  std::vector<report::LinkRow> rows;
  for (const auto& [link, owner] : all_) {
    report::LinkRow& row = rows.emplace_back();
    row.node = link->link->key().node;
    row.database = link->link->key().database;
    row.user = link->link->key().user;
    row.slot_pid = link->holder;
    row.created = link->created_wall;
    row.uses = link->uses;
    row.backend_pid = link->link->greeting().pid;
    row.in_use = link->holder != 0;
    row.protocol_minor = link->link->greeting().minor;
    row.pins = link->memory.pins;
  }
  return rows;
}

}  // namespace herdgate::pool
