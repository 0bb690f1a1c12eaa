#include "server/log_writer.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <syslog.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <ctime>
#include <mutex>
#include <thread>
#include <vector>

#include "server/log_collector.h"
#include "server/log_format.h"
#include "server/log_json.h"
#include "server/log_streams.h"

namespace herdgate::server {
namespace {

struct Message {
  std::array<std::string, kShapes> text;
  int priority = LOG_INFO;
  WallTime said{};
  std::size_t size() const { return text[kPlain].size() + text[kJson].size(); }
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

struct LogWriter::State final : LogSink {
  State(const Clock& c, Streams s);
  ~State() override;

  // Any thread.
  void write(LogContext& who, const LogLine& line) override;
  SettingsPtr current();
  void wake_up(bool urgently) {
    if (urgently) urgent = true;
    ::sem_post(&wake);
  }
  Message message(const LogSettings& how, LogContext& who, const LogLine& line);
  bool enqueue(Message message);

  // The writer's thread.
  void serve();
  void wait();
  void gather();
  void take();
  void follow_orders();
  void to_streams(const std::vector<Message>& messages);
  void account();
  void give_up_rest();
  void say_losses();
  void say(const LogLine& line);
  void alarm(const LogSettings& with, LogContext& who, const LogLine& line);

  const Clock& clock;
  const int pid;
  const bool take_stderr;
  const int stderr_fd;  // never descriptor 2 when the collector takes that
  StderrStream to_stderr;
  SyslogStream to_syslog;
  Patience patience;

  std::mutex mutex;
  std::condition_variable caught_up;
  SettingsPtr settings;  // guarded by mutex, as are the next four
  std::vector<Message> queued;
  std::size_t queued_bytes = 0;
  std::unique_ptr<LogCollector> arriving;
  std::pair<std::int64_t, std::string> second;  // the last one that was written out
  // A semaphore, not a condition: a signal handler may post it.
  sem_t wake;
  std::atomic<std::uint64_t> accepted{0}, done{0}, unsaid{0}, lost{0};
  std::atomic<bool> stopping{false}, urgent{false}, rotation_asked{false};

  std::vector<Message> batch;  // the writer's thread alone, as all below
  LogBatch places;             // how far the collector is with it
  std::unique_ptr<LogCollector> collector;
  SettingsPtr how;
  LogContext own{.application = "logger", .process = "LOGGER"};
  std::thread thread;
};

LogWriter::State::State(const Clock& c, Streams s)
    : clock(c),
      pid(::getpid()),
      take_stderr(s.take_stderr),
      stderr_fd(s.take_stderr ? ::fcntl(s.stderr_fd, F_DUPFD_CLOEXEC, 3) : s.stderr_fd),
      to_stderr(stderr_fd),
      to_syslog(s.syslog_path) {
  ::sem_init(&wake, 0, 0);
}

LogWriter::State::~State() {
  ::sem_destroy(&wake);
  if (take_stderr) ::close(stderr_fd);
}

SettingsPtr LogWriter::State::current() {
  const std::lock_guard lock(mutex);
  return settings;
}

Message LogWriter::State::message(const LogSettings& with, LogContext& who, const LogLine& line) {
  const WallTime now = clock.wall();
  Message out{.priority = syslog_priority(line.level), .said = now};
  const Verbosity verbosity = who.verbosity.value_or(with.verbosity);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  std::string time;
  {
    // Writing out a time is the dearest part of a line, and most lines share their second.
    const std::lock_guard lock(mutex);
    if (second.first != ms / 1000 || second.second.empty()) second = {ms / 1000, format_wall(now)};
    time = second.second;
  }
  const std::size_t seconds_size = time.size();
  time += '.';
  for (const auto digit : {ms / 100 % 10, ms / 10 % 10, ms % 10}) time += static_cast<char>('0' + digit);
  const LineFacts facts{pid, std::string_view(time).substr(0, seconds_size), time};
  if (with.to_stderr || with.to_syslog) {
    out.text[kPlain] = format_message(with.prefix, verbosity, facts, who, line);
  } else {
    ++who.lines;
  }
  if (with.to_json) out.text[kJson] = format_json({pid, now, verbosity}, who, line);
  return out;
}

bool LogWriter::State::enqueue(Message fresh) {
  bool first = false;
  {
    const std::lock_guard lock(mutex);
    if (queued_bytes + fresh.size() > kMaxQueuedBytes) {
      ++unsaid;
      ++lost;
      return false;
    }
    queued_bytes += fresh.size();
    first = queued.empty();
    queued.push_back(std::move(fresh));
    ++accepted;
  }
  if (first) ::sem_post(&wake);
  return true;
}

void LogWriter::State::write(LogContext& who, const LogLine& line) {
  const SettingsPtr with = current();
  enqueue(message(*with, who, line));
}

// What the writer itself has to say goes the way of all messages.
void LogWriter::State::say(const LogLine& line) {
  if (passes_server_threshold(line.level, how->threshold)) enqueue(message(*how, own, line));
}

// Where the log went before the collector had it; if nobody reads there, it is not waited for.
void LogWriter::State::alarm(const LogSettings& with, LogContext& who, const LogLine& line) {
  LogSettings plain = with;
  plain.to_stderr = true;
  Patience none;
  none.end_at(std::chrono::steady_clock::now() + kGather);
  to_stderr.write(message(plain, who, line).text[kPlain], none);
}

void LogWriter::State::to_streams(const std::vector<Message>& messages) {
  const bool plain = how->to_stderr && !collector, json = how->to_json && !collector;
  if (plain || json) {
    std::string all;
    for (const Message& one : messages) {
      if (plain) all += one.text[kPlain];
      if (json) all += one.text[kJson];
    }
    if (!to_stderr.write(all, patience)) {
      unsaid += messages.size();
      lost += messages.size();
    }
  }
  if (!how->to_syslog) return;
  for (const Message& one : messages) {
    const bool taken = to_syslog.write(syslog_head(*how, one, pid), one.text[kPlain], patience);
    if (taken || how->to_stderr || how->to_json) continue;  // the message is not gone
    ++unsaid;
    ++lost;
  }
}

void LogWriter::State::say_losses() {
  const std::uint64_t count = unsaid.exchange(0);
  if (count == 0) return;
  const std::string text = fmt::format("{} log messages were lost", count);
  const LogLine line{.level = Level::warning,
                     .text = text,
                     .detail = "The log could not be written as fast as it was filled, or not at all."};
  if (collector) {
    if (!enqueue(message(*how, own, line))) unsaid += count;
    return;
  }
  std::vector<Message> one;
  one.push_back(message(*how, own, line));
  const std::uint64_t before = lost;
  to_streams(one);
  if (lost == before) return;
  unsaid += count - 1;  // it failed again; it counts as what it speaks of
  --lost;
}

// Until a message or an order comes, or until the collector has something to do.
void LogWriter::State::wait() {
  constexpr Duration kLongest = std::chrono::hours(1);
  Duration limit = kLongest;
  if (collector) limit = std::min(limit, collector->wakes_in().value_or(kLongest));
  if (stopping) limit = std::min<Duration>(limit, std::chrono::milliseconds(50));
  timespec until{};
  ::clock_gettime(CLOCK_REALTIME, &until);
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(limit).count() + until.tv_nsec;
  until.tv_sec += ns / 1'000'000'000;
  until.tv_nsec = ns % 1'000'000'000;
  while (::sem_timedwait(&wake, &until) != 0 && errno == EINTR) {
  }
}

// A moment for more messages to come: a write for each of them would cost the clients more than the messages do.
void LogWriter::State::gather() {
  if (urgent.exchange(false) || stopping) return;
  timespec until{};
  ::clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += std::chrono::nanoseconds(kGather).count();
  until.tv_sec += until.tv_nsec / 1'000'000'000;
  until.tv_nsec %= 1'000'000'000;
  while (::sem_timedwait(&wake, &until) != 0 && errno == EINTR) {
  }
}

void LogWriter::State::take() {
  places = {};
  {
    const std::lock_guard lock(mutex);
    batch.swap(queued);
    queued_bytes = 0;
  }
  if (batch.empty()) return;
  to_streams(batch);
  if (!collector) return;
  for (const LogShape shape : {kPlain, kJson}) {
    const bool wanted = shape == kJson || how->to_stderr;
    for (const Message& one : batch)
      places.lines[shape].push_back(wanted ? std::string_view(one.text[shape]) : std::string_view());
  }
}

void LogWriter::State::follow_orders() {
  const SettingsPtr now = current();
  {
    const std::lock_guard lock(mutex);
    if (arriving) collector = std::move(arriving);
  }
  const bool changed = now != how;
  how = now;
  const bool asked = rotation_asked.exchange(false);
  if (!collector) return;
  if (changed) collector->configure(how->rotation, how->to_json);
  if (asked) collector->rotate_now();
}

void LogWriter::State::account() {
  {
    const std::lock_guard lock(mutex);
    done += batch.size();
  }
  batch.clear();
  places = {};
  caught_up.notify_all();
}

void LogWriter::State::give_up_rest() {
  std::size_t taken = batch.size();
  for (const LogShape shape : {kPlain, kJson}) taken = std::min(taken, places.taken[shape]);
  lost += batch.size() - taken;
  account();
}

void LogWriter::State::serve() {
  how = current();
  for (;;) {
    follow_orders();
    if (batch.empty()) take();
    const bool written = !collector || collector->write(places);
    if (written && !batch.empty()) {
      account();
      say_losses();
    }
    if (!written && patience.over(std::chrono::steady_clock::now())) give_up_rest();
    if (stopping && batch.empty() && accepted == done) return;
    if (batch.empty() && accepted != done) continue;  // more has come meanwhile
    wait();
    if (batch.empty()) gather();
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
  state_->wake_up(true);
  state_->thread.join();
}

void LogWriter::configure(LogSettings settings) {
  auto fresh = std::make_shared<const LogSettings>(std::move(settings));
  {
    const std::lock_guard lock(state_->mutex);
    state_->settings.swap(fresh);
  }
  state_->wake_up(true);
}

Result<Done> LogWriter::begin_collecting() {
  State& state = *state_;
  const SettingsPtr how = state.current();
  LogCollector::Voice voice{[&state](const LogLine& line) { state.say(line); },
                            [&state](const LogLine& line) { state.alarm(*state.how, state.own, line); }};
  auto collector = std::make_unique<LogCollector>(state.clock, std::move(voice), state.take_stderr);
  HG_CHECK(collector->begin(how->rotation, how->to_json));
  {
    const std::lock_guard lock(state.mutex);
    state.arriving = std::move(collector);
  }
  state.wake_up(true);
  return Done{};
}

void LogWriter::rotate() {
  state_->rotation_asked = true;
  state_->wake_up(true);
}

void LogWriter::tell_terminal(LogContext& who, const LogLine& line) { state_->alarm(*state_->current(), who, line); }

void LogWriter::leave_terminal() {
  if (!state_->take_stderr) return;
  const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (null < 0) return;
  ::dup3(null, state_->stderr_fd, O_CLOEXEC);
  ::close(null);
}

LogWriter::Figures LogWriter::figures() const { return {state_->accepted, state_->lost}; }

void LogWriter::write(LogContext& who, const LogLine& line) { state_->write(who, line); }

bool LogWriter::flush(Duration limit) {
  std::unique_lock lock(state_->mutex);
  const std::uint64_t upto = state_->accepted;
  if (state_->done < upto) state_->wake_up(true);
  return state_->caught_up.wait_for(lock, limit, [&] { return state_->done >= upto; });
}

void LogWriter::flush_in_signal_handler() {
  if (pthread_equal(pthread_self(), state_->thread.native_handle()) != 0) return;
  state_->wake_up(true);
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
