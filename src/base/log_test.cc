#include "base/log.h"

#include <gtest/gtest.h>

namespace herdgate {
namespace {

TEST(Log, LogLevelRanksAboveErrorInTheServerLog) {
  EXPECT_TRUE(passes_server_threshold(Level::log, Level::warning));
  EXPECT_TRUE(passes_server_threshold(Level::log, Level::error));
  EXPECT_FALSE(passes_server_threshold(Level::log, Level::fatal));
  EXPECT_TRUE(passes_server_threshold(Level::fatal, Level::log));
  EXPECT_FALSE(passes_server_threshold(Level::error, Level::log));
  EXPECT_FALSE(passes_server_threshold(Level::notice, Level::warning));
}

TEST(Log, LogLevelRanksBelowNoticeTowardsClients) {
  EXPECT_FALSE(passes_client_threshold(Level::log, Level::notice));
  EXPECT_TRUE(passes_client_threshold(Level::log, Level::debug1));
  EXPECT_TRUE(passes_client_threshold(Level::warning, Level::notice));
}

}  // namespace
}  // namespace herdgate
