#include "server/log_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace herdgate::server {
namespace {
using namespace std::chrono_literals;

constexpr auto kGiveUp = 10s;

class FixedClock final : public Clock {
 public:
  TimePoint now() const override { return {}; }
  WallTime wall() const override { return {}; }
};

struct Pipe {
  Pipe() { EXPECT_EQ(::pipe2(fds.data(), O_CLOEXEC), 0); }
  ~Pipe() {
    ::close(fds[0]);
    if (fds[1] >= 0) ::close(fds[1]);
  }
  // What is there, waiting for `count` line ends at least.
  std::string lines(int count) {
    std::string text;
    std::array<char, 65536> buffer;
    while (std::count(text.begin(), text.end(), '\n') < count) {
      const ssize_t got = ::read(fds[0], buffer.data(), buffer.size());
      if (got <= 0) break;
      text.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return text;
  }
  std::array<int, 2> fds{};
};

LogSettings plain() {
  LogSettings settings;
  settings.prefix = "%a: ";
  return settings;
}

TEST(LogWriter, WritesToStderrInOrder) {
  Pipe pipe;
  const FixedClock clock;
  LogContext who;
  {
    LogWriter writer(plain(), clock, {.stderr_fd = pipe.fds[1]});
    for (int i = 0; i < 3; ++i) {
      const std::string text = std::to_string(i);
      writer.write(who, {.text = text});
    }
    EXPECT_TRUE(writer.flush(kGiveUp));
  }
  EXPECT_EQ(pipe.lines(3), "main: LOG:  0\nmain: LOG:  1\nmain: LOG:  2\n");
}

TEST(LogWriter, ManyThreadsLoseNothing) {
  Pipe pipe;
  const FixedClock clock;
  constexpr int kThreads = 4, kEach = 2000;
  std::string read;
  std::thread reader([&] { read = pipe.lines(kThreads * kEach); });
  {
    LogWriter writer(plain(), clock, {.stderr_fd = pipe.fds[1]});
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&writer, t] {
        const std::string name = std::to_string(t);
        LogContext who{.application = name};
        for (int i = 0; i < kEach; ++i) writer.write(who, {.text = "x"});
      });
    }
    for (auto& thread : threads) thread.join();
  }
  reader.join();
  EXPECT_EQ(std::count(read.begin(), read.end(), '\n'), kThreads * kEach);
  EXPECT_EQ(read.find("lost"), std::string::npos);
}

TEST(LogWriter, ABlockedStderrBlocksNobodyAndLossesAreSaid) {
  Pipe pipe;
  const FixedClock clock;
  LogContext who;
  LogWriter writer(plain(), clock, {.stderr_fd = pipe.fds[1]});
  const std::string text(100'000, 'x');
  constexpr int kSaid = 300;  // 30 MB: more than queue and pipe hold
  for (int i = 0; i < kSaid; ++i) writer.write(who, {.text = text});
  EXPECT_FALSE(writer.flush(10ms));
  // Somebody reads again: the rest arrives, and the number of what is missing.
  std::string read;
  std::thread reader([&] {
    while (read.find("log messages were lost\n") == std::string::npos) {
      const std::string more = pipe.lines(1);
      if (more.empty()) break;
      read += more;
    }
  });
  reader.join();
  int lost = 0;
  const std::size_t at = read.find("WARNING:  ");
  ASSERT_NE(at, std::string::npos);
  lost = std::atoi(read.c_str() + at + 10);
  const auto arrived = static_cast<int>(std::count(read.begin(), read.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
  EXPECT_GT(lost, 0);
  EXPECT_LE(arrived + lost, kSaid);
  // The detail of that message and what was still queued may follow; then the log goes on as before.
  std::thread drain([&] {
    std::string tail;
    while (tail.find("back again\n") == std::string::npos) tail += pipe.lines(1);
  });
  writer.write(who, {.text = "back again"});
  drain.join();
}

TEST(LogWriter, EndsInTimeWhenStderrIsBlocked) {
  Pipe pipe;
  const FixedClock clock;
  LogContext who;
  const auto begin = std::chrono::steady_clock::now();
  {
    LogWriter writer(plain(), clock, {.stderr_fd = pipe.fds[1]});
    const std::string text(1'000'000, 'x');
    writer.write(who, {.text = text});
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, LogWriter::kLastFlush + 3s);
}

TEST(LogWriter, AFullDiskLosesMessagesButNotTheProcess) {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  if (full < 0) GTEST_SKIP();
  const FixedClock clock;
  LogContext who;
  LogWriter writer(plain(), clock, {.stderr_fd = full});
  writer.write(who, {.text = "x"});
  EXPECT_TRUE(writer.flush(kGiveUp));
  // There is room again, under the same descriptor.
  Pipe pipe;
  ASSERT_EQ(::dup2(pipe.fds[1], full), full);
  writer.write(who, {.text = "y"});
  EXPECT_TRUE(writer.flush(kGiveUp));
  const std::string text = pipe.lines(3);
  // The loss is told as soon as something can be written, which may be before the next message.
  EXPECT_NE(text.find("main: LOG:  y\n"), std::string::npos) << text;
  EXPECT_NE(text.find("logger: WARNING:  1 log messages were lost\n"), std::string::npos) << text;
  ::close(full);
}

TEST(LogWriter, NewSettingsHoldFromTheNextMessage) {
  Pipe pipe;
  const FixedClock clock;
  LogContext who;
  LogWriter writer(plain(), clock, {.stderr_fd = pipe.fds[1]});
  writer.write(who, {.text = "a"});
  LogSettings other = plain();
  other.prefix = "new ";
  writer.configure(other);
  writer.write(who, {.text = "b"});
  EXPECT_EQ(pipe.lines(2), "main: LOG:  a\nnew LOG:  b\n");
}

class SyslogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "hg_log_XXXXXX";
    folder = ::mkdtemp(pattern.data());
    bind_daemon();
  }
  void TearDown() override {
    ::close(daemon);
    std::filesystem::remove_all(folder);
  }
  void bind_daemon() {
    daemon = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const timeval patience{10, 0};
    ::setsockopt(daemon, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(daemon, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  std::string path() const { return folder + "/log"; }
  std::string receive() {
    std::array<char, 4096> buffer;
    const ssize_t got = ::recv(daemon, buffer.data(), buffer.size(), 0);
    return got < 0 ? "nothing came" : std::string(buffer.data(), static_cast<std::size_t>(got));
  }
  // Without number, time and pid.
  std::string receive_text() {
    const std::string all = receive();
    return all.substr(std::min(all.find("]: ") + 3, all.size()));
  }
  LogSettings settings() {
    LogSettings s = plain();
    s.to_stderr = false;
    s.to_syslog = true;
    s.syslog_facility = 17;
    s.syslog_ident = "herd";
    return s;
  }
  std::string folder;
  int daemon = -1;
  const FixedClock clock{};
  LogContext who;
};

TEST_F(SyslogTest, SendsNumberedDatagrams) {
  LogWriter writer(settings(), clock, {.syslog_path = path()});
  writer.write(who, {.level = Level::fatal, .text = "a"});
  const std::string first = receive();
  EXPECT_EQ(first.rfind(fmt::format("<{}>", 17 * 8 + LOG_ERR), 0), 0u) << first;
  EXPECT_NE(first.find(fmt::format(" herd[{}]: [1] main: FATAL:  a", ::getpid())), std::string::npos) << first;
  writer.write(who, {.text = "b", .detail = "c."});
  EXPECT_EQ(receive_text(), "[2-1] main: LOG:  b");
  EXPECT_EQ(receive_text(), "[2-2] main: DETAIL:  c.");
}

TEST_F(SyslogTest, SplitsLongTextBetweenCharacters) {
  LogWriter writer(settings(), clock, {.syslog_path = path()});
  std::string text;
  for (int i = 0; i < 600; ++i) text += "ä";
  writer.write(who, {.text = text});
  const std::string first = receive_text(), second = receive_text();
  EXPECT_EQ(first.substr(0, 6), "[1-1] ");
  EXPECT_EQ(second.substr(0, 6), "[1-2] ");
  EXPECT_EQ(first.substr(6) + second.substr(6), "main: LOG:  " + text);
  EXPECT_EQ(static_cast<unsigned char>(second[6]), 0xC3);
}

TEST_F(SyslogTest, FindsADaemonThatWasStartedAnew) {
  LogWriter writer(settings(), clock, {.syslog_path = path()});
  writer.write(who, {.text = "a"});
  EXPECT_EQ(receive_text(), "[1] main: LOG:  a");
  ::close(daemon);
  ::unlink(path().c_str());
  bind_daemon();
  writer.write(who, {.text = "b"});
  EXPECT_EQ(receive_text(), "[2] main: LOG:  b");
}

TEST(LogWriter, RanksLevelsForSyslog) {
  EXPECT_EQ(syslog_priority(Level::debug5), LOG_DEBUG);
  EXPECT_EQ(syslog_priority(Level::log), LOG_INFO);
  EXPECT_EQ(syslog_priority(Level::info), LOG_INFO);
  EXPECT_EQ(syslog_priority(Level::notice), LOG_NOTICE);
  EXPECT_EQ(syslog_priority(Level::warning), LOG_NOTICE);
  EXPECT_EQ(syslog_priority(Level::error), LOG_WARNING);
  EXPECT_EQ(syslog_priority(Level::fatal), LOG_ERR);
  EXPECT_EQ(syslog_priority(Level::panic), LOG_CRIT);
}

// ---- with the collector

// Its seconds pass a hundred times as fast, so that names with the time in them differ.
class RushingClock final : public Clock {
 public:
  TimePoint now() const override { return std::chrono::steady_clock::now(); }
  WallTime wall() const override {
    return WallTime(std::chrono::duration_cast<WallTime::duration>((now() - begin_) * 100));
  }

 private:
  TimePoint begin_ = std::chrono::steady_clock::now();
};

class Collecting : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "hg_writer_XXXXXX";
    folder = ::mkdtemp(pattern.data());
    settings = plain();
    settings.collect = true;
    settings.rotation.directory = folder;
    settings.rotation.filename = "%Y%m%d%H%M%S.log";
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  std::string all(std::string_view suffix = ".log") const {
    std::string text;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (!entry.path().string().ends_with(suffix)) continue;
      std::ifstream in(entry.path());
      text.append(std::istreambuf_iterator<char>(in), {});
    }
    return text;
  }
  std::string folder;
  LogSettings settings;
  const SystemClock clock{};
  LogContext who;
};

TEST_F(Collecting, TakesTheLogFromStderr) {
  Pipe pipe;
  LogWriter writer(settings, clock, {.stderr_fd = pipe.fds[1]});
  writer.write(who, {.text = "a"});
  ASSERT_TRUE(writer.flush(kGiveUp));
  ASSERT_TRUE(writer.begin_collecting());
  writer.write(who, {.text = "b"});
  ASSERT_TRUE(writer.flush(kGiveUp));
  EXPECT_EQ(pipe.lines(1), "main: LOG:  a\n");
  EXPECT_EQ(all(), "main: LOG:  b\n");
}

TEST_F(Collecting, WritesJsonBesideOrAlone) {
  Pipe pipe;
  settings.to_json = true;
  LogWriter writer(settings, clock, {.stderr_fd = pipe.fds[1]});
  ASSERT_TRUE(writer.begin_collecting());
  writer.write(who, {.text = "a"});
  settings.to_stderr = false;
  ASSERT_TRUE(writer.flush(kGiveUp));
  writer.configure(settings);
  writer.write(who, {.text = "b"});
  ASSERT_TRUE(writer.flush(kGiveUp));
  EXPECT_EQ(all(), "main: LOG:  a\n");
  const std::string json = all(".json");
  EXPECT_EQ(std::count(json.begin(), json.end(), '\n'), 2);
  EXPECT_NE(json.find("\"message\":\"b\""), std::string::npos) << json;
}

// Files change by size all the while, threads speak at once, and somebody asks for rotation again and again.
TEST_F(Collecting, AMillionLinesAreAllThereAndWhole) {
  Pipe pipe;
  constexpr int kThreads = 4, kEach = 250'000, kBurst = 2000;
  settings.rotation.size_bytes = 4 << 20;
  LogWriter::Figures figures;
  const RushingClock rushing;
  {
    LogWriter writer(settings, rushing, {.stderr_fd = pipe.fds[1]});
    ASSERT_TRUE(writer.begin_collecting());
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&writer, t] {
        const std::string name = std::to_string(t);
        LogContext speaker{.application = name};
        for (int i = 0; i < kEach; ++i) {
          const std::string text = std::to_string(i);
          writer.write(speaker, {.text = text});
          if (i % kBurst != 0) continue;
          EXPECT_TRUE(writer.flush(kGiveUp));  // as fast as the disk, so that nothing need be dropped
          writer.rotate();
        }
      });
    }
    for (auto& thread : threads) thread.join();
    ASSERT_TRUE(writer.flush(kGiveUp));
    figures = writer.figures();
  }
  EXPECT_EQ(figures.lost, 0u);
  EXPECT_EQ(figures.accepted, static_cast<std::uint64_t>(kThreads) * kEach);
  std::vector<std::vector<bool>> seen(kThreads, std::vector<bool>(kEach));
  std::istringstream lines(all());
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    int thread = 0, number = 0, end = 0;
    ASSERT_EQ(std::sscanf(line.c_str(), "%d: LOG:  %d%n", &thread, &number, &end), 2) << line;
    ASSERT_EQ(static_cast<std::size_t>(end), line.size()) << line;
    ASSERT_FALSE(seen.at(static_cast<std::size_t>(thread)).at(static_cast<std::size_t>(number))) << line;
    seen[static_cast<std::size_t>(thread)][static_cast<std::size_t>(number)] = true;
  }
  EXPECT_EQ(count, static_cast<std::size_t>(kThreads) * kEach);
  EXPECT_GT(std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()), 1);
}

TEST_F(Collecting, WhatIsDroppedIsCountedAndSaid) {
  Pipe pipe;
  settings.rotation.directory = folder + "/above/log";
  std::filesystem::create_directory(folder + "/above");
  LogWriter writer(settings, clock, {.stderr_fd = pipe.fds[1]});
  ASSERT_TRUE(writer.begin_collecting());
  std::filesystem::remove_all(folder + "/above");
  const std::string text(100'000, 'x');
  constexpr int kSaid = 400;
  for (int i = 0; i < kSaid; ++i) writer.write(who, {.text = text});
  EXPECT_FALSE(writer.flush(10ms));
  const LogWriter::Figures dropped = writer.figures();
  EXPECT_GT(dropped.lost, 0u);
  EXPECT_EQ(dropped.lost + dropped.accepted, static_cast<std::uint64_t>(kSaid));
  std::filesystem::create_directory(folder + "/above");
  writer.write(who, {.text = "back again"});
  ASSERT_TRUE(writer.flush(kGiveUp));
  ASSERT_TRUE(writer.flush(kGiveUp));  // what was said about it
  folder += "/above/log";
  const std::string log = all();
  folder.resize(folder.size() - std::strlen("/above/log"));
  EXPECT_NE(log.find(fmt::format("{} log messages were lost", dropped.lost)), std::string::npos);
  EXPECT_NE(log.find("could not write to log file for "), std::string::npos);
  EXPECT_NE(log.find("back again"), std::string::npos);
}

TEST_F(Collecting, EndsInTimeWhenTheFolderIsGone) {
  Pipe pipe;
  const auto begin = std::chrono::steady_clock::now();
  {
    settings.rotation.directory = folder + "/above/log";
    std::filesystem::create_directory(folder + "/above");
    LogWriter writer(settings, clock, {.stderr_fd = pipe.fds[1]});
    ASSERT_TRUE(writer.begin_collecting());
    std::filesystem::remove_all(folder + "/above");
    writer.write(who, {.text = "x"});
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, LogWriter::kLastFlush + 3s);
}

TEST(LogWriter, SaysItsLastWordsBeforeAnAbort) {
  Pipe pipe;
  const pid_t child = ::fork();
  if (child == 0) {
    const FixedClock clock;
    LogWriter writer(plain(), clock, {.stderr_fd = pipe.fds[1]});
    const FlushOnCrash guard(writer);
    LogContext who;
    for (int i = 0; i < 1000; ++i) writer.write(who, {.text = "x"});
    writer.write(who, {.level = Level::panic, .text = "last words"});
    std::abort();
  }
  ::close(std::exchange(pipe.fds[1], -1));
  const std::string text = pipe.lines(1 << 30);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) << status;
  EXPECT_TRUE(text.ends_with("main: PANIC:  last words\n")) << text;
}

}  // namespace
}  // namespace herdgate::server
