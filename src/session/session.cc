#include "session/session.h"

#include <openssl/rand.h>

#include "base/sqlstate.h"
#include "session/session_log.h"
#include "session/words.h"

namespace herdgate::session {

Session::Session(Worker& worker, SessionId id, net::Socket socket, const net::Address& peer)
    : worker_(worker),
      id_(id),
      peer_(peer),
      client_(worker.loop(), std::move(socket)),
      snapshot_(worker.snapshot()),
      login_(std::make_unique<Login>(*this)),
      vs_(worker.shared().hash_key),
      last_active_(worker.loop().now()),
      started_(worker.loop().clock().wall()) {
  who_.application = who_.process = "child";
}

Session::~Session() { worker_.loop().cancel(idle_timer_); }

Result<Done> Session::start() {
  HG_CHECK(worker_.loop().watch(client_.fd(), *this));
  log_connection(*this, worker_.log(), who_, settings());
  login_->start();
  return Done{};
}

void Session::on_ready(unsigned ready) {
  if (ready & net::kHangup) eof_ = true;
  if ((ready & net::kWritable) && client_.pending() > 0) {
    if (client_.on_writable()) {
      for (pool::ServerLink* link : links_) link->link->resume();
    }
    if (client_.broken()) return client_gone();
  }
  if (ready & (net::kReadable | net::kHangup)) {
    readable_ = true;
    read_client();
  }
}

void Session::read_client() {
  while (readable_ && phase_ != Phase::closed) {
    // A client that does not take its answers, or is far ahead of them, is not listened to for the moment.
    const bool server_is_slow = work_.link != nullptr && work_.link->link->unsent() > kMaxReadAhead;
    if (client_.pending() > 0 || server_is_slow || (phase_ != Phase::idle && in_.size() > kMaxReadAhead)) return;
    const net::Io io = client_.socket().read(worker_.loop(), worker_.scratch().bytes);
    if (io.state == net::Io::would_block) {
      readable_ = false;
      return;
    }
    if (io.state != net::Io::ok) {
      readable_ = false;
      eof_ = true;
      return client_gone();
    }
    readable_ = io.still_ready || eof_;
    const ByteView fresh(worker_.scratch().bytes.data(), io.bytes);
    if (in_.empty()) {
      const std::size_t used = serve_input(fresh);
      if (used < fresh.size() && phase_ != Phase::closed) in_.assign(fresh.substr(used));
    } else {
      in_.append(fresh);
      pump();
    }
  }
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
  for (Next next = Next::served; next == Next::served && used < input.size() && phase_ != Phase::closed;) {
    if (phase_ == Phase::login) {
      const std::size_t taken = login_ ? login_->take(input.substr(used)) : 0;
      used += taken;
      if (taken == 0 || phase_ == Phase::login) break;
    } else {
      next = serve(input.substr(used), used);
    }
  }
  serving_ = false;
  if (phase_ == Phase::closed) return input.size();
  if (phase_ != Phase::closed && !client_.nothing_gathered()) client_.flush();
  if (client_.broken()) client_gone();
  return used;
}

Session::Next Session::serve(ByteView input, std::size_t& used) {
  if (copy_missing_ > 0 || stream_missing_ > 0) return serve_copy_data(input, used);
  const Request request = next_request(input);
  using Kind = Request::Kind;
  if (request.kind == Kind::need_more) return Next::stop;
  if (request.kind == Kind::copy_data) return serve_copy_data(input, used);
  if (phase_ == Phase::running && work_.link != nullptr && work_.link->link->ledger().in_copy_in() &&
      !work_.copy_over && (input[0] == wire::fe::kSync || input[0] == wire::fe::kFlush)) {
    used += wire::kHeaderBytes;  // in copy-in mode a server ignores these
    return Next::served;
  }
  if (phase_ != Phase::idle) return Next::waiting;
  last_active_ = worker_.loop().now();
  work_.request = request;
  switch (request.kind) {
    case Kind::broken:
      end(protocol_violation(request.problem));
      return Next::stop;
    case Kind::terminate:
      used += request.bytes;
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

// CopyData, CopyDone and CopyFail stream through while the server is in copy-in mode; what comes late is swallowed.
Session::Next Session::serve_copy_data(ByteView input, std::size_t& used) {
  std::size_t take = 0;
  if (stream_missing_ > 0) {
    take = std::min(stream_missing_, input.size());
    stream_missing_ -= take;
    copy_swallow_ = work_.link == nullptr;
  } else if (copy_missing_ > 0) {
    take = std::min(copy_missing_, input.size());
    copy_missing_ -= take;
  } else {
    const Request request = next_request(input);
    take = request.bytes;
    const bool taken = work_.link != nullptr && work_.link->link->ledger().in_copy_in();
    // Sent ahead of CopyInResponse: it waits until the server has said whether it takes data.
    if (!taken && phase_ == Phase::running) return Next::waiting;
    copy_missing_ = request.missing;
    copy_swallow_ = !taken;
    if (taken && input[0] != wire::fe::kCopyData) work_.copy_over = true;  // a Sync behind this one is answered
    log_client_copy(*this, worker_.log(), who_, own_.log_client_messages(settings()), input);
  }
  if (!copy_swallow_ && work_.link != nullptr) {
    work_.link->link->send_unanswered(input.substr(0, take));
    work_.link->link->flush();
  }
  used += take;
  if (work_.link != nullptr && work_.link->link->unsent() > kMaxReadAhead) return Next::stop;
  return Next::served;
}

// The request has been answered: its links go back where they may, and the next one is served.
void Session::finish_request() {
  ++requests_;
  work_ = Work{};
  if (!cut_open_) items_.clear();
  reruns_ = known_heads_ = 0;
  phase_ = Phase::idle;
  if (vs_.state().tx.status == vsession::TxStatus::idle) {
    vs_.state().tx_node = kNoNode;
    vs_.state().standby_link_in_tx = false;
    if (!portals_.empty()) portals_.clear();
    if (!cut_open_) {
      if (snapshot_ != worker_.snapshot()) settings_changed();
      release_links(false);
    }
  }
  arm_idle_timer();
}

void Session::arm_idle_timer() {
  const bool in_transaction = vs_.state().tx.status != vsession::TxStatus::idle;
  const std::chrono::seconds limit =
      in_transaction ? settings().idle_transaction_timeout : own_.client_idle_limit(settings());
  worker_.loop().cancel(std::exchange(idle_timer_, 0));
  if (limit.count() == 0) return;
  idle_timer_ = worker_.loop().after(limit, [this, in_transaction] {
    idle_timer_ = 0;
    if (phase_ != Phase::idle) return;
    wire::Report report;
    report.severity = "FATAL";
    report.file = "session";
    report.sqlstate = in_transaction ? sqlstate::kIdleInTransactionTimeout : sqlstate::kIdleSessionTimeout;
    report.message = in_transaction ? "terminating connection due to idle-in-transaction timeout"
                                    : "connection terminated due to client idle limit reached";
    end(report);
  });
}

void Session::settings_changed() { snapshot_ = worker_.snapshot(); }

void Session::welcomed(LoginResult result) {
  identity_ = std::move(result);
  // The login is on the stack; it goes at the end of the turn, or with the session.
  old_login_ = std::move(login_);
  worker_.loop().defer([&worker = worker_, id = id_] {
    if (Session* session = worker.find(id)) session->old_login_.reset();
  });
  connected_ = worker_.loop().clock().wall();
  if (const LoginMemory::Reported known = identity_.reported) return greet(*known);
  greeting_ = true;
  replay_error_.reset();
  if (bring_up(*identity_.link, false) == Next::waiting) {
    phase_ = Phase::replaying;
    return;
  }
  if (identity_.link->link->ledger().empty()) return greet(identity_.link->link->reported());
  phase_ = Phase::replaying;
  identity_.link->link->flush();
}

void Session::greet(const std::map<std::string, std::string, std::less<>>& reported) {
  greeting_ = false;
  if (replay_error_) {
    replay_error_->severity = "FATAL";
    return end(*replay_error_);
  }
  worker_.shared().logins.remember_reported(
      identity_.database, identity_.user, vs_.startup_parameters()->fingerprint(),
      std::make_shared<const std::map<std::string, std::string, std::less<>>>(reported));
  Bytes& out = client_.own();
  wire::put_authentication(out, 0);
  for (const auto& [name, value] : reported) wire::put_parameter_status(out, name, value);
  if (identity_.link != nullptr) out += identity_.link->link->take_notices();
  identity_.secret.resize(identity_.minor >= 2 ? 32 : 4);
  RAND_bytes(reinterpret_cast<unsigned char*>(identity_.secret.data()), static_cast<int>(identity_.secret.size()));
  const bool own_pid = identity_.link == nullptr || settings().pool_mode != config::PoolMode::session;
  identity_.pid = own_pid ? static_cast<std::int32_t>(id_.value & 0x7fffffff) : identity_.link->link->greeting().pid;
  wire::put_backend_key(out, identity_.pid, identity_.secret);
  wire::put_ready(out, 'I');
  client_.added_own();
  worker_.shared().cancels.add(identity_.pid, identity_.secret, {worker_.id(), id_});
  phase_ = Phase::idle;
  release_links(false);
  arm_idle_timer();
  go_on();
}

// After whatever ended a wait: the answer goes out, the next request is served, and the client is read again (its end
// may have been seen while nobody could look).
void Session::go_on() {
  client_.flush();
  if (client_.broken()) return client_gone();
  pump();
  if (phase_ == Phase::idle && (readable_ || (eof_ && in_.empty()))) {
    readable_ = true;
    read_client();
  }
}

void Session::let_in() {
  if (login_) login_->let_in();
}

void Session::cancel_running() {
  if (phase_ == Phase::acquiring) {
    pending_.reset();
    drop_request_from_input();
    fail_request(canceled());
    return go_on();
  }
  for (pool::ServerLink* link : links_) {
    if (!link->link->ledger().empty()) worker_.pool().cancel(*link);
  }
}

void Session::end(const wire::Report& why) {
  if (phase_ == Phase::closed) return;
  log_session_end(*this, worker_.log(), who_, why);
  if (!client_.broken()) {
    wire::put_error(client_.own(), why);
    client_.added_own();
    client_.flush();
  }
  retire();
}

void Session::client_gone() {
  // Half-closed clients get the answer to what they sent before; but data for COPY will never end.
  const bool waits =
      phase_ == Phase::running || phase_ == Phase::acquiring || phase_ == Phase::lookup || phase_ == Phase::replaying;
  const bool feeding = work_.link != nullptr && work_.link->link->ledger().in_copy_in() && !work_.copy_over;
  if (!client_.broken() && waits && !feeding && !greeting_) return;
  retire();
}

void Session::retire() {
  if (phase_ == Phase::closed) return;
  phase_ = Phase::closed;
  worker_.loop().cancel(std::exchange(idle_timer_, 0));
  pending_.reset();
  if (!identity_.secret.empty()) worker_.shared().cancels.remove(identity_.pid, identity_.secret);
  const bool inside = login_ ? login_->inside_ : connected_ != WallTime{};
  if (login_) login_->stop();
  release_links(true);
  log_disconnection(*this, worker_.log(), who_, settings());
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
  row.database = identity_.database;
  row.user = identity_.user;
  row.application = identity_.application;
  row.client_host = peer_.host();
  row.client_port = peer_.port();
  row.connected = connected_;
  row.pins = vsession::pin_names(vs_.state().pins);
  row.lb_node = vs_.state().lb_node;
  row.idle_seconds = std::chrono::duration_cast<std::chrono::seconds>(worker_.loop().now() - last_active_).count();
  if (phase_ == Phase::login) {
    row.status = "Connecting";
  } else if (phase_ != Phase::idle) {
    row.status = "Execute command";
  } else {
    row.status = vs_.state().tx.status == vsession::TxStatus::idle ? "Idle" : "Idle in transaction";
  }
  return row;
}

}  // namespace herdgate::session
