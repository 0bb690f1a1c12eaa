#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "output.h"
#include "pcp/errc.h"

namespace herdgate::pcp_client {
namespace {

using Json = nlohmann::json;

constexpr int kClusterLabelWidth = 25, kNodeLabelWidth = 18;

// Absent and of another type than expected count as 0 or empty: servers of other releases send other fields.
std::int64_t number(const Json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_number() ? at->get<std::int64_t>() : 0;
}

std::string text(const Json& object, const char* key) {
  const auto at = object.find(key);
  if (at == object.end()) return "";
  return at->is_string() ? at->get<std::string>() : at->dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool flag(const Json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && (at->is_boolean() ? at->get<bool>() : number(object, key) != 0);
}

const char* quorum_word(std::int64_t state) {
  switch (state) {
    case 1:
      return "QUORUM EXIST";
    case 0:
      return "QUORUM IS ON THE EDGE";
    case -1:
      return "QUORUM ABSENT";
    case -2:
      return "NO LEADER NODE";
    default:
      return "UNKNOWN";
  }
}

void put(std::string& out, const char* label, int width, const std::string& value) {
  out += fmt::format("{:{}}: {}\n", label, width, value);
}

std::string cluster_text(const Json& cluster) {
  std::string out = "Watchdog Cluster Information \n";
  const auto line = [&](const char* label, const std::string& value) { put(out, label, kClusterLabelWidth, value); };
  const std::int64_t remote = number(cluster, "RemoteNodeCount");
  line("Total Nodes", std::to_string(remote + 1));
  line("Remote Nodes", std::to_string(remote));
  line("Member Remote Nodes", text(cluster, "MemberRemoteNodeCount"));
  line("Alive Remote Nodes", text(cluster, "AliveNodeCount"));
  line("Nodes required for quorum", text(cluster, "NodesRequireForQuorum"));
  line("Quorum state", quorum_word(number(cluster, "QuorumStatus")));
  line("Local node escalation", flag(cluster, "Escalated") ? "YES" : "NO");
  line("Leader Node Name", text(cluster, "LeaderNodeName"));
  line("Leader Host Name", text(cluster, "LeaderHostName"));
  return out + "\nWatchdog Node Information \n";
}

std::string node_text(const Json& node) {
  std::string out;
  const auto line = [&](const char* label, const char* key) { put(out, label, kNodeLabelWidth, text(node, key)); };
  line("Node Name", "NodeName");
  line("Host Name", "HostName");
  line("Delegate IP", "DelegateIP");
  line("Pgpool port", "PgpoolPort");
  line("Watchdog port", "WdPort");
  line("Node priority", "Priority");
  line("Status", "State");
  line("Status Name", "StateName");
  line("Membership Status", "MembershipString");
  return out + "\n";
}

std::string cluster_line(const Json& cluster) {
  return fmt::format("{} {} {} {} {}\n\n", number(cluster, "RemoteNodeCount") + 1,
                     number(cluster, "MemberRemoteNodeCount") + 1, flag(cluster, "Escalated") ? "YES" : "NO",
                     text(cluster, "LeaderNodeName"), text(cluster, "LeaderHostName"));
}

std::string node_line(const Json& node) {
  return fmt::format("{} {} {} {} {} {} {} {}\n", text(node, "NodeName"), text(node, "HostName"),
                     text(node, "PgpoolPort"), text(node, "WdPort"), text(node, "State"), text(node, "StateName"),
                     text(node, "Membership"), text(node, "MembershipString"));
}

}  // namespace

Result<std::string> render_watchdog(std::string_view json, bool verbose) {
  const Json cluster = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  const auto nodes = cluster.is_object() ? cluster.find("WatchdogNodes") : cluster.end();
  if (!cluster.is_object() || nodes == cluster.end() || !nodes->is_array())
    return fail(pcp::Errc::bad_payload, "the answer is no watchdog information");
  std::string out = verbose ? cluster_text(cluster) : cluster_line(cluster);
  for (const Json& node : *nodes)
    if (node.is_object()) out += verbose ? node_text(node) : node_line(node);
  return out;
}

}  // namespace herdgate::pcp_client
