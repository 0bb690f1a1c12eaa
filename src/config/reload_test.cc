#include "config/reload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/errc.h"
#include "config/load.h"

namespace herdgate::config {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Settings settings_of(std::string_view text) {
  const FileReader none = [](const std::string& path) -> Result<std::string> { return fail(Errc::unreadable, path); };
  Loaded loaded = load_text(text, "p", none);
  EXPECT_FALSE(loaded.has_errors());
  return loaded.settings;
}
constexpr std::string_view kOne = "backend_hostname0 = 'a'\nbackend_port0 = 5432\nbackend_weight0 = 1\n";

TEST(Reload, NothingChangedNothingDone) {
  const Settings old = settings_of(kOne);
  const Reloaded done = reload(old, settings_of(kOne));
  EXPECT_THAT(done.applied, IsEmpty());
  EXPECT_THAT(done.ignored_need_restart, IsEmpty());
}

TEST(Reload, TakesWhatMayChangeAndNamesWhatMayNot) {
  const Settings old = settings_of(kOne);
  const Reloaded done =
      reload(old, settings_of(std::string(kOne) + "port = 11000\nsr_check_period = 3\nlog_statement = on\n"
                                                  "num_init_children = 99\npool_size = 4\n"));
  EXPECT_THAT(done.applied, ElementsAre("sr_check_period", "log_statement", "pool_size"));
  EXPECT_THAT(done.ignored_need_restart, ElementsAre("port", "num_init_children"));
  EXPECT_EQ(done.merged.port, 9999);
  EXPECT_EQ(done.merged.num_init_children, 32);
  EXPECT_EQ(done.merged.sr_check_period, std::chrono::seconds(3));
  EXPECT_TRUE(done.merged.log_statement);
}

TEST(Reload, ListsAreReplacedAndDoNotGrow) {
  const Settings old = settings_of("write_function_list = 'a'\n");
  const Reloaded done = reload(old, settings_of("write_function_list = 'b'\n"));
  EXPECT_TRUE(done.merged.patterns->write_functions.matches("b"));
  EXPECT_FALSE(done.merged.patterns->write_functions.matches("a"));
}

TEST(Reload, TracesAreLookedForAsSoonAsTheLogHasAPlaceForThem) {
  const Settings plain = settings_of(kOne);
  const Settings json = settings_of(std::string(kOne) + "log_destination = 'stderr,jsonlog'\n");
  EXPECT_TRUE(reload(plain, json).merged.traces);
  EXPECT_FALSE(reload(json, plain).merged.traces);
}

TEST(Reload, NodesKeepTheirPlaceAndChangeTheirWeight) {
  const Settings old = settings_of(kOne);
  const Reloaded done = reload(old, settings_of("backend_hostname0 = 'z'\nbackend_port0 = 6000\nbackend_weight0 = 7\n"
                                                "backend_data_directory0 = '/d'\nbackend_application_name0 = 'n'\n"
                                                "backend_flag0 = DISALLOW_TO_FAILOVER\n"));
  EXPECT_THAT(done.ignored_need_restart, ElementsAre("backend_hostname0", "backend_port0"));
  EXPECT_THAT(done.applied,
              ElementsAre("backend_weight0", "backend_data_directory0", "backend_application_name0", "backend_flag0"));
  EXPECT_THAT(done.merged.backends,
              ElementsAre(Backend{NodeId{0}, "a", 5432, 7, "/d", "n", /*allow_to_failover=*/false, false}));
}

TEST(Reload, NewNodesAreAddedInOrder) {
  const Settings old = settings_of(std::string(kOne) + "backend_port5 = 6005\n");
  const Reloaded done = reload(old, settings_of(std::string(kOne) + "backend_port5 = 6005\nbackend_port3 = 6003\n"));
  EXPECT_THAT(done.applied, ElementsAre("backend_port3"));
  ASSERT_EQ(done.merged.backends.size(), 3u);
  EXPECT_EQ(done.merged.backends[1].port, 6003);
}

TEST(Reload, NodesDoNotVanish) {
  const Settings old = settings_of(kOne);
  const Reloaded done = reload(old, settings_of(""));
  EXPECT_EQ(done.merged.backends, old.backends);
  EXPECT_THAT(done.ignored_need_restart, ElementsAre("backend_port0"));
}

TEST(Reload, AlwaysPrimaryStaysUntilARestart) {
  const Settings plain = settings_of(kOne);
  const Settings always = settings_of(std::string(kOne) + "backend_flag0 = ALWAYS_PRIMARY\n");
  EXPECT_TRUE(reload(plain, always).merged.backends[0].always_primary);
  const Reloaded done = reload(always, plain);
  EXPECT_TRUE(done.merged.backends[0].always_primary);
  EXPECT_THAT(done.ignored_need_restart, ElementsAre("backend_flag0"));
}

TEST(Reload, OwnHealthChecksAreReplaced) {
  const Settings old = settings_of("health_check_period0 = 5\n");
  const Reloaded done = reload(old, settings_of("health_check_period1 = 6\n"));
  EXPECT_EQ(done.merged.health_check(NodeId{0}).health_check_period, std::chrono::seconds(0));
  EXPECT_EQ(done.merged.health_check(NodeId{1}).health_check_period, std::chrono::seconds(6));
}

}  // namespace
}  // namespace herdgate::config
