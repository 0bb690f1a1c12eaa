#include "monitor/script.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <vector>

namespace herdgate::monitor {
namespace {

struct Scripts : ::testing::Test {
  SystemClock clock;
  net::Loop loop{clock};
  std::vector<std::string> lines;
  std::optional<ScriptEnd> end;
  std::unique_ptr<Script> script;

  ScriptEnd run(const std::string& command, Duration limit = {}) {
    ScriptEvents events;
    events.line = [this](const std::string& line) { lines.push_back(line); };
    events.ended = [this](const ScriptEnd& e) {
      end = e;
      loop.stop();
    };
    script = start_script(loop, command, limit, std::move(events));
    loop.run();
    return *end;
  }
};
using Words = std::vector<std::string>;

TEST_F(Scripts, OutputAndErrorsComeAsLinesBeforeTheEnd) {
  EXPECT_TRUE(run("echo one; echo two >&2; printf three").well());
  EXPECT_EQ(lines, (Words{"one", "two", "three"}));
}

TEST_F(Scripts, TheExitCodeIsReported) {
  const ScriptEnd e = run("exit 7");
  EXPECT_FALSE(e.well());
  EXPECT_EQ(e.exit_code, 7);
  EXPECT_EQ(e.text(), "exit code 7");
}

TEST_F(Scripts, ACommandThatDoesNotExistIsTheShellsError) {
  EXPECT_EQ(run("/no/such/command").exit_code, 127);
  ASSERT_FALSE(lines.empty());
  EXPECT_NE(lines[0].find("/no/such/command"), std::string::npos);
}

TEST_F(Scripts, ASignalIsNamed) { EXPECT_EQ(run("kill -KILL $$").text(), "was killed by signal 9"); }

TEST_F(Scripts, TheLimitReachesWhatTheShellStarted) {
  const TimePoint began = clock.now();
  const ScriptEnd e = run("sleep 60 | cat", std::chrono::milliseconds(50));
  EXPECT_TRUE(e.timed_out);
  EXPECT_LT(clock.now() - began, std::chrono::seconds(20));
}

TEST_F(Scripts, SignalsAreAsAShellExpectsThem) {
  sigset_t all;
  sigfillset(&all);
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &all, &before);
  EXPECT_TRUE(run("kill -TERM $$; exit 3").signal == SIGTERM);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_F(Scripts, AProcessLeftBehindDoesNotHoldUpTheEnd) {
  const TimePoint began = clock.now();
  EXPECT_TRUE(run("sleep 30 & echo done; echo $!").well());
  EXPECT_LT(clock.now() - began, std::chrono::seconds(10));
  ASSERT_EQ(lines.size(), 2u);
  ::kill(std::stoi(lines[1]), SIGKILL);
}

// From here on the kernel answers this process as it does when no descriptor is left, for pidfd_open() alone.
void refuse_pidfds() {
  sock_filter program[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                           BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
                           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EMFILE),
                           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog filter{std::size(program), program};
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) ::_exit(2);
}

TEST_F(Scripts, WithoutAPidfdTheEndIsSeenAllTheSame) {
  const auto in_a_child = [this] {
    refuse_pidfds();
    if (::syscall(SYS_pidfd_open, ::getpid(), 0) >= 0) ::_exit(3);
    const ScriptEnd e = run("echo heard; exit 7");
    ::_exit(e.problem.empty() && e.exit_code == 7 && lines == Words{"heard"} ? 0 : 1);
  };
  EXPECT_EXIT(in_a_child(), ::testing::ExitedWithCode(0), "");
}

TEST_F(Scripts, LongLinesAreCut) {
  run("head -c 10000 /dev/zero | tr '\\0' x");
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].size(), kMaxLineBytes);
}

TEST_F(Scripts, DestroyedWhileItRunsItIsSilent) {
  ScriptEvents events;
  events.ended = [](const ScriptEnd&) { FAIL(); };
  script = start_script(loop, "true", {}, std::move(events));
  script.reset();
  loop.after(std::chrono::milliseconds(1), [this] { loop.stop(); });
  loop.run();
}

}  // namespace
}  // namespace herdgate::monitor
