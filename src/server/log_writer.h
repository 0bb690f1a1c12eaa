// Where log messages go: formatted by whoever speaks, written by a thread of its own.
//
// Shape    LogWriter(settings, clock); write() from any thread puts a finished message into a queue; the thread writes
// it
//          to stderr and to syslog. configure() replaces the settings (reload).
// Limits   kMaxQueuedBytes wait; what comes when the queue is full is counted and the count is said in the log later.
//          flush() and the destructor wait at most as long as they are told: a blocked stderr never holds the process.
// Errors   a stream that cannot be written (full disk) loses messages; their number is said once it works again.
// Threads  all functions from any thread. Create it after the last fork.
// Source   Pgpool-II 4.6 manual, "Error Reporting and Logging"; syslog(3), RFC 3164 for the octets.
#pragma once
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "server/log_format.h"

namespace herdgate::server {

struct LogSettings {
  bool to_stderr = true, to_syslog = false;
  std::string prefix = "%m: %a pid %p: ";
  Verbosity verbosity = Verbosity::normal;
  int syslog_facility = 16;  // as in a message's number: 16 is local0
  std::string syslog_ident = "pgpool";
};

// A message of this level as syslog ranks it (LOG_ERR and so on).
int syslog_priority(Level level);

class LogWriter final : public LogSink {
 public:
  static constexpr std::size_t kMaxQueuedBytes = 8u << 20;
  static constexpr std::size_t kMaxSyslogBytes = 900;  // of one datagram's text; longer messages are split
  struct Streams {
    int stderr_fd = 2;
    std::string syslog_path = "/dev/log";
  };

  LogWriter(LogSettings settings, const Clock& clock) : LogWriter(std::move(settings), clock, Streams{}) {}
  LogWriter(LogSettings settings, const Clock& clock, Streams streams);
  ~LogWriter() override;  // flushes for at most kLastFlush

  void write(LogContext& who, const LogLine& line) override;
  void configure(LogSettings settings);
  bool flush(Duration limit);  // true: everything said before is written
  // The same in a signal handler: no locks, no memory.
  void flush_in_signal_handler();

  static constexpr std::chrono::seconds kLastFlush{2};

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// While it lives, SIGABRT, SIGSEGV, SIGBUS, SIGFPE and SIGILL wait a moment for the log before they end the process.
class FlushOnCrash {
 public:
  explicit FlushOnCrash(LogWriter& writer);
  ~FlushOnCrash();
  FlushOnCrash(const FlushOnCrash&) = delete;
  FlushOnCrash& operator=(const FlushOnCrash&) = delete;
};

}  // namespace herdgate::server
