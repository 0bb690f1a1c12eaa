#include "output.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace herdgate::pcp_client {
namespace {

// Expected texts are what the programs of Pgpool-II 4.6.1 printed.
class Output : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
  }
  std::string shown(const char* name, bool verbose = false, bool all = false) {
    Options options;
    options.verbose = verbose;
    options.all = all;
    auto text = render(*program_called(name), options, reply);
    return text ? *text : "failed: " + text.error().text();
  }
  pcp::Reply reply;
};

TEST_F(Output, NodeInfo) {
  reply.rows = {
      {"127.0.0.1", "28820", "2", "0", "up", "1073741823.500000", "2", "primary", "0", "0", "", "", "1795393754"},
      {"/tmp", "28821", "3", "1", "down", "0.000000", "3", "unknown", "1", "2500000", "streaming", "async",
       "1795393754"}};
  EXPECT_EQ(shown("pcp_node_info"),
            "127.0.0.1 28820 2 0.500000 up up primary primary 0 none none 2026-11-23 00:29:14\n"
            "/tmp 28821 3 0.000000 quarantine down standby unknown 2.500000 streaming async 2026-11-23 00:29:14\n");
  reply.rows.pop_back();
  EXPECT_EQ(shown("pcp_node_info", true),
            "Hostname               : 127.0.0.1\n"
            "Port                   : 28820\n"
            "Status                 : 2\n"
            "Weight                 : 0.500000\n"
            "Status Name            : up\n"
            "Backend Status Name    : up\n"
            "Role                   : primary\n"
            "Backend Role           : primary\n"
            "Replication Delay      : 0\n"
            "Replication State      : none\n"
            "Replication Sync State : none\n"
            "Last Status Change     : 2026-11-23 00:29:14\n\n");
  reply.rows = {{"short"}};
  EXPECT_EQ(shown("pcp_node_info"), "failed: malformed PCP packet: the answer has an odd number of fields");
}

TEST_F(Output, DelayInTime) {
  reply.rows = {{"h", "1", "1", "0", "up", "0", "3", "standby", "1", "1000000", "", "", "0"}};
  EXPECT_NE(shown("pcp_node_info").find(" standby standby 1.000000 none"), std::string::npos);
  EXPECT_NE(shown("pcp_node_info", true).find(": 1.000000 second\n"), std::string::npos);
  reply.rows[0][9] = "2000000";
  EXPECT_NE(shown("pcp_node_info", true).find(": 2.000000 seconds\n"), std::string::npos);
}

TEST_F(Output, Counts) {
  reply.values = {"2"};
  EXPECT_EQ(shown("pcp_node_count"), "2\n");
  EXPECT_EQ(shown("pcp_node_count", true), "Node Count\n____________\n 2\n");
  reply.values = {"2", "32338", "32339"};
  EXPECT_EQ(shown("pcp_proc_count"), "32338 32339 \n");
  EXPECT_EQ(shown("pcp_proc_count", true),
            "No \t | \t PID\n_____________________\n0 \t | \t 32338\n1 \t | \t 32339\n\nTotal Processes:2\n");
}

TEST_F(Output, ProcessInfo) {
  reply.rows = {
      {"32340", "2026-11-23 00:28:34", "2", "0", "1", "test", "postgres", "2026-11-23 00:29:14", "2026-11-23 00:29:15",
       "2026-11-23 00:29:16", "7", "3", "0", "1", "2197", "0", "Wait for connection", "0"},
      std::vector<std::string>(18)};
  EXPECT_EQ(shown("pcp_proc_info"),
            "test postgres 2026-11-23 00:28:34 2 3 0 2026-11-23 00:29:14 2026-11-23 00:29:15 7 2026-11-23 00:29:16 1 "
            "2197 0 32340 1 Wait for connection 0\n");
  EXPECT_EQ(shown("pcp_proc_info", false, true).substr(shown("pcp_proc_info").size()), std::string(16, ' ') + "\n");
  EXPECT_EQ(shown("pcp_proc_info", true).substr(0, 33), "Database                  : test\n");
  reply.rows = {std::vector<std::string>(18)};
  EXPECT_EQ(shown("pcp_proc_info"), "No process information available\n\n");
}

TEST_F(Output, Configuration) {
  reply.rows = {{"port", "9999", "a port"}};
  EXPECT_EQ(shown("pcp_pool_status"), "name : port\nvalue: 9999\ndesc : a port\n\n");
  EXPECT_EQ(shown("pcp_pool_status", true), "Name [  0]:\tport\nValue:      \t9999\nDescription:\ta port\n\n");
}

TEST_F(Output, Watchdog) {
  reply.values = {R"({"RemoteNodeCount":2,"MemberRemoteNodeCount":2,"NodesRequireForQuorum":2,"QuorumStatus":1,
    "AliveNodeCount":1,"Escalated":1,"LeaderNodeName":"server1:9999 Linux server1","LeaderHostName":"server1",
    "NodeCount":1,"WatchdogNodes":[{"ID":0,"State":4,"Membership":0,"MembershipString":"MEMBER",
    "NodeName":"server1:9999 Linux server1","HostName":"server1","StateName":"LEADER","DelegateIP":"Not_Set",
    "WdPort":9000,"PgpoolPort":9999,"Priority":1}]})"};
  EXPECT_EQ(shown("pcp_watchdog_info"),
            "3 3 YES server1:9999 Linux server1 server1\n\n"
            "server1:9999 Linux server1 server1 9999 9000 4 LEADER 0 MEMBER\n");
  EXPECT_EQ(shown("pcp_watchdog_info", true),
            "Watchdog Cluster Information \n"
            "Total Nodes              : 3\n"
            "Remote Nodes             : 2\n"
            "Member Remote Nodes      : 2\n"
            "Alive Remote Nodes       : 1\n"
            "Nodes required for quorum: 2\n"
            "Quorum state             : QUORUM EXIST\n"
            "Local node escalation    : YES\n"
            "Leader Node Name         : server1:9999 Linux server1\n"
            "Leader Host Name         : server1\n\n"
            "Watchdog Node Information \n"
            "Node Name         : server1:9999 Linux server1\n"
            "Host Name         : server1\n"
            "Delegate IP       : Not_Set\n"
            "Pgpool port       : 9999\n"
            "Watchdog port     : 9000\n"
            "Node priority     : 1\n"
            "Status            : 4\n"
            "Status Name       : LEADER\n"
            "Membership Status : MEMBER\n\n");
  for (const char* bad : {"", "[]", "{", R"({"WatchdogNodes":3})", "\xff"}) {
    reply.values = {bad};
    EXPECT_TRUE(shown("pcp_watchdog_info").starts_with("failed")) << bad;
  }
}

TEST_F(Output, Trouble) {
  EXPECT_EQ(trouble_text({"ERROR", "informing node info failed", "invalid node ID : 7", "", ""}),
            "ERROR:  informing node info failed\nDETAIL:  invalid node ID : 7\n\n");
  EXPECT_EQ(trouble_text({"ERROR", "query cache is not enabled", "", "", ""}),
            "ERROR:  query cache is not enabled\n\n");
  EXPECT_EQ(shown("pcp_attach_node"), "pcp_attach_node -- Command Successful\n");
}

TEST_F(Output, WhatWasDone) {
  reply.values = {"new work in all databases is held"};
  EXPECT_EQ(shown("pcp_pause"), "pcp_pause -- Command Successful: new work in all databases is held\n");
  reply.values.clear();
  EXPECT_EQ(shown("pcp_pause").substr(0, 7), "failed:");
  // The original, asked for what it does not have.
  EXPECT_EQ(trouble_text({"FATAL", "PCP processing request", "unknown PCP packet type \"U\"", "", ""}),
            "FATAL:  PCP processing request\nDETAIL:  unknown PCP packet type \"U\"\n"
            "HINT:  This server does not have the command; it is of another release or product.\n\n");
}

}  // namespace
}  // namespace herdgate::pcp_client
