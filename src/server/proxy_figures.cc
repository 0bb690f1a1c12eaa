// The figures of the proxy for the metrics: what the control thread knows, and what each worker has counted.
#include <algorithm>

#include "server/proxy.h"

namespace herdgate::server {
namespace {

using report::Figures;

// Where the figures of a node go; null: it has gone by a reload.
report::NodeFigures* figures_of(Figures& figures, NodeId node) {
  const auto& nodes = figures.view->nodes;
  const auto found = std::find_if(nodes.begin(), nodes.end(), [&](const auto& n) { return n.id == node; });
  return found == nodes.end() ? nullptr : &figures.nodes[static_cast<std::size_t>(found - nodes.begin())];
}

void add(report::NodeCounts& to, const session::NodeCounters& from) {
  to.select += from.select, to.insert += from.insert, to.update += from.update, to.del += from.del;
  to.ddl += from.ddl, to.other += from.other;
  to.panic += from.panic, to.fatal += from.fatal, to.error += from.error;
}

using Pools = std::map<backend::LinkKey, report::PoolFigures>;

report::PoolFigures& pool_of(Pools& pools, const backend::LinkKey& key) {
  report::PoolFigures& pool = pools[key];
  pool.node = key.node, pool.database = key.database, pool.user = key.user;
  return pool;
}

void add(report::LinkFigures& to, const report::LinkFigures& from) {
  to.used += from.used;
  to.idle += from.idle;
}

void add(Figures& to, Pools& pools, const session::WorkerFigures& from) {
  to.clients.connections += from.clients.connections;
  to.clients.logins += from.clients.logins;
  for (std::size_t i = 0; i < from.clients.refused.size(); ++i) to.clients.refused[i] += from.clients.refused[i];
  to.local_query_times.add(from.query_times.front());
  for (std::size_t i = 0; i < to.nodes.size(); ++i)
    to.nodes[i].query_times.add(from.query_times[static_cast<std::size_t>(to.view->nodes[i].id.value + 1)]);
  for (const auto& [node, waits] : from.link_waits)
    if (auto* figures = figures_of(to, node)) figures->link_waits.add(waits);
  for (const report::PoolFigures& pool : from.pools) {
    add(pool_of(pools, {pool.node, pool.database, pool.user}).links, pool.links);
    if (auto* figures = figures_of(to, pool.node)) add(figures->links, pool.links);
  }
}

}  // namespace

std::shared_ptr<Figures> Proxy::own_figures() const {
  auto figures = std::make_shared<Figures>();
  figures->view = view_;
  figures->health = shared_.health.load();
  figures->nodes.resize(view_->nodes.size());
  for (std::size_t i = 0; i < view_->nodes.size(); ++i) {
    const NodeId id = view_->nodes[i].id;
    const auto known = monitor_->failovers().find(id);
    if (known != monitor_->failovers().end()) figures->nodes[i].failovers = known->second;
  }
  const pool::Limits limits = shared_.accounts.limits();
  figures->links_limit = limits.per_node;
  figures->pool_links_limit = limits.per_key;
  figures->clients.inside = shared_.gate.inside();
  figures->clients.waiting = shared_.gate.waiting();
  figures->clients.limit = static_cast<std::uint64_t>(files_.settings->num_init_children);
  if (shared_.query_cache) {
    const cache::Figures f = shared_.query_cache->figures();
    figures->cache_on = true;
    figures->cache = {f.hits, f.selects, f.entry_slots, f.entries, f.used_bytes, f.free_bytes, f.passed};
  }
  figures->primary_changes = primary_changes_;
  figures->workers = workers_.size();
  figures->started = shared_.started;
  return figures;
}

// Each worker is asked by a post, and what it answers is put together here.
void Proxy::figures(FiguresDone done) {
  struct Gathering {
    std::shared_ptr<Figures> figures;
    Pools pools;
    std::size_t open;
    FiguresDone done;
  };
  auto gathering = std::make_shared<Gathering>(Gathering{own_figures(), {}, workers_.size(), std::move(done)});
  for (auto& worker : workers_) {
    worker->post([this, &worker = *worker, gathering] {
      auto part = std::make_shared<const session::WorkerFigures>(worker.figures());
      control_.post([this, &worker, gathering, part] {
        Figures& whole = *gathering->figures;
        add(whole, gathering->pools, *part);
        for (std::size_t i = 0; i < whole.nodes.size(); ++i)
          add(whole.nodes[i].counts, worker.counters().nodes[whole.view->nodes[i].id.value]);
        if (--gathering->open > 0) return;
        for (const auto& [key, waiting] : shared_.accounts.waiting_by_key())
          pool_of(gathering->pools, key).waiting = waiting;
        for (auto& [key, pool] : gathering->pools) whole.pools.push_back(std::move(pool));
        report::keep_first_pools(whole);
        gathering->done(gathering->figures);
      });
    });
  }
}

}  // namespace herdgate::server
