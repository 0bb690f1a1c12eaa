// The logging collector: log messages into files that change by age, by size and on request.
//
// Shape    begin() opens the first files; write(batch) puts messages where the batch says it stands and leaves the rest
//          for the next call; wakes_in() is when there is something to do besides. configure() after each reload.
// Limits   nothing is kept here: what cannot be written stays in the batch.
// Errors   a disk that is full and a folder that is gone are said once on the stream that was stderr, tried again every
//          kRetry, and told in the log afterwards. A new file that cannot be opened ends the automatic rotation until
//          the next reload; but for want of descriptors it is tried again, by size every kRetry. The old file stays in
//          use.
// Threads  the log writer's, once begin() has returned.
// Source   PostgreSQL manual, "Where to Log"; Pgpool-II 4.6 manual, "Error Reporting and Logging".
#pragma once
#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "server/log_file.h"
#include "server/log_rotation.h"

namespace herdgate::server {

// In which shapes a message is kept, and which file takes which.
enum LogShape : std::size_t { kPlain, kJson, kShapes };

struct LogBatch {
  std::array<std::vector<std::string_view>, kShapes> lines;  // of each shape; "" where a message is not wanted in it
  std::array<std::size_t, kShapes> taken{};                  // written already
};

class LogCollector {
 public:
  static constexpr Duration kRetry = std::chrono::seconds(1);
  struct Voice {
    std::function<void(const LogLine&)> log;    // into the log itself
    std::function<void(const LogLine&)> alarm;  // where people look when the log cannot be written
  };

  // `take_stderr`: descriptor 2 always is the file, so that nothing said there is lost.
  LogCollector(const Clock& clock, Voice voice, bool take_stderr);
  Result<Done> begin(const RotationRules& rules, bool json);
  void configure(const RotationRules& rules, bool json);
  void rotate_now();
  bool write(LogBatch& batch);  // true: everything is in the files
  std::optional<Duration> wakes_in() const;

 private:
  enum class Why { age, size, asked };
  struct Output {
    LogFile file;
    bool on = false;
    std::string trouble;  // why it cannot be written at present
    TimePoint since{};
    bool starved = false;    // no descriptor was left for the next file
    TimePoint not_before{};  // a rotation by size
  };
  Result<Done> open(LogShape shape, WallTime when, Why why);
  bool rotate(LogShape shape, WallTime when, Why why);
  void rotate_by_age();
  bool write_one(LogShape shape, LogBatch& batch);
  bool replace_removed(LogShape shape);
  void troubled(Output& output, const std::string& why);
  void recovered(Output& output);
  std::uint64_t limit_bytes() const { return disabled_ ? 0 : rules_.size_bytes; }

  const Clock& clock_;
  const Voice voice_;
  const bool take_stderr_;
  RotationRules rules_;
  std::array<Output, kShapes> outputs_;
  std::optional<WallTime> next_;
  bool disabled_ = false;  // automatic rotation
};

}  // namespace herdgate::server
