// The log front: what modules call to say something. Where it goes is decided by the sink that main installs.
//
// Shape    log().error({.text = "could not connect to node 2", .detail = "…"});   or HG_LOG(Level::log, "x {}", 1)
//          A line belongs to a context (process name, user, database, application): LogContext, set per session.
// Limits   a line is cut at kMaxLineBytes; the sink's queue is bounded and never blocks the caller. A listener is
//          called by the thread that speaks.
// Threads  Log::write may be called from any thread; the sink must allow that.
// Source   reference/logging.md; severities rank as Pgpool-II 4.6 numbers them.
#pragma once
#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace herdgate {

// Numbers as SHOW POOL_STATUS prints them.
enum class Level : std::uint8_t {
  debug5 = 10,
  debug4 = 11,
  debug3 = 12,
  debug2 = 13,
  debug1 = 14,
  log = 15,
  info = 17,
  notice = 18,
  warning = 19,
  error = 20,
  fatal = 21,
  panic = 22,
};
std::string_view level_name(Level level);  // "DEBUG1", "LOG", …

// True when a line of `level` passes the threshold for the *server log*: there LOG ranks between ERROR and FATAL.
bool passes_server_threshold(Level level, Level threshold);
// … for messages to the client: there LOG ranks between DEBUG and INFO.
bool passes_client_threshold(Level level, Level threshold);

// log_error_verbosity
enum class Verbosity : std::uint8_t { terse, normal, verbose };

struct LogLine {
  Level level = Level::log;
  std::string_view text, detail, hint, query, context, sqlstate;
  const char* file = nullptr;
  int line = 0;
};

// A client that hears what is logged about its own session (client_min_messages).
class LogListener {
 public:
  virtual ~LogListener() = default;
  virtual bool hears(Level level) const = 0;
  virtual void tell(const LogLine& line) = 0;
};

// Who speaks; the texts belong to whoever keeps it. Lives as long as the lines that refer to it are being written (they
// are formatted at once).
struct LogContext {
  std::string_view application = "main";  // %a
  std::string_view process = "MAIN";      // %P
  std::string_view user, database;        // %u %d
  std::string_view trace;                 // traceparent of the statement being served, for jsonlog
  std::uint64_t session = 0;              // of a client; 0: nobody's, and %u and %d say so
  std::uint64_t lines = 0;                // %l, counted by the writer
  LogListener* listener = nullptr;
  std::optional<Level> threshold;      // PGPOOL SET log_min_messages
  std::optional<Verbosity> verbosity;  // PGPOOL SET log_error_verbosity
};

class LogSink {
 public:
  virtual ~LogSink() = default;
  // Must not block and must not throw. `who` may be changed (line counter).
  virtual void write(LogContext& who, const LogLine& line) = 0;
};

// One per process, created by main and handed down by reference; threshold is atomic so that reload can change it.
class Log {
 public:
  static constexpr std::size_t kMaxLineBytes = 1 << 20;
  explicit Log(LogSink& sink) : sink_(&sink) {}
  bool enabled(const LogContext& who, Level level) const { return logged(who, level) || heard(who, level); }
  void set_threshold(Level level) { threshold_.store(level, std::memory_order_relaxed); }
  void write(LogContext& who, const LogLine& line) {
    if (logged(who, line.level)) sink_->write(who, line);
    if (heard(who, line.level)) who.listener->tell(line);
  }

 private:
  bool logged(const LogContext& who, Level level) const {
    return passes_server_threshold(level, who.threshold.value_or(threshold_.load(std::memory_order_relaxed)));
  }
  static bool heard(const LogContext& who, Level level) {
    return who.listener != nullptr && who.listener->hears(level);
  }

  LogSink* sink_;
  std::atomic<Level> threshold_{Level::warning};
};

// HG_LOG(log, who, Level::log, "node {} is down", 2)
#define HG_LOG(log_ref, who, level_, ...)                                                                           \
  do {                                                                                                              \
    if ((log_ref).enabled((who), (level_))) {                                                                       \
      const std::string hg_text = fmt::format(__VA_ARGS__);                                                         \
      (log_ref).write((who),                                                                                        \
                      ::herdgate::LogLine{.level = (level_), .text = hg_text, .file = __FILE__, .line = __LINE__}); \
    }                                                                                                               \
  } while (0)

}  // namespace herdgate
