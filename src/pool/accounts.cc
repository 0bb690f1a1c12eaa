#include "pool/accounts.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"

namespace herdgate::pool {

void Accounts::set_limits(Limits limits) {
  const std::lock_guard lock(mutex_);
  limits_ = limits;
  for (auto it = keys_.begin(); it != keys_.end();) settle(it++);
}

// After any change of it: who may be served next, and whether anything is left to be kept.
void Accounts::settle(Keys::iterator key) {
  OfKey& of = key->second;
  const std::uint64_t head = !of.queue.empty() && below_own_limit(of) ? of.queue.begin()->first : 0;
  if (head != of.head) {
    Heads& heads = nodes_[key->first.node].heads;
    heads.erase(of.head);
    if (head != 0) heads.emplace(head, key);
    of.head = head;
  }
  if (of.links == 0 && of.queue.empty()) keys_.erase(key);
}

bool Accounts::try_open(const backend::LinkKey& key, bool beyond_ceiling) {
  const std::lock_guard lock(mutex_);
  OfNode& node = nodes_[key.node];
  if (beyond_ceiling ? node.links >= limits_.per_node : full(node)) return false;
  const auto it = keys_.try_emplace(key).first;
  const bool may = below_own_limit(it->second);
  if (may) ++node.links, ++it->second.links;
  settle(it);
  return may;
}

void Accounts::closed(const backend::LinkKey& key, TimePoint now) {
  const std::lock_guard lock(mutex_);
  OfNode& node = nodes_[key.node];
  HG_ASSERT(node.open > 0);
  --node.open;
  node.left = now + kLeaves;
  give_back(key);
}

void Accounts::not_opened(const backend::LinkKey& key, TimePoint now) {
  const std::lock_guard lock(mutex_);
  nodes_[key.node].left = now + kLeaves;
  give_back(key);
}

void Accounts::give_back(const backend::LinkKey& key) {
  const auto it = keys_.find(key);
  OfNode& node = nodes_[key.node];
  HG_ASSERT(it != keys_.end() && it->second.links > 0 && node.links > 0);
  --node.links;
  const bool last = --it->second.links == 0;
  settle(it);
  if (!last) return;
  if (const auto at = key_accounts_.find(key); at != key_accounts_.end()) at->second->defaults = Defaults::unknown;
}

Accounts::Refused Accounts::refused(const backend::LinkKey& key, TimePoint now) {
  const std::lock_guard lock(mutex_);
  give_back(key);
  OfNode& node = nodes_[key.node];
  if (node.ceiling == kNoCeiling) node.said = false;
  node.ceiling = node.links;
  node.refused = now;
  const bool first = node.open > 0 && !std::exchange(node.said, true);
  return {.others = node.open, .opening = node.links - node.open, .leaving = now < node.left, .first = first};
}

std::vector<Waiting> Accounts::in_vain(NodeId id) {
  std::vector<Waiting> refused;
  const std::lock_guard lock(mutex_);
  OfNode& node = nodes_[id];
  if (node.links > 0) return refused;  // somebody tries again
  node.ceiling = kNoCeiling;
  while (!node.refusals.empty()) {
    const auto [ticket, key] = *node.refusals.begin();
    refused.push_back(take(key, ticket));
  }
  return refused;
}

void Accounts::opened(NodeId id, bool superuser) {
  const std::lock_guard lock(mutex_);
  OfNode& node = nodes_[id];
  node.superusers = node.superusers || superuser;
  ++node.open;
  if (node.ceiling != kNoCeiling && node.links >= node.ceiling) ++node.ceiling;
}

void Accounts::feel_for_room(TimePoint now) {
  const std::lock_guard lock(mutex_);
  for (auto& [id, node] : nodes_) {
    if (node.ceiling == kNoCeiling) continue;
    if (now - node.refused >= kCeilingLife || (node.ceiling == 0 && node.heads.empty())) {
      node.ceiling = kNoCeiling;
    } else if (!node.heads.empty() && node.links >= node.ceiling) {
      ++node.ceiling;
    }
  }
}

std::optional<std::size_t> Accounts::ceiling(NodeId node) const {
  const std::lock_guard lock(mutex_);
  const auto it = nodes_.find(node);
  if (it == nodes_.end() || it->second.ceiling == kNoCeiling) return std::nullopt;
  return it->second.ceiling;
}

bool Accounts::server_bounds(const backend::LinkKey& key) const {
  const std::lock_guard lock(mutex_);
  const auto it = nodes_.find(key.node);
  if (it == nodes_.end() || it->second.ceiling >= limits_.per_node || !full(it->second)) return false;
  const auto of = keys_.find(key);
  return of == keys_.end() || below_own_limit(of->second);
}

bool Accounts::crowds(NodeId id) const {
  const std::lock_guard lock(mutex_);
  const auto it = nodes_.find(id);
  if (it == nodes_.end() || it->second.ceiling == kNoCeiling) return false;
  const OfNode& node = it->second;
  const std::size_t left = std::min(kLeftToOthers, node.ceiling / 4) + (node.superusers ? kOnlySuperusers : 0);
  return node.heads.empty() && node.links + std::min(left, node.ceiling / 2) > node.ceiling;
}

bool Accounts::full(NodeId node) const {
  const std::lock_guard lock(mutex_);
  const auto it = nodes_.find(node);
  return it != nodes_.end() && full(it->second);
}

void Accounts::insert(Waiting who) {
  const auto key = keys_.try_emplace(who.key).first;
  if (who.fresh) ++key->second.fresh;
  const std::uint64_t ticket = who.ticket;
  if (who.refused) nodes_[who.key.node].refusals.emplace(ticket, key);
  key->second.queue.emplace(ticket, std::move(who));
  waiting_count_.fetch_add(1, std::memory_order_release);
  settle(key);
}

std::optional<std::uint64_t> Accounts::enqueue(Waiting who) {
  const std::lock_guard lock(mutex_);
  if (waiting() >= kMaxWaiting) return std::nullopt;
  who.ticket = ++last_ticket_;
  insert(std::move(who));
  return last_ticket_;
}

void Accounts::put_back(Waiting who) {
  const std::lock_guard lock(mutex_);
  insert(std::move(who));
}

bool Accounts::withdraw(const backend::LinkKey& key, std::uint64_t ticket) {
  const std::lock_guard lock(mutex_);
  const auto it = keys_.find(key);
  if (it == keys_.end() || !it->second.queue.contains(ticket)) return false;
  take(it, ticket);
  return true;
}

Waiting Accounts::take(Keys::iterator key, std::uint64_t ticket) {
  OfKey& of = key->second;
  Waiting found = std::move(of.queue.extract(ticket).mapped());
  if (found.fresh) --of.fresh;
  if (found.refused) nodes_[found.key.node].refusals.erase(ticket);
  waiting_count_.fetch_sub(1, std::memory_order_release);
  settle(key);
  return found;
}

Accounts::Turn Accounts::next_for(const backend::LinkKey& key) {
  const std::lock_guard lock(mutex_);
  const auto own = keys_.find(key);
  const Waiting* mine = nullptr;
  if (own != keys_.end() && !own->second.queue.empty()) mine = &own->second.queue.begin()->second;
  Waiting* other = nullptr;  // the oldest one of another key who could use the slot
  if (const OfNode& node = nodes_[key.node]; full(node)) {
    auto head = node.heads.begin();
    if (head != node.heads.end() && head->second == own) ++head, ++looked_at_;
    if (head != node.heads.end()) other = &head->second->second.queue.begin()->second, ++looked_at_;
  }
  if (mine == nullptr) return {{}, other != nullptr};
  ++looked_at_;
  if (other != nullptr && other->ticket > mine->ticket) other = nullptr;
  if (mine->fresh || (other != nullptr && other->overtaken >= kMostOvertaken)) return {{}, true};
  if (other != nullptr) ++other->overtaken;
  return {take(own, mine->ticket), false};
}

bool Accounts::fresh_wanted(const backend::LinkKey& key) const {
  const std::lock_guard lock(mutex_);
  const auto it = keys_.find(key);
  return it != keys_.end() && it->second.fresh > 0;
}

bool Accounts::waits_for(const backend::LinkKey& key) const {
  if (!anybody_waits()) return false;
  const std::lock_guard lock(mutex_);
  const auto it = keys_.find(key);
  return it != keys_.end() && !it->second.queue.empty();
}

std::optional<Waiting> Accounts::first_that_may_open() {
  const std::lock_guard lock(mutex_);
  OfNode* oldest = nullptr;
  for (auto& [id, node] : nodes_) {
    if (node.heads.empty() || full(node)) continue;
    if (oldest == nullptr || node.heads.begin()->first < oldest->heads.begin()->first) oldest = &node;
  }
  if (oldest == nullptr) return std::nullopt;
  ++looked_at_;
  const auto [ticket, key] = *oldest->heads.begin();
  ++oldest->links;
  ++key->second.links;
  return take(key, ticket);
}

void Accounts::settings_changed() {
  const std::lock_guard lock(mutex_);
  ++settings_epoch_;
  for (auto& [key, account] : key_accounts_) account->defaults = Defaults::unknown;
}

Accounts::Learned Accounts::learned(const backend::LinkKey& key, const Lesson& lesson) {
  const std::lock_guard lock(mutex_);
  const auto it = key_accounts_.find(key);
  if (it == key_accounts_.end() || lesson.epoch != settings_epoch_) return Learned::as_others;
  KeyAccount& account = *it->second;
  const Defaults before = account.defaults;
  if (before == lesson.defaults) {
    account.newest_ = std::max(account.newest_, lesson.opened);
    return Learned::as_others;
  }
  const bool first = before == Defaults::unknown;
  if (!first && lesson.opened < account.newest_) return Learned::older;
  account.defaults = lesson.defaults;
  account.newest_ = lesson.opened;
  const bool restless = lesson.now - account.changed_ < kSettles;
  if (!first) account.changed_ = lesson.now;
  return first || restless ? Learned::as_others : Learned::newer;
}

KeyAccountPtr Accounts::key_account(const backend::LinkKey& key) {
  const std::lock_guard lock(mutex_);
  if (key_accounts_.size() >= sweep_at_) {
    std::erase_if(key_accounts_, [](const auto& entry) { return entry.second.use_count() == 1; });
    sweep_at_ = std::max<std::size_t>(1024, 2 * key_accounts_.size());
  }
  KeyAccountPtr& account = key_accounts_[key];
  if (!account) account = std::make_shared<KeyAccount>();
  return account;
}

Limits Accounts::limits() const {
  const std::lock_guard lock(mutex_);
  return limits_;
}

std::map<backend::LinkKey, std::size_t> Accounts::waiting_by_key() const {
  std::map<backend::LinkKey, std::size_t> waiting;
  if (!anybody_waits()) return waiting;
  const std::lock_guard lock(mutex_);
  for (const auto& [key, of] : keys_)
    if (!of.queue.empty()) waiting.emplace(key, of.queue.size());
  return waiting;
}

std::uint64_t Accounts::looked_at() const {
  const std::lock_guard lock(mutex_);
  return looked_at_;
}

std::size_t Accounts::links() const {
  const std::lock_guard lock(mutex_);
  std::size_t links = 0;
  for (const auto& [id, node] : nodes_) links += node.links;
  return links;
}

}  // namespace herdgate::pool
