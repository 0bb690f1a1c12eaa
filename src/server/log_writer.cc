#include "server/log_writer.h"

#include <pthread.h>
#include <semaphore.h>
#include <syslog.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <ctime>
#include <mutex>
#include <thread>
#include <vector>

#include "server/log_streams.h"

namespace herdgate::server {
namespace {

struct Message {
  std::string text;
  int priority = LOG_INFO;
  WallTime said{};
};

using SettingsPtr = std::shared_ptr<const LogSettings>;

std::string syslog_head(const LogSettings& settings, const Message& message, int pid) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(message.said);
  std::tm tm{};
  ::localtime_r(&seconds, &tm);
  // Names of months as the format wants them, whatever the locale.
  static constexpr std::array<const char*, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("<{}>{} {:2} {:02}:{:02}:{:02} {}[{}]: ", settings.syslog_facility * 8 + message.priority,
                     kMonths[static_cast<std::size_t>(tm.tm_mon)], tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                     settings.syslog_ident, pid);
}

}  // namespace

int syslog_priority(Level level) {
  switch (level) {
    case Level::log:
    case Level::info:
      return LOG_INFO;
    case Level::notice:
    case Level::warning:
      return LOG_NOTICE;
    case Level::error:
      return LOG_WARNING;
    case Level::fatal:
      return LOG_ERR;
    case Level::panic:
      return LOG_CRIT;
    default:
      return LOG_DEBUG;
  }
}

struct LogWriter::State {
  State(const Clock& c, Streams s) : clock(c), pid(::getpid()), to_stderr(s.stderr_fd), to_syslog(s.syslog_path) {
    ::sem_init(&wake, 0, 0);
  }
  ~State() { ::sem_destroy(&wake); }

  void serve();
  void write_batch(const std::vector<Message>& batch, const LogSettings& how);
  void say_losses(const LogSettings& how);
  std::string format(const LogSettings& how, LogContext& who, const LogLine& line, WallTime now);

  const Clock& clock;
  const int pid;
  StderrStream to_stderr;
  SyslogStream to_syslog;
  Patience patience;

  std::mutex mutex;
  std::condition_variable caught_up;
  SettingsPtr settings;         // guarded by mutex
  std::vector<Message> queued;  // guarded by mutex
  std::size_t queued_bytes = 0;
  // A semaphore, not a condition: a signal handler may post it.
  sem_t wake;
  std::atomic<std::uint64_t> accepted{0}, done{0}, lost{0};
  std::atomic<bool> stopping{false};
  LogContext own;  // speaks about losses; the writer's thread alone
  std::thread thread;
};

std::string LogWriter::State::format(const LogSettings& how, LogContext& who, const LogLine& line, WallTime now) {
  const std::string time_ms = format_wall(now, /*with_ms=*/true);
  const LineFacts facts{pid, std::string_view(time_ms).substr(0, time_ms.size() - 4), time_ms};
  return format_message(how.prefix, how.verbosity, facts, who, line);
}

void LogWriter::State::write_batch(const std::vector<Message>& batch, const LogSettings& how) {
  if (how.to_stderr) {
    std::string all;
    for (const Message& message : batch) all += message.text;
    if (!to_stderr.write(all, patience)) lost += batch.size();
  }
  if (!how.to_syslog) return;
  for (const Message& message : batch) {
    const bool taken = to_syslog.write(syslog_head(how, message, pid), message.text, patience);
    if (!taken && !how.to_stderr) ++lost;  // with stderr besides, the message is not gone
  }
}

void LogWriter::State::say_losses(const LogSettings& how) {
  const std::uint64_t count = lost.exchange(0);
  if (count == 0) return;
  const std::string text = fmt::format("{} log messages were lost", count);
  const LogLine line{.level = Level::warning,
                     .text = text,
                     .detail = "The log could not be written as fast as it was filled, or not at all."};
  const std::uint64_t before = lost;
  write_batch({Message{format(how, own, line, clock.wall()), LOG_NOTICE, clock.wall()}}, how);
  if (lost != before) lost += count - 1;  // it failed again; it counts as what it speaks of
}

void LogWriter::State::serve() {
  while (!stopping || accepted != done) {
    while (::sem_wait(&wake) != 0) {
    }
    std::vector<Message> batch;
    SettingsPtr how;
    {
      const std::lock_guard lock(mutex);
      batch.swap(queued);
      queued_bytes = 0;
      how = settings;
    }
    if (batch.empty()) continue;
    write_batch(batch, *how);
    say_losses(*how);
    {
      const std::lock_guard lock(mutex);
      done += batch.size();
    }
    caught_up.notify_all();
  }
}

LogWriter::LogWriter(LogSettings settings, const Clock& clock, Streams streams)
    : state_(std::make_unique<State>(clock, std::move(streams))) {
  configure(std::move(settings));
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  state_->thread = std::thread([this] { state_->serve(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

LogWriter::~LogWriter() {
  state_->patience.end_at(std::chrono::steady_clock::now() + kLastFlush);
  state_->stopping = true;
  ::sem_post(&state_->wake);
  state_->thread.join();
}

void LogWriter::configure(LogSettings settings) {
  auto fresh = std::make_shared<const LogSettings>(std::move(settings));
  const std::lock_guard lock(state_->mutex);
  state_->settings.swap(fresh);
}

void LogWriter::write(LogContext& who, const LogLine& line) {
  SettingsPtr how;
  {
    const std::lock_guard lock(state_->mutex);
    how = state_->settings;
  }
  const WallTime now = state_->clock.wall();
  Message message{state_->format(*how, who, line, now), syslog_priority(line.level), now};
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->queued_bytes + message.text.size() > kMaxQueuedBytes) {
      ++state_->lost;
      return;
    }
    state_->queued_bytes += message.text.size();
    state_->queued.push_back(std::move(message));
    ++state_->accepted;
    if (state_->queued.size() > 1) return;  // the writer has been woken already
  }
  ::sem_post(&state_->wake);
}

bool LogWriter::flush(Duration limit) {
  std::unique_lock lock(state_->mutex);
  const std::uint64_t upto = state_->accepted;
  return state_->caught_up.wait_for(lock, limit, [&] { return state_->done >= upto; });
}

void LogWriter::flush_in_signal_handler() {
  if (pthread_equal(pthread_self(), state_->thread.native_handle()) != 0) return;
  constexpr int kTries = 100;
  constexpr timespec kPause{0, 10'000'000};
  for (int i = 0; i < kTries && state_->done != state_->accepted; ++i) ::nanosleep(&kPause, nullptr);
}

namespace {

constexpr std::array kCrashes{SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

// The one mutable static: a signal handler is given nothing else to find the log by.
std::atomic<LogWriter*> crash_writer{nullptr};

// Registered with SA_RESETHAND: the second signal, raised here, has its default effect.
void on_crash(int number) {
  if (LogWriter* writer = crash_writer.exchange(nullptr)) writer->flush_in_signal_handler();
  ::raise(number);
}

}  // namespace

FlushOnCrash::FlushOnCrash(LogWriter& writer) {
  crash_writer = &writer;
  struct sigaction action {};
  action.sa_handler = on_crash;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int number : kCrashes) {
    struct sigaction before {};
    // A sanitizer's own handler says more than a flushed log.
    if (::sigaction(number, nullptr, &before) == 0 && before.sa_handler == SIG_DFL)
      ::sigaction(number, &action, nullptr);
  }
}

FlushOnCrash::~FlushOnCrash() {
  crash_writer = nullptr;
  for (const int number : kCrashes) {
    struct sigaction now {};
    if (::sigaction(number, nullptr, &now) == 0 && now.sa_handler == on_crash) ::signal(number, SIG_DFL);
  }
}

}  // namespace herdgate::server
