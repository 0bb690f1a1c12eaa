#include "options.h"

#include <getopt.h>
#include <gtest/gtest.h>

namespace herdgate::wd_cli {
namespace {

std::variant<Options, Stop> read(std::vector<std::string> words) {
  words.insert(words.begin(), "wd_cli");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::optind = 0;  // getopt begins anew
  ::opterr = 0;
  return read_options(static_cast<int>(words.size()), argv.data());
}
Options good(std::vector<std::string> words) { return std::get<Options>(read(std::move(words))); }
Stop stopped(std::vector<std::string> words) { return std::get<Stop>(read(std::move(words))); }

TEST(Options, ShortAndLong) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"-I",   "DEAD", "-n",   "1",  "-N",  "a b", "-H",     "h",  "-P",  "9001", "-p",
            "9000", "-s",   "/run", "-k", "key", "-f",  "c.conf", "-m", "why", "-v",   "-d"},
           {"--inform=dead", "--node-id=1", "--node-name=a b", "--node-host=h", "--node-port=9001", "--ipc-port=9000",
            "--socket-dir=/run", "--auth-key=key", "--config-file=c.conf", "--message=why", "--verbose", "--debug"},
           {"--inform", "Dead", "--conf-file", "x",   "--conf",   "c.conf", "--node-i", "1",
            "--node-n", "a b",  "--node-h",    "h",   "--node-p", "9001",   "--ipc",    "9000",
            "--socket", "/run", "--auth",      "key", "--mess",   "why",    "--verb",   "--deb"}}) {
    const Options o = good(words);
    EXPECT_TRUE(o.inform && !o.alive && !o.all && o.verbose && o.debug);
    EXPECT_EQ(text_of(o.criteria), "[ID=1 AND Name=a b AND Host=h AND WDPort=9001]");
    EXPECT_EQ(o.port, 9000);
    EXPECT_EQ(o.socket_folder, "/run");
    EXPECT_EQ(o.key, "key");
    EXPECT_EQ(o.config_file, "c.conf");
    EXPECT_EQ(o.message, "why");
    EXPECT_TRUE(o.warnings.empty());
  }
  EXPECT_TRUE(good({"-I", "alive", "-n", "0"}).alive);
  const Options shown = good({"--info", "--all"});
  EXPECT_TRUE(!shown.inform && shown.all && !shown.verbose && !shown.debug && shown.warnings.empty());
  EXPECT_FALSE(shown.port || shown.socket_folder || shown.key || shown.config_file);
}

TEST(Options, NodesWithoutCriteriaAreAll) {
  const Options o = good({"-i", "extra"});
  EXPECT_TRUE(o.all);
  EXPECT_EQ(o.warnings, (std::vector<std::string>{"wd_cli: Warning: extra command-line argument \"extra\" ignored\n",
                                                  "WARNING: Missing node search criteria. applying --all option\n"}));
  EXPECT_FALSE(good({"-i", "-H", "h"}).all);
}

TEST(Options, HelpAndVersion) {
  EXPECT_EQ(stopped({"-V"}).text, "wd_cli (pgpool-II) " HERDGATE_VERSION "\n");
  EXPECT_EQ(stopped({"-i", "--version"}).exit_code, 0);
  for (const char* word : {"-h", "-?", "--help"}) {
    const Stop help = stopped({word});
    EXPECT_EQ(help.exit_code, 0);
    for (const char* part :
         {"--info", "--inform", "--all", "--node-id", "--node-name", "--node-host", "--node-port", "--config-file",
          "--auth-key", "--socket-dir", "--ipc-port", "--message", "--verbose", "--version", "--debug", "--help"})
      EXPECT_NE(help.text.find(part), std::string::npos) << part;
  }
}

TEST(Options, WhatIsWrongEndsWithCode1) {
  using Words = std::vector<std::string>;
  const std::vector<std::pair<Words, std::string>> cases = {
      {{}, "ERROR: Missing operation"},
      {{"-v", "-n", "1"}, "ERROR: Missing operation"},
      {{"-i", "-I", "DEAD", "-n", "1"}, "ERROR: Invalid option, 'info' and 'inform' are mutually exclusive options\n"},
      {{"-I", "DEAD", "-a", "-n", "1"}, "ERROR: Invalid option \"-a --all\" for inform status operation."},
      {{"-I", "FOO", "-n", "1"}, "ERROR: Invalid node status \"FOO\", Allowed options are DEAD or ALIVE\n"},
      {{"-I", "", "-n", "1"}, "ERROR: Invalid node status"},
      // The original takes this node itself, whose pgpool then ends.
      {{"-I", "DEAD"}, "ERROR: Missing node, give"},
      {{"-i", "-n", "abc"}, "ERROR: Invalid value abc, node-id can only contain numeric values\n"},
      {{"-i", "-n", "-1"}, "ERROR: Invalid value -1, node-id can only contain numeric values\n"},
      {{"-i", "-n", ""}, "ERROR: Invalid value , node-id"},
      {{"-i", "-n", "1x"}, "ERROR: Invalid value 1x, node-id"},
      {{"-i", "-n", "99999999999"}, "ERROR: Invalid value 99999999999, node-id"},
      {{"-i", "-P", "abc"}, "ERROR: Invalid value abc, node-port can only contain numeric values\n"},
      {{"-i", "-p", "abc"}, "ERROR: Invalid value abc, port can only contain numeric values\n"},
      {{"-i", "-p", "1023"}, "ERROR: Invalid port number \"1023\", must be between 1024 and 65535\n"},
      {{"-i", "-p", "65536"}, "ERROR: Invalid port number \"65536\", must be between 1024 and 65535\n"},
      {{"-I", "DEAD", "-n", "1", "-m", std::string(1001, 'x')}, "ERROR: the message has more than 1000 octets\n"},
      {{"-x"}, "Try \"wd_cli --help\" for more information.\n\n"},
      {{"-I"}, "Try \"wd_cli"},
      {{"--no-such"}, "Try \"wd_cli"},
      {{"--node=1"}, "Try \"wd_cli"},
      {{"-i", "-?"}, "Try \"wd_cli"},
  };
  for (const auto& [words, text] : cases) {
    const auto got = read(words);
    ASSERT_TRUE(std::holds_alternative<Stop>(got)) << text;
    EXPECT_EQ(std::get<Stop>(got).exit_code, 1) << text;
    EXPECT_TRUE(std::get<Stop>(got).text.starts_with(text)) << std::get<Stop>(got).text;
  }
}

}  // namespace
}  // namespace herdgate::wd_cli
