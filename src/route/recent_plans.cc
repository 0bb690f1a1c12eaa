#include "route/recent_plans.h"

#include "route/conditions.h"

namespace herdgate::route {
namespace {

// What is left of a plain case for decide() and needs() to look at; the rest is in the View, the Settings and the
// Facts.
struct Key {
  std::uint64_t text = 0, epoch = 0;
  NodeId lb_node = kNoNode;
  sql::Isolation default_isolation = sql::Isolation::read_committed;
  bool default_read_only = false, wrote_in_session = false, wrote_in_transaction = false;
  bool allow_sql_comments = false, check_unlogged_table = false;
  // Of the open transaction.
  bool open = false, wrote = false, multi_statement_block = false, snapshot_shared = false, read_only = false;
  sql::Isolation isolation = sql::Isolation::read_committed;
  bool operator==(const Key&) const = default;
};

Key key_of(const Asked& asked) {
  const Input& in = asked.input;
  Key key{.text = in.facts.serial,
          .epoch = asked.epoch,
          .lb_node = in.state.lb_node,
          .default_isolation = in.state.default_isolation,
          .default_read_only = in.state.default_read_only,
          .wrote_in_session = in.state.wrote_in_session,
          .wrote_in_transaction = in.state.wrote_in_transaction,
          .allow_sql_comments = in.allow_sql_comments,
          .check_unlogged_table = in.check_unlogged_table};
  const vsession::Transaction& tx = in.state.tx;
  if (tx.status == vsession::TxStatus::idle) return key;
  key.open = true;
  key.wrote = tx.wrote;
  key.multi_statement_block = tx.multi_statement_block;
  key.snapshot_shared = tx.snapshot_shared;
  key.read_only = read_only_in_force(in.state);
  key.isolation = isolation_in_force(in.state);
  return key;
}

// EXECUTE and DEALLOCATE, EXPLAIN EXECUTE, CREATE TABLE AS EXECUTE: what they name changes under the same text.
bool names_something_prepared(const sql::Statement& statement) {
  const sql::Statement* inner = &statement;
  while (inner->inner) inner = inner->inner.get();
  return inner->kind == sql::Kind::execute || inner->kind == sql::Kind::deallocate;
}

// Outside of a transaction nothing of state.tx but its status counts; in one, what is in the key, unless it remembers
// relations or has a node of its own. Chance has no part in it: the node for reads has been chosen and is live, and
// ties among standbys (prefer_lower_delay_standby) are left out. So are patterns over the text, because texts that
// differ in their numbers share their facts.
bool is_plain(const Input& in) {
  const vsession::SessionState& state = in.state;
  const vsession::Transaction& tx = state.tx;
  if (tx.status == vsession::TxStatus::failed || !tx.written.empty() || tx.written_overflow) return false;
  if (in.facts.serial == 0 || state.pins != 0 || in.cut_unit || !state.temp_tables.empty() ||
      state.tx_node != kNoNode || in.prepared != nullptr || in.lb_choice != nullptr)
    return false;
  // What names mean to it counts for it alone, and so does what was not asked because its link is reset anyway.
  if (state.unseen && (links_are_shared(in.settings) || in.settings.memory_cache_enabled)) return false;
  if (in.settings.prefer_lower_delay_standby || !in.settings.patterns->primary_routing_queries.empty()) return false;
  const cluster::Node* node = in.view.find(state.lb_node);
  return node != nullptr && node->live() && !in.facts.multi() && !names_something_prepared(in.facts.first());
}

// Sessions that read from different nodes do not push out each other's plans for one text.
std::size_t slot_of(const Input& in) {
  constexpr std::uint64_t kApart = 61;
  return (in.facts.serial + kApart * static_cast<std::uint64_t>(in.state.lb_node.value)) % RecentPlans::kSlots;
}

}  // namespace

struct RecentPlans::Slot {
  Key key;
  std::string database, role, search_path;
  TimePoint until{};
  Kept kept;
};

RecentPlans::RecentPlans() : slots_(std::make_unique<std::array<Slot, kSlots>>()) {}
RecentPlans::~RecentPlans() = default;

const RecentPlans::Kept* RecentPlans::find(const Asked& asked, TimePoint now) const {
  if (!is_plain(asked.input)) return nullptr;
  const Slot& slot = (*slots_)[slot_of(asked.input)];
  const bool same = slot.key == key_of(asked) && now < slot.until && slot.database == asked.input.database &&
                    slot.role == asked.role && slot.search_path == asked.search_path;
  return same ? &slot.kept : nullptr;
}

void RecentPlans::keep(const Asked& asked, Kept kept, TimePoint until) {
  if (!is_plain(asked.input)) return;
  Slot& slot = (*slots_)[slot_of(asked.input)];
  slot.key = key_of(asked);
  slot.database = asked.input.database;
  slot.role = asked.role;
  slot.search_path = asked.search_path;
  slot.until = until;
  slot.kept = std::move(kept);
  slot.kept.number = ++last_number_;
}

void RecentPlans::clear() {
  for (Slot& slot : *slots_) slot.key.text = 0;
}

}  // namespace herdgate::route
