#include "options.h"

#include <getopt.h>
#include <gtest/gtest.h>

namespace herdgate::pcp_client {
namespace {

std::variant<Options, Stop> read(const char* name, std::vector<std::string> words) {
  std::vector<std::string> all{name};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (std::string& word : all) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::optind = 0;  // getopt begins anew
  ::opterr = 0;
  return read_options(*program_called(name), static_cast<int>(all.size()), argv.data());
}
Options good(const char* name, std::vector<std::string> words) {
  return std::get<Options>(read(name, std::move(words)));
}
Stop stopped(const char* name, std::vector<std::string> words) { return std::get<Stop>(read(name, std::move(words))); }
pcp::Request asks(const char* name, std::vector<std::string> words) {
  return request_for(*program_called(name), good(name, std::move(words)));
}

TEST(Options, EveryProgram) {
  EXPECT_EQ(program_called("/usr/bin/pcp_node_info")->ask, pcp::Ask::node_info);
  EXPECT_EQ(program_called("pcp_node_inf"), nullptr);
  for (const char* name : {"attach_node", "detach_node", "node_count", "node_info", "health_check_stats", "pool_status",
                           "proc_count", "proc_info", "promote_node", "recovery_node", "stop_pgpool", "watchdog_info",
                           "reload_config", "log_rotate", "invalidate_query_cache", "pause", "resume"}) {
    const Program* program = program_called(std::string("pcp_") + name);
    ASSERT_NE(program, nullptr) << name;
    EXPECT_NE(help_text(*program).find(name), std::string::npos);
  }
}

TEST(Options, WhereAndWho) {
  const Options o = good("pcp_node_count", {"-w", "-h", "/run", "-p", "1025", "-U", "u", "-v", "-d"});
  EXPECT_EQ(o.host, "/run");
  EXPECT_EQ(o.port, 1025);
  EXPECT_EQ(o.user, "u");
  EXPECT_EQ(o.password, Options::Ask::never);
  EXPECT_TRUE(o.verbose && o.debug);
  EXPECT_EQ(good("pcp_node_count", {}).password, Options::Ask::if_missing);
  EXPECT_EQ(good("pcp_node_count", {"-w", "-W"}).password, Options::Ask::always);
  EXPECT_EQ(good("pcp_node_count", {}).port, 9898);
}

TEST(Options, WhatIsAsked) {
  EXPECT_EQ(asks("pcp_attach_node", {"3"}).number, 3);
  EXPECT_EQ(asks("pcp_attach_node", {"-n", "3"}).number, 3);
  EXPECT_EQ(asks("pcp_node_info", {}).number, -1);
  EXPECT_EQ(asks("pcp_node_info", {"-a", "1"}).number, 1);
  EXPECT_EQ(asks("pcp_proc_info", {}).number, 0);
  EXPECT_EQ(asks("pcp_proc_info", {"--process-id=7"}).number, 7);
  EXPECT_EQ(asks("pcp_watchdog_info", {}).number, -1);
  EXPECT_EQ(asks("pcp_watchdog_info", {"0"}).number, 0);
  EXPECT_EQ(asks("pcp_detach_node", {"-g", "1"}).ask, pcp::Ask::detach_gracefully);
  EXPECT_EQ(asks("pcp_promote_node", {"1"}).option, pcp::option::kRoleOnly);
  EXPECT_EQ(asks("pcp_promote_node", {"-s", "1"}).option, pcp::option::kSwitchover);
  EXPECT_EQ(asks("pcp_promote_node", {"--switchover", "-n", "1"}).option, pcp::option::kSwitchover);
  EXPECT_EQ(asks("pcp_promote_node", {"-g", "1"}).ask, pcp::Ask::promote_gracefully);
  EXPECT_EQ(asks("pcp_stop_pgpool", {"-m", "f"}).option, pcp::option::kFast);
  EXPECT_EQ(asks("pcp_stop_pgpool", {"-a"}).option, pcp::option::kSmart);
  EXPECT_EQ(asks("pcp_stop_pgpool", {"--mode=immediate", "--scope=cluster"}).ask, pcp::Ask::stop_cluster);
  EXPECT_EQ(asks("pcp_reload_config", {"-s", "c"}).option, pcp::option::kCluster);
  EXPECT_EQ(asks("pcp_log_rotate", {}).option, pcp::option::kLocal);
}

TEST(Options, ADatabaseOrAll) {
  EXPECT_EQ(asks("pcp_pause", {}).ask, pcp::Ask::pause);
  EXPECT_EQ(asks("pcp_resume", {"d"}).ask, pcp::Ask::resume);
  EXPECT_EQ(asks("pcp_pause", {}).name, "");
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"My db"}, {"-D", "My db"}, {"--database=My db"}, {"--data", "My db"}})
    EXPECT_EQ(asks("pcp_pause", words).name, "My db");
  EXPECT_EQ(good("pcp_pause", {"-D", "a", "b"}).warnings.size(), 1u);
  EXPECT_NE(help_text(*program_called("pcp_pause")).find("--database=NAME"), std::string::npos);
  // An empty variable of a script is not "all".
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{""}, {"-D", ""}, {"--database="}, {std::string(255, 'x')}}) {
    EXPECT_EQ(stopped("pcp_pause", words).exit_code, 1);
    EXPECT_EQ(stopped("pcp_resume", words).text.substr(0, 34), "pcp_resume: Invalid database name ");
  }
  // Not known to the others, whose --d is --debug.
  EXPECT_TRUE(good("pcp_node_count", {"--d"}).debug);
  EXPECT_EQ(stopped("pcp_node_count", {"--database=x"}).exit_code, 1);
  EXPECT_EQ(stopped("pcp_node_count", {"-D", "x"}).exit_code, 1);
}

TEST(Options, CodesThatScriptsKnow) {
  EXPECT_EQ(stopped("pcp_node_count", {"-x"}).exit_code, 1);
  EXPECT_EQ(stopped("pcp_node_count", {"-n", "1"}).exit_code, 1);
  EXPECT_EQ(stopped("pcp_node_count", {"-w", "--help"}).exit_code, 1);
  EXPECT_EQ(stopped("pcp_node_count", {"--help"}).exit_code, 0);
  EXPECT_EQ(stopped("pcp_node_info", {"-V"}).text, "pcp_node_info (pgpool-II) " HERDGATE_VERSION "\n");
  const Stop missing = stopped("pcp_detach_node", {});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_EQ(missing.text, "pcp_detach_node: missing node-id\nTry \"pcp_detach_node --help\" for more information.\n\n");
  const Stop range = stopped("pcp_detach_node", {"129"});
  EXPECT_EQ(range.exit_code, 0);
  EXPECT_EQ(range.text, "pcp_detach_node: Invalid node-id \"129\", must be between 0 and 128\n");
  EXPECT_EQ(stopped("pcp_detach_node", {"abc"}).exit_code, 0);
  EXPECT_EQ(stopped("pcp_node_count", {"-p", "1024"}).text,
            "pcp_node_count: Invalid port number \"1024\", must be between 1024 and 65535\n");
  EXPECT_EQ(stopped("pcp_stop_pgpool", {"-m", "fastX"}).exit_code, 1);
  EXPECT_EQ(stopped("pcp_reload_config", {"-s", "x"}).exit_code, 1);
  EXPECT_EQ(stopped("pcp_invalidate_query_cache", {"-s", "l"}).exit_code, 1);
  EXPECT_EQ(stopped("pcp_proc_info", {"-P", "0"}).exit_code, 0);
}

TEST(Options, WhatIsLeftOver) {
  EXPECT_EQ(good("pcp_attach_node", {"-n", "1", "2", "3"}).warnings,
            (std::vector<std::string>{"pcp_attach_node: Warning: extra command-line argument \"2\" ignored\n",
                                      "pcp_attach_node: Warning: extra command-line argument \"3\" ignored\n"}));
  EXPECT_EQ(good("pcp_node_count", {"x"}).warnings.size(), 1u);
  EXPECT_EQ(good("pcp_node_count", {"--all", "--node-id=4"}).warnings.size(), 0u);
}

}  // namespace
}  // namespace herdgate::pcp_client
