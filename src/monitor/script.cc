#include "monitor/script.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

extern char** environ;

namespace herdgate::monitor {
namespace {

constexpr std::size_t kReadBytes = 16 * 1024;
constexpr std::chrono::milliseconds kLookAgain{100};  // whether it has ended, where nothing tells

int open_pidfd(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

// Signals as a shell expects them: the proxy blocks some and ignores SIGPIPE. A process group of its own, so that the
// limit reaches what the shell started.
class SpawnOptions {
 public:
  explicit SpawnOptions(int output) {
    posix_spawn_file_actions_init(&files_);
    posix_spawn_file_actions_addopen(&files_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files_, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files_, output, STDERR_FILENO);
    posix_spawnattr_init(&attributes_);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnOptions() {
    posix_spawn_file_actions_destroy(&files_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnOptions(const SpawnOptions&) = delete;
  SpawnOptions& operator=(const SpawnOptions&) = delete;
  int spawn(pid_t& pid, const std::string& command) {
    std::string shell = "sh", flag = "-c", text = command;
    char* arguments[] = {shell.data(), flag.data(), text.data(), nullptr};
    return posix_spawn(&pid, "/bin/sh", &files_, &attributes_, arguments, environ);
  }

 private:
  posix_spawn_file_actions_t files_;
  posix_spawnattr_t attributes_;
};

// Calls a function when its descriptor is ready.
class Ear final : public net::Watcher {
 public:
  Ear(net::Loop& loop, std::function<void()> ready) : loop_(loop), ready_(std::move(ready)) {}
  ~Ear() override { close(); }
  bool listen(int fd) {
    fd_ = fd;
    return loop_.watch(fd, *this).has_value();
  }
  void close() {
    if (fd_ < 0) return;
    loop_.unwatch(fd_);
    ::close(std::exchange(fd_, -1));
  }
  int fd() const { return fd_; }
  void on_ready(unsigned) override { ready_(); }

 private:
  net::Loop& loop_;
  std::function<void()> ready_;
  int fd_ = -1;
};

class ShellCommand final : public Script {
 public:
  ShellCommand(net::Loop& loop, ScriptEvents events)
      : loop_(loop), events_(std::move(events)), output_(loop, [this] { read(); }), end_(loop, [this] { reap(); }) {}
  ~ShellCommand() override {
    *alive_ = false;
    loop_.cancel(timer_);
    loop_.cancel(looking_);
  }

  void start(const std::string& command, Duration limit) {
    if (const std::string problem = spawn(command); !problem.empty()) return report({.problem = problem});
    if (limit <= Duration::zero()) return;
    timer_ = loop_.after(limit, [this] {
      timed_out_ = true;
      ::kill(-pid_, SIGTERM);
      timer_ = loop_.after(kKillGrace, [this] {
        timer_ = 0;
        ::kill(-pid_, SIGKILL);
      });
    });
  }

 private:
  std::string spawn(const std::string& command) {
    int pipe[2];
    if (::pipe2(pipe, O_CLOEXEC | O_NONBLOCK) != 0) return std::strerror(errno);
    // The shell's end blocks, as programs expect of their output.
    ::fcntl(pipe[1], F_SETFL, 0);
    const bool heard = output_.listen(pipe[0]);
    const int error = heard ? SpawnOptions(pipe[1]).spawn(pid_, command) : 0;
    ::close(pipe[1]);
    if (heard && error == 0) {
      watch_end();
      return {};
    }
    output_.close();
    return heard ? std::strerror(error) : "could not watch its output";
  }
  // It runs: what we are short of now must not leave it without an end.
  void watch_end() {
    const int pidfd = open_pidfd(pid_);
    if (pidfd >= 0 && end_.listen(pidfd)) return;
    end_.close();
    look_again();
  }
  void look_again() {
    looking_ = loop_.after(kLookAgain, [this] {
      looking_ = 0;
      if (!reap()) look_again();
    });
  }
  void read() {
    char buffer[kReadBytes];
    for (;;) {
      const ssize_t n = ::read(output_.fd(), buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0) return close_output();
      take(std::string_view(buffer, static_cast<std::size_t>(n)));
    }
  }
  void take(std::string_view bytes) {
    for (char c : bytes) {
      if (c == '\n' || rest_.size() >= kMaxLineBytes) say_rest();
      if (c != '\n') rest_ += c;
    }
  }
  void say_rest() {
    if (++lines_ <= kMaxLines && events_.line) events_.line(rest_);
    rest_.clear();
  }
  void close_output() {
    if (!rest_.empty()) say_rest();
    output_.close();
    close_if_over();
  }
  bool reap() {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != pid_) return false;
    end_.close();
    loop_.cancel(std::exchange(timer_, 0));
    if (output_.fd() >= 0) read();  // what it wrote last belongs before the news of its end
    ScriptEnd end;
    end.timed_out = timed_out_;
    if (WIFEXITED(status)) end.exit_code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
    report(end);
    return true;
  }
  void report(const ScriptEnd& end) {
    loop_.defer([this, alive = alive_, end] {
      if (!*alive) return;
      ended_ = true;
      events_.ended(end);
      if (*alive) close_if_over();
    });
  }
  void close_if_over() {
    if (!ended_ || output_.fd() >= 0 || !events_.closed) return;
    loop_.defer([alive = alive_, closed = std::exchange(events_.closed, nullptr)] {
      if (*alive) closed();
    });
  }

  net::Loop& loop_;
  ScriptEvents events_;
  Ear output_, end_;
  pid_t pid_ = 0;
  net::TimerId timer_ = 0, looking_ = 0;
  std::string rest_;
  std::size_t lines_ = 0;
  bool timed_out_ = false, ended_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

std::string ScriptEnd::text() const {
  if (!problem.empty()) return "could not be started: " + problem;
  if (timed_out) return "took longer than its limit and was ended";
  if (signal != 0) return fmt::format("was killed by signal {}", signal);
  return fmt::format("exit code {}", exit_code);
}

std::unique_ptr<Script> start_script(net::Loop& loop, const std::string& command, Duration limit, ScriptEvents events) {
  auto script = std::make_unique<ShellCommand>(loop, std::move(events));
  script->start(command, limit);
  return script;
}

}  // namespace herdgate::monitor
