#include "backend/opener.h"

#include <array>

#include "base/sqlstate.h"
#include "net/errc.h"
#include "wire/frontend.h"

namespace herdgate::backend {
namespace {

wire::Report copy_report(const wire::ServerReport& from) {
  wire::Report to;
  to.severity = std::string(from.severity);
  to.sqlstate = std::string(from.sqlstate);
  to.message = std::string(from.message);
  to.detail = std::string(from.detail);
  to.hint = std::string(from.hint);
  return to;
}

// The limits of one role and of one database have the same SQLSTATE, and words that lc_messages may translate: what
// tells them from the server's own is the function that checks them.
bool no_slot(const wire::ServerReport& report) {
  const bool of_one = report.routine == "InitializeSessionUserId" || report.routine == "CheckMyDatabase";
  return report.sqlstate == sqlstate::kTooManyConnections && !of_one;
}

auth::ServerAuth make_auth(const OpenRequest& request) {
  if (request.credentials) return auth::ServerAuth(request.key.user, auth::random_scram_nonce(), *request.credentials);
  return auth::ServerAuth(request.key.user, auth::random_scram_nonce());
}

}  // namespace

bool OpenFailure::against_node() const {
  for (const Errc of_node :
       {Errc::connect_failed, Errc::nobody_listens, Errc::timed_out, Errc::closed_by_server, Errc::name_not_found})
    if (error.code == make_error_code(of_node)) return true;
  return false;
}

bool OpenFailure::elsewhere() const {
  return against_node() || server.has_value() || error.code == make_error_code(Errc::not_looked_up) ||
         error.code == make_error_code(Errc::own_shortage) || error.code == make_error_code(Errc::crowded);
}

Opener::Opener(net::Loop& loop, net::BlockingPool& blocking, OpenRequest request, OnDone done, OnMethod on_method)
    : loop_(loop),
      blocking_(blocking),
      request_(std::move(request)),
      done_(std::move(done)),
      on_method_(std::move(on_method)),
      auth_(make_auth(request_)) {
  const net::ConnectOptions options{request_.deadline, request_.tcp};
  net::BlockingPool& names = request_.names != nullptr ? *request_.names : blocking_;
  connecting_ = net::connect(loop_, names, request_.to, options,
                             [this](Result<net::Socket> socket) { connected(std::move(socket)); });
  if (request_.deadline.at != TimePoint::max()) limit_ = request_.deadline.at - loop_.now();
  limit_the_wait();
}

void Opener::limit_the_wait() {
  if (limit_ == Duration::max()) return;
  loop_.cancel(timer_);
  timer_ = loop_.after(limit_, [this] {
    timer_ = 0;
    const bool named = connecting_ && connecting_->looking_up();
    fail(
        Error{named ? Errc::not_looked_up : Errc::timed_out, fmt::format("{}:{}", request_.to.host, request_.to.port)});
  });
}

Opener::~Opener() {
  *alive_ = false;
  loop_.cancel(timer_);
  if (socket_.open()) loop_.unwatch(socket_.fd());
}

void Opener::connected(Result<net::Socket> socket) {
  if (!socket) {
    const Error& why = socket.error();
    const bool name_service =
        why == make_error_code(net::Errc::busy) || why == make_error_code(net::Errc::name_service_failed);
    if (name_service) return fail(Error{Errc::not_looked_up, why.text()});
    if (why == make_error_code(net::Errc::name_not_found)) return fail(Error{Errc::name_not_found, why.text()});
    if (why == make_error_code(net::Errc::own_shortage)) return fail(Error{Errc::own_shortage, why.context});
    // Our own codes say the same words.
    if (why == make_error_code(net::Errc::nobody_listens)) return fail(Error{Errc::nobody_listens, why.context});
    const bool said = why == make_error_code(net::Errc::connect_failed);
    return fail(Error{Errc::connect_failed, said ? why.context : why.text()});
  }
  socket_ = std::move(*socket);
  if (auto watched = loop_.watch(socket_.fd(), *this); !watched)
    return fail(Error{Errc::own_shortage, watched.error().text()});
  greeting_.minor = kNewestMinor;  // an older server says so by NegotiateProtocolVersion
  std::vector<std::pair<std::string, std::string>> parameters = std::move(request_.settings);
  parameters.insert(parameters.end(), {{"user", request_.key.user}, {"database", request_.key.database}});
  wire::put_startup(out_, kNewestMinor, parameters);
  write_some();
}

// The server has to answer again, so its time begins anew.
void Opener::provide(auth::Credentials credentials) {
  if (!finished_) limit_the_wait();
  step(auth_.on_credentials(std::move(credentials)));
}

void Opener::write_some() {
  while (!out_.empty() && !finished_) {
    const net::Io io = socket_.write(loop_, out_);
    if (io.state == net::Io::failed || io.state == net::Io::closed)
      return fail(Error{Errc::closed_by_server, std::strerror(io.errno_value)});
    out_.erase(0, io.bytes);
    if (!io.still_ready) return;
  }
}

void Opener::on_ready(unsigned ready) {
  const std::shared_ptr<bool> alive = alive_;
  if (ready & net::kWritable) write_some();
  std::array<char, 8192> buffer;
  while (*alive && !finished_ && socket_.open()) {
    const net::Io io = socket_.read(loop_, buffer);
    if (io.state == net::Io::would_block) return;
    if (io.state != net::Io::ok) {
      return fail(Error{Errc::closed_by_server, "during login"});
    }
    take(ByteView(buffer.data(), io.bytes));
  }
}

void Opener::take(ByteView bytes) {
  const std::shared_ptr<bool> alive = alive_;
  in_.append(bytes);
  std::size_t used = 0;
  while (*alive && !finished_ && in_.size() - used >= wire::kHeaderBytes) {
    const std::uint32_t length = load_u32(in_.data() + used + 1);
    if (length < 4 || length > kMaxGreetingBytes)
      return fail(Error{Errc::protocol_broken, "bad message length during login"});
    if (in_.size() - used < length + 1) break;
    const Bytes payload = in_.substr(used + wire::kHeaderBytes, length - 4);
    const char type = in_[used];
    used += length + 1;
    on_frame(type, payload);
  }
  if (*alive && !finished_) in_.erase(0, used);
}

void Opener::on_frame(char type, ByteView payload) {
  using namespace wire::be;
  switch (type) {
    case kAuthentication:
      started_login_ = true;
      return step(auth_.on_auth_request(payload));
    case kError: {
      auto report = wire::parse_report(payload);
      if (!report) return fail(Error{Errc::protocol_broken, "unreadable error during login"});
      // One that is full works; one that starts up or shuts down may not.
      const auto code = report->sqlstate == sqlstate::kCannotConnectNow ? Errc::login_refused : Errc::login_failed;
      OpenFailure failure{Error{code, std::string(report->message)}, copy_report(*report), std::nullopt};
      failure.no_slot = no_slot(*report);
      return fail(std::move(failure));
    }
    case kParameterStatus: {
      auto status = wire::parse_parameter_status(payload);
      if (!status) return fail(Error{Errc::protocol_broken, "unreadable ParameterStatus"});
      greeting_.parameters.insert_or_assign(std::string(status->name), std::string(status->value));
      return;
    }
    case kBackendKeyData: {
      auto key = wire::parse_backend_key(payload);
      if (!key) return fail(Error{Errc::protocol_broken, "unreadable BackendKeyData"});
      greeting_.pid = key->pid;
      greeting_.secret = Bytes(key->secret);
      return;
    }
    case kNegotiate:
      if (payload.size() >= 4) greeting_.minor = static_cast<int>(load_u32(payload.data()) & 0xffff);
      return;
    case kNotice:
      if (greeting_.notices.size() + payload.size() <= kMaxNoticeBytes) {
        greeting_.notices.push_back(type);
        append_u32(greeting_.notices, static_cast<std::uint32_t>(payload.size() + 4));
        greeting_.notices.append(payload);
      }
      return;
    case kReady:
      return succeed();
    default:
      return fail(Error{Errc::protocol_broken, fmt::format("message '{}' during login", type)});
  }
}

void Opener::step(auth::Step step) {
  out_.append(step.send);
  write_some();
  if (finished_) return;
  using Kind = auth::Step::Kind;
  switch (step.kind) {
    case Kind::need_more:
    case Kind::ok:
      return;
    case Kind::need_credentials:
      loop_.cancel(std::exchange(timer_, 0));  // the client is being asked; its own time limit rules
      if (on_method_) return on_method_(*auth_.method());
      return fail(Error{Errc::login_failed, "the server wants a login, and nothing is known of the user"});
    case Kind::need_hash: {
      auto keys = std::make_shared<Result<auth::ScramKeys>>();
      auto job = std::make_shared<auth::HashJob>(std::move(*step.job));
      const std::shared_ptr<bool> alive = alive_;
      const bool queued = blocking_.submit(
          loop_, [keys, job] { *keys = job->run(); },
          [this, keys, alive] {
            if (*alive && !finished_) this->step(auth_.on_hashed(std::move(*keys)));
          });
      if (!queued) fail(Error{Errc::crowded, {}});
      return;
    }
    case Kind::failed: {
      const Error error{Errc::login_failed, step.refusal->text};
      return fail(OpenFailure{error, std::nullopt, std::move(step.refusal)});
    }
  }
}

void Opener::fail(Error error) { fail(OpenFailure{std::move(error), std::nullopt, std::nullopt}); }

void Opener::fail(OpenFailure failure) {
  if (finished_) return;
  finished_ = true;
  loop_.cancel(std::exchange(timer_, 0));
  connecting_.reset();
  if (socket_.open()) {
    loop_.unwatch(socket_.fd());
    socket_.close();
  }
  // Always from the loop: the caller may still be inside its own constructor.
  loop_.defer([this, alive = alive_, failure = std::move(failure)]() mutable {
    if (!*alive) return;
    const OnDone done = std::move(done_);
    done(tl::unexpected<OpenFailure>(std::move(failure)));
  });
}

void Opener::succeed() {
  if (finished_) return;
  finished_ = true;
  loop_.cancel(std::exchange(timer_, 0));
  loop_.unwatch(socket_.fd());
  auto opened = std::make_shared<Opened>();
  opened->socket = std::move(socket_);
  opened->greeting = std::move(greeting_);
  opened->method = auth_.method().value_or(auth::ServerMethod::trust);
  opened->proved = auth_.proved();
  loop_.defer([this, alive = alive_, opened] {
    if (!*alive) return;
    const OnDone done = std::move(done_);
    done(std::move(*opened));
  });
}

Canceller::Canceller(net::Loop& loop, net::BlockingPool& blocking, const OpenRequest& to, const Greeting& greeting,
                     OnDone done)
    : loop_(loop), done_(std::move(done)) {
  wire::put_cancel(message_, greeting.pid, greeting.secret);
  connecting_ = net::connect(loop_, blocking, to.to, net::ConnectOptions{to.deadline, to.tcp},
                             [this](Result<net::Socket> socket) {
                               if (!socket) return finish(Delivery::over);
                               socket_ = std::move(*socket);
                               if (!loop_.watch(socket_.fd(), *this)) return finish(Delivery::over);
                               socket_.write(loop_, message_);
                             });
  timer_ = loop_.after(to.deadline.at - loop_.now(), [this] {
    timer_ = 0;
    finish(socket_.open() ? Delivery::in_doubt : Delivery::over);
  });
}

Canceller::~Canceller() {
  loop_.cancel(timer_);
  if (socket_.open()) loop_.unwatch(socket_.fd());
}

void Canceller::on_ready(unsigned ready) {
  if (!(ready & (net::kReadable | net::kHangup))) return;
  char octet;
  const net::Io io = socket_.read(loop_, std::span(&octet, 1));
  if (io.state == net::Io::would_block || io.state == net::Io::ok) return;
  finish(Delivery::over);  // the server closes when it has delivered the signal
}

void Canceller::finish(Delivery how) {
  loop_.cancel(std::exchange(timer_, 0));
  if (done_) loop_.defer([done = std::exchange(done_, nullptr), how] { done(how); });
}

}  // namespace herdgate::backend
