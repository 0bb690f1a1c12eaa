#include "password.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

namespace herdgate::pcp_client {
namespace {

std::string found(std::string_view text, const PassKey& key = {"h", 9898, "u"}) {
  return find_password(text, key).value_or("(none)");
}

TEST(PassFile, TheFirstLineThatFits) {
  EXPECT_EQ(found("h:9898:u:one\nh:9898:u:two\n"), "one");
  EXPECT_EQ(found("# h:9898:u:no\n\nx:9898:u:a\nh:1:u:b\nh:9898:v:c\nh:9898:u:d"), "d");
  EXPECT_EQ(found("*:*:*:any"), "any");
  EXPECT_EQ(found("h:9898:u:crlf\r\n"), "crlf");
  EXPECT_EQ(found(""), "(none)");
  EXPECT_EQ(found("h:9898:u\n"), "(none)");
}

TEST(PassFile, BackslashTakesTheNextCharacter) {
  EXPECT_EQ(found("\\:\\:1:9898:a\\\\b:x\\:y", {"::1", 9898, "a\\b"}), "x:y");
  EXPECT_EQ(found("h:9898:u:with:colon"), "with:colon");
  EXPECT_EQ(found("\\*:9898:u:no"), "(none)");
}

TEST(PassFile, LocalhostIsTheDefaultSocket) {
  EXPECT_EQ(found("localhost:9898:u:p", {"", 9898, "u"}), "p");
  EXPECT_EQ(found("localhost:9898:u:p", {"/tmp/x", 9898, "u"}), "(none)");
  EXPECT_EQ(found("/tmp/x:9898:u:p", {"/tmp/x", 9898, "u"}), "p");
}

TEST(PassFile, OnlyFilesOfTheOwnersOwn) {
  const std::string path = testing::TempDir() + "pcppass";
  std::ofstream(path) << "*:*:*:p\n";
  ::setenv("PCPPASSFILE", path.c_str(), 1);
  ::chmod(path.c_str(), 0600);
  EXPECT_EQ(read_pass_file().text, "*:*:*:p\n");
  ::chmod(path.c_str(), 0640);
  EXPECT_EQ(read_pass_file().text, "");
  EXPECT_NE(read_pass_file().warning.find("0600"), std::string::npos);
  ::setenv("PCPPASSFILE", testing::TempDir().c_str(), 1);
  EXPECT_NE(read_pass_file().warning.find("not a plain file"), std::string::npos);
  ::setenv("PCPPASSFILE", "/nonexistent/x", 1);
  EXPECT_EQ(read_pass_file().warning, "");
}

}  // namespace
}  // namespace herdgate::pcp_client
