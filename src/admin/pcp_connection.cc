#include "admin/pcp_connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "auth/digest.h"
#include "auth/secret.h"
#include "config/password_file.h"

namespace herdgate::admin {
namespace {

constexpr std::size_t kReadBytes = 1024;
constexpr int kReadsPerTurn = 2;  // the cluster's work is done on this loop as well

// Requests that change something are worth a line in the log.
bool changes_something(pcp::Ask ask) {
  switch (ask) {
    case pcp::Ask::attach:
    case pcp::Ask::detach:
    case pcp::Ask::detach_gracefully:
    case pcp::Ask::promote:
    case pcp::Ask::promote_gracefully:
    case pcp::Ask::recover:
    case pcp::Ask::stop:
    case pcp::Ask::stop_cluster:
    case pcp::Ask::reload:
    case pcp::Ask::rotate_log:
    case pcp::Ask::drop_cache:
    case pcp::Ask::pause:
    case pcp::Ask::resume:
      return true;
    default:
      return false;
  }
}

}  // namespace

PcpConnection::PcpConnection(PcpServer& server, std::uint64_t id, net::Socket socket, std::string peer)
    : server_(server), id_(id), socket_(std::move(socket)), peer_(std::move(peer)), talk_([] {
        return auth::random_bytes(pcp::kSaltBytes);
      }) {}

PcpConnection::~PcpConnection() {
  server_.means_.loop.cancel(timer_);
  server_.means_.loop.cancel(next_turn_);
  if (phase_ != Phase::closed) server_.means_.loop.unwatch(socket_.fd());
}

Result<Done> PcpConnection::start() {
  auto watched = server_.means_.loop.watch(socket_.fd(), *this);
  if (!watched) phase_ = Phase::closed;
  const Duration configured = server_.services_.settings()->authentication_timeout;
  until_ = server_.means_.loop.now() + (configured > Duration::zero() ? configured : kLoginLimit);
  rearm();
  return watched;
}

void PcpConnection::refuse(const pcp::Trouble& trouble) {
  talk_.refuse(trouble);
  go_on();
}

void PcpConnection::on_ready(unsigned ready) {
  if (ready & net::kReadable) readable_ = true;
  if (ready & net::kWritable) writable_ = true;
  if (next_turn_ == 0) go_on();
}

// May be entered from its own inside, by a command that answers at once: then the outer one goes on.
void PcpConnection::go_on() {
  if (going_ || phase_ == Phase::closed) return;
  const auto held = shared_from_this();
  going_ = true;
  int reads = 0;
  do {
    flush();
  } while (phase_ != Phase::closed && (perform_all() || (reads++ < kReadsPerTurn && read_some())));
  going_ = false;
  if (reads > kReadsPerTurn && readable_) go_on_later();
  if (phase_ == Phase::open && talk_.ended() && output_.empty()) linger();
  rearm();
}

// A client may send faster than he is served.
void PcpConnection::go_on_later() {
  if (next_turn_ != 0) return;
  next_turn_ = server_.means_.loop.after(Duration::zero(), [this] {
    next_turn_ = 0;
    go_on();
  });
}

// An answer must be on its way before the next request is looked at.
bool PcpConnection::perform_all() {
  if (phase_ != Phase::open || !output_.empty()) return false;
  const auto act = talk_.next();
  if (const auto complaint = talk_.take_complaint())
    server_.say(Level::fatal, complaint->message, fmt::format("{}. The client is {}.", complaint->detail, peer_));
  output_ += talk_.take_output();
  if (!act) return !output_.empty();
  if (const auto* login = std::get_if<pcp::CheckLogin>(&*act)) {
    check_login(*login);
  } else {
    run(std::get<pcp::Request>(*act));
  }
  return true;
}

void PcpConnection::check_login(const pcp::CheckLogin& login) {
  auto stored = std::make_shared<std::string>();
  auto problem = std::make_shared<std::string>();
  const bool taken = server_.means_.blocking.submit(
      server_.means_.loop,
      [stored, problem, user = login.user, read = server_.means_.read_users] {
        const auto text = read();
        if (!text) return void(*problem = text.error().text());
        const config::PcpFile file = config::parse_pcp_conf(*text, "");
        if (const config::PcpUser* found = file.find_user(user)) *stored = found->md5;
      },
      [self = weak_from_this(), stored, problem, login] {
        const auto connection = self.lock();
        if (!connection || connection->phase_ != Phase::open) return;
        if (!problem->empty()) connection->server_.say(Level::warning, "could not read the users of PCP", *problem);
        connection->login_checked(*stored, login);
      });
  if (!taken) login_checked("", login);
}

void PcpConnection::login_checked(const std::string& stored, const pcp::CheckLogin& login) {
  const auto proof = pcp::login_proof(stored, login.user, login.salt);
  const bool fits = !stored.empty() && proof && auth::equal_in_constant_time(*proof, login.proof);
  talk_.login_checked(fits);
  if (!fits)
    server_.say(Level::warning, fmt::format("PCP authentication failed for user \"{}\"", login.user),
                fmt::format("The client is {}.", peer_));
  go_on();
}

void PcpConnection::run(const pcp::Request& request) {
  if (changes_something(request.ask))
    server_.say(Level::log, fmt::format("PCP request: {}", describe(request)),
                fmt::format("It comes from user \"{}\" at {}.", talk_.user(), peer_));
  server_.commands_.run(request, [self = weak_from_this()](PcpCommands::Answer answer) {
    if (const auto connection = self.lock(); connection && connection->phase_ == Phase::open) {
      connection->answered(std::move(answer));
    } else if (answer.afterwards) {
      answer.afterwards();
    }
  });
}

void PcpConnection::answered(PcpCommands::Answer answer) {
  if (answer.trouble) {
    talk_.refuse(*answer.trouble);
  } else {
    talk_.answer(answer.reply);
  }
  output_ += talk_.take_output();
  flush();
  if (answer.afterwards) server_.means_.loop.defer(std::move(answer.afterwards));
  go_on();
}

// True when there is something new to look at.
bool PcpConnection::read_some() {
  const bool wanted = phase_ == Phase::lingering || (output_.empty() && talk_.wants_input());
  if (!readable_ || !wanted) return false;
  std::array<char, kReadBytes> buffer;
  const net::Io io = socket_.read(server_.means_.loop, buffer);
  readable_ = io.still_ready;
  if (io.state == net::Io::would_block) return false;
  if (io.state != net::Io::ok) {
    close();
    return false;
  }
  if (phase_ == Phase::open) {
    talk_.feed({buffer.data(), io.bytes});
  } else if (lingered_bytes_ += io.bytes; lingered_bytes_ > kLingerBytes) {
    close();
  }
  return true;
}

void PcpConnection::flush() {
  output_ += talk_.take_output();
  while (phase_ == Phase::open && writable_ && !output_.empty()) {
    const net::Io io = socket_.write(server_.means_.loop, output_);
    writable_ = io.still_ready;
    if (io.state == net::Io::failed) return close();
    output_.erase(0, io.bytes);
  }
}

// Closing with unread bytes would reset the connection and lose our last word on its way.
void PcpConnection::linger() {
  socket_.shutdown_write();
  phase_ = Phase::lingering;
  until_ = server_.means_.loop.now() + kLingerLimit;
  go_on();
}

void PcpConnection::close() {
  if (phase_ == Phase::closed) return;
  phase_ = Phase::closed;
  server_.means_.loop.unwatch(socket_.fd());
  server_.remove(id_);
}

// ---- time

// Whoever has not proved who he is keeps his place no longer for what he sends or takes meanwhile.
Duration PcpConnection::patience() const {
  if (phase_ == Phase::lingering || !talk_.logged_in())
    return std::max(Duration::zero(), Duration(until_ - server_.means_.loop.now()));
  return output_.empty() ? kIdleLimit : kSendLimit;
}

void PcpConnection::rearm() {
  if (going_) return;
  server_.means_.loop.cancel(std::exchange(timer_, 0));
  // What is being done has limits of its own.
  if (phase_ == Phase::closed || (talk_.busy() && output_.empty())) return;
  timer_ = server_.means_.loop.after(patience(), [this] {
    timer_ = 0;
    out_of_patience();
  });
}

void PcpConnection::out_of_patience() {
  const bool says_why = phase_ == Phase::open && output_.empty();
  if (!says_why) return close();
  pcp::Trouble trouble;
  trouble.severity = "FATAL";
  trouble.message = talk_.logged_in() ? "PCP connection was idle too long" : "PCP authentication timed out";
  refuse(trouble);
}

}  // namespace herdgate::admin
