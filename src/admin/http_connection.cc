#include "admin/http_connection.h"

#include <fmt/chrono.h>

#include <array>

namespace herdgate::admin {
namespace {

constexpr std::size_t kReadBytes = 4096;
constexpr int kOk = 200, kNotFound = 404, kMethodNotAllowed = 405, kTimeout = 408, kTooLarge = 413, kUnavailable = 503;
constexpr std::string_view kPlain = "text/plain; charset=utf-8";
constexpr std::string_view kAllow = "Allow: GET, HEAD\r\n";

std::string_view reason_of(int status) {
  switch (status) {
    case kOk:
      return "OK";
    case kNotFound:
      return "Not Found";
    case kMethodNotAllowed:
      return "Method Not Allowed";
    case kTimeout:
      return "Request Timeout";
    case kTooLarge:
      return "Content Too Large";
    case kUnavailable:
      return "Service Unavailable";
    case 431:
      return "Request Header Fields Too Large";
    default:
      return "Bad Request";
  }
}

std::string date_of(WallTime time) {
  return fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

}  // namespace

HttpConnection::HttpConnection(HttpServer& server, std::uint64_t id, net::Socket socket)
    : server_(server), id_(id), socket_(std::move(socket)), since_(server.means_.loop.now()) {}

HttpConnection::~HttpConnection() {
  server_.means_.loop.cancel(timer_);
  server_.means_.loop.cancel(next_turn_);
  if (phase_ != Phase::closed) server_.means_.loop.unwatch(socket_.fd());
}

Result<Done> HttpConnection::start() {
  auto watched = server_.means_.loop.watch(socket_.fd(), *this);
  if (!watched) phase_ = Phase::closed;
  rearm();
  return watched;
}

void HttpConnection::on_ready(unsigned ready) {
  if (ready & net::kReadable) readable_ = true;
  if (ready & net::kWritable) writable_ = true;
  if (ready & net::kBroken) return close();
  if (next_turn_ == 0) go_on();
}

// At most one request is answered in a turn: the cluster's work is done on this loop as well.
void HttpConnection::go_on() {
  const auto held = shared_from_this();
  if (phase_ == Phase::reading && !read_request()) return;
  if (phase_ == Phase::sending) flush();
  if (phase_ == Phase::parting) part();
  if (phase_ != Phase::reading || next_turn_ != 0) return;
  next_turn_ = server_.means_.loop.after(Duration::zero(), [this] {
    next_turn_ = 0;
    go_on();
  });
}

void HttpConnection::enter(Phase phase) {
  phase_ = phase;
  since_ = server_.means_.loop.now();
  rearm();
  if (silent()) server_.admit_again();
}

// True when a request, or what is none, has been dealt with.
bool HttpConnection::read_request() {
  for (bool more = true; more;) {
    const HttpRequestReader::Read read = reader_.read(input_);
    if (const auto* request = std::get_if<HttpRequest>(&read)) {
      serve(*request);
      return true;
    }
    if (const auto* refusal = std::get_if<HttpRefusal>(&read)) {
      refuse(refusal->status);
      return true;
    }
    const bool begun = reader_.begun() || !input_.empty();
    more = read_some() > 0;
    if (phase_ == Phase::reading && !begun && !input_.empty()) enter(Phase::reading);  // its time begins to run
  }
  return false;
}

// One read; 0: there is nothing more at present, or nobody any more.
std::size_t HttpConnection::read_some() {
  if (!readable_) return 0;
  std::array<char, kReadBytes> buffer;
  const net::Io io = socket_.read(server_.means_.loop, buffer);
  readable_ = io.still_ready;
  if (io.state == net::Io::would_block) return 0;
  if (io.state != net::Io::ok) {
    close();
    return 0;
  }
  if (phase_ == Phase::reading) input_.append(buffer.data(), io.bytes);
  return io.bytes;
}

void HttpConnection::serve(const HttpRequest& request) {
  served_one_ = true;
  keep_ = request.keep_alive && !request.has_body;
  head_only_ = request.method == Method::head;
  old_ = request.old;
  if (request.method == Method::other)
    return send({kMethodNotAllowed, kPlain, "only GET and HEAD are served\n", std::string(kAllow)});
  if (request.has_body) return send({kTooLarge, kPlain, "requests with a body are not served\n", {}});
  serve_page(request);
}

void HttpConnection::serve_page(const HttpRequest& request) {
  switch (page_of(request.target)) {
    case Page::none:
      return send({kNotFound, kPlain, "there are /metrics, /healthz, /readyz and /api/state\n", {}});
    case Page::health:
      return send({kOk, kPlain, "alive\n", {}});
    case Page::readiness: {
      const std::string problem = server_.means_.not_ready();
      return problem.empty() ? send({kOk, kPlain, "ready\n", {}}) : send({kUnavailable, kPlain, problem + "\n", {}});
    }
    case Page::metrics:
      enter(Phase::asking);
      return server_.ask(id_, HttpServer::wants(format_for(request.accept)));
    case Page::state:
      enter(Phase::asking);
      return server_.ask(id_, HttpServer::Wants::state);
  }
}

void HttpConnection::refuse(int status) {
  keep_ = head_only_ = false;
  send({status, kPlain, std::string(reason_of(status)) + "\n", {}});
}

void HttpConnection::answer(std::string_view type, std::string body) {
  if (phase_ != Phase::asking) return;
  send({kOk, type, std::move(body), {}});
  go_on();
}

void HttpConnection::send(const Reply& reply) {
  const std::string_view connection = !keep_ ? "Connection: close\r\n" : old_ ? "Connection: keep-alive\r\n" : "";
  output_ = fmt::format(
      "HTTP/1.1 {} {}\r\nDate: {}\r\nServer: Herdgate\r\nContent-Type: {}\r\nContent-Length: {}\r\n"
      "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{}{}\r\n",
      reply.status, reason_of(reply.status), date_of(server_.means_.loop.clock().wall()), reply.type, reply.body.size(),
      reply.fields, connection);
  if (!head_only_) output_ += reply.body;
  sent_ = 0;
  enter(Phase::sending);
}

void HttpConnection::flush() {
  while (writable_ && sent_ < output_.size()) {
    const net::Io io = socket_.write(server_.means_.loop, std::string_view(output_).substr(sent_));
    writable_ = io.still_ready;
    if (io.state == net::Io::failed) return close();
    sent_ += io.bytes;
  }
  if (sent_ < output_.size()) return;
  Bytes().swap(output_);
  if (keep_) {
    reader_.reset();
    return enter(Phase::reading);
  }
  socket_.shutdown_write();
  enter(Phase::parting);
}

// Closing with unread bytes would reset the connection and lose the answer on its way.
void HttpConnection::part() {
  while (const std::size_t bytes = read_some()) {
    parted_bytes_ += bytes;
    if (parted_bytes_ > kFarewellBytes) return close();
  }
}

void HttpConnection::close() {
  if (phase_ == Phase::closed) return;
  phase_ = Phase::closed;
  rearm();
  server_.means_.loop.cancel(std::exchange(next_turn_, 0));
  server_.means_.loop.unwatch(socket_.fd());
  server_.remove(id_);
}

// ---- time

Duration HttpConnection::patience() const {
  const HttpLimits& limits = server_.means_.limits;
  switch (phase_) {
    case Phase::asking:
      return limits.answer;
    case Phase::sending:
      return limits.take;
    case Phase::parting:
      return limits.farewell;
    default:
      return served_one_ && !reader_.begun() && input_.empty() ? limits.keep : limits.request;
  }
}

void HttpConnection::rearm() {
  server_.means_.loop.cancel(std::exchange(timer_, 0));
  if (phase_ == Phase::closed) return;
  timer_ = server_.means_.loop.after(patience(), [this] {
    timer_ = 0;
    out_of_patience();
  });
}

void HttpConnection::out_of_patience() {
  const auto held = shared_from_this();
  const bool midway = phase_ == Phase::reading && (reader_.begun() || !input_.empty());
  if (!midway && phase_ != Phase::asking) return close();
  keep_ = false;
  if (midway) {
    refuse(kTimeout);
  } else {
    send({kUnavailable, kPlain, "the figures could not be gathered in time\n", {}});
  }
  go_on();
}

}  // namespace herdgate::admin
