#include "session/shared.h"

#include <algorithm>

#include "base/assert.h"

namespace herdgate::session {

auth::StoredSecret stored_secret(const config::PasswordEntry& entry) {
  using From = config::SecretKind;
  using To = auth::StoredSecret::Kind;
  if (entry.value.empty()) return {};
  To kind = To::plain;
  if (entry.kind == From::md5) kind = To::md5;
  if (entry.kind == From::aes) kind = To::aes;
  if (entry.kind == From::scram_verifier) kind = To::scram;
  return auth::StoredSecret{kind, auth::Secret(entry.value)};
}

void CancelRegister::add(std::int32_t pid, const Bytes& secret, Target target) {
  const std::lock_guard lock(mutex_);
  targets_.emplace(pid, Entry{secret, target});
}

CancelRegister::ByPid::const_iterator CancelRegister::find_in(const ByPid& targets, std::int32_t pid,
                                                              const Bytes& secret) {
  const auto [from, to] = targets.equal_range(pid);
  const auto it = std::find_if(
      from, to, [&](const auto& entry) { return auth::equal_in_constant_time(entry.second.secret, secret); });
  return it == to ? targets.end() : it;
}

void CancelRegister::remove(std::int32_t pid, const Bytes& secret) {
  const std::lock_guard lock(mutex_);
  if (const auto it = find_in(targets_, pid, secret); it != targets_.end()) targets_.erase(it);
}

std::optional<CancelRegister::Target> CancelRegister::find(std::int32_t pid, const Bytes& secret) const {
  const std::lock_guard lock(mutex_);
  const auto it = find_in(targets_, pid, secret);
  if (it == targets_.end()) return std::nullopt;
  return it->second.target;
}

ClientGate::Entry ClientGate::enter(const Waiting& who, std::size_t limit, std::size_t refuse_from) {
  const std::lock_guard lock(mutex_);
  const std::size_t now = inside_.load(std::memory_order_relaxed);
  if (refuse_from > 0 && now >= refuse_from) return Entry::refused;
  if (now < limit && queue_.empty() && !shut_) {
    inside_.store(now + 1, std::memory_order_relaxed);
    return Entry::in;
  }
  if (queue_.size() >= kMaxWaiting) return Entry::refused;
  places_[who.session] = queue_.insert(queue_.end(), who);
  return Entry::wait;
}

std::optional<ClientGate::Waiting> ClientGate::leave(std::size_t limit) {
  const std::lock_guard lock(mutex_);
  HG_ASSERT(inside_.load(std::memory_order_relaxed) > 0);
  const std::size_t now = inside_.load(std::memory_order_relaxed) - 1;
  if (queue_.empty() || now >= limit || shut_) {
    inside_.store(now, std::memory_order_relaxed);
    if (now == 0 && empty_) std::exchange(empty_, nullptr)();
    return std::nullopt;
  }
  return pop_waiting();  // takes the place at once: `inside` stays
}

ClientGate::Waiting ClientGate::pop_waiting() {
  const Waiting next = queue_.front();
  places_.erase(next.session);
  queue_.pop_front();
  return next;
}

void ClientGate::shut(std::function<void()> empty) {
  const std::lock_guard lock(mutex_);
  shut_ = true;
  if (inside_.load(std::memory_order_relaxed) == 0) return empty();
  empty_ = std::move(empty);
}

std::vector<ClientGate::Waiting> ClientGate::open(std::size_t limit) {
  const std::lock_guard lock(mutex_);
  shut_ = false;
  empty_ = nullptr;
  std::vector<Waiting> in;
  std::size_t now = inside_.load(std::memory_order_relaxed);
  for (; now < limit && !queue_.empty(); ++now) in.push_back(pop_waiting());
  inside_.store(now, std::memory_order_relaxed);
  return in;
}

std::size_t ClientGate::waiting() const {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

bool ClientGate::tells(TimePoint now) {
  const std::lock_guard lock(mutex_);
  if (told_ && now - *told_ < kTellsAgain) return false;
  told_ = now;
  return true;
}

void ClientGate::withdraw(SessionId session) {
  const std::lock_guard lock(mutex_);
  const auto place = places_.find(session);
  if (place == places_.end()) return;
  queue_.erase(place->second);
  places_.erase(place);
}

}  // namespace herdgate::session
