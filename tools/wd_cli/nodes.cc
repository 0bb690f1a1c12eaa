#include "nodes.h"

#include <fmt/format.h>
#include <strings.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "base/ids.h"

namespace herdgate::wd_cli {
namespace {

using Json = nlohmann::json;

bool take(const Json& node, const char* key, int& out) {
  const auto at = node.find(key);
  if (at == node.end() || !at->is_number_integer()) return false;
  constexpr std::uint64_t kGreatest = std::numeric_limits<int>::max();
  if (at->is_number_unsigned() && at->get<std::uint64_t>() > kGreatest) return false;
  const auto number = at->get<std::int64_t>();
  out = static_cast<int>(number);
  return out == number;
}

bool take(const Json& node, const char* key, std::string& out) {
  const auto at = node.find(key);
  if (at == node.end() || !at->is_string()) return false;
  out = printable(at->get_ref<const std::string&>());
  return true;
}

std::optional<Node> node_of(const Json& node) {
  Node out;
  const bool whole = node.is_object() && take(node, "ID", out.id) && take(node, "State", out.state) &&
                     take(node, "WdPort", out.wd_port) && take(node, "PgpoolPort", out.pgpool_port) &&
                     take(node, "StateName", out.state_name) && take(node, "NodeName", out.name) &&
                     take(node, "HostName", out.host);
  return whole ? std::optional(std::move(out)) : std::nullopt;
}

bool same(const std::string& a, const std::string& b) { return ::strcasecmp(a.c_str(), b.c_str()) == 0; }

bool fits(const Node& node, const Criteria& criteria) {
  return criteria.id.value_or(node.id) == node.id && criteria.wd_port.value_or(node.wd_port) == node.wd_port &&
         (!criteria.name || same(*criteria.name, node.name)) && (!criteria.host || same(*criteria.host, node.host));
}

std::string block(const Node& node) {
  return fmt::format(
      "Node ID:           {}\n"
      "Node Status code:  {}\n"
      "Node Status:       {}\n"
      "Node Name:         {}\n"
      "Node Host:         {}\n"
      "Node WD Port:      {}\n"
      "Node Pgpool Port:  {}\n\n",
      node.id, node.state, node.state_name, node.name, node.host, node.wd_port, node.pgpool_port);
}

std::string line(const Node& node) {
  return fmt::format("{} {} \"{}\"\"{}\"\"{}\" {} {}\n", node.id, node.state, node.state_name, node.name, node.host,
                     node.wd_port, node.pgpool_port);
}

}  // namespace

OrFailure<std::vector<Node>> read_nodes(ByteView json) {
  const auto not_understood = [](std::string why) {
    return failure("could not understand the watchdog's list of nodes", std::move(why),
                   "Is it Pgpool-II 4.6 or a release near to it that listens there?");
  };
  const Json whole = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (whole.is_discarded()) return not_understood("The answer is no JSON.");
  const auto list = whole.is_object() ? whole.find("WatchdogNodes") : whole.end();
  if (list == whole.end() || !list->is_array()) return not_understood("The answer has no array WatchdogNodes.");
  if (list->size() > kMaxNodes) return not_understood(fmt::format("It has more than {} nodes.", kMaxNodes));
  std::vector<Node> out;
  for (const Json& each : *list) {
    auto node = node_of(each);
    if (!node) return not_understood(fmt::format("Entry {} of it is not a whole node.", out.size()));
    out.push_back(std::move(*node));
  }
  return out;
}

std::vector<Node> matching(std::span<const Node> nodes, const Criteria& criteria) {
  std::vector<Node> out;
  for (const Node& node : nodes)
    if (fits(node, criteria)) out.push_back(node);
  return out;
}

std::string text_of(const Criteria& criteria) {
  const auto number = [](const std::optional<int>& n) { return n ? std::to_string(*n) : "ANY"; };
  return fmt::format("[ID={} AND Name={} AND Host={} AND WDPort={}]", number(criteria.id),
                     criteria.name.value_or("ANY"), criteria.host.value_or("ANY"), number(criteria.wd_port));
}

std::string render(std::size_t total, std::span<const Node> shown, bool verbose) {
  std::string out = fmt::format("Total Watchdog nodes configured for lifecheck:    {}\n", total);
  if (verbose) out += "*****************\n";
  for (const Node& node : shown) out += verbose ? block(node) : line(node);
  return out;
}

std::string printable(std::string_view text) {
  std::string out(text);
  bool after_c2 = false;  // with it U+0080 to U+009F begin
  for (char& c : out) {
    const auto octet = static_cast<unsigned char>(c);
    if (octet < ' ' || octet == 0x7f || (after_c2 && octet < 0xa0)) c = '?';
    after_c2 = octet == 0xc2;
  }
  return out;
}

}  // namespace herdgate::wd_cli
