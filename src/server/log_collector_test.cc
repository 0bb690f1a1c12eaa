#include "server/log_collector.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <sys/resource.h>

namespace herdgate::server {
namespace {
using namespace std::chrono_literals;
namespace fs = std::filesystem;

class HandClock final : public Clock {
 public:
  TimePoint now() const override { return TimePoint(wall_.time_since_epoch()); }
  WallTime wall() const override { return wall_; }
  void advance(Duration by) { wall_ += std::chrono::duration_cast<WallTime::duration>(by); }

 private:
  WallTime wall_ = std::chrono::system_clock::from_time_t(1'714'564'830);  // 2024-05-01 12:00:30 UTC
};

// Writing past this size fails with EFBIG, as a full disk does with ENOSPC: in the middle of a message.
class SizeLimit {
 public:
  explicit SizeLimit(rlim_t bytes) {
    before_ = ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    ::signal(SIGXFSZ, before_);
  }
  SizeLimit(const SizeLimit&) = delete;
  SizeLimit& operator=(const SizeLimit&) = delete;

 private:
  rlimit old_{};
  sighandler_t before_;
};

// Whatever is opened fails with EMFILE; what is open stays so.
class NoDescriptors {
 public:
  NoDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &old_);
    const rlimit limit{0, old_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &old_); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  rlimit old_{};
};

class Collector : public ::testing::Test {
 protected:
  void SetUp() override {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
    std::string pattern = fs::temp_directory_path() / "hg_collect_XXXXXX";
    folder = ::mkdtemp(pattern.data());
    rules.directory = folder + "/log";
    rules.filename = "%H%M%S.log";
  }
  void TearDown() override { fs::remove_all(folder); }

  LogCollector::Voice voice() {
    return {[this](const LogLine& line) { said.emplace_back(line.text); },
            [this](const LogLine& line) { alarms.emplace_back(line.text); }};
  }
  // Writes each line as a message; false: something is left, in `batch`.
  bool write(const std::vector<std::string>& lines) {
    texts = lines;
    batch = {};
    for (const std::string& text : texts) {
      batch.lines[kPlain].emplace_back(text);
      batch.lines[kJson].emplace_back(text);
    }
    return collector.write(batch);
  }
  std::string read(const std::string& name) const {
    std::ifstream in(rules.directory + "/" + name);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(rules.directory)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  using Names = std::vector<std::string>;

  std::string folder;
  RotationRules rules;
  HandClock clock;
  std::vector<std::string> said, alarms, texts;
  LogBatch batch;
  LogCollector collector{clock, voice(), false};
};

TEST_F(Collector, MakesFolderAndFileWithTheirModes) {
  rules.mode = 0440;  // the owner can always write
  ASSERT_TRUE(collector.begin(rules, false));
  EXPECT_TRUE(write({"a\n", "b\n"}));
  EXPECT_EQ(read("120030.log"), "a\nb\n");
  EXPECT_EQ(fs::status(rules.directory).permissions(), fs::perms(0700));
  EXPECT_EQ(fs::status(rules.directory + "/120030.log").permissions(), fs::perms(0640));
}

// In a folder of /tmp, say.
TEST_F(Collector, ALinkIsFollowedOnlyWhereRootOrWeMadeIt) {
  fs::create_directory(rules.directory);
  const std::string target = folder + "/target", link = rules.directory + "/120030.log";
  std::ofstream(target) << "kept\n";
  fs::permissions(target, fs::perms(0600));
  fs::create_symlink(target, link);
  rules.mode = 0644;
  if (::geteuid() == 0) {  // only root can make somebody else's
    constexpr uid_t kNobody = 65534;
    ASSERT_EQ(::lchown(link.c_str(), kNobody, kNobody), 0);
    const auto refused = collector.begin(rules, false);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, std::errc::operation_not_permitted);
    EXPECT_EQ(fs::status(target).permissions(), fs::perms(0600));
    ASSERT_EQ(::lchown(link.c_str(), 0, 0), 0);
  }
  ASSERT_TRUE(collector.begin(rules, false));
  EXPECT_TRUE(write({"a\n"}));
  EXPECT_EQ(read("120030.log"), "kept\na\n");
}

TEST_F(Collector, AStartAppendsEvenWithTruncation) {
  rules.truncate = true;
  ASSERT_TRUE(collector.begin(rules, false));
  write({"a\n"});
  LogCollector second(clock, voice(), false);
  ASSERT_TRUE(second.begin(rules, false));
  LogBatch more;
  more.lines[kPlain] = {"b\n"};
  EXPECT_TRUE(second.write(more));
  EXPECT_EQ(read("120030.log"), "a\nb\n");
}

TEST_F(Collector, ABeginThatFailsSaysWhere) {
  rules.directory = folder + "/no/such";
  const auto begun = collector.begin(rules, false);
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().context, rules.directory);
}

TEST_F(Collector, RotatesBySizeBetweenMessages) {
  rules.size_bytes = 10;
  ASSERT_TRUE(collector.begin(rules, false));
  EXPECT_TRUE(write({"12345\n", "12345\n"}));  // full now, and the next message makes the next file
  EXPECT_EQ(files(), Names({"120030.log"}));
  clock.advance(1s);
  EXPECT_TRUE(write({"abcdefghijkl\n", "x\n"}));
  // Within one second the name is the same: the file grows on.
  EXPECT_EQ(read("120030.log"), "12345\n12345\n");
  EXPECT_EQ(read("120031.log"), "abcdefghijkl\nx\n");
}

TEST_F(Collector, RotatesByAgeUnderThePlannedName) {
  rules.age = 1min;
  ASSERT_TRUE(collector.begin(rules, false));
  EXPECT_EQ(collector.wakes_in(), Duration(30s));
  clock.advance(37s);
  EXPECT_TRUE(write({"a\n"}));
  EXPECT_EQ(files(), Names({"120030.log", "120100.log"}));
  EXPECT_EQ(read("120100.log"), "a\n");
  EXPECT_EQ(collector.wakes_in(), Duration(53s));
}

TEST_F(Collector, TruncatesOnlyWhenTheTimeOfANameComesAgain) {
  rules.age = 1min;
  rules.truncate = true;
  rules.filename = "%M.log";
  fs::create_directory(rules.directory);
  std::ofstream(rules.directory + "/00.log") << "started\n";
  std::ofstream(rules.directory + "/01.log") << "of an hour ago\n";
  ASSERT_TRUE(collector.begin(rules, false));
  write({"a\n"});
  clock.advance(1min);
  write({"b\n"});
  EXPECT_EQ(read("00.log"), "started\na\n");
  EXPECT_EQ(read("01.log"), "b\n");
  // A name without the time is the same file: never emptied.
  rules.filename = "one.log";
  collector.configure(rules, false);
  write({"c\n"});
  clock.advance(1min);
  write({"d\n"});
  EXPECT_EQ(read("one.log"), "c\nd\n");
}

TEST_F(Collector, AnAskedRotationFollowsARename) {
  rules.filename = "pgpool.log";
  ASSERT_TRUE(collector.begin(rules, false));
  write({"a\n"});
  fs::rename(rules.directory + "/pgpool.log", rules.directory + "/pgpool.log.1");
  write({"b\n"});
  collector.rotate_now();
  write({"c\n"});
  EXPECT_EQ(read("pgpool.log.1"), "a\nb\n");
  EXPECT_EQ(read("pgpool.log"), "c\n");
}

TEST_F(Collector, JsonGoesBesideAndCanBeTurnedOnLater) {
  ASSERT_TRUE(collector.begin(rules, false));
  write({"a\n"});
  EXPECT_EQ(files(), Names({"120030.log"}));
  collector.configure(rules, true);
  write({"b\n"});
  EXPECT_EQ(read("120030.log"), "a\nb\n");
  EXPECT_EQ(read("120030.json"), "b\n");
  clock.advance(1s);
  collector.rotate_now();
  EXPECT_EQ(files(), Names({"120030.json", "120030.log", "120031.json", "120031.log"}));
}

TEST_F(Collector, ANewFileThatCannotBeOpenedEndsRotationUntilAReload) {
  rules.age = 1min;
  ASSERT_TRUE(collector.begin(rules, false));
  RotationRules wrong = rules;
  wrong.directory = folder + "/no/such";
  collector.configure(wrong, false);
  ASSERT_EQ(said.size(), 2u);
  EXPECT_TRUE(said[0].starts_with("could not open log file \"" + folder)) << said[0];
  EXPECT_EQ(said[1], "disabling automatic rotation (use SIGHUP to re-enable)");
  clock.advance(2min);
  EXPECT_TRUE(write({"a\n"}));
  EXPECT_EQ(read("120030.log"), "a\n");
  EXPECT_EQ(said.size(), 2u);
  // And it recovers.
  collector.configure(rules, false);
  EXPECT_TRUE(write({"b\n"}));
  EXPECT_EQ(read("120230.log"), "b\n");
  clock.advance(1min);
  EXPECT_TRUE(write({"c\n"}));
  EXPECT_EQ(read("120300.log"), "c\n");
}

// Each of its messages would be the next batch otherwise, and the file grow by itself.
TEST_F(Collector, ARotationForWhichNoDescriptorIsLeftIsToldOnceAndTriedAgainAfterAPause) {
  rules.size_bytes = 10;
  ASSERT_TRUE(collector.begin(rules, false));
  EXPECT_TRUE(write({"1234567890\n"}));
  clock.advance(1s);
  {
    const NoDescriptors none;
    EXPECT_TRUE(write({"a\n"}));
    ASSERT_EQ(said.size(), 1u);
    EXPECT_TRUE(said[0].starts_with("could not open log file \"" + rules.directory + "/120031.log\"")) << said[0];
    EXPECT_TRUE(write({"b\n"}));
    clock.advance(LogCollector::kRetry);
    EXPECT_TRUE(write({"c\n"}));
    EXPECT_EQ(said.size(), 1u);
    EXPECT_EQ(alarms.size(), 1u);
  }
  EXPECT_TRUE(write({"d\n"}));  // too early
  EXPECT_EQ(read("120030.log"), "1234567890\na\nb\nc\nd\n");
  clock.advance(LogCollector::kRetry);
  EXPECT_TRUE(write({"e\n"}));
  EXPECT_EQ(read("120033.log"), "e\n");
}

TEST_F(Collector, ADiskThatIsFullCutsNoMessageAndLosesNone) {
  ASSERT_TRUE(collector.begin(rules, false));
  {
    const SizeLimit full(10);
    EXPECT_FALSE(write({"12345\n", "abcdefgh\n", "x\n"}));
    EXPECT_EQ(batch.taken[kPlain], 1u);
    EXPECT_EQ(read("120030.log"), "12345\n");
    EXPECT_FALSE(collector.write(batch));
    EXPECT_EQ(alarms.size(), 1u);
    EXPECT_TRUE(alarms[0].starts_with("could not write to log file: ")) << alarms[0];
    EXPECT_EQ(collector.wakes_in(), LogCollector::kRetry);
  }
  clock.advance(7s);
  EXPECT_TRUE(collector.write(batch));
  EXPECT_EQ(read("120030.log"), "12345\nabcdefgh\nx\n");
  ASSERT_EQ(said.size(), 1u);
  EXPECT_TRUE(said[0].starts_with("could not write to log file for 7 s: ")) << said[0];
  EXPECT_EQ(collector.wakes_in(), std::nullopt);
}

TEST_F(Collector, ARemovedFileIsReplacedBeforeTheNextMessage) {
  ASSERT_TRUE(collector.begin(rules, false));
  write({"a\n"});
  clock.advance(1s);
  fs::remove_all(rules.directory);
  EXPECT_TRUE(write({"b\n"}));
  EXPECT_EQ(read("120031.log"), "b\n");
  ASSERT_EQ(said.size(), 1u);
  EXPECT_NE(said[0].find("was removed, \"" + rules.directory + "/120031.log\" takes its place"), std::string::npos);
}

TEST_F(Collector, AFolderThatCannotBeMadeIsTriedAgain) {
  const std::string above = folder + "/above";
  rules.directory = above + "/log";
  fs::create_directory(above);
  ASSERT_TRUE(collector.begin(rules, false));
  fs::remove_all(above);
  EXPECT_FALSE(write({"a\n"}));
  EXPECT_FALSE(collector.write(batch));
  EXPECT_EQ(alarms.size(), 1u);
  fs::create_directory(above);
  EXPECT_TRUE(collector.write(batch));
  EXPECT_EQ(read("120030.log"), "a\n");
}

}  // namespace
}  // namespace herdgate::server
