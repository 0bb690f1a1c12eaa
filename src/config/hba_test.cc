#include "config/hba.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace herdgate::config {
namespace {

using namespace std::string_view_literals;

HbaClient client(std::string_view address, std::string_view database, std::string_view user, bool tls = false) {
  HbaClient c;
  c.is_local = address == "local";
  c.is_tls = tls;
  if (!c.is_local) c.address = parse_ip(address).value();
  c.database = database;
  c.user = user;
  return c;
}

struct Case {
  const char* rule;
  const char* address;
  const char* database;
  const char* user;
  bool tls;
  bool fits;
};
class HbaMatch : public testing::TestWithParam<Case> {};
TEST_P(HbaMatch, FollowsTheColumns) {
  const auto& [rule, address, database, user, tls, fits] = GetParam();
  const HbaLoaded loaded = parse_hba(rule, "pool_hba.conf");
  ASSERT_FALSE(loaded.has_errors()) << rule << ": " << loaded.findings[0].text;
  EXPECT_EQ(match(loaded.rules, client(address, database, user, tls)) != nullptr, fits) << rule;
}
INSTANTIATE_TEST_SUITE_P(Types, HbaMatch,
                         testing::Values(Case{"local all all trust", "local", "d", "u", false, true},
                                         Case{"local all all trust", "10.0.0.1", "d", "u", false, false},
                                         Case{"host all all all trust", "local", "d", "u", false, false},
                                         Case{"host all all all trust", "10.0.0.1", "d", "u", true, true},
                                         Case{"hostssl all all all trust", "10.0.0.1", "d", "u", false, false},
                                         Case{"hostssl all all all trust", "10.0.0.1", "d", "u", true, true},
                                         Case{"hostnossl all all all trust", "10.0.0.1", "d", "u", true, false},
                                         Case{"hostnossl all all all trust", "10.0.0.1", "d", "u", false, true}));
INSTANTIATE_TEST_SUITE_P(Names, HbaMatch,
                         testing::Values(Case{"local a,b u trust", "local", "b", "u", false, true},
                                         Case{"local a, b u trust", "local", "b", "u", false, true},
                                         Case{"local a ,b u trust", "local", "b", "u", false, true},
                                         Case{"local a u trust", "local", "A", "u", false, false},
                                         Case{"local a u trust", "local", "a", "v", false, false},
                                         Case{"local a u,v trust", "local", "a", "v", false, true},
                                         Case{"local sameuser all trust", "local", "u", "u", false, true},
                                         Case{"local sameuser all trust", "local", "d", "u", false, false},
                                         Case{"local \"all\" all trust", "local", "d", "u", false, false},
                                         Case{"local \"all\" all trust", "local", "all", "u", false, true},
                                         Case{"local \"a b\" all trust", "local", "a b", "u", false, true},
                                         Case{"local \"a\"\"b\" all trust", "local", "a\"b", "u", false, true},
                                         Case{"local \"samerole\" \"+x\" trust", "local", "samerole", "+x", false,
                                              true},
                                         Case{"local\tall\tall\ttrust # x", "local", "d", "u", false, true}));
INSTANTIATE_TEST_SUITE_P(
    Addresses, HbaMatch,
    testing::Values(Case{"host all all 10.1.0.0/16 trust", "10.1.2.3", "d", "u", false, true},
                    Case{"host all all 10.1.0.0/16 trust", "10.2.2.3", "d", "u", false, false},
                    Case{"host all all 10.1.2.3/32 trust", "10.1.2.4", "d", "u", false, false},
                    Case{"host all all 0/0 trust", "192.168.1.1", "d", "u", false, true},
                    Case{"host all all 0.0.0.0/0 trust", "192.168.1.1", "d", "u", false, true},
                    Case{"host all all 0/0 trust", "::1", "d", "u", false, false},
                    Case{"host all all ::/0 trust", "::1", "d", "u", false, true},
                    Case{"host all all ::0/0 trust", "::1", "d", "u", false, true},
                    Case{"host all all ::1/128 trust", "::2", "d", "u", false, false},
                    Case{"host all all fe80::/10 trust", "fe80::1", "d", "u", false, true},
                    Case{"host all all 2001:db8:0:0:1::/80 trust", "2001:db8::1:0:0:9", "d", "u", false, true},
                    Case{"host all all 10.0.0.0 255.0.0.0 trust", "10.9.9.9", "d", "u", false, true},
                    Case{"host all all 10.0.0.0 255.0.0.0 trust", "11.9.9.9", "d", "u", false, false},
                    Case{"host all all ::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff trust", "::1", "d", "u", false,
                         true},
                    Case{"host all all 127.0.0.1/32 trust", "::ffff:127.0.0.1", "d", "u", false, true},
                    Case{"host all all samehost trust", "10.0.0.1", "d", "u", false, false}));

TEST(HbaMatch, FirstFittingRuleDecides) {
  const HbaLoaded loaded =
      parse_hba("# x\nhost all bad 0/0 reject\nhost all all 0/0 md5\nhost all all 0/0 trust\n", "h");
  EXPECT_EQ(match(loaded.rules, client("1.2.3.4", "d", "bad"))->method, HbaMethod::reject);
  const HbaRule* rule = match(loaded.rules, client("1.2.3.4", "d", "u"));
  EXPECT_EQ(rule->method, HbaMethod::md5);
  EXPECT_EQ(rule->line, 3);
  EXPECT_EQ(rule->text, "host all all 0/0 md5");
  EXPECT_EQ(match(loaded.rules, client("::1", "d", "u")), nullptr);
}

TEST(HbaMatch, InterfacesOfThisMachine) {
  const HbaLoaded loaded = parse_hba("host all all samehost trust\nhost all all samenet md5\n", "h");
  const Interface interfaces[] = {{parse_ip("192.168.7.5").value(), parse_ip("255.255.255.0").value()}};
  HbaClient c = client("192.168.7.5", "d", "u");
  c.interfaces = interfaces;
  EXPECT_EQ(match(loaded.rules, c)->method, HbaMethod::trust);
  c.address = parse_ip("192.168.7.9").value();
  EXPECT_EQ(match(loaded.rules, c)->method, HbaMethod::md5);
  c.address = parse_ip("192.168.8.9").value();
  EXPECT_EQ(match(loaded.rules, c), nullptr);
}

TEST(HbaMatch, HostNames) {
  const HbaLoaded loaded = parse_hba(
      "host all all db.example.com trust\nhost all all .example.com md5\n"
      "host all all 0/0 reject\n",
      "h");
  HbaClient c = client("1.2.3.4", "d", "u");
  EXPECT_EQ(match(loaded.rules, c)->method, HbaMethod::reject);
  EXPECT_TRUE(needs_host_name(loaded.rules, c));
  c.host = "DB.example.com";
  EXPECT_EQ(match(loaded.rules, c)->method, HbaMethod::trust);
  c.host = "www.EXAMPLE.com";
  EXPECT_EQ(match(loaded.rules, c)->method, HbaMethod::md5);
  c.host = "example.com";
  EXPECT_EQ(match(loaded.rules, c)->method, HbaMethod::reject);
  c.host = "badexample.com";
  EXPECT_EQ(match(loaded.rules, c)->method, HbaMethod::reject);
  EXPECT_FALSE(needs_host_name(parse_hba("host all all 0/0 md5\nhost all all x.y md5\n", "h").rules, c));
}

struct Bad {
  const char* line;
  const char* reason;
};
class HbaNonsense : public testing::TestWithParam<Bad> {};
TEST_P(HbaNonsense, IsRefusedWithFileAndLine) {
  const auto& [line, reason] = GetParam();
  const HbaLoaded loaded =
      parse_hba(std::string("local all all trust\n") + line + "\nlocal all all md5\n", "pool_hba.conf");
  ASSERT_EQ(loaded.findings.size(), 1u) << line;
  EXPECT_EQ(loaded.findings[0].where(), "pool_hba.conf:2");
  EXPECT_EQ(loaded.findings[0].text, std::string("invalid pool_hba.conf rule: ") + reason);
  EXPECT_EQ(loaded.findings[0].severity, Severity::error);
  EXPECT_EQ(loaded.rules.size(), 2u);
}
INSTANTIATE_TEST_SUITE_P(
    Lines, HbaNonsense,
    testing::Values(
        Bad{"hosts all all all trust",
            "unknown connection type \"hosts\", a line starts with local, host, hostssl or hostnossl"},
        Bad{"local", "database column missing"}, Bad{"local all", "user column missing"},
        Bad{"local all all", "method column missing"}, Bad{"host all all", "address column missing"},
        Bad{"host all all all", "method column missing"},
        Bad{"host all all 10.0.0.1 trust", "invalid mask \"trust\" for address \"10.0.0.1\""},
        Bad{"host all all 10.0.0.1 255.0.255.0 trust", "invalid mask \"255.0.255.0\" for address \"10.0.0.1\""},
        Bad{"host all all 10.0.0.1/33 trust", "invalid address \"10.0.0.1/33\""},
        Bad{"host all all 10.0.0/8 trust", "invalid address \"10.0.0/8\""},
        Bad{"host all all ::1/129 trust", "invalid address \"::1/129\""},
        Bad{"host all all x@y trust", "invalid address \"x@y\""},
        Bad{"host all all 10.0.0.1/8,::1/8 trust", "the address column takes one address"},
        Bad{"local samegroup all trust", "\"samegroup\" is not supported in the database column"},
        Bad{"local samerole all trust", "\"samerole\" is not supported in the database column"},
        Bad{"local all +admins trust", "group \"+admins\" is not supported in the user column"},
        Bad{"local @dbs all trust", "file \"@dbs\" is not supported in the database column"},
        Bad{"local all all kerberos",
            "unknown authentication method \"kerberos\" (known are trust, reject, md5, scram-sha-256, password)"},
        Bad{"local all all cert", "cert goes with hostssl only"},
        Bad{"hostssl all all all cert", "authentication method \"cert\" is not supported by this release"},
        Bad{"local all all pam", "authentication method \"pam\" is not supported by this release"},
        Bad{"local all all ldap ldapserver=x", "authentication method \"ldap\" is not supported by this release"},
        Bad{"local all all md5 nonsense", "option \"nonsense\" is not of the form name=value"},
        Bad{"local all all md5 =x", "option \"=x\" has no name"}, Bad{"local \"all all trust", "closing quote missing"},
        Bad{", local all all trust", "a line starts with local, host, hostssl or hostnossl"}));

TEST(Hba, OptionsAreKept) {
  const HbaLoaded loaded = parse_hba("local all all md5 a=1 \"b=x y\" backend_use_passwd\n", "h");
  ASSERT_FALSE(loaded.has_errors());
  EXPECT_THAT(loaded.rules[0].options, testing::ElementsAre(testing::Pair("a", "1"), testing::Pair("b", "x y"),
                                                            testing::Pair("backend_use_passwd", "1")));
}

TEST(Hba, MethodsThatAreBuilt) {
  const HbaLoaded loaded = parse_hba(
      "local all all trust\nlocal all all reject\nlocal all all md5\n"
      "local all all scram-sha-256\nlocal all all password\n",
      "h");
  ASSERT_FALSE(loaded.has_errors());
  ASSERT_EQ(loaded.rules.size(), 5u);
  EXPECT_EQ(loaded.rules[3].method, HbaMethod::scram_sha_256);
  EXPECT_EQ(hba_method_name(HbaMethod::scram_sha_256), "scram-sha-256");
}

TEST(Hba, ZeroBytesAndLongLinesAreRefused) {
  EXPECT_TRUE(parse_hba("local a\0ll all trust\n"sv, "h").has_errors());
  EXPECT_TRUE(parse_hba(std::string(kMaxHbaLineBytes + 1, ' '), "h").has_errors());
}

struct Address {
  const char* text;
  const char* shown;  // nullptr: no address
};
class IpAddresses : public testing::TestWithParam<Address> {};
TEST_P(IpAddresses, AreRead) {
  const auto& [text, shown] = GetParam();
  const auto parsed = parse_ip(text);
  ASSERT_EQ(parsed.has_value(), shown != nullptr) << text;
  if (shown != nullptr) {
    EXPECT_EQ(format_ip(*parsed), shown) << text;
  }
}
INSTANTIATE_TEST_SUITE_P(
    Forms, IpAddresses,
    testing::Values(Address{"1.2.3.4", "1.2.3.4"}, Address{"255.255.255.255", "255.255.255.255"},
                    Address{"1.2.3", nullptr}, Address{"1.2.3.4.5", nullptr}, Address{"256.1.1.1", nullptr},
                    Address{"01.2.3.4", nullptr}, Address{"", nullptr}, Address{"1.2.3.4 ", nullptr},
                    Address{"::", "0:0:0:0:0:0:0:0"}, Address{"::1", "0:0:0:0:0:0:0:1"},
                    Address{"1::", "1:0:0:0:0:0:0:0"}, Address{"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
                    Address{"1:2:3:4:5:6:7", nullptr}, Address{"1:2:3:4:5:6:7:8:9", nullptr},
                    Address{"1::2::3", nullptr}, Address{"12345::", nullptr}, Address{":1", nullptr},
                    Address{"1:", nullptr}, Address{"::1.2.3.4", "0:0:0:0:0:0:102:304"},
                    Address{"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"}, Address{"1.2.3.4::", nullptr},
                    Address{"fe80::1%eth0", "fe80:0:0:0:0:0:0:1"}, Address{"::g", nullptr},
                    Address{"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"}, Address{"1:2:3:4:5:6:7:8::", nullptr}));

}  // namespace
}  // namespace herdgate::config
