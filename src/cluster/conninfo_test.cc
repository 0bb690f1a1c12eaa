// The expectations were compared with libpq 15 (PQconninfoParse); conninfo_fuzz.cc goes on from there.
#include "cluster/conninfo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace herdgate::cluster {
namespace {

std::string repointed(std::string_view conninfo) { return repoint(conninfo, "b", 5433).value_or("refused"); }

TEST(Repoint, HostAndPortChangeTheRestStays) {
  EXPECT_EQ(repointed("host=a port=5432 user=repl application_name=n1"),
            "user=repl application_name=n1 host=b port=5433");
  EXPECT_EQ(repoint("user = 'it\\'s' hostaddr=1.2.3.4 password='a b' host='x y'", "/tmp", 1),
            "user='it\\'s' password='a b' host=/tmp port=1");
  EXPECT_EQ(repoint("", "b'c", 2), "host='b\\'c' port=2");
  EXPECT_EQ(repoint("application_name=x user=u application_name=y", "b", 2, "n 3"),
            "user=u application_name='n 3' host=b port=2");
  EXPECT_EQ(repoint("user=r application_name='node 1' host=a port=1", "b", 2, "node0"),
            "user=r application_name=node0 host=b port=2");
  EXPECT_EQ(repointed("host=a,b,c port=1,,3 target_session_attrs=any"), "target_session_attrs=any host=b port=5433");
  EXPECT_EQ(repointed("user=a\\ b\tpassword=\\'\\\\ options='-c a=b' sslmode="),
            "user='a b' password='\\'\\\\' options='-c a=b' sslmode='' host=b port=5433");
}

TEST(Repoint, AUriIsTakenApart) {
  const std::pair<const char*, const char*> cases[] = {
      {"postgresql://", ""},
      {"postgres://a", ""},
      {"postgresql://a:5432/?application_name=n1", "application_name=n1 "},
      {"postgresql://repl:p%20w%27%3d@a:1,b,[::1]:3/db?sslmode=verify-full&options=-c%20x%3Dy",
       "user=repl password='p w\\'=' dbname=db sslmode=verify-full options='-c x=y' "},
      {"postgresql://repl@/db", "user=repl dbname=db "},
      {"postgresql://:secret@a", "password=secret "},
      {"postgresql://%2Ftmp?user=u", "user=u "},
      {"postgresql://a/d%62?host=c&port=7&hostaddr=1.2.3.4", "dbname=db "},
      {"postgresql://a?ssl=true", "sslmode=require "},
      {"postgresql://a?passfile=&user=u", "passfile='' user=u "},
      {"postgresql://u:p/w@a", "dbname='w@a' "},  // the slash comes first: u is a host, p a port
  };
  for (const auto& [uri, kept] : cases) EXPECT_EQ(repointed(uri), std::string(kept) + "host=b port=5433") << uri;
}

TEST(Repoint, WhatLibpqWouldNotReadIsRefusedWithTheReasonAndNoSecret) {
  const std::pair<const char*, const char*> cases[] = {
      {"secret", "setting 1 is not of the form key=value"},
      {"user=a secret", "setting 2 is not of the form key=value"},
      {" postgresql://secret=1", "setting 1 is not of the form key=value"},
      {"=secret", "setting 1 is not of the form key=value"},
      {"user=a password='secret", "the quoted value of setting 2 does not end"},
      {"password='secret\\'", "the quoted value of setting 1 does not end"},
      {"postgresql://u:secret%@a", "a % in the URI is not followed by two hexadecimal digits"},
      {"postgresql://u:secret%4@a", "a % in the URI is not followed by two hexadecimal digits"},
      {"postgresql://u:secret%+4@a", "a % in the URI is not followed by two hexadecimal digits"},
      {"postgresql://u:secret%00@a", "%00 is not allowed in the URI"},
      {"postgresql://[::1", "a [ in the URI has no ]"},
      {"postgresql://[]", "an IPv6 address in the URI is empty"},
      {"postgresql://[::1]secret", "something else than a port follows an IPv6 address in the URI"},
      {"postgresql://a?secret", "a parameter behind the ? of the URI is not of the form key=value"},
      {"postgresql://a?password=secret=1", "a parameter behind the ? of the URI is not of the form key=value"},
      {"postgresql://a?secret%3Dx=1", "a parameter behind the ? of the URI has no name"},
      {"postgresql://a?=secret", "a parameter behind the ? of the URI has no name"},
  };
  for (const auto& [text, why] : cases) {
    const auto result = repoint(text, "b", 1);
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().text(), std::string("primary_conninfo is not understood: ") + why);
  }
}

TEST(Conninfo, WhatIsWrittenIsReadAsTheSame) {
  const std::vector<ConnSetting> settings = {
      {"a", ""}, {"b", "'"}, {"c", "\\"}, {"d", " x=y "}, {"e", "postgresql://"}};
  EXPECT_EQ(parse_conninfo(print_conninfo(settings)).value(), settings);
}

TEST(Stopped, TheOldOneIsKeptAndComesBack) {
  for (const char* old : {"", "host=a port=5432 password='x y'", "postgresql://a:5432/?application_name=n1"}) {
    const std::string stopped = stopped_conninfo(old);
    EXPECT_EQ(stopped.rfind("stopped_by_pgpool=1 ", 0), 0U);
    EXPECT_EQ(running_conninfo(stopped), old);
    EXPECT_EQ(running_conninfo(old), old);
    EXPECT_EQ(stopped_conninfo(stopped), stopped);
  }
}

}  // namespace
}  // namespace herdgate::cluster
