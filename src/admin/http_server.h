// The HTTP service: listens, keeps the connections, answers /metrics, /healthz, /readyz and /api/state.
//
// Shape    open() binds; then it works on the control loop until it is destroyed. The figures are gathered once for all
//          who ask meanwhile, at most every kGatherPause; whoever asks gets figures taken after the request came.
// Limits   kMaxConnections; a new one takes the place of the one that has been silent longest, and waits in the kernel
//          while all are being answered. kMaxHead for a request; times as HttpLimits says; kFarewellBytes are read
//          after the last word. One request a turn for each connection.
// Errors   open() says what could not be bound. A client's trouble is its own, and nothing is logged about it.
// Threads  the control thread.
// Source   RFC 9110, RFC 9112; Prometheus documentation, "Exposition formats".
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "admin/exposition.h"
#include "base/log.h"
#include "config/settings.h"
#include "net/socket.h"
#include "report/figures.h"

namespace herdgate::admin {

inline constexpr std::size_t kMaxConnections = 16;
inline constexpr int kHttpBacklog = 64;
inline constexpr std::chrono::milliseconds kGatherPause{50};
inline constexpr std::size_t kFarewellBytes = 256 * 1024;

struct HttpLimits {
  Duration request = std::chrono::seconds(5);   // for a request to come whole
  Duration answer = std::chrono::seconds(5);    // for the figures
  Duration take = std::chrono::seconds(5);      // for an answer to be taken
  Duration keep = std::chrono::seconds(75);     // before the next request
  Duration farewell = std::chrono::seconds(2);  // for the peer to close after the last word
};

class HttpConnection;

struct HttpMeans {
  using Gathered = std::function<void(std::shared_ptr<const report::Figures>)>;
  net::Loop& loop;
  Log& log;
  std::function<config::SettingsPtr()> settings;
  // Calls back once, on the loop, later.
  std::function<void(Gathered)> gather;
  // Why clients cannot be served; empty: they can.
  std::function<std::string()> not_ready;
  HttpLimits limits = {};
};

class HttpServer {
 public:
  explicit HttpServer(HttpMeans means);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  Result<Done> open();
  std::vector<int> ports() const;  // the real ones

 private:
  friend class HttpConnection;
  enum class Wants : std::uint8_t { prometheus, openmetrics, state };
  static Wants wants(Format format) { return format == Format::openmetrics ? Wants::openmetrics : Wants::prometheus; }
  void accept(net::Socket socket);
  void make_room();
  void admit_again();
  void ask(std::uint64_t connection, Wants what);
  void gather();
  void gathered(const report::Figures& figures);
  std::string text(const report::Figures& figures, Wants what) const;
  void remove(std::uint64_t id);

  HttpMeans means_;
  LogContext who_;
  std::vector<std::unique_ptr<net::Listener>> listeners_;
  std::map<std::uint64_t, std::shared_ptr<HttpConnection>> connections_;
  std::uint64_t last_id_ = 0;
  bool paused_ = false;
  std::map<std::uint64_t, Wants> asking_, gathering_for_;  // by connection; the next round and the one under way
  bool gathering_ = false;
  TimePoint gathered_last_{};
  net::TimerId next_round_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace herdgate::admin
