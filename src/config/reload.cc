#include "config/reload.h"

#include <algorithm>

#include <fmt/format.h>

#include "config/parameter.h"

namespace herdgate::config {
namespace {

// Parameters that stand alone: taken over one by one.
void merge_plain(const Settings& old, const Settings& fresh, Reloaded& out) {
  for (const Parameter& p : parameters()) {
    const bool plain = p.alias_of.empty() && (p.index == Index::none || p.index == Index::per_node);
    if (!plain) continue;
    const Value before = p.get(old, kNoIndex);
    const Value after = p.get(fresh, kNoIndex);
    if (before == after) continue;
    if (p.context == Context::startup) {
      out.ignored_need_restart.emplace_back(p.name);
      continue;
    }
    p.set(out.merged, kNoIndex, after);
    out.applied.emplace_back(p.name);
  }
}

template <class T>
void take(T& field, const T& fresh, std::string name, std::vector<std::string>& applied) {
  if (field == fresh) return;
  field = fresh;
  applied.push_back(std::move(name));
}

// Where a node is cannot change while we run; what it is worth can.
void merge_backend(Backend& node, const Backend& fresh, Reloaded& out) {
  const int id = node.id.value;
  if (node.hostname != fresh.hostname) out.ignored_need_restart.push_back(fmt::format("backend_hostname{}", id));
  if (node.port != fresh.port) out.ignored_need_restart.push_back(fmt::format("backend_port{}", id));
  take(node.weight, fresh.weight, fmt::format("backend_weight{}", id), out.applied);
  take(node.data_directory, fresh.data_directory, fmt::format("backend_data_directory{}", id), out.applied);
  take(node.application_name, fresh.application_name, fmt::format("backend_application_name{}", id), out.applied);
  const bool flag_stays = node.always_primary && !fresh.always_primary;
  if (flag_stays) out.ignored_need_restart.push_back(fmt::format("backend_flag{}", id));
  const bool flags_change =
      node.allow_to_failover != fresh.allow_to_failover || (!node.always_primary && fresh.always_primary);
  if (flags_change) out.applied.push_back(fmt::format("backend_flag{}", id));
  node.allow_to_failover = fresh.allow_to_failover;
  node.always_primary |= fresh.always_primary;
}

void merge_backends(const Settings& old, const Settings& fresh, Reloaded& out) {
  for (Backend& node : out.merged.backends) {
    if (const Backend* again = fresh.backend(node.id)) {
      merge_backend(node, *again, out);
    } else {
      out.ignored_need_restart.push_back(fmt::format("backend_port{}", node.id.value));
    }
  }
  for (const Backend& node : fresh.backends) {
    if (old.backend(node.id) != nullptr) continue;
    const auto at = std::ranges::lower_bound(out.merged.backends, node.id, {}, &Backend::id);
    out.merged.backends.insert(at, node);
    out.applied.push_back(fmt::format("backend_port{}", node.id.value));
  }
}

}  // namespace

Reloaded reload(const Settings& old, const Settings& fresh) {
  Reloaded out;
  out.merged = old;
  merge_plain(old, fresh, out);
  merge_backends(old, fresh, out);
  if (old.own_health_checks != fresh.own_health_checks) {
    out.merged.own_health_checks = fresh.own_health_checks;
    out.applied.emplace_back("health_check (per node)");
  }
  if (old.watchdog_nodes != fresh.watchdog_nodes || old.heartbeats != fresh.heartbeats)
    out.ignored_need_restart.emplace_back("watchdog nodes");
  // All lists of patterns may be reloaded, so the fresh ones hold; nothing of the old ones stays.
  out.merged.patterns = fresh.patterns;
  out.merged.traces = fresh.traces;  // follows log_destination
  return out;
}

}  // namespace herdgate::config
