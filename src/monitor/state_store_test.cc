#include "monitor/state_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "monitor/errc.h"

namespace herdgate::monitor {
namespace {

struct StateStore : ::testing::Test {
  std::filesystem::path folder;
  std::string path;
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "herdgate_XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder = name;
    path = folder / "pgpool_status";
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
};

TEST_F(StateStore, WhatIsWrittenIsReadAndNothingElseIsLeft) {
  ASSERT_TRUE(write_state_file(path, "up\ndown\n"));
  ASSERT_TRUE(write_state_file(path, "up\nup\n"));
  EXPECT_EQ(read_state_file(path).value(), "up\nup\n");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()), 1);
}

// In /tmp somebody else may have been faster.
TEST_F(StateStore, AFileOfAnothersBesideItIsNotUsed) {
  std::ofstream(path + ".new") << "planted";
  std::filesystem::permissions(path + ".new", std::filesystem::perms::all);
  ASSERT_TRUE(write_state_file(path, "up\n"));
  EXPECT_EQ(read_state_file(path).value(), "up\n");
  EXPECT_EQ(read_state_file(path + ".new").value(), "planted");
}

TEST_F(StateStore, WhatAKilledWriterLeftIsRemovedAndNothingElse) {
  const auto old = std::filesystem::file_time_type::clock::now() - 2 * kLeftAfter;
  const auto put = [&](const std::string& name) {
    std::ofstream(folder / name) << "up\n";
    std::filesystem::last_write_time(folder / name, old);
  };
  put("pgpool_status.0123abcd.new");
  const std::vector<std::string> stay{"pgpool_status", "pgpool_status.0123abcd", "pgpool_status.0123abcg.new",
                                      "pgpool_status.new", "pgpool_unfinished.0123abcd.new"};
  for (const std::string& name : stay) put(name);
  std::ofstream(folder / "pgpool_status.01234567.new") << "up\n";  // it may be being written
  std::filesystem::create_symlink("pgpool_status", folder / "pgpool_status.89abcdef.new");
  remove_leftovers(path);
  EXPECT_FALSE(std::filesystem::exists(folder / "pgpool_status.0123abcd.new"));
  for (const std::string& name : stay) EXPECT_TRUE(std::filesystem::exists(folder / name)) << name;
  EXPECT_TRUE(std::filesystem::exists(folder / "pgpool_status.01234567.new"));
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "pgpool_status.89abcdef.new"));
}

TEST_F(StateStore, NoFileIsNoError) {
  EXPECT_EQ(read_state_file(path).value(), std::nullopt);
  EXPECT_TRUE(remove_state_file(path));
}

TEST_F(StateStore, RemovedIsGone) {
  ASSERT_TRUE(write_state_file(path, "up\n"));
  ASSERT_TRUE(remove_state_file(path));
  EXPECT_EQ(read_state_file(path).value(), std::nullopt);
}

TEST_F(StateStore, FoldersPipesAndMissingFoldersAreNamed) {
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  auto read = read_state_file(path);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::state_file_unreadable);
  EXPECT_NE(read.error().context.find(path), std::string::npos);
  EXPECT_EQ(read_state_file(folder).error().code, Errc::state_file_unreadable);
  const auto written = write_state_file(folder / "no" / "such", "up\n");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Errc::state_file_unwritable);
}

TEST_F(StateStore, AHugeFileIsCut) {
  std::ofstream(path) << std::string(1 << 20, 'x');
  EXPECT_EQ(read_state_file(path).value()->size(), kMaxStateFileBytes);
}

}  // namespace
}  // namespace herdgate::monitor
