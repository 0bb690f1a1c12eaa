// Where log messages go: formatted by whoever speaks, written by a thread of its own, which is the logging collector
// too.
//
// Shape    LogWriter(settings, clock); write() from any thread puts a finished message into a queue; the thread writes
//          it to stderr or to the collector's files, and to syslog. configure() replaces the settings (reload).
// Limits   kMaxQueuedBytes wait, and as much again is being written; what comes when the queue is full is counted, and
//          the count is said in the log later. flush() and the destructor wait at most as long as they are told: a
//          blocked stderr never holds the process. Messages of kGather are written together.
// Errors   a stream that cannot be written loses messages; their number is said once it works again. A file of the
//          collector that cannot be written loses none until the queue is full.
// Threads  all functions from any thread. Create it after the last fork.
// Source   Pgpool-II 4.6 manual, "Error Reporting and Logging"; syslog(3), RFC 3164 for the octets.
#pragma once
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "server/log_rotation.h"

namespace herdgate::server {

struct LogSettings {
  bool to_stderr = true, to_syslog = false, to_json = false;
  std::string prefix = "%m: %a pid %p: ";
  Verbosity verbosity = Verbosity::normal;
  Level threshold = Level::warning;  // for what the writer says itself
  int syslog_facility = 16;          // as in a message's number: 16 is local0
  std::string syslog_ident = "pgpool";
  bool collect = false;  // logging_collector; only a start takes it
  RotationRules rotation;
};

// A message of this level as syslog ranks it (LOG_ERR and so on).
int syslog_priority(Level level);

class LogWriter final : public LogSink {
 public:
  static constexpr std::size_t kMaxQueuedBytes = 8u << 20;
  static constexpr std::size_t kMaxSyslogBytes = 900;  // of one datagram's text; longer messages are split
  static constexpr std::chrono::milliseconds kGather{2};
  struct Streams {
    int stderr_fd = 2;
    std::string syslog_path = "/dev/log";
    bool take_stderr = false;  // the collector turns descriptor 2 into its file
  };
  struct Figures {
    std::uint64_t accepted = 0, lost = 0;  // messages, since the start
  };

  LogWriter(LogSettings settings, const Clock& clock) : LogWriter(std::move(settings), clock, Streams{}) {}
  LogWriter(LogSettings settings, const Clock& clock, Streams streams);
  ~LogWriter() override;  // flushes for at most kLastFlush

  void write(LogContext& who, const LogLine& line) override;
  void configure(LogSettings settings);
  // From here on what would go to stderr goes to the collector's files. Fails when they cannot be opened.
  Result<Done> begin_collecting();
  void rotate();  // the collector's files, soon
  // Past the collector, to what was stderr before: start errors, which people look for there.
  void tell_terminal(LogContext& who, const LogLine& line);
  void leave_terminal();  // what was stderr before the collector took it: nobody is there any more
  Figures figures() const;
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
