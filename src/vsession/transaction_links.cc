#include "vsession/transaction_links.h"

#include <algorithm>

namespace herdgate::vsession {

const TransactionLinks::Part* TransactionLinks::part(NodeId node) const {
  const auto at = std::find_if(parts_.begin(), parts_.end(), [node](const Part& part) { return part.node == node; });
  return at == parts_.end() ? nullptr : &*at;
}

TransactionLinks::Part* TransactionLinks::find(NodeId node) {
  const auto at = std::find_if(parts_.begin(), parts_.end(), [node](const Part& part) { return part.node == node; });
  return at == parts_.end() ? nullptr : &*at;
}

NodeId TransactionLinks::carrier(NodeId write_node) const {
  if (parts_.empty()) return kNoNode;
  return part(write_node) != nullptr ? write_node : parts_.front().node;
}

// A transaction that has failed on one server has failed on all: this one too must refuse what follows, and make of
// COMMIT a ROLLBACK.
TransactionLinks::Ahead TransactionLinks::before(NodeId node, const Transaction& session) const {
  const bool has_failed = session.status == TxStatus::failed;
  const Part* known = part(node);
  if (known != nullptr) return has_failed && known->server == TxStatus::open ? Ahead::fail : Ahead::nothing;
  if (session.status == TxStatus::idle || !session.explicit_block) return Ahead::nothing;
  return has_failed ? Ahead::begin_and_fail : Ahead::begin;
}

void TransactionLinks::joined(NodeId node, ParameterSetPtr at_begin, ParameterSetPtr at_commit) {
  parts_.push_back({node, TxStatus::open, std::move(at_begin), std::move(at_commit)});
}

void TransactionLinks::failed(NodeId node) {
  if (Part* known = find(node)) known->server = TxStatus::failed;
}

TransactionLinks::Ends TransactionLinks::answered(NodeId node, TxStatus server, bool committed,
                                                  const ParameterSetPtr& at_begin) {
  if (server == TxStatus::idle) {
    if (parts_.empty()) return {};
    std::erase_if(parts_, [node](const Part& part) { return part.node == node; });
    return end_all(committed);
  }
  Part* known = find(node);
  if (known == nullptr) {
    joined(node, at_begin, nullptr);
    known = &parts_.back();
  }
  known->server = server;
  return {};
}

void TransactionLinks::will_leave(NodeId node, const ParameterSetPtr& at_commit) {
  Part* known = find(node);
  if (known != nullptr && known->at_commit != at_commit) known->at_commit = at_commit;
}

TransactionLinks::Ends TransactionLinks::chained(NodeId node, bool committed, const ParameterSetPtr& at_begin) {
  Ends ends = ended(node, committed, at_begin);
  forget_portals();
  if (find(node) == nullptr) joined(node, at_begin, nullptr);
  return ends;
}

TransactionLinks::Ends TransactionLinks::ended(NodeId node, bool committed, const ParameterSetPtr& at_begin) {
  Ends ends = end_others(node, committed);
  if (Part* known = find(node)) *known = Part{node, TxStatus::open, at_begin, nullptr};
  return ends;
}

TransactionLinks::Ends TransactionLinks::rolled_back_to(NodeId node) {
  if (Part* known = find(node)) known->server = TxStatus::open;
  Ends ends;
  for (std::size_t i = parts_.size(); i-- > 0;) {
    const bool needed = parts_[i].server == TxStatus::open && has_portals_at(parts_[i].node);
    if (parts_[i].node != node && !needed) take(i, /*commit=*/false, ends);
  }
  return ends;
}

TransactionLinks::Ends TransactionLinks::writes_at(NodeId node) {
  Ends ends;
  for (std::size_t i = parts_.size(); i-- > 0;) {
    const bool holds_locks = parts_[i].server == TxStatus::open;
    if (parts_[i].node != node && holds_locks && !has_portals_at(parts_[i].node)) take(i, /*commit=*/true, ends);
  }
  return ends;
}

TransactionLinks::Ends TransactionLinks::leave(NodeId node) {
  Ends ends;
  for (std::size_t i = parts_.size(); i-- > 0;) {
    if (parts_[i].node == node) take(i, /*commit=*/false, ends);
  }
  return ends;
}

TransactionLinks::Ends TransactionLinks::end_all(bool commit) { return end_others(kNoNode, commit); }

TransactionLinks::Ends TransactionLinks::end_others(NodeId but, bool commit) {
  Ends ends;
  for (std::size_t i = parts_.size(); i-- > 0;) {
    if (parts_[i].node != but) take(i, commit, ends);
  }
  return ends;
}

void TransactionLinks::take(std::size_t at, bool commit, Ends& into) {
  Part& part = parts_[at];
  const bool keeps = commit && part.at_commit && part.server == TxStatus::open;
  forget_portals_at(part.node);
  into.push_back({part.node, commit, keeps ? std::move(part.at_commit) : std::move(part.at_begin)});
  parts_.erase(parts_.begin() + static_cast<std::ptrdiff_t>(at));
}

TransactionLinks::Loss TransactionLinks::lost(NodeId node, const Transaction& session, const Under& under) {
  const bool took_part = part(node) != nullptr;
  std::erase_if(parts_, [node](const Part& part) { return part.node == node; });
  forget_portals_at(node);
  if (!took_part && !under.carried) return {};
  const bool has_failed = session.status == TxStatus::failed;  // of which the client knows
  if (!under.carried) {
    const Tells tells = has_failed ? Tells::nothing : Tells::later;
    // What another link is at work for may well be the commit: its answer decides.
    if (under.elsewhere) return {tells, Leaves::as_it_is, {}};
    return {tells, Leaves::failed, end_all(false)};
  }
  if (!took_part && under.runs_again && session.status == TxStatus::idle) return {.tells = Tells::once_more};
  Ends ends = end_all(false);
  if (took_part && !under.goes_on && (has_failed || !under.may_commit))
    return {Tells::rolled_back, under.only_ends ? Leaves::idle : Leaves::failed, std::move(ends)};
  const bool unknown = under.may_commit || under.writes;
  return {unknown ? Tells::unknown : Tells::run_it_again, Leaves::idle, std::move(ends)};
}

void TransactionLinks::bind_portal(std::string_view name, const PreparedPtr& statement, NodeId node) {
  if (name.empty()) {
    if (unnamed_.statement != statement) unnamed_.statement = statement;
    unnamed_.node = node;
    return;
  }
  if (!named_) named_ = std::make_unique<Portals>();
  const auto at = named_->find(name);
  if (at != named_->end()) {
    at->second = {statement, node};
  } else if (named_->size() < kMaxPortals) {
    named_->emplace(std::string(name), Portal{statement, node});
  }
}

void TransactionLinks::close_portal(std::string_view name) {
  if (name.empty()) {
    unnamed_ = {};
  } else if (named_) {
    const auto at = named_->find(name);
    if (at != named_->end()) named_->erase(at);
  }
}

const Portal* TransactionLinks::portal(std::string_view name) const {
  if (name.empty()) return unnamed_.node == kNoNode ? nullptr : &unnamed_;
  if (!named_) return nullptr;
  const auto at = named_->find(name);
  return at == named_->end() ? nullptr : &at->second;
}

bool TransactionLinks::has_portals_at(NodeId node) const {
  return named_ && std::any_of(named_->begin(), named_->end(), [node](const auto& p) { return p.second.node == node; });
}

void TransactionLinks::forget_portals() {
  unnamed_ = {};
  named_.reset();
}

void TransactionLinks::forget_portals_at(NodeId node) {
  if (unnamed_.node == node) unnamed_ = {};
  if (named_) std::erase_if(*named_, [node](const auto& entry) { return entry.second.node == node; });
}

}  // namespace herdgate::vsession
