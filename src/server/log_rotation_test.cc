#include "server/log_rotation.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace herdgate::server {
namespace {
using namespace std::chrono_literals;

// The time zone is the process's: each case sets its own.
class LogRotation : public ::testing::Test {
 protected:
  void TearDown() override { zone("UTC"); }
  static void zone(const char* name) {
    ::setenv("TZ", name, 1);
    ::tzset();
  }
  static WallTime at(std::time_t seconds) { return std::chrono::system_clock::from_time_t(seconds); }
};

constexpr std::time_t kNoon = 1'714'564'830;  // 2024-05-01 12:00:30 UTC

TEST_F(LogRotation, NamesFollowStrftime) {
  zone("UTC");
  RotationRules rules{.directory = "/l", .filename = "pgpool-%Y-%m-%d_%H%M%S.log"};
  EXPECT_EQ(log_file_path(rules, at(kNoon)), "/l/pgpool-2024-05-01_120030.log");
  zone("XXX-2");
  EXPECT_EQ(log_file_path(rules, at(kNoon)), "/l/pgpool-2024-05-01_140030.log");
  rules.filename = "pgpool.log";
  EXPECT_EQ(log_file_path(rules, at(kNoon)), "/l/pgpool.log");
  rules.filename = std::string(400, 'x');
  EXPECT_EQ(log_file_path(rules, at(kNoon)), "/l/" + std::string(kMaxFileName, 'x'));
}

TEST_F(LogRotation, JsonLiesBeside) {
  EXPECT_EQ(json_path("/l/a.log"), "/l/a.json");
  EXPECT_EQ(json_path("/l/a"), "/l/a.json");
  EXPECT_EQ(json_path("/l/a.txt"), "/l/a.txt.json");
}

TEST_F(LogRotation, TimesAreMultiplesInLocalTime) {
  zone("UTC");
  EXPECT_EQ(next_rotation(at(kNoon), 0min), std::nullopt);
  EXPECT_EQ(next_rotation(at(kNoon), 1min), at(kNoon + 30));
  EXPECT_EQ(next_rotation(at(kNoon + 30), 1min), at(kNoon + 90));   // on the dot: the next one
  EXPECT_EQ(next_rotation(at(kNoon), 1440min), at(1'714'608'000));  // midnight
  zone("XXX-2");
  EXPECT_EQ(next_rotation(at(kNoon), 1440min), at(1'714'608'000 - 7200));
  EXPECT_EQ(next_rotation(at(kNoon), std::chrono::minutes(2147483647)), std::nullopt);
}

}  // namespace
}  // namespace herdgate::server
