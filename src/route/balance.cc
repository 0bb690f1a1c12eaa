// The load balance node: redirect lists, weights, delay.
#include <fmt/format.h>

#include <algorithm>

#include "route/route.h"

namespace herdgate::route {
namespace {

using cluster::Node;
using cluster::View;

// A weighted choice among the nodes that `may` accepts; kNoNode when their weights add up to nothing.
template <class May>
NodeId weighted(const View& view, double draw, May&& may) {
  double total = 0;
  for (const Node& n : view.nodes)
    if (n.live() && n.weight > 0 && may(n)) total += n.weight;
  double left = draw * total;
  NodeId last = kNoNode;
  for (const Node& n : view.nodes) {
    if (!n.live() || n.weight <= 0 || !may(n)) continue;
    last = n.id;
    left -= n.weight;
    if (left < 0) break;
  }
  return last;  // rounding may leave nothing for the last one: it is chosen then
}

bool usable(const LbInput& in, NodeId id) {
  const Node* node = in.view.find(id);
  return node != nullptr && node->live() && id != in.avoid;
}

struct Wanted {
  NodeId node = kNoNode;       // kNoNode: the entry cannot be used now
  NodeId otherwise = kNoNode;  // where the rest of the ratio goes
};

Wanted wanted_by(const config::Redirect& entry, const LbInput& in) {
  const View& view = in.view;
  const NodeId primary = view.write_node();
  if (entry.target == config::RedirectTarget::standby) {
    const NodeId standby = weighted(view, in.draw2, [&](const Node& n) { return n.id != primary && n.id != in.avoid; });
    return {standby, usable(in, primary) ? primary : standby};
  }
  const NodeId node = entry.target == config::RedirectTarget::primary ? primary : entry.node;
  if (!usable(in, node)) return {};
  const NodeId other = weighted(view, in.draw2, [&](const Node& n) { return n.id != node && n.id != in.avoid; });
  return {node, other != kNoNode ? other : node};
}

// The first entry that matches counts; an entry whose node is not there is as good as none.
std::optional<LbChoice> redirected(const std::vector<config::Redirect>& list, std::string_view subject,
                                   std::string_view list_name, const LbInput& in) {
  const auto entry = std::find_if(list.begin(), list.end(), [&](const auto& e) { return e.regex.matches(subject); });
  if (entry == list.end()) return std::nullopt;
  const Wanted wanted = wanted_by(*entry, in);
  if (wanted.node == kNoNode) return std::nullopt;
  const bool hit = in.draw <= entry->ratio;
  return LbChoice{hit ? wanted.node : wanted.otherwise, Rule::redirect,
                  fmt::format("{} {}{}", list_name, entry->text, hit ? "" : ", the rest of its ratio")};
}

bool measures_time(const config::Settings& settings) { return settings.delay_threshold_by_time.count() > 0; }

// Comparable among nodes of one view; a node that was never measured counts as not delayed.
std::uint64_t delay_of(const Node& node, const config::Settings& settings) {
  if (measures_time(settings)) {
    const auto us = node.delay_time.value_or(std::chrono::microseconds{0}).count();
    return us > 0 ? static_cast<std::uint64_t>(us) : 0;
  }
  return node.delay_bytes.value_or(0);
}

}  // namespace

LbChoice choose_lb_node(const LbInput& in) {
  if (in.settings.backend_clustering_mode == config::ClusteringMode::raw) {
    const NodeId main = in.view.main();
    return {main, main == kNoNode ? Rule::no_live_node : Rule::raw_mode, {}};
  }
  const config::Patterns& p = *in.settings.patterns;
  if (!p.app_name_redirects.empty())
    if (auto c = redirected(p.app_name_redirects, in.application_name, "app_name_redirect_preference_list", in))
      return *std::move(c);
  if (!p.database_redirects.empty())
    if (auto c = redirected(p.database_redirects, in.database, "database_redirect_preference_list", in))
      return *std::move(c);
  if (!p.user_redirects.empty())
    if (auto c = redirected(p.user_redirects, in.user, "user_redirect_preference_list", in)) return *std::move(c);
  for (const NodeId avoided : {in.avoid, kNoNode}) {
    const NodeId node = weighted(in.view, in.draw2, [&](const Node& n) { return n.id != avoided; });
    if (node != kNoNode) return {node, Rule::load_balance, {}};
  }
  const NodeId main = in.view.main();
  if (main == kNoNode) return {kNoNode, Rule::no_live_node, {}};
  return {main, Rule::load_balance, "no live node has a weight"};
}

bool too_late(const Node& node, const config::Settings& settings) {
  if (settings.backend_clustering_mode != config::ClusteringMode::streaming_replication) return false;
  if (settings.sr_check_period.count() <= 0 || node.real_role == cluster::Role::primary) return false;
  if (measures_time(settings)) return node.delay_time && *node.delay_time > settings.delay_threshold_by_time;
  return settings.delay_threshold > 0 && node.delay_bytes &&
         *node.delay_bytes > static_cast<std::uint64_t>(settings.delay_threshold);
}

NodeId least_delayed_standby(const View& view, const config::Settings& settings, double draw) {
  const NodeId primary = view.write_node();
  const auto may = [&](const Node& n) { return n.live() && n.weight > 0 && n.id != primary && !too_late(n, settings); };
  std::optional<std::uint64_t> least;
  for (const Node& n : view.nodes)
    if (may(n)) least = std::min(least.value_or(delay_of(n, settings)), delay_of(n, settings));
  if (!least) return kNoNode;
  return weighted(view, draw, [&](const Node& n) { return may(n) && delay_of(n, settings) == *least; });
}

}  // namespace herdgate::route
