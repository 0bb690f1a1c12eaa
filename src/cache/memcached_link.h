// One worker's connection to memcached: a queue of requests, written many at a time, answered in order.
//
// Shape    ask() queues one request of any number of commands; its `done` is called once, never from within ask(). When
//          the connection is lost all that is queued fails, and a new one is tried after kAgainAfter.
// Limits   a request that can do without an answer (Patience::short_) fails after kPatience, and then nothing of its
//          kind is asked for kSlowFor; its reply is read and dropped when it comes. Whatever has no answer after
//          kGivesUp ends the connection. kMaxRequests and kMaxUnsent; of stores kMaxUnsentStores.
// Errors   a reply that is none ends the connection.
// Threads  the worker of its loop.
// Source   docs/decisions/0003-memcached.md for the times.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/memcached_protocol.h"
#include "net/socket.h"

namespace herdgate::cache {

// Commands that are answered by a line each, then keys that are got.
struct MemcachedRequest {
  Bytes commands;
  std::size_t lines = 0;
  std::vector<std::string> keys;
  void set(std::string_view key, std::uint32_t expiry, ByteView data) { put_set(commands, key, expiry, data), ++lines; }
  void add(std::string_view key, ByteView data) { put_add(commands, key, data), ++lines; }
  void increase(std::string_view key, std::uint64_t by) { put_increase(commands, key, by), ++lines; }
  void remove(std::string_view key) { put_delete(commands, key), ++lines; }
};

struct MemcachedAnswer {
  struct Line {
    MemcachedReply::Kind kind;
    std::uint64_t count;
  };
  bool ok = false;
  std::vector<Line> lines;
  std::vector<std::optional<Bytes>> values;  // one for each key
};

class MemcachedLink final : public net::Watcher {
 public:
  static constexpr Duration kPatience = std::chrono::milliseconds(100), kGivesUp = std::chrono::milliseconds(500),
                            kAgainAfter = std::chrono::milliseconds(500), kSlowFor = std::chrono::seconds(1);
  static constexpr std::size_t kMaxRequests = 10'000, kMaxUnsent = 16 << 20, kMaxUnsentStores = 4 << 20,
                               kKeysPerGet = 100, kReadBytes = 64 * 1024;
  enum class Patience : std::uint8_t { short_, full };
  using Finished = std::function<void(MemcachedAnswer)>;
  struct Hooks {
    std::function<void()> up;
    std::function<void(const std::string& why)> troubled;  // slow, or not to be reached
    std::function<void()> lost;                            // before the requests that it takes along fail
  };
  struct Wiring {
    net::Loop& loop;
    net::BlockingPool& blocking;
    net::Destination to;
    std::size_t most_value_bytes;
    Hooks hooks;
  };

  explicit MemcachedLink(Wiring wiring);
  ~MemcachedLink() override;
  void start() { connect(); }
  bool up() const { return socket_.open(); }
  bool quick() const { return up() && loop_.now() >= slow_until_; }
  bool quiet() const { return queue_.empty(); }
  // False: it is not asked, and `done` will not be called.
  bool ask(MemcachedRequest request, Patience patience, Finished done);
  bool room_for_store() const { return up() && out_.size() - sent_ < kMaxUnsentStores; }
  void on_ready(unsigned ready) override;

 private:
  struct Waiting {
    MemcachedAnswer answer;
    std::vector<std::string> keys;
    std::size_t lines, next_key = 0, ends;
    Patience patience;
    TimePoint since;
    Finished done;
  };
  void connect();
  void connected(Result<net::Socket> socket);
  void lose(const std::string& why);
  void again();
  void write();
  void read();
  void take(const MemcachedReply& reply);
  bool take_value(Waiting& waiting, const MemcachedReply& reply);
  void finish_first();
  void watch_time();
  void time_is_up();

  net::Loop& loop_;
  net::BlockingPool& blocking_;
  const net::Destination to_;
  const std::size_t most_value_bytes_;
  Hooks hooks_;
  net::Socket socket_;
  std::unique_ptr<net::Connecting> connecting_;
  MemcachedReplies replies_;
  std::vector<char> read_buffer_;
  Bytes out_;
  std::size_t sent_ = 0;
  bool writable_ = false, write_deferred_ = false;
  std::deque<Waiting> queue_;
  TimePoint slow_until_{};
  net::TimerId again_timer_ = 0, time_timer_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // what is deferred holds it weakly
};

}  // namespace herdgate::cache
