#include "pool/server_link.h"

namespace herdgate::pool {

InternedStatements::ByName::value_type* InternedStatements::place_of(const std::string& name) {
  ByName::value_type*& place = found(name);
  if (place == nullptr || place->first != name) {
    const auto it = by_name_.find(name);
    if (it == by_name_.end()) return nullptr;
    place = &*it;
  }
  return place;
}

bool InternedStatements::touch(const std::string& name) {
  const ByName::value_type* place = place_of(name);
  if (place == nullptr) return false;
  if (place->second.at != order_.begin()) order_.splice(order_.begin(), order_, place->second.at);
  return true;
}

std::uint64_t InternedStatements::epoch(const std::string& name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? 0 : it->second.epoch;
}

std::vector<std::string> InternedStatements::add(const std::string& name, std::size_t limit, std::uint64_t epoch) {
  std::vector<std::string> closed;
  if (touch(name)) return closed;
  order_.push_front(name);
  by_name_.emplace(name, Place{order_.begin(), epoch, {}, {}});
  while (by_name_.size() > std::max<std::size_t>(limit, 1) && closed.size() < kMostClosed) {
    const auto oldest = by_name_.find(order_.back());
    if (oldest->second.only != SessionId()) --kept_;
    forget(*oldest);
    by_name_.erase(oldest);
    closed.push_back(std::move(order_.back()));
    order_.pop_back();
  }
  return closed;
}

const vsession::DescribedPtr& InternedStatements::described(const std::string& name) {
  static const vsession::DescribedPtr kNotYet;
  const ByName::value_type* place = place_of(name);
  return place == nullptr ? kNotYet : place->second.described;
}

void InternedStatements::note_described(const std::string& name, vsession::DescribedPtr as) {
  if (ByName::value_type* place = place_of(name)) place->second.described = std::move(as);
}

void InternedStatements::remove(const std::string& name) {
  const auto it = by_name_.find(name);
  if (it == by_name_.end()) return;
  order_.erase(it->second.at);
  if (it->second.only != SessionId()) --kept_;
  forget(*it);
  by_name_.erase(it);
}

void InternedStatements::keep_for(const std::string& name, SessionId session) {
  const auto it = by_name_.find(name);
  if (it == by_name_.end() || it->second.only == session) return;
  if (it->second.only == SessionId()) ++kept_;
  it->second.only = session;
}

bool InternedStatements::serves(const std::string& name, SessionId session) const {
  if (kept_ == 0) return true;
  const auto it = by_name_.find(name);
  return it == by_name_.end() || it->second.only == SessionId() || it->second.only == session;
}

void InternedStatements::clear() {
  order_.clear();
  by_name_.clear();
  kept_ = 0;
  found_.fill(nullptr);
}

std::vector<std::string> InternedStatements::take_all() {
  std::vector<std::string> names(order_.begin(), order_.end());
  clear();
  return names;
}

void LinkMemory::forget_statements() {
  interned.clear();
  named.clear();
  unnamed_owner = SessionId();
}

ServerLink::ServerLink(std::unique_ptr<backend::Link> l, TimePoint now, WallTime wall)
    : link(std::move(l)), created(now), idle_since(now), created_wall(wall) {
  memory.parameters = std::make_shared<vsession::ParameterSet>();
}

}  // namespace herdgate::pool
