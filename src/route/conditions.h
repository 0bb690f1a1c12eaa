// The conditions that keep a read on the primary, in the order of the manual's conditions. The numbers are those of
// the manual. Internal to this module.
//
// Shape    each gives the rule that decided, or nothing; decide() asks them one after the other.
// Threads  pure.
#pragma once
#include <optional>

#include "route/effects.h"

namespace herdgate::route {

// Tests 1 and 2a: what the session and the settings say about every read.
std::optional<Rule> by_session(const vsession::SessionState& state, const config::Settings& settings);
// Test 2b: a text that is not SELECT-like, or does not begin as one.
std::optional<Rule> by_text(const Input& input, const Effects& effects);
// Test 3, and what binds a transaction to the primary here.
std::optional<Rule> by_transaction(const vsession::SessionState& state, const config::Settings& settings);
// Tests 4 to 9: the names. `detail` gets the name that decided.
std::optional<Rule> by_names(const Input& input, const Effects& effects, std::string& detail);

// A transaction of one snapshot that has begun on a node.
inline bool stays_on_transaction_node(const vsession::SessionState& state) {
  return state.tx.status != vsession::TxStatus::idle && state.tx_node != kNoNode &&
         isolation_in_force(state) >= sql::Isolation::repeatable_read;
}

}  // namespace herdgate::route
