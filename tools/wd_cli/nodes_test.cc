#include "nodes.h"

#include <gtest/gtest.h>

namespace herdgate::wd_cli {
namespace {

// As the watchdog of 4.6.1 sent it.
constexpr std::string_view kAnswer =
    R"({"RemoteNodeCount":2,"MemberRemoteNodeCount":2,"NodesRequireForQuorum":2,"QuorumStatus":-1,"AliveNodeCount":0,)"
    R"("Escalated":0,"LeaderNodeName":"s1:9999 Linux s1","LeaderHostName":"s1","NodeCount":3,"WatchdogNodes": [)"
    R"({"ID":0,"State":4,"Membership":0,"MembershipString":"MEMBER","NodeName":"s1:9999 Linux s1","HostName":"s1",)"
    R"("StateName":"LEADER","DelegateIP":"Not_Set","WdPort":9000,"PgpoolPort":9999,"Priority":1},)"
    R"({"ID":1,"State":8,"Membership":0,"MembershipString":"MEMBER","NodeName":"Not_Set","HostName":"s2",)"
    R"("StateName":"LOST","DelegateIP":"Not_Set","WdPort":9001,"PgpoolPort":9998,"Priority":0},)"
    R"({"ID":2,"State":0,"Membership":0,"MembershipString":"MEMBER","NodeName":"Not_Set","HostName":"s2",)"
    R"("StateName":"DEAD","DelegateIP":"Not_Set","WdPort":9002,"PgpoolPort":9997,"Priority":0}]})";

std::vector<int> ids(const Criteria& criteria) {
  std::vector<int> out;
  const auto nodes = read_nodes(kAnswer);
  if (!nodes) return {-1};
  for (const Node& node : matching(*nodes, criteria)) out.push_back(node.id);
  return out;
}

TEST(Nodes, Shown) {
  const auto nodes = read_nodes(kAnswer);
  ASSERT_TRUE(nodes);
  EXPECT_EQ(render(3, *nodes, false),
            "Total Watchdog nodes configured for lifecheck:    3\n"
            "0 4 \"LEADER\"\"s1:9999 Linux s1\"\"s1\" 9000 9999\n"
            "1 8 \"LOST\"\"Not_Set\"\"s2\" 9001 9998\n"
            "2 0 \"DEAD\"\"Not_Set\"\"s2\" 9002 9997\n");
  EXPECT_EQ(render(3, std::span(*nodes).subspan(1, 1), true),
            "Total Watchdog nodes configured for lifecheck:    3\n"
            "*****************\n"
            "Node ID:           1\n"
            "Node Status code:  8\n"
            "Node Status:       LOST\n"
            "Node Name:         Not_Set\n"
            "Node Host:         s2\n"
            "Node WD Port:      9001\n"
            "Node Pgpool Port:  9998\n\n");
}

TEST(Nodes, Chosen) {
  EXPECT_EQ(ids({}), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(ids({.id = 1}), (std::vector<int>{1}));
  EXPECT_EQ(ids({.id = 7}), (std::vector<int>{}));
  EXPECT_EQ(ids({.wd_port = 9002}), (std::vector<int>{2}));
  EXPECT_EQ(ids({.name = "S1:9999 linux s1"}), (std::vector<int>{0}));
  EXPECT_EQ(ids({.host = "S2"}), (std::vector<int>{1, 2}));
  EXPECT_EQ(ids({.host = ""}), (std::vector<int>{}));
  EXPECT_EQ(ids({.wd_port = 9001, .host = "s2"}), (std::vector<int>{1}));
  EXPECT_EQ(ids({.wd_port = 9000, .host = "s2"}), (std::vector<int>{}));
  EXPECT_EQ(text_of({.id = 9}), "[ID=9 AND Name=ANY AND Host=ANY AND WDPort=ANY]");
}

TEST(Nodes, WhatIsNoList) {
  const std::string whole =
      R"({"ID":0,"State":4,"WdPort":1,"PgpoolPort":2,"NodeName":"n","HostName":"h","StateName":"s"})";
  const auto listed = [&](const std::string& nodes) { return read_nodes(R"({"WatchdogNodes":[)" + nodes + "]}"); };
  EXPECT_TRUE(listed(whole));
  EXPECT_TRUE(listed(""));
  for (const char* json : {"", "x", "[]", "1", "{}", R"({"WatchdogNodes":{}})", R"({"WatchdogNodes":[]}x)"})
    EXPECT_FALSE(read_nodes(json)) << json;
  EXPECT_FALSE(listed("1"));
  EXPECT_FALSE(listed(whole + ",{}"));
  for (const auto& [from, to] :
       std::vector<std::pair<std::string, std::string>>{{"\"ID\":0", "\"ID\":\"0\""},
                                                        {"\"ID\":0", "\"ID\":0.5"},
                                                        {"\"ID\":0", "\"ID\":4294967296"},
                                                        {"\"ID\":0", "\"ID\":18446744073709551615"},
                                                        {"\"HostName\":\"h\"", "\"HostName\":null"},
                                                        {"\"StateName\"", "\"Statename\""},
                                                        {"\"h\"", "\"\xff\""}}) {
    std::string changed = whole;
    changed.replace(changed.find(from), from.size(), to);
    EXPECT_FALSE(listed(changed)) << changed;
  }
  std::string many = whole;
  for (int i = 1; i < 128; ++i) many += "," + whole;
  EXPECT_TRUE(listed(many));
  EXPECT_FALSE(listed(many + "," + whole));
  EXPECT_FALSE(read_nodes(std::string(200000, '[')));
  EXPECT_NE(read_nodes("x").error().lines().find("no JSON"), std::string::npos);
}

TEST(Nodes, NothingOfAPeerSteersATerminal) {
  EXPECT_EQ(printable("a\x1b[2J\n\x7f\xc2\x9bz\xc3\xa4"), "a?[2J??\xc2?z\xc3\xa4");
  const auto nodes = read_nodes(
      R"({"WatchdogNodes":[{"ID":0,"State":4,"WdPort":1,"PgpoolPort":2,"NodeName":"\u001b[2J","HostName":"h\u0000","StateName":"s\n"}]})");
  ASSERT_TRUE(nodes);
  EXPECT_EQ(render(1, *nodes, false),
            "Total Watchdog nodes configured for lifecheck:    1\n0 4 \"s?\"\"?[2J\"\"h?\" 1 2\n");
}

}  // namespace
}  // namespace herdgate::wd_cli
