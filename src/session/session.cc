#include "session/session.h"

#include <algorithm>

#include "base/prefetch.h"
#include "base/sqlstate.h"
#include "session/session_log.h"
#include "session/words.h"
#include "wire/frontend.h"

namespace herdgate::session {
namespace {

// What RESET goes back to: another session may have set it on this link. In the order of their names.
constexpr std::string_view kAsked[] = {"default_transaction_isolation", "search_path"};
constexpr std::string_view kAskDefaults =
    "SELECT reset_val FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'default_transaction_isolation' "
    "OR name OPERATOR(pg_catalog.=) 'search_path' ORDER BY name";

}  // namespace

Session::Session(Worker& worker, SessionId id, net::Socket socket, const net::Address& peer)
    : worker_(worker),
      id_(id),
      peer_(peer),
      client_(worker.loop(), std::move(socket), worker.gathering()),
      snapshot_(worker.snapshot()),
      login_(std::make_unique<Login>(*this)),
      vs_(worker.shared().hash_key),
      last_active_(worker.loop().now()),
      started_(worker.loop().clock().wall()) {
  who_.application = "child";
  who_.process = "CHILD";
  who_.session = id.value;
}

const config::SessionSettings Session::kNothingSet{};

Session::~Session() {
  worker_.loop().cancel(idle_timer_);
  end_hold();
  worker_.loop().cancel(own_timer_);
  if (run_) worker_.take_back(std::move(run_));
}

Result<Done> Session::start() {
  HG_CHECK(worker_.loop().watch(client_.fd(), *this));
  log_connection(*this, worker_, who_, settings());
  login_->start();
  if (!peer_.address().is_unix()) {  // most have begun to speak: see TcpOptions::defer_accept
    readable_ = true;
    read_client();
  }
  return Done{};
}

void Session::approach(int others) const {
  if (others > 1) return prefetch(&phase_, kOftenBytes);
  for (const pool::ServerLink* link : links_) prefetch(link, kLinkBytes);
  if (cache_) prefetch(cache_.get(), SessionCache::kOftenBytes);
}

void Session::on_ready(unsigned ready) {
  if (ready & net::kHangup) hangup_ = true;
  if ((ready & net::kWritable) && client_.pending() > 0) {
    if (client_.on_writable()) {
      for (pool::ServerLink* link : links_) {
        if (!run_ || run_->aside.size() <= kMostAside || link->link->mid_forward()) link->link->resume();
      }
      pump();
      read_client();
    }
  }
  if (ready & (net::kReadable | net::kHangup)) {
    readable_ = true;
    read_client();
  }
  // What cannot be told any more need not be finished. Half-closed, the client may still listen.
  if (client_.broken() || (ready & net::kBroken)) retire();
}

// Nothing else may tell of it: of a UNIX socket whose peer has gone the loop has said so already.
void Session::on_unsent(std::string_view rest, int errno_value) {
  client_.took_less(rest, errno_value);
  if (!client_.broken()) return;
  worker_.loop().defer([&worker = worker_, id = id_] {
    if (Session* session = worker.find(id)) session->retire();
  });
}

// A client that does not take its answers, or is far ahead of them, is not listened to for the moment.
bool Session::client_must_wait() const {
  const bool behind = phase_ != Phase::idle || unit_stalls();
  const bool ahead = phase_ == Phase::login ? in_.size() >= Login::kMaxReadAhead : behind && in_.size() > kMaxReadAhead;
  return client_.pending() > 0 || server_is_slow() || ahead;
}

bool Session::server_is_slow() const {
  return std::any_of(links_.begin(), links_.end(),
                     [](const pool::ServerLink* link) { return link->link->unsent() > kMaxReadAhead; });
}

void Session::read_client() {
  for (int reads = 0; readable_ && !ended_ && !serving_ && phase_ != Phase::closed && !client_must_wait(); ++reads) {
    if (reads == kReadsPerTurn) return read_later();
    std::span<char> room = worker_.scratch().bytes;
    if (phase_ == Phase::login) room = room.first(std::min(room.size(), Login::kMaxReadAhead - in_.size()));
    const net::Io io = client_.socket().read(worker_.loop(), room);
    if (io.state == net::Io::failed) return retire();
    // A short read says that nothing more has come, not that nothing more will: the end is read as well.
    readable_ = io.state == net::Io::ok && (io.still_ready || hangup_);
    ended_ = io.state == net::Io::closed;
    if (io.state != net::Io::ok) break;
    const ByteView fresh(worker_.scratch().bytes.data(), io.bytes);
    if (in_.empty()) {
      const std::size_t used = serve_input(fresh);
      if (used < fresh.size() && phase_ != Phase::closed) in_.assign(fresh.substr(used));
    } else {
      in_.append(fresh);
      pump();
    }
  }
  // What a login's client sent too far ahead is not read to its end: that is here when the client has gone.
  if (hangup_ && phase_ == Phase::login && in_.size() >= Login::kMaxReadAhead) ended_ = true;
  client_ended();
}

// A client may send faster than he is served, where no server has to be waited for: others have their turn all the
// same.
void Session::read_later() {
  if (std::exchange(reads_later_, true)) return;
  worker_.loop().after(Duration::zero(), [&worker = worker_, id = id_] {
    Session* session = worker.find(id);
    if (session == nullptr) return;
    session->reads_later_ = false;
    session->read_client();
  });
}

// Serves what has been read already. Only here and in read_client() is input consumed.
void Session::pump() {
  if (in_.empty() || serving_ || phase_ == Phase::closed) return;
  const std::size_t used = serve_input(in_);
  if (phase_ == Phase::closed) return;
  if (used == in_.size()) {
    Bytes().swap(in_);  // an idle client holds no buffer
  } else if (used > 0) {
    in_.erase(0, used);
  }
}

std::size_t Session::serve_input(ByteView input) {
  std::size_t used = 0;
  serving_ = true;  // whatever becomes possible meanwhile is done by this loop, not by a pump() within it
  Next next = Next::served;
  while (next == Next::served && used < input.size() && phase_ != Phase::closed && client_.pending() == 0) {
    if (phase_ == Phase::login) {
      const std::size_t taken = login_->take(input.substr(used));
      used += taken;
      if (identity_) login_.reset();
      if (taken == 0 || phase_ == Phase::login) break;
    } else {
      next = serve(input.substr(used), used);
    }
    if (client_.gathered_own() > kMaxGathered) client_.flush();
  }
  serving_ = false;
  if (phase_ == Phase::closed) return input.size();
  client_.flush();
  if (client_.broken()) retire();
  return used;
}

Session::Next Session::serve(ByteView input, std::size_t& used) {
  if (rest_missing_ > 0) return pass_rest(input, used);
  const Request request = next_request(input);
  using Kind = Request::Kind;
  if (request.kind == Kind::need_more) return Next::stop;
  if (request.kind == Kind::copy_data) return serve_copy(request, input, used);
  if (copies_in()) return serve_in_copy(request, input, used);
  if (phase_ != Phase::idle) return Next::waiting;
  last_active_ = worker_.loop().now();
  work().request = request;
  if (run_->began == TimePoint{}) run_->began = last_active_;
  if ((request.kind == Kind::query || request.kind == Kind::function_call) && ignores_until_sync()) {
    used += request.bytes;
    return Next::served;
  }
  switch (request.kind) {
    case Kind::broken:
      end(protocol_violation(request.problem));
      return Next::stop;
    case Kind::terminate:
      client_.flush();
      if (!client_.all_sent()) return Next::stop;
      used += request.bytes;
      log_from_client(input);
      retire();
      return Next::stop;
    case Kind::query:
      return serve_query(input.substr(0, request.bytes), used);
    case Kind::function_call:
      return serve_function_call(input.substr(0, request.bytes), used);
    default:
      return serve_unit(input.substr(0, request.bytes), used);
  }
}

// The server waits for COPY data of ours.
bool Session::copies_in() const {
  const pool::ServerLink* link = at_work();
  return link != nullptr && link->link->ledger().in_copy_in() && !run_->work.copy_over;
}

// After an error in a unit a server ignores everything up to its Sync.
bool Session::ignores_until_sync() const {
  if (unit_skips()) return true;
  return unit_link() != nullptr && unit_link()->link->ledger().skipping();
}

// Anything but data in copy-in mode: a server ignores Sync and Flush there, and ends a connection for the rest.
Session::Next Session::serve_in_copy(const Request& request, ByteView input, std::size_t& used) {
  if (input[0] == wire::fe::kSync || input[0] == wire::fe::kFlush) {
    log_from_client(input);
    used += wire::kHeaderBytes;
    return Next::served;
  }
  if (request.kind == Request::Kind::terminate) {
    log_from_client(input);
    retire();
  } else {
    const bool broken = request.kind == Request::Kind::broken;
    end(protocol_violation(broken ? request.problem : "unexpected message type during COPY from stdin"));
  }
  return Next::stop;
}

// CopyData, CopyDone and CopyFail stream through while the server is in copy-in mode; what comes late is swallowed.
Session::Next Session::serve_copy(const Request& request, ByteView input, std::size_t& used) {
  pool::ServerLink* link = at_work();
  const bool taken = link != nullptr && link->link->ledger().in_copy_in();
  // Sent ahead of CopyInResponse: it waits until the server has said whether it takes data.
  if (!taken && phase_ != Phase::idle) return Next::waiting;
  used += request.bytes;
  rest_missing_ = request.missing;
  log_client_copy(*this, worker_.log(), who_, own().log_client_messages(settings()), input);
  if (!taken) return Next::served;
  if (input[0] != wire::fe::kCopyData) work().copy_over = true;  // a Sync behind this one is answered
  link->link->send_unanswered(input.substr(0, request.bytes), request.missing);
  if (rest_missing_ == 0) flush_copy_end();
  link->link->flush();
  return server_is_slow() ? Next::stop : Next::served;
}

// Extended: a server keeps its answer to the end of COPY until a Flush or Sync, and the client's Sync waits for it.
void Session::flush_copy_end() {
  if (!run_->unit.hold || !run_->work.copy_over) return;
  Bytes flush;
  wire::put_empty(flush, wire::fe::kFlush);
  at_work()->link->send_unanswered(flush);
}

Running& Session::begin_running() {
  run_ = worker_.lend_running();
  return *run_;
}

// More of a long message: to the link that has its beginning, whatever has become of the request; without one, nowhere.
Session::Next Session::pass_rest(ByteView input, std::size_t& used) {
  const std::size_t take = std::min(rest_missing_, input.size());
  rest_missing_ -= take;
  used += take;
  for (pool::ServerLink* link : links_) {
    if (!link->link->half_sent()) continue;
    link->link->send_unanswered(input.substr(0, take), rest_missing_);
    if (rest_missing_ == 0 && link == at_work()) flush_copy_end();
    link->link->flush();
  }
  if (rest_missing_ == 0 && phase_ == Phase::idle) release_idle_links();
  return server_is_slow() ? Next::stop : Next::served;
}

// Whatever becomes of the request, what is still to come of its last message is no message of its own.
void Session::rest_follows() {
  if (work().request.streamed) rest_missing_ = work().request.missing;
}

// The request has been answered: its links go back where they may, and the next one is served.
void Session::finish_request() {
  phase_ = Phase::idle;
  who_.trace = {};
  const bool in_transaction = vs_.state().tx.status != vsession::TxStatus::idle;
  if (run_) {
    count_time();
    stop_running();
    if (run_) run_->reset_request();
  }
  if (!in_transaction) {
    forget_transaction_id();
    forget_pending_of_transaction();
    parts_.forget_portals();
    if (!unit_open() && snapshot_ != worker_.snapshot()) settings_changed();
    release_idle_links();
  }
  if (cache_) cache_->finished();
  arm_idle_timer();
}

// By the loop's clock: a turn's length, mostly some tens of microseconds, is what such a time may be wrong by, and no
// statement costs a look at the real one.
void Session::count_time() {
  if (run_->began == TimePoint{}) return;
  const NodeId node = run_->work.link != nullptr ? run_->work.link->link->key().node : kNoNode;
  worker_.query_times(node).record(worker_.loop().now() - run_->began);
}

void Session::stop_running() {
  if (!run_->unit.open && !run_->unit.skip) worker_.take_back(std::move(run_));
}

// Between two requests; not within a unit or a transaction.
void Session::release_idle_links() {
  if (!unit_open() && vs_.state().tx.status == vsession::TxStatus::idle) release_links(false);
}

// A server works for a unit whose Sync is still to come: its client waits for answers, and is not idle.
bool Session::unit_is_answered() const { return unit_link() != nullptr && !unit_link()->link->ledger().empty(); }

// Both limits count from the same moment: in a transaction the shorter one ends it.
void Session::arm_idle_timer() {
  const std::chrono::seconds of_session = own().client_idle_limit(settings());
  const std::chrono::seconds of_transaction = settings().idle_transaction_timeout;
  const bool in_transaction = vs_.state().tx.status != vsession::TxStatus::idle && of_transaction.count() > 0 &&
                              (of_session.count() == 0 || of_transaction <= of_session);
  const std::chrono::seconds limit = in_transaction ? of_transaction : of_session;
  worker_.loop().cancel(std::exchange(idle_timer_, 0));
  if (limit.count() == 0) return;
  idle_timer_ = worker_.loop().after(limit, [this, in_transaction, missing = rest_missing_] {
    idle_timer_ = 0;
    // Within a message nothing of ours may go to the server, and who sends one is not idle while it grows.
    if (rest_missing_ > 0 && rest_missing_ != missing) return arm_idle_timer();
    if (rest_missing_ == 0 && unit_is_answered()) {  // unless the answers wait there for more to go with
      Bytes flush;
      wire::put_empty(flush, wire::fe::kFlush);
      unit_link()->link->send_unanswered(flush);
      unit_link()->link->flush();
      return arm_idle_timer();
    }
    if (phase_ != Phase::idle) return arm_idle_timer();
    wire::Report report;
    report.severity = "FATAL";
    report.file = "session";
    report.sqlstate = in_transaction ? sqlstate::kIdleInTransactionTimeout : sqlstate::kIdleSessionTimeout;
    report.message = in_transaction ? "terminating connection due to idle-in-transaction timeout"
                                    : "connection terminated due to client idle limit reached";
    end(report);
  });
}

Result<Done> Session::set_own(std::string_view name, std::string_view value) {
  if (!own_) own_ = std::make_unique<config::SessionSettings>();
  HG_CHECK(own_->set(name, value));
  heed_own_levels();
  return Done{};
}

Result<Done> Session::reset_own(std::string_view name) {
  config::SessionSettings nothing;
  HG_CHECK(own_ ? own_->reset(name) : nothing.reset(name));
  heed_own_levels();
  return Done{};
}

void Session::reset_all_own() {
  own_.reset();
  heed_own_levels();
}

void Session::settings_changed() { snapshot_ = worker_.snapshot(); }

void Session::welcomed(const LoginResult& login) {
  identity_ = worker_.identity(*login.asked, login.credentials);
  vs_.share_startup(identity_->startup);
  if (cache::Store* store = worker_.shared().query_cache.get())
    cache_ = std::make_unique<SessionCache>(*this, *store, worker_.admission(), worker_.remote_cache());
  who_.user = identity_->user;
  who_.database = identity_->database;
  who_.application = identity_->application.empty() ? "[unknown]" : std::string_view(identity_->application);
  // The login is on the stack. Has it been called by serve_input(), that ends it.
  if (!serving_) {
    worker_.loop().defer([&worker = worker_, id = id_] {
      if (Session* session = worker.find(id)) session->login_.reset();
    });
  }
  connected_ = worker_.loop().clock().wall();
  phase_ = Phase::replaying;
  const Greeting greeting{login.asked->minor, login.link, {}, worker_.shared().accounts.settings_epoch()};
  if (const LoginMemory::Reported known = login.reported) return greet(greeting, *known);
  greeting_ = std::make_unique<Greeting>(greeting);
  wait_for_our_own(Phase::replaying, *greeting_->link->link);
  greeting_->link->link->send_query(kAskDefaults, backend::Fate::capture, kNoteIsolation);
  if (bring_up(*greeting_->link, false) == Next::waiting) return;
  greeting_->link->link->flush();
}

void Session::take_isolation(ByteView rows) {
  if (greeting_ && greeting_->isolation.size() + rows.size() <= kMaxReadAhead) greeting_->isolation.append(rows);
}

// With what the link now says, remembered for the next login like this one.
void Session::greet_anew(const Greeting& greeting) {
  LoginMemory::Report report;
  report.epoch = greeting.epoch;
  report.reads = std::make_shared<const backend::Reported>(greeting.link->link->reads());
  for (const auto& [name, value] : greeting.link->link->reported()) {
    wire::put_parameter_status(report.messages, name, value);
    if (vsession::VirtualSession::must_be_told(name, value)) report.unusual.emplace_back(name, value);
    if (name == "is_superuser") report.superuser = value == "on";
  }
  const auto rows = backend::read_rows(greeting.isolation);
  const bool told = rows && rows->size() == std::size(kAsked) && rows->front().size() == 1;
  for (std::size_t i = 0; i < std::size(kAsked); ++i) {
    const std::string value = told ? (*rows)[i].front().value_or("") : "";  // not told: the worst case
    if (vsession::VirtualSession::must_be_told(kAsked[i], value)) report.unusual.emplace_back(kAsked[i], value);
  }
  const auto reported = std::make_shared<const LoginMemory::Report>(std::move(report));
  // The next login of its kind asks anew where this one was not told, or by a link of before an alteration.
  if (told && !greeting.link->outdated) {
    worker_.shared().logins.remember_reported(identity_->database, identity_->user,
                                              vs_.startup_parameters()->fingerprint(), reported);
  }
  greet(greeting, *reported);
}

void Session::greet(const Greeting& greeting, const LoginMemory::Report& reported) {
  // ALTER ROLE or DATABASE … SET: the client's texts are read as the server reads them.
  for (const auto& [name, value] : reported.unusual) vs_.parameter_reported(name, value);
  Bytes& out = client_.own();
  wire::put_authentication(out, 0);
  out += reported.messages;
  if (greeting.link != nullptr) out += greeting.link->link->take_notices();
  told_ = reported.reads;
  told_epoch_ = reported.epoch;
  superuser_ = reported.superuser;
  secret_.resize(greeting.minor >= 2 ? 32 : 4);
  worker_.secrets().fill(secret_);
  const bool own_pid = greeting.link == nullptr || settings().pool_mode != config::PoolMode::session;
  pid_ = own_pid ? static_cast<std::int32_t>(id_.value & 0x7fffffff) : greeting.link->link->greeting().pid;
  wire::put_backend_key(out, pid_, secret_);
  wire::put_ready(out, 'I');
  client_.added_own();
  worker_.shared().cancels.add(pid_, secret_, {worker_.id(), id_});
  who_.listener = this;
  phase_ = Phase::idle;
  if (run_) stop_running();
  release_links(false);
  arm_idle_timer();
  go_on();
}

// After whatever ended a wait: the answer goes out, the next request is served, and the client is read again.
void Session::go_on() {
  client_.flush();
  if (client_.broken()) return retire();
  pump();
  read_client();
}

void Session::let_in() {
  if (login_) login_->let_in();
}

void Session::cancel_running() {
  // What the client sent before it asked may not have been read yet, and is what it means.
  if (phase_ == Phase::idle && at_work() == nullptr && !unit_is_answered()) {
    readable_ = true;
    read_client();
    if (phase_ == Phase::closed) return;
  }
  if (phase_ == Phase::acquiring || phase_ == Phase::held || (phase_ == Phase::asking && !unit_open())) {
    end_hold();
    pending_.reset();
    for (pool::ServerLink* link : links_) link->on_cancels_over = nullptr;
    drop_request_from_input();
    fail_request(canceled());
    return go_on();
  }
  if (phase_ == Phase::lookup || phase_ == Phase::replaying) {
    work().cancel = true;  // looked at when that is over
    return;
  }
  for (pool::ServerLink* link : links_) cancel_on(*link);
}

// Never what we sent ahead: without its BEGIN a statement would run outside its transaction.
void Session::cancel_on(pool::ServerLink& link) {
  if (link.link->ledger().empty()) return;
  const std::uint16_t note = link.link->ledger().head().note;
  if (note == kNoteClient || note == kNotePrepare || note == kNoteDescribed) return worker_.pool().cancel(link);
  if (&link == at_work()) work().cancel = true;
}

// A cancel under way could hit what is sent next.
Session::Next Session::wait_for_cancel(pool::ServerLink& link) {
  phase_ = Phase::acquiring;
  link.on_cancels_over = [this] {
    if (phase_ != Phase::acquiring || pending_) return;  // a link was lost meanwhile, and its news came first
    phase_ = Phase::idle;
    go_on();
  };
  return Next::waiting;
}

void Session::end(const wire::Report& why, const wire::Report& logged) {
  if (phase_ == Phase::closed) return;
  log_told(worker_.log(), who_, logged);
  if (!client_.broken()) {
    wire::put_error(client_.own(), why);
    client_.added_own();
    client_.flush();
  }
  retire();
}

// A client that has ended its stream may have closed its half only: what it sent whole is still answered. Where that
// would wait for more of it, for ever, the session ends.
void Session::client_ended() {
  if (!ended_ || serving_ || phase_ == Phase::closed || server_is_slow()) return;
  const bool in_login = phase_ == Phase::login || greeting_ != nullptr;
  const auto owes = [](const pool::ServerLink* link) { return !link->link->ledger().empty(); };
  const bool answers_come =
      phase_ != Phase::idle || !client_.all_sent() || std::any_of(links_.begin(), links_.end(), owes);
  if (!answers_come || copies_in() || in_login || rest_missing_ > 0) return retire();
  if (phase_ == Phase::held) ask_whether_gone();
}

void Session::retire() {
  if (phase_ == Phase::closed) return;
  phase_ = Phase::closed;
  if (cache_) cache_->finished();  // of what is under way nobody will hear the outcome
  worker_.loop().cancel(std::exchange(idle_timer_, 0));
  end_hold();
  forget_lost_commit();
  pending_.reset();
  if (!secret_.empty()) worker_.shared().cancels.remove(pid_, secret_);
  const bool inside = connected_ != WallTime{} || (login_ && login_->inside_);
  if (login_) login_->stop();
  release_links(true);
  who_.listener = nullptr;
  log_disconnection(*this, worker_, who_, settings());
  client_.close();
  if (inside) {
    const auto limit = static_cast<std::size_t>(settings().num_init_children);
    worker_.leave_gate(limit);
  }
  worker_.retire(*this);
}

report::SlotRow Session::row() const {
  report::SlotRow row;
  row.pid = static_cast<int>(id_.value & 0x7fffffff);
  row.started = started_;
  row.client_connections = 1;
  if (identity_) {
    row.database = identity_->database;
    row.user = identity_->user;
    row.application = identity_->application;
  }
  row.client_host = peer().host();
  row.client_port = peer().port();
  row.connected = connected_;
  row.pins = vsession::pin_names(vs_.state().pins);
  row.lb_node = vs_.state().lb_node;
  row.idle_seconds = std::chrono::duration_cast<std::chrono::seconds>(worker_.loop().now() - last_active_).count();
  if (phase_ == Phase::login) {
    row.status = "Connecting";
  } else if (phase_ == Phase::held) {
    row.status = holding_->why == route::Hold::pause ? "Paused" : "Waiting for primary";
  } else if (phase_ != Phase::idle) {
    row.status = "Execute command";
  } else {
    row.status = vs_.state().tx.status == vsession::TxStatus::idle ? "Idle" : "Idle in transaction";
  }
  return row;
}

}  // namespace herdgate::session
