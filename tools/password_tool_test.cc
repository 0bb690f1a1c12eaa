// pg_md5 and pg_enc as scripts use them: run as programs, their output compared to the octet.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace herdgate::tools {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr std::string_view kPencilMd5 = "a8f6830bce790a8a67fc2e84e12093ba";  // echo -n pencil | md5sum
constexpr std::string_view kPencilAes = "qiSVgRwNsmx6kzTHrNFLcg==";          // key "secretkey"

struct Output {
  std::string text;  // stdout
  int code = -1;
};
// `arguments` go through the shell; stderr is dropped unless redirected there.
Output run(const std::string& command) {
  Output out;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return out;
  std::array<char, 4096> chunk{};
  while (const std::size_t got = fread(chunk.data(), 1, chunk.size(), pipe)) out.text.append(chunk.data(), got);
  const int status = pclose(pipe);
  out.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return out;
}

class PasswordTools : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "herdgate_tools_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    write("pgpool.conf", "port = 9999\npool_passwd = 'pool_passwd'\n");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, std::string_view text) { std::ofstream(folder_ / name) << text; }
  std::string read(const std::string& name) {
    std::ifstream file(folder_ / name);
    std::stringstream out;
    out << file.rdbuf();
    return out.str();
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  // HOME is the test folder, so that nobody's own key file is met.
  Output pg_md5(const std::string& arguments) { return run(PG_MD5 " " + arguments); }
  Output pg_enc(const std::string& arguments) {
    return run("env -u PGPOOLKEYFILE HOME=" + folder_.string() + " " PG_ENC " " + arguments);
  }
  std::filesystem::path folder_;
};

TEST_F(PasswordTools, PgMd5PrintsTheDigitsAndNothingElse) {
  const Output out = pg_md5("pencil 2>&1");
  EXPECT_EQ(out.text, std::string(kPencilMd5) + "\n");
  EXPECT_EQ(out.code, 0);
}

TEST_F(PasswordTools, PgMd5StoresAnEntryBesideTheConfigurationAndPrintsNothing) {
  const Output out = run("echo y | " PG_MD5 " -m -f " + path("pgpool.conf") + " -u u_md5 pencil 2>&1");
  EXPECT_EQ(out.text, "");
  EXPECT_EQ(out.code, 0);
  EXPECT_EQ(read("pool_passwd"), "u_md5:md56520b9e6d1360465923cccaa4a18e5f0\n");
  struct stat about {};
  ASSERT_EQ(stat(path("pool_passwd").c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600u);
}

TEST_F(PasswordTools, PgMd5ReplacesTheLineAndKeepsOthersAndTheMode) {
  write("pool_passwd", "alice:TEXTa\nu_md5:old\nbob:TEXTb\n");
  ASSERT_EQ(chmod(path("pool_passwd").c_str(), 0640), 0);
  EXPECT_EQ(pg_md5("--md5auth --config-file=" + path("pgpool.conf") + " --username=u_md5 pencil").code, 0);
  EXPECT_EQ(read("pool_passwd"), "alice:TEXTa\nu_md5:md56520b9e6d1360465923cccaa4a18e5f0\nbob:TEXTb\n");
  struct stat about {};
  ASSERT_EQ(stat(path("pool_passwd").c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0640u);
}

TEST_F(PasswordTools, StoringKeepsASymbolicLink) {
  write("real_passwd", "");
  std::filesystem::create_symlink(folder_ / "real_passwd", folder_ / "pool_passwd");
  EXPECT_EQ(pg_md5("-m -f " + path("pgpool.conf") + " -u u_md5 pencil").code, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(folder_ / "pool_passwd"));
  EXPECT_EQ(read("real_passwd"), "u_md5:md56520b9e6d1360465923cccaa4a18e5f0\n");
}

// The server could not read it any more. Only root can play both users.
TEST_F(PasswordTools, AFileIsNotTakenFromItsOwnerAndItsGroup) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  constexpr uid_t kOwner = 60001, kGroup = 60002, kOther = 60003;
  write("pool_passwd", "alice:TEXTa\n");
  const std::string file = path("pool_passwd");
  ASSERT_EQ(chmod(folder_.c_str(), 0777), 0);
  ASSERT_EQ(chown(file.c_str(), kOwner, kGroup), 0);
  ASSERT_EQ(chmod(file.c_str(), 0660), 0);
  const auto store_as = [&](uid_t user, gid_t group, gid_t more) {
    const std::string as = "setpriv --reuid=" + std::to_string(user) + " --regid=" + std::to_string(group);
    // A copy, for the tree may lie where others must not look.
    return run("cd / && " + as + " --groups=" + std::to_string(more) + " " + path("pg_md5") + " -m -u u_md5 -f " +
               path("pgpool.conf") + " pencil 2>&1");
  };
  std::filesystem::copy_file(PG_MD5, path("pg_md5"));
  const auto owned = [&] {
    struct stat about {};
    EXPECT_EQ(stat(file.c_str(), &about), 0);
    return std::pair(about.st_uid, about.st_gid);
  };
  const Output refused = store_as(kOther, kGroup, kGroup);
  EXPECT_EQ(refused.code, 1);
  EXPECT_EQ(refused.text, "the file belongs to another user, who or root must change it: " + file + "\n");
  EXPECT_EQ(read("pool_passwd"), "alice:TEXTa\n");
  EXPECT_EQ(owned(), (std::pair<uid_t, gid_t>(kOwner, kGroup)));

  EXPECT_EQ(store_as(kOwner, kOther, kOther).text,
            "the file belongs to a group that this user is not in, root must change it: " + file + "\n");
  EXPECT_EQ(read("pool_passwd"), "alice:TEXTa\n");

  const Output stored = store_as(kOwner, kOther, kGroup);
  EXPECT_EQ(stored.text, "");
  EXPECT_EQ(stored.code, 0);
  EXPECT_NE(read("pool_passwd"), "alice:TEXTa\n");
  EXPECT_EQ(owned(), (std::pair<uid_t, gid_t>(kOwner, kGroup)));
}

TEST_F(PasswordTools, ManyAtOnceLoseNoLine) {
  constexpr int kPrograms = 20;
  std::string command;
  for (int i = 0; i < kPrograms; ++i) {
    command += PG_MD5 " -m -f " + path("pgpool.conf") + " -u user" + std::to_string(i) + " pencil & ";
  }
  EXPECT_EQ(run(command + "wait").code, 0);
  const std::string text = read("pool_passwd");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), kPrograms) << text;
}

TEST_F(PasswordTools, PgMd5ReadsPairsFromAFile) {
  write("pairs", "alice:pencil\n\nnonsense\n:x\nx:\nbob:pen:cil\r\n");
  const Output out = pg_md5("-i " + path("pairs"));
  EXPECT_EQ(out.text, "trying to read username:password pairs from file " + path("pairs") + "\nLINE#01: USER: alice\n" +
                          std::string(kPencilMd5) +
                          "\nLINE#02: BLANK LINE\nLINE#03: Invalid username:password pair\n"
                          "LINE#04: Invalid username:password pair\nLINE#05: Invalid username:password pair\n"
                          "LINE#06: USER: bob\n"
                          "31f98f8a798d2abdbbde63f96955e38e\n");
  EXPECT_EQ(out.code, 0);
}

TEST_F(PasswordTools, PgMd5StoresPairsFromAFile) {
  write("pairs", "u_md5:pencil\n");
  const Output out = pg_md5("-m -f " + path("pgpool.conf") + " -i " + path("pairs"));
  EXPECT_EQ(out.text, "trying to read username:password pairs from file " + path("pairs") + "\nLINE#01: USER: u_md5\n");
  EXPECT_EQ(read("pool_passwd"), "u_md5:md56520b9e6d1360465923cccaa4a18e5f0\n");
}

TEST_F(PasswordTools, NonsenseIsRefused) {
  for (const char* arguments : {"", "-m", "a b", "-p a", "-z a", "\"\"", "-i", "-i x y"}) {
    for (const auto& out : {pg_md5(std::string(arguments) + " 2>&1 </dev/null"),
                            pg_enc(std::string("-K key ") + arguments + " 2>&1 </dev/null")}) {
      EXPECT_THAT(out.text, HasSubstr("Usage: ")) << arguments;
      EXPECT_EQ(out.code, 1) << arguments;
    }
  }
  EXPECT_EQ(pg_md5("-i " + path("missing") + " 2>/dev/null").code, 1);
  EXPECT_EQ(pg_md5("-m -u x -f " + path("missing.conf") + " pencil 2>/dev/null").code, 1);
  write("pgpool.conf", "pool_passwd = ''\n");
  EXPECT_EQ(pg_md5("-m -u x -f " + path("pgpool.conf") + " pencil 2>/dev/null").code, 1);
}

// It is not asked for by leaving it out.
TEST_F(PasswordTools, AnEmptyUserIsRefused) {
  for (const char* user : {"-u ''", "--username="}) {
    const std::string arguments = std::string(" -m ") + user + " -f " + path("pgpool.conf") + " pencil 2>&1";
    for (const Output& out : {pg_md5(arguments), pg_enc("-K key" + arguments)}) {
      EXPECT_EQ(out.text, "the name of the user is empty\n");
      EXPECT_EQ(out.code, 1);
    }
  }
  EXPECT_FALSE(std::filesystem::exists(path("pool_passwd")));
}

TEST_F(PasswordTools, APromptNeedsATerminal) {
  const Output md5 = pg_md5("-p 2>&1 </dev/null");
  EXPECT_EQ(md5.text, "stdin is not tty\n");
  EXPECT_EQ(md5.code, 1);
  EXPECT_THAT(pg_enc("-K key -p 2>&1 </dev/null").text, HasSubstr("stdin is not tty"));
  EXPECT_THAT(pg_enc("-P pencil 2>&1 </dev/null").text, HasSubstr("stdin is not tty"));
}

TEST_F(PasswordTools, HelpGoesToStdout) {
  for (const Output& out : {pg_md5("-h 2>/dev/null"), pg_enc("--help 2>/dev/null")}) {
    EXPECT_THAT(out.text, HasSubstr("Usage: "));
    EXPECT_EQ(out.code, 0);
  }
}

TEST_F(PasswordTools, PgEncPrintsTheTextInBothForms) {
  const std::string expected =
      "\n" + std::string(kPencilAes) + "\npool_passwd string: AES" + std::string(kPencilAes) + "\n";
  EXPECT_EQ(pg_enc("-K secretkey pencil").text, expected);
  write("key", "secretkey\n");
  EXPECT_EQ(pg_enc("-k " + path("key") + " pencil 2>/dev/null").text,
            "trying to read key from file " + path("key") + "\n" + expected);
  EXPECT_EQ(run("PGPOOLKEYFILE=" + path("key") + " " PG_ENC " pencil 2>/dev/null").text,
            "trying to read key from file " + path("key") + "\n" + expected);
  write(".pgpoolkey", "secretkey\n");
  EXPECT_EQ(pg_enc("pencil 2>/dev/null").text, "trying to read key from file " + path(".pgpoolkey") + "\n" + expected);
  // -K comes before -k.
  write("key", "another\n");
  EXPECT_EQ(pg_enc("-K secretkey -k " + path("key") + " pencil").text, expected);
}

TEST_F(PasswordTools, PgEncWithoutAKey) {
  const Output out = pg_enc("pencil 2>&1");
  EXPECT_THAT(out.text, HasSubstr("encryption key not provided"));
  EXPECT_EQ(out.code, 1);
  EXPECT_EQ(run("env -u PGPOOLKEYFILE -u HOME " PG_ENC " pencil 2>&1").text, "encryption key not provided\n");
}

TEST_F(PasswordTools, PgEncStoresAnEntry) {
  write("key", "secretkey\n");
  ASSERT_EQ(chmod(path("key").c_str(), 0600), 0);
  const Output out =
      run("echo y | " PG_ENC " -m -k " + path("key") + " -f " + path("pgpool.conf") + " -u alice pencil 2>&1");
  EXPECT_EQ(out.text, "trying to read key from file " + path("key") + "\n");
  EXPECT_EQ(out.code, 0);
  EXPECT_EQ(read("pool_passwd"), "alice:AES" + std::string(kPencilAes) + "\n");
}

TEST_F(PasswordTools, PgEncWarnsOfAKeyThatOthersCanRead) {
  write("key", "secretkey\n");
  ASSERT_EQ(chmod(path("key").c_str(), 0644), 0);
  const Output out = pg_enc("-k " + path("key") + " pencil 2>&1 >/dev/null");
  EXPECT_THAT(out.text, StartsWith("WARNING: key file"));
  EXPECT_EQ(out.code, 0);
}

}  // namespace
}  // namespace herdgate::tools
