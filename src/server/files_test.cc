#include "server/files.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace herdgate::server {
namespace {

struct ReadFiles : ::testing::Test {
  std::filesystem::path folder;
  FilePaths paths;
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "herdgate_XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder = name;
    paths.config = folder / "pgpool.conf";
    paths.hba = folder / "pool_hba.conf";
    paths.pcp = folder / "pcp.conf";
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  void put(const std::string& name, const std::string& text) const { std::ofstream(folder / name) << text; }
};

TEST_F(ReadFiles, AReloadReadsThePasswordsByTheNameInForce) {
  put("pgpool.conf", "pool_passwd = 'one'\n");
  put("one", "alice:md5c5d7b7d7a0d8c5a6f4e3b2a190807060\n");
  const FilesRead first = read_files(paths);
  ASSERT_FALSE(first.has_errors());
  ASSERT_NE(first.files.passwords->find_user("alice"), nullptr);

  put("pgpool.conf", "pool_passwd = 'two'\n");
  put("two", "bob:md5c5d7b7d7a0d8c5a6f4e3b2a190807060\n");
  FilesRead again = read_files(paths, {}, &first.files);
  EXPECT_FALSE(again.has_errors());
  EXPECT_NE(again.files.passwords->find_user("alice"), nullptr);
  EXPECT_EQ(again.files.passwords->find_user("bob"), nullptr);

  std::filesystem::remove(folder / "one");
  EXPECT_TRUE(read_files(paths, {}, &first.files).has_errors()) << "it is missed, whatever the other one holds";
  EXPECT_NE(read_files(paths).files.passwords->find_user("bob"), nullptr) << "after a restart";
}

TEST_F(ReadFiles, AHbaFileThatIsOffIsLookedAtWhereThatIsAskedFor) {
  put("pgpool.conf", "enable_pool_hba = off\n");
  put("pool_hba.conf", "host all all 127.0.0.1/32 nonsense\n");
  const FilesRead unread = read_files(paths);
  EXPECT_FALSE(unread.has_errors());
  paths.hba_anyway = true;
  EXPECT_TRUE(read_files(paths).has_errors());

  put("pool_hba.conf", "host all all 127.0.0.1/32 trust\n");
  EXPECT_EQ(read_files(paths).files.hba, nullptr);
  EXPECT_EQ(read_files(paths).findings.size(), unread.findings.size());
  std::filesystem::remove(paths.hba);
  const FilesRead missing = read_files(paths);
  EXPECT_EQ(missing.findings.size(), unread.findings.size() + 1);
  EXPECT_FALSE(missing.has_errors()) << "a start does not miss it";
}

}  // namespace
}  // namespace herdgate::server
