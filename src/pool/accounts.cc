#include "pool/accounts.h"

#include <algorithm>

#include "base/assert.h"

namespace herdgate::pool {

void Accounts::set_limits(Limits limits) {
  const std::lock_guard lock(mutex_);
  limits_ = limits;
}

bool Accounts::may_open(const backend::LinkKey& key) const {
  if (total_ >= limits_.total) return false;
  if (limits_.per_key == 0) return true;
  const auto it = per_key_.find(key);
  return it == per_key_.end() || it->second < limits_.per_key;
}

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
  if (--it->second == 0) per_key_.erase(it);
}

bool Accounts::full() const {
  const std::lock_guard lock(mutex_);
  return total_ >= limits_.total;
}

std::optional<std::uint64_t> Accounts::enqueue(const backend::LinkKey& key, WorkerId worker) {
  const std::lock_guard lock(mutex_);
  if (queue_.size() >= kMaxWaiting) return std::nullopt;
  queue_.push_back(Waiting{key, worker, ++last_ticket_});
  waiting_count_.store(queue_.size(), std::memory_order_release);
  return last_ticket_;
}

bool Accounts::withdraw(std::uint64_t ticket) {
  const std::lock_guard lock(mutex_);
  const auto it = std::find_if(queue_.begin(), queue_.end(), [&](const Waiting& w) { return w.ticket == ticket; });
  if (it == queue_.end()) return false;
  queue_.erase(it);
  waiting_count_.store(queue_.size(), std::memory_order_release);
  return true;
}

std::optional<Waiting> Accounts::first_waiting(const backend::LinkKey& key) {
  const std::lock_guard lock(mutex_);
  const auto it = std::find_if(queue_.begin(), queue_.end(), [&](const Waiting& w) { return w.key == key; });
  if (it == queue_.end()) return std::nullopt;
  Waiting found = std::move(*it);
  queue_.erase(it);
  waiting_count_.store(queue_.size(), std::memory_order_release);
  return found;
}

std::optional<Waiting> Accounts::first_that_may_open() {
  const std::lock_guard lock(mutex_);
  const auto it = std::find_if(queue_.begin(), queue_.end(), [&](const Waiting& w) { return may_open(w.key); });
  if (it == queue_.end()) return std::nullopt;
  Waiting found = std::move(*it);
  queue_.erase(it);
  waiting_count_.store(queue_.size(), std::memory_order_release);
  ++total_;
  ++per_key_[found.key];
  return found;
}

std::size_t Accounts::links() const {
  const std::lock_guard lock(mutex_);
  return total_;
}

}  // namespace herdgate::pool
