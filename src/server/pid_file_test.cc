#include "server/pid_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "server/errc.h"
#include "server/other_process.h"

namespace herdgate::server {
namespace {

class PidFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "hg_pid_XXXXXX";
    folder = ::mkdtemp(pattern.data());
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  std::string path() const { return folder + "/pgpool.pid"; }
  void put(std::string_view text) { std::ofstream(path(), std::ios::binary) << text; }
  std::string text() const {
    std::ostringstream out;
    out << std::ifstream(path(), std::ios::binary).rdbuf();
    return out.str();
  }
  // A process that has ended; as long as it is not waited for its number stays taken, as a zombie.
  static pid_t ended_process() {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(0);
    siginfo_t about{};
    EXPECT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &about, WEXITED | WNOWAIT), 0);
    return pid;
  }
  std::string folder;
};

TEST_F(PidFileTest, HoldsTheNumberAndANulAndGoesAtTheEnd) {
  {
    const auto file = PidFile::create(path());
    ASSERT_TRUE(file) << file.error().text();
    std::string expected = std::to_string(::getpid());
    expected.push_back('\0');
    EXPECT_EQ(text(), expected);
    struct stat about {};
    ASSERT_EQ(::stat(path().c_str(), &about), 0);
    EXPECT_EQ(about.st_mode & 07777, 0600u);
    EXPECT_EQ(read_pid_file(path()).value(), ::getpid());
  }
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(PidFileTest, DoesNotRemoveTheFileOfAnother) {
  {
    const auto file = PidFile::create(path());
    put("1");
  }
  EXPECT_EQ(text(), "1");
}

// Both have looked before either was there.
TEST_F(PidFileTest, OfTwoStartsOneGetsTheFileAndTheOtherLeavesItAlone) {
  {
    const auto first = PidFile::create(path());
    ASSERT_TRUE(first) << first.error().text();
    const std::string before = text();
    {
      const auto second = PidFile::create(path());
      ASSERT_FALSE(second);
      EXPECT_EQ(second.error().code, make_error_code(Errc::pid_file_taken));
    }
    EXPECT_EQ(text(), before);
  }
  EXPECT_FALSE(std::filesystem::exists(path()));
  EXPECT_TRUE(PidFile::create(path()));
}

TEST_F(PidFileTest, AStaleFileIsReplacedWhateverItsMode) {
  put("999999999 and more");
  ASSERT_EQ(::chmod(path().c_str(), 0444), 0);
  const auto file = PidFile::create(path());
  ASSERT_TRUE(file) << file.error().text();
  EXPECT_EQ(read_pid_file(path()).value(), ::getpid());
  struct stat about {};
  ASSERT_EQ(::stat(path().c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 07777, 0600u);
}

// A link that somebody has put there does not make us write to what it names.
TEST_F(PidFileTest, ALinkIsReplacedAndWhatItNamesStaysAsItIs) {
  const std::string other = folder + "/other";
  std::ofstream(other) << "precious";
  ASSERT_EQ(::symlink(other.c_str(), path().c_str()), 0);
  const auto file = PidFile::create(path());
  ASSERT_TRUE(file) << file.error().text();
  EXPECT_EQ(std::filesystem::file_size(other), 8u);
  EXPECT_TRUE(std::filesystem::is_regular_file(std::filesystem::symlink_status(path())));
}

TEST_F(PidFileTest, TellsALiveServerFromADeadOne) {
  EXPECT_EQ(check_pid_file(path()).value(), PidFileFound::none);
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  put(std::to_string(child));
  const auto taken = check_pid_file(path());
  EXPECT_FALSE(taken);
  EXPECT_EQ(taken.error().code, make_error_code(Errc::pid_file_taken));
  EXPECT_EQ(taken.error().context, std::to_string(child));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(check_pid_file(path()).value(), PidFileFound::stale);
  put(std::to_string(::getpid()));
  EXPECT_EQ(check_pid_file(path()).value(), PidFileFound::stale);
}

TEST_F(PidFileTest, AProcessThatHasEndedDoesNotLive) {
  const pid_t zombie = ended_process();
  EXPECT_FALSE(process_lives(zombie));
  ::waitpid(zombie, nullptr, 0);
  EXPECT_FALSE(process_lives(zombie));
  EXPECT_TRUE(process_lives(::getpid()));
}

// It has the file locked and has not written its number yet.
TEST_F(PidFileTest, AStopOfADeadServerLeavesTheFileToOneThatStarts) {
  const pid_t dead = ended_process();
  ::waitpid(dead, nullptr, 0);
  put(std::to_string(dead));
  const int fd = ::open(path().c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(::flock(fd, LOCK_EX | LOCK_NB), 0);
  EXPECT_FALSE(reload_server(path()));
  EXPECT_FALSE(stop_server(path(), StopMode::fast));
  EXPECT_TRUE(std::filesystem::exists(path()));
  ::close(fd);
  EXPECT_FALSE(stop_server(path(), StopMode::fast));
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(PidFileTest, NonsenseIsAnError) {
  for (const std::string_view text : {"", "x", "-1", "0", "12x", "99999999999999999999999999999999999999"}) {
    put(text);
    const auto pid = read_pid_file(path());
    EXPECT_FALSE(pid) << text;
  }
  for (const std::string_view text : {std::string_view("12"), std::string_view("12\n"), std::string_view("12\0", 3)}) {
    put(text);
    EXPECT_EQ(read_pid_file(path()).value(), 12);
  }
}

TEST_F(PidFileTest, AFolderThatDoesNotExistIsNamed) {
  const auto file = PidFile::create(folder + "/no/pgpool.pid");
  ASSERT_FALSE(file);
  EXPECT_NE(file.error().text().find("no/pgpool.pid"), std::string::npos);
}

}  // namespace
}  // namespace herdgate::server
