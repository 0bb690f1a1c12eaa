#include "config/conf_line.h"

#include <gtest/gtest.h>

namespace herdgate::config {
namespace {

using namespace std::string_view_literals;

struct Case {
  std::string_view line;
  const char* key;  // nullptr: an error; "": nothing on the line
  std::string_view value;
};
class ConfLines : public testing::TestWithParam<Case> {};

TEST_P(ConfLines, AreRead) {
  const auto& [line, key, value] = GetParam();
  const auto parsed = parse_conf_line(line);
  ASSERT_EQ(parsed.has_value(), key != nullptr) << line;
  if (key == nullptr) return;
  ASSERT_EQ(parsed->has_value(), *key != '\0') << line;
  if (!parsed->has_value()) return;
  EXPECT_EQ((*parsed)->key, key) << line;
  EXPECT_EQ((*parsed)->value, value) << line;
}

INSTANTIATE_TEST_SUITE_P(
    Grammar, ConfLines,
    testing::Values(Case{"port = 9999", "port", "9999"}, Case{"port=9999", "port", "9999"},
                    Case{"port 9999", "port", "9999"}, Case{"\t port\t=\t9999 \t# x", "port", "9999"},
                    Case{"port = 9999#x", "port", "9999"}, Case{"port = 9999\r", "port", "9999"}, Case{"", "", ""},
                    Case{"   ", "", ""}, Case{"# port = 1", "", ""}, Case{"\r", "", ""},
                    Case{"logdir = '/tmp'", "logdir", "/tmp"}, Case{"logdir '/tmp'", "logdir", "/tmp"},
                    Case{"logdir'/tmp'", "logdir", "/tmp"}, Case{"logdir = ''", "logdir", ""},
                    Case{"logdir = 'a # b' # c", "logdir", "a # b"},
                    Case{"pid_file_name = run/pgpool.pid", "pid_file_name", "run/pgpool.pid"},
                    Case{"wd_ipc_socket_dir = a-b.c:d/e_f", "wd_ipc_socket_dir", "a-b.c:d/e_f"},
                    Case{"backend_flag0 = DISALLOW_TO_FAILOVER", "backend_flag0", "DISALLOW_TO_FAILOVER"},
                    Case{"x = 'it\\'s'", "x", "it\\'s"}, Case{"x = 'a\\;b;c\\\\'", "x", "a\\;b;c\\\\"},
                    Case{"x = 'C:\\dir\\'", "x", "C:\\dir\\"}, Case{"x = 5min", "x", "5min"}, Case{"x = -1", "x", "-1"},
                    Case{"x = 1.5e3", "x", "1.5e3"}, Case{"x = .5", "x", ".5"},
                    Case{"include 'b.conf'", "include", "b.conf"}, Case{"x.y = 1", "x.y", "1"}));
INSTANTIATE_TEST_SUITE_P(
    Nonsense, ConfLines,
    testing::Values(Case{"port", nullptr, ""}, Case{"port =", nullptr, ""}, Case{"port = # 9999", nullptr, ""},
                    Case{"port = = 1", nullptr, ""}, Case{"= 1", nullptr, ""}, Case{"1port = 1", nullptr, ""},
                    Case{"logdir = 'open", nullptr, ""}, Case{"logdir = '", nullptr, ""},
                    Case{"logdir = /tmp", nullptr, ""}, Case{"listen_addresses = *", nullptr, ""},
                    Case{"port = 1 2", nullptr, ""}, Case{"x = 'a' 'b'", nullptr, ""}, Case{"x = 'a'b", nullptr, ""},
                    Case{"x = 127.0.0.1/8", nullptr, ""}, Case{"x-y = 1", nullptr, ""}, Case{"x = \"a\"", nullptr, ""},
                    Case{"x = 'a\0b'"sv, nullptr, ""}, Case{"x = -", nullptr, ""}, Case{"\xff = 1", nullptr, ""}));

TEST(ConfLines, ErrorsSayWhatIsWrong) {
  EXPECT_EQ(parse_conf_line("port =").error().text(), "syntax error: value missing after \"port\"");
  EXPECT_EQ(parse_conf_line("logdir = /tmp").error().text(),
            "syntax error: the value of \"logdir\" must be quoted with '");
  EXPECT_EQ(parse_conf_line("logdir = 'x").error().text(),
            "syntax error: closing quote missing in the value of \"logdir\"");
}

}  // namespace
}  // namespace herdgate::config
