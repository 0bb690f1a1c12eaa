#include "monitor/health_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "monitor/state_store.h"

namespace herdgate::monitor {

HealthChecks::HealthChecks(net::Loop& loop, Log& log, Hooks hooks) : loop_(loop), log_(log), hooks_(std::move(hooks)) {}

HealthChecks::~HealthChecks() {
  *alive_ = false;
  for (auto& [id, node] : nodes_) loop_.cancel(node.timer);
}

// A check under way goes on as it began. What waits is due as it was, or sooner where the period is shorter by now:
// reloads that follow each other closely must not put it off for ever.
void HealthChecks::configure(config::SettingsPtr settings) {
  settings_ = std::move(settings);
  if (order_path_.empty()) order_path_ = state_path(settings_->logdir, "backend_down_request");
  std::erase_if(nodes_, [&](auto& item) {
    const bool gone =
        !settings_->backend(item.first) || settings_->health_check(item.first).health_check_period.count() == 0;
    if (!gone) return false;
    loop_.cancel(item.second.timer);
    if (item.second.probe) loop_.defer([held = item.second.probe] {});
    figures_.erase(item.first);
    return true;
  });
  for (const config::Backend& b : settings_->backends) {
    const auto period = settings_->health_check(b.id).health_check_period;
    if (period.count() == 0) continue;
    const auto [item, fresh] = nodes_.try_emplace(b.id);
    figures_.try_emplace(b.id);
    if (fresh)
      arm(b.id, Duration::zero(), &HealthChecks::begin);
    else if (const Node& node = item->second; !node.probe && node.round == 0 && node.armed + period < node.due)
      arm(b.id, std::max(Duration::zero(), node.armed + period - loop_.now()), &HealthChecks::begin);
  }
  hooks_.counted(figures_);
}

void HealthChecks::arm(NodeId id, Duration delay, void (HealthChecks::*work)(NodeId)) {
  Node& node = nodes_.at(id);
  loop_.cancel(node.timer);
  node.armed = loop_.now();
  node.due = node.armed + delay;
  node.timer = loop_.after(delay, [this, id, work] {
    nodes_.at(id).timer = 0;
    (this->*work)(id);
  });
}

void HealthChecks::begin(NodeId id) {
  if (!hooks_.wanted(id)) {
    report::HealthFigures& f = figures_[id];
    ++f.total, ++f.skip;
    f.last = f.last_skip = loop_.clock().wall();
    hooks_.counted(figures_);
    return arm(id, settings_->health_check(id).health_check_period, &HealthChecks::begin);
  }
  Node& node = nodes_.at(id);
  node.round = 0;
  node.began = loop_.now();
  attempt(id);
}

ProbeTarget HealthChecks::target(const config::Backend& backend) const {
  const config::HealthCheck check = settings_->health_check(backend.id);
  const auto or_longest = [](Duration d) { return d > Duration::zero() ? d : kLongestTry; };
  ProbeTarget t;
  t.node = backend.id;
  t.to = {backend.hostname, backend.port};
  t.connect_limit = or_longest(check.connect_timeout);
  t.whole_limit = or_longest(check.health_check_timeout);
  t.user = check.health_check_user;
  t.database = check.health_check_database.empty() ? "postgres" : check.health_check_database;
  if (!t.user.empty() && hooks_.credentials) t.credentials = hooks_.credentials(t.user, check.health_check_password);
  return t;
}

void HealthChecks::attempt(NodeId id) {
  Node& node = nodes_.at(id);
  const config::Backend* backend = settings_->backend(id);
  if (node.round > 0)
    HG_LOG(log_, speaker(id), Level::log, "health check retrying on DB node: {} (round:{})", id.value, node.round);
  node.pretends = settings_->health_check_test && orders_down(id);
  if (node.pretends) {
    Answer answer;
    answer.outcome = cluster::Outcome::unreachable;
    answer.text = "told so by backend_down_request";
    return answered(id, answer);
  }
  node.probe = hooks_.probe(target(*backend), [this, alive = alive_, id](const Answer& answer) {
    if (*alive) answered(id, answer);
  });
}

// The original has a process for each node, and its name is in the log.
LogContext& HealthChecks::speaker(NodeId id) {
  name_ = fmt::format("health_check{}", id.value);
  who_.application = name_;
  who_.process = "HEALTH CHECK";
  return who_;
}

void HealthChecks::answered(NodeId id, const Answer& answer) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) return;
  Node& node = found->second;
  // The probe is calling us: it goes when its call has returned.
  loop_.defer([held = std::exchange(node.probe, nullptr)] {});
  const config::HealthCheck check = settings_->health_check(id);
  if (answer.outcome != cluster::Outcome::unreachable) {
    if (node.round > 0)
      HG_LOG(log_, speaker(id), Level::log, "health check retrying on DB node: {} succeeded", id.value);
    return finish(id, answer);
  }
  const bool timed_out = answer.text.find("timed out") != std::string::npos;
  LogLine line{.level = Level::log, .detail = answer.text};
  const std::string text = fmt::format("health check failed on node {} (timeout:{})", id.value, timed_out ? 1 : 0);
  line.text = text;
  log_.write(speaker(id), line);
  if (node.round >= check.health_check_max_retries) return finish(id, answer);
  ++node.round;
  arm(id, check.health_check_retry_delay, &HealthChecks::attempt);
}

void HealthChecks::finish(NodeId id, const Answer& answer) {
  Node& node = nodes_.at(id);
  count(id, node, answer.outcome != cluster::Outcome::unreachable);
  node.round = 0;
  if (node.pretends) {
    if (const auto text = read_state_file(order_path_); text && *text)
      if (const auto obeyed = obey_order(**text, id)) (void)write_state_file(order_path_, *obeyed);
  }
  arm(id, settings_->health_check(id).health_check_period, &HealthChecks::begin);
  hooks_.ended({id, answer.outcome, answer.text});
}

void HealthChecks::count(NodeId id, const Node& node, bool well) {
  report::HealthFigures& f = figures_[id];
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(loop_.now() - node.began);
  const auto rounds = static_cast<std::uint64_t>(node.round);
  f.min_duration = f.total == f.skip ? took : std::min(f.min_duration, took);
  f.max_duration = std::max(f.max_duration, took);
  f.all_durations += took;
  ++f.total;
  ++(well ? f.success : f.fail);
  f.retries += rounds;
  f.max_retries = std::max(f.max_retries, rounds);
  f.last = loop_.clock().wall();
  (well ? f.last_success : f.last_fail) = f.last;
  hooks_.counted(figures_);
}

bool HealthChecks::orders_down(NodeId id) const {
  const auto text = read_state_file(order_path_);
  return text && *text && obey_order(**text, id);
}

std::optional<std::string> obey_order(const std::string& text, NodeId node) {
  const std::string line = fmt::format("{}\tdown", node.value);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    if (text.compare(at, end - at, line) == 0)
      return text.substr(0, at) + fmt::format("{}\talready_down", node.value) + text.substr(end);
    at = end + 1;
  }
  return std::nullopt;
}

}  // namespace herdgate::monitor
