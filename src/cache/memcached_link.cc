#include "cache/memcached_link.h"

#include <algorithm>
#include <system_error>

namespace herdgate::cache {

MemcachedLink::MemcachedLink(Wiring wiring)
    : loop_(wiring.loop),
      blocking_(wiring.blocking),
      to_(std::move(wiring.to)),
      most_value_bytes_(wiring.most_value_bytes),
      hooks_(std::move(wiring.hooks)),
      replies_(most_value_bytes_) {}

MemcachedLink::~MemcachedLink() {
  loop_.cancel(again_timer_);
  loop_.cancel(time_timer_);
  if (socket_.open()) loop_.unwatch(socket_.fd());
}

void MemcachedLink::connect() {
  const net::ConnectOptions options{.deadline = Deadline::after(loop_.now(), kGivesUp), .tcp = {}};
  connecting_ = net::connect(loop_, blocking_, to_, options,
                             [this](Result<net::Socket> socket) { connected(std::move(socket)); });
}

void MemcachedLink::connected(Result<net::Socket> socket) {
  loop_.defer([old = std::shared_ptr<net::Connecting>(std::move(connecting_))] {});  // it is on the stack
  if (!socket) {
    hooks_.troubled(socket.error().text());
    return again();
  }
  socket_ = std::move(*socket);
  if (auto watched = loop_.watch(socket_.fd(), *this); !watched) {
    socket_.close();
    hooks_.troubled(watched.error().text());
    return again();
  }
  replies_ = MemcachedReplies(most_value_bytes_);
  out_.clear();
  sent_ = 0;
  writable_ = true;
  slow_until_ = {};
  hooks_.up();
}

void MemcachedLink::again() {
  again_timer_ = loop_.after(kAgainAfter, [this] {
    again_timer_ = 0;
    connect();
  });
}

void MemcachedLink::lose(const std::string& why) {
  loop_.unwatch(socket_.fd());
  socket_.close();
  loop_.cancel(std::exchange(time_timer_, 0));
  Bytes().swap(out_);
  sent_ = 0;
  std::deque<Waiting> failed;
  failed.swap(queue_);
  hooks_.lost();
  hooks_.troubled(why);
  again();
  for (Waiting& waiting : failed) {
    if (waiting.done) waiting.done({});
  }
}

bool MemcachedLink::ask(MemcachedRequest request, Patience patience, Finished done) {
  if (!up() || queue_.size() >= kMaxRequests || out_.size() - sent_ > kMaxUnsent) return false;
  if (patience == Patience::short_ && !quick()) return false;
  out_ += request.commands;
  const std::span<const std::string> keys(request.keys);
  const std::size_t gets = (keys.size() + kKeysPerGet - 1) / kKeysPerGet;
  for (std::size_t i = 0; i < gets; ++i)
    put_get(out_, keys.subspan(i * kKeysPerGet, std::min(kKeysPerGet, keys.size() - i * kKeysPerGet)));
  Waiting& waiting = queue_.emplace_back();
  waiting.answer.values.resize(keys.size());
  waiting.keys = std::move(request.keys);
  waiting.lines = request.lines;
  waiting.ends = gets;
  waiting.patience = patience;
  waiting.since = loop_.now();
  waiting.done = std::move(done);
  watch_time();
  // What is asked in one turn goes out in one write.
  if (!std::exchange(write_deferred_, true)) {
    loop_.defer([this, alive = std::weak_ptr<bool>(alive_)] {
      if (alive.expired()) return;
      write_deferred_ = false;
      write();
    });
  }
  return true;
}

void MemcachedLink::write() {
  while (up() && writable_ && sent_ < out_.size()) {
    const net::Io io = socket_.write(loop_, std::string_view(out_).substr(sent_));
    if (io.state == net::Io::failed) return lose(std::generic_category().message(io.errno_value));
    sent_ += io.bytes;
    writable_ = io.state == net::Io::ok && io.still_ready;
  }
  if (sent_ < out_.size()) return;
  sent_ = 0;
  out_.clear();
  if (out_.capacity() > kReadBytes) Bytes().swap(out_);
}

void MemcachedLink::on_ready(unsigned ready) {
  if (ready & net::kWritable) {
    writable_ = true;
    write();
  }
  if (up() && (ready & (net::kReadable | net::kHangup | net::kBroken))) read();
}

void MemcachedLink::read() {
  read_buffer_.resize(kReadBytes);
  for (bool more = true; more && up();) {
    const net::Io io = socket_.read(loop_, read_buffer_);
    if (io.state == net::Io::closed) return lose("it has closed the connection");
    if (io.state == net::Io::failed) return lose(std::generic_category().message(io.errno_value));
    more = io.state == net::Io::ok;  // until it would block: the end of the stream is to be seen too
    if (!more) return;
    replies_.feed({read_buffer_.data(), io.bytes});
    while (up()) {
      const std::optional<MemcachedReply> reply = replies_.next();
      if (!reply) break;
      take(*reply);
    }
    if (up() && !replies_.broken().empty()) return lose("this is not memcached: " + replies_.broken());
  }
}

void MemcachedLink::take(const MemcachedReply& reply) {
  if (queue_.empty()) return lose("this is not memcached: it answers what was not asked");
  Waiting& waiting = queue_.front();
  using Kind = MemcachedReply::Kind;
  const bool of_get = reply.kind == Kind::value || reply.kind == Kind::end;
  if (waiting.lines > 0) {
    if (of_get) return lose("this is not memcached: a value instead of a line");
    waiting.answer.lines.push_back({reply.kind, reply.count});
    --waiting.lines;
  } else if (reply.kind == Kind::value) {
    if (!take_value(waiting, reply)) return lose("this is not memcached: a value that was not asked for");
  } else {
    // Out of memory in the middle of a get: an error takes the place of END.
    if (reply.kind != Kind::end && reply.kind != Kind::refused)
      return lose("this is not memcached: a line instead of a value");
    --waiting.ends;
  }
  if (waiting.lines == 0 && waiting.ends == 0) finish_first();
}

// Values come in the order of the keys, without those that are not there.
bool MemcachedLink::take_value(Waiting& waiting, const MemcachedReply& reply) {
  while (waiting.next_key < waiting.keys.size() && waiting.keys[waiting.next_key] != reply.key) ++waiting.next_key;
  if (waiting.next_key == waiting.keys.size()) return false;
  waiting.answer.values[waiting.next_key++] = Bytes(reply.data);
  return true;
}

void MemcachedLink::finish_first() {
  Waiting first = std::move(queue_.front());
  queue_.pop_front();
  first.answer.ok = true;
  if (first.done) first.done(std::move(first.answer));
}

// One timer for many requests: nearly all of them are answered at once.
void MemcachedLink::watch_time() {
  if (time_timer_ != 0) return;
  time_timer_ = loop_.after(kPatience / 4, [this] {
    time_timer_ = 0;
    time_is_up();
  });
}

void MemcachedLink::time_is_up() {
  if (up()) read();  // it is not memcached that is slow when we come late
  if (queue_.empty() || !up()) return;
  const TimePoint now = loop_.now();
  if (now - queue_.front().since >= kGivesUp)
    return lose(fmt::format("no answer within {} ms", kGivesUp / std::chrono::milliseconds(1)));
  watch_time();
  std::vector<Finished> impatient;
  for (Waiting& waiting : queue_) {
    const bool waits = waiting.done && waiting.patience == Patience::short_;
    if (waits && now - waiting.since >= kPatience) impatient.push_back(std::exchange(waiting.done, nullptr));
  }
  if (impatient.empty()) return;
  slow_until_ = now + kSlowFor;
  hooks_.troubled(fmt::format("no answer within {} ms", kPatience / std::chrono::milliseconds(1)));
  for (const Finished& done : impatient) done({});
}

}  // namespace herdgate::cache
