#include "pool/accounts.h"

#include <algorithm>

#include "base/assert.h"

namespace herdgate::pool {

void Accounts::set_limits(Limits limits) {
  const std::lock_guard lock(mutex_);
  limits_ = limits;
}

bool Accounts::below_own_limit(const backend::LinkKey& key) const {
  if (limits_.per_key == 0) return true;
  const auto it = per_key_.find(key);
  return it == per_key_.end() || it->second < limits_.per_key;
}

bool Accounts::may_open(const backend::LinkKey& key) const { return total_ < limits_.total && below_own_limit(key); }

bool Accounts::try_open(const backend::LinkKey& key) {
  const std::lock_guard lock(mutex_);
  if (!may_open(key)) return false;
  ++total_;
  ++per_key_[key];
  return true;
}

void Accounts::closed(const backend::LinkKey& key) {
  const std::lock_guard lock(mutex_);
  const auto it = per_key_.find(key);
  HG_ASSERT(it != per_key_.end() && total_ > 0);
  --total_;
  if (--it->second > 0) return;
  per_key_.erase(it);
  if (const auto at = key_accounts_.find(key); at != key_accounts_.end()) at->second->defaults = Defaults::unknown;
}

bool Accounts::full() const {
  const std::lock_guard lock(mutex_);
  return total_ >= limits_.total;
}

std::optional<std::uint64_t> Accounts::enqueue(Waiting who) {
  const std::lock_guard lock(mutex_);
  if (queue_.size() >= kMaxWaiting) return std::nullopt;
  who.ticket = ++last_ticket_;
  queue_.push_back(std::move(who));
  waiting_count_.store(queue_.size(), std::memory_order_release);
  return last_ticket_;
}

void Accounts::put_back(Waiting who) {
  const std::lock_guard lock(mutex_);
  const auto behind =
      std::find_if(queue_.begin(), queue_.end(), [&](const Waiting& w) { return w.ticket > who.ticket; });
  queue_.insert(behind, std::move(who));
  waiting_count_.store(queue_.size(), std::memory_order_release);
}

bool Accounts::withdraw(std::uint64_t ticket) {
  const std::lock_guard lock(mutex_);
  const auto it = std::find_if(queue_.begin(), queue_.end(), [&](const Waiting& w) { return w.ticket == ticket; });
  if (it == queue_.end()) return false;
  queue_.erase(it);
  waiting_count_.store(queue_.size(), std::memory_order_release);
  return true;
}

Waiting Accounts::take(std::list<Waiting>::iterator who) {
  Waiting found = std::move(*who);
  queue_.erase(who);
  waiting_count_.store(queue_.size(), std::memory_order_release);
  return found;
}

Accounts::Turn Accounts::next_for(const backend::LinkKey& key) {
  const std::lock_guard lock(mutex_);
  const bool full = total_ >= limits_.total;
  Waiting* other = nullptr;  // the oldest one of another key who could use the slot
  for (auto it = queue_.begin(); it != queue_.end(); ++it) {
    if (it->key == key) {
      if (it->fresh) return {{}, true};
      if (other != nullptr) ++other->overtaken;
      return {take(it), false};
    }
    if (!full || other != nullptr || !below_own_limit(it->key)) continue;
    if (it->overtaken >= kMostOvertaken) return {{}, true};
    other = &*it;
  }
  return {{}, other != nullptr};
}

bool Accounts::fresh_wanted(const backend::LinkKey& key) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(queue_.begin(), queue_.end(), [&](const Waiting& w) { return w.fresh && w.key == key; });
}

bool Accounts::waits_for(const backend::LinkKey& key) const {
  if (!anybody_waits()) return false;
  const std::lock_guard lock(mutex_);
  return std::any_of(queue_.begin(), queue_.end(), [&](const Waiting& w) { return w.key == key; });
}

std::optional<Waiting> Accounts::first_that_may_open() {
  const std::lock_guard lock(mutex_);
  const auto it = std::find_if(queue_.begin(), queue_.end(), [&](const Waiting& w) { return may_open(w.key); });
  if (it == queue_.end()) return std::nullopt;
  Waiting found = take(it);
  ++total_;
  ++per_key_[found.key];
  return found;
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
  for (const Waiting& who : queue_) ++waiting[who.key];
  return waiting;
}

std::size_t Accounts::links() const {
  const std::lock_guard lock(mutex_);
  return total_;
}

}  // namespace herdgate::pool
