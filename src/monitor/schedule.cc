#include "monitor/schedule.h"

#include <algorithm>
#include <utility>

namespace herdgate::monitor {

void Schedule::watch(const std::vector<NodeId>& nodes, TimePoint now) {
  std::erase_if(items_,
                [&](const auto& item) { return std::find(nodes.begin(), nodes.end(), item.first) == nodes.end(); });
  for (NodeId id : nodes)
    if (items_.try_emplace(id).second) round_due_ = now;
}

void Schedule::set_period(Duration period, TimePoint now) {
  if (period == period_) return;
  period_ = period;
  if (round_began_ == TimePoint::min()) return;  // no round yet: it is due at once anyway
  round_due_ = std::max(now, std::min(round_due_, round_began_ + period));
  if (period > round_due_ - round_began_) round_due_ = round_began_ + period;
}

Due Schedule::due(TimePoint now) {
  Due due;
  due.round = now >= round_due_ && !items_.empty();
  if (due.round) {
    round_began_ = now;
    round_due_ = now + period_;
  }
  for (auto& [id, item] : items_) {
    if (item.running) continue;
    const bool own = now >= item.own;
    const bool in_round = due.round && !item.troubled;
    if (!own && !in_round) continue;
    (in_round ? due.nodes : due.alone).push_back(id);
    item.running = true;
    item.started = now;
    item.own = TimePoint::max();
  }
  return due;
}

void Schedule::ended(NodeId id, bool healthy, TimePoint now) {
  const auto found = items_.find(id);
  if (found == items_.end() || !found->second.running) return;
  Item& item = found->second;
  item.running = false;
  const bool recovered = std::exchange(item.troubled, !healthy) && healthy;
  if (recovered) round_due_ = std::min(round_due_, now + kTroubledPause);  // its delay is to be known soon
  if (healthy) {
    item.pause = kTroubledPause;
    return;
  }
  item.own = std::min(item.own, now + item.pause);
  item.pause = std::min(item.pause * 2, kLongestPause);
}

void Schedule::hint(NodeId id, TimePoint now) {
  const auto found = items_.find(id);
  if (found == items_.end()) return;
  Item& item = found->second;
  // A probe under way may have passed the failed place already, so another one follows it.
  const bool fresh = item.started == TimePoint::min();
  item.own = std::min(item.own, fresh ? now : std::max(now, item.started + kHintPause));
}

TimePoint Schedule::next() const {
  TimePoint next = items_.empty() ? TimePoint::max() : round_due_;
  for (const auto& [id, item] : items_)
    if (!item.running) next = std::min(next, item.own);
  return next;
}

}  // namespace herdgate::monitor
