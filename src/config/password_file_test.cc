#include "config/password_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace herdgate::config {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

constexpr const char* kVerifier =
    "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2Fs$6ZuwcrnZ0xM9JZ4XeA/aNpqKcJKMYYm7PfPQb0yPrb8=:"
    "8xUyVjzYy0YgTjfnbkRUPYI4f1p7vJf6cJt7PqW3u6A=";

struct Case {
  std::string line;
  SecretKind kind;
  std::string value;
};
class PasswordForms : public testing::TestWithParam<Case> {};
TEST_P(PasswordForms, AreTold) {
  const auto& [line, kind, value] = GetParam();
  const PasswordFile file = parse_pool_passwd(line + "\n", "pool_passwd");
  ASSERT_THAT(file.entries, SizeIs(1)) << line;
  EXPECT_EQ(file.entries[0].user, "u");
  EXPECT_EQ(file.entries[0].kind, kind) << line;
  EXPECT_EQ(file.entries[0].value, value) << line;
}
INSTANTIATE_TEST_SUITE_P(
    All, PasswordForms,
    testing::Values(
        Case{"u:md50123456789abcdef0123456789ABCDEF", SecretKind::md5, "md50123456789abcdef0123456789abcdef"},
        Case{"u:md5short", SecretKind::plain, "md5short"},
        Case{"u:md50123456789abcdef0123456789abcdeg", SecretKind::plain, "md50123456789abcdef0123456789abcdeg"},
        Case{"u:AESk/Tyg0mcqnE=", SecretKind::aes, "k/Tyg0mcqnE="}, Case{"u:TEXTsecret", SecretKind::text, "secret"},
        Case{"u:TEXT", SecretKind::text, ""}, Case{"u:text", SecretKind::plain, "text"},
        Case{"u:secret", SecretKind::plain, "secret"}, Case{"u:", SecretKind::plain, ""},
        Case{"u:a\\:b\\\\c", SecretKind::plain, "a:b\\c"}, Case{"u:secret\r", SecretKind::plain, "secret"},
        Case{"u: x ", SecretKind::plain, " x "},
        Case{std::string("u:") + kVerifier, SecretKind::scram_verifier, kVerifier}));

TEST(PoolPasswd, BackendUsersAndVerifiersTogether) {
  const PasswordFile file = parse_pool_passwd(std::string("a:p:bu:bp\nb:") + kVerifier + ":bu:b\\:p\n", "f");
  ASSERT_THAT(file.entries, SizeIs(2));
  EXPECT_EQ(file.entries[0].value, "p");
  EXPECT_EQ(file.entries[0].backend_user, "bu");
  EXPECT_EQ(file.entries[1].value, kVerifier);
  EXPECT_EQ(file.entries[1].backend_user, "bu");
  ASSERT_THAT(file.findings, SizeIs(2));  // nobody uses them, and that is said
  EXPECT_THAT(file.findings[0].text, ::testing::HasSubstr("have no effect"));
}

TEST(PoolPasswd, FirstEntryOfAUserCounts) {
  const PasswordFile file = parse_pool_passwd("# x\n\nv:1\nu:2\nu:3\nw\\:x:4", "f");
  EXPECT_EQ(file.find_user("u")->value, "2");
  EXPECT_EQ(file.find_user("w:x")->value, "4");
  EXPECT_EQ(file.find_user("U"), nullptr);
  EXPECT_THAT(file.findings, SizeIs(0));
}

TEST(PoolPasswd, BadLinesAreNamedAndLeftOut) {
  const std::string text = "nothing\n:x\nu:a:b\nu:" + std::string(133, 'p') + "\n" + std::string(129, 'u') +
                           ":x\nok:AES" + std::string(200, 'A') + "\nz:\0\n"s;
  const PasswordFile file = parse_pool_passwd(text, "f");
  EXPECT_THAT(file.findings, SizeIs(6));
  EXPECT_EQ(file.findings[2].where(), "f:3");
  EXPECT_THAT(file.findings[0].text, HasSubstr("a line has the form user:password"));
  ASSERT_THAT(file.entries, SizeIs(1));
  EXPECT_EQ(file.entries[0].user, "ok");
}

TEST(PoolPasswd, HoweverManyLinesAreBadTheOthersCount) {
  std::string text;
  for (std::size_t i = 0; i < kMaxFindings + 5; ++i) text += "nothing\n";
  const PasswordFile file = parse_pool_passwd(text + "u:x\n", "f");
  EXPECT_NE(file.find_user("u"), nullptr);
  ASSERT_THAT(file.findings, SizeIs(kMaxFindings + 1));
  EXPECT_EQ(file.findings.back().where(), "f");
  EXPECT_EQ(file.findings.back().text, "further warnings not listed: 5");
}

TEST(PoolPasswd, UpdateAddsOrReplacesOneLine) {
  EXPECT_EQ(update_pool_passwd("", "u", "md5x").value(), "u:md5x\n");
  EXPECT_EQ(update_pool_passwd("a:1\nu:2\n# u:x\nu:3\nb:4", "u", "new").value(), "a:1\nu:new\n# u:x\nb:4\n");
  EXPECT_EQ(update_pool_passwd("a:1", "u", "2").value(), "a:1\nu:2\n");
  EXPECT_EQ(update_pool_passwd("u:x:y:z\n", "u", "2").value(), "u:2\n");
  EXPECT_FALSE(update_pool_passwd("", "", "x"));
  EXPECT_FALSE(update_pool_passwd("", "a\nb", "x"));
  EXPECT_FALSE(update_pool_passwd("", "a", "x\ny"));
  EXPECT_FALSE(update_pool_passwd("", "#a", "x"));
  EXPECT_FALSE(update_pool_passwd("", std::string(129, 'a'), "x"));
}

TEST(PoolPasswd, WhatUpdateWroteIsReadBack) {
  for (const std::string secret : {"a:b", "back\\slash", "md50123456789abcdef0123456789abcdef", kVerifier, "", " # "}) {
    const std::string text = update_pool_passwd("x:1\n", "us:er\\", secret).value();
    const PasswordFile file = parse_pool_passwd(text, "f");
    ASSERT_NE(file.find_user("us:er\\"), nullptr) << text;
    EXPECT_EQ(file.find_user("us:er\\")->value, secret) << text;
    EXPECT_EQ(update_pool_passwd(text, "us:er\\", secret).value(), text);
  }
}

TEST(PcpConf, UsersAndTheirHashes) {
  const PcpFile file = parse_pcp_conf(
      "# c\n\nu:E8A48653851E28C69D0506508FB27FC5 \nbad\nx:short\n:e8a48653851e28c69d0506508fb27fc5\n", "pcp.conf");
  ASSERT_THAT(file.users, SizeIs(1));
  EXPECT_EQ(file.find_user("u")->md5, "e8a48653851e28c69d0506508fb27fc5");
  EXPECT_EQ(file.find_user("x"), nullptr);
  EXPECT_THAT(file.findings, SizeIs(3));
  EXPECT_EQ(file.findings[0].where(), "pcp.conf:4");
}

}  // namespace
}  // namespace herdgate::config
