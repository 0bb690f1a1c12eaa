// BEGIN to COMMIT as a server sees them, savepoints, and what a rollback takes back.
#include <algorithm>

#include "vsession/level.h"
#include "vsession/set_sql.h"

namespace herdgate::vsession {
using sql::Kind;
namespace {
constexpr std::size_t kMaxKeptLevels = 4;  // memory that an idle session keeps for its next transaction
}

void begin_transaction(SessionState& state) {
  Transaction& tx = state.tx;
  // What SET TRANSACTION said earlier in the same text stays; nothing else of `tx` has been touched yet.
  if (!tx.isolation_explicit) tx.isolation = state.default_isolation;
  if (!tx.read_write_explicit) tx.read_only = tx.read_only || state.default_read_only;
  tx.status = TxStatus::open;
  tx.explicit_block = true;
}

void apply_options(Transaction& tx, const sql::TransactionOptions& options) {
  if (options.isolation) {
    tx.isolation = *options.isolation;
    tx.isolation_explicit = true;
  }
  if (options.read_only) {
    tx.read_only = *options.read_only;
    tx.read_write_explicit = !*options.read_only;
  }
  if (options.deferrable) tx.deferrable = *options.deferrable;
  if (!options.snapshot.empty()) tx.snapshot_shared = true;
}

void apply_options(Transaction& tx, const sql::Statement& statement) {
  if (statement.kind == Kind::begin) apply_options(tx, statement.transaction);
  for (const sql::Setting& setting : statement.settings) {
    if (setting.form == sql::SetForm::transaction) apply_options(tx, statement.transaction);
    if (setting.form == sql::SetForm::value) apply_options(tx, options_of(setting));
  }
}

bool sets_options(const sql::Statement& statement) {
  if (statement.kind != Kind::begin && statement.settings.empty()) return false;
  Transaction tx;
  apply_options(tx, statement);
  return tx.isolation_explicit || tx.read_only || tx.read_write_explicit || tx.deferrable;
}

void VirtualSession::transaction_control(const Outcome& outcome) {
  const sql::Statement& s = outcome.statement;
  // COMMIT of a failed transaction succeeds, as a ROLLBACK.
  const bool rolled_back = outcome.tag == "ROLLBACK" || state_.tx.status == TxStatus::failed;
  switch (s.kind) {
    case Kind::begin:
      return begin(outcome);
    case Kind::commit:
      return end_transaction(!rolled_back, s.transaction.chain);
    case Kind::prepare_transaction:
      return end_transaction(!rolled_back, false);
    case Kind::rollback:
      return end_transaction(false, s.transaction.chain);
    case Kind::savepoint:
      return savepoint(s.name);
    case Kind::release:
      return release(s.name);
    case Kind::rollback_to:
      return rollback_to(s.name);
    case Kind::unparsable:
      // The tag of the last statement is all that is known of such a text.
      if (outcome.tag == "ROLLBACK" || outcome.tag == "COMMIT") end_transaction(outcome.tag == "COMMIT", false);
      return;
    default:
      return;
  }
}

// An error ends an implicit transaction at once and leaves an explicit one failed.
void VirtualSession::statement_failed(const Outcome& outcome) {
  const bool was_its_end = sql::ends_transaction(outcome.statement.kind);
  if (!state_.tx.explicit_block || (was_its_end && state_.tx.status == TxStatus::open)) {
    end_transaction(/*commit=*/false, /*chain=*/false);
  } else {
    state_.tx.status = TxStatus::failed;
  }
}

void VirtualSession::begin(const Outcome& outcome) {
  Transaction& tx = state_.tx;
  if (tx.status == TxStatus::idle) {
    ensure_base();
    begin_transaction(state_);
    tx.multi_statement_block = outcome.facts && outcome.facts->multi();
  }
  // Inside a transaction BEGIN is a warning, but its options count.
  apply_options(tx, outcome.statement.transaction);
}

void VirtualSession::end_transaction(bool commit, bool chain) {
  const Transaction before = std::exchange(state_.tx, Transaction{});
  state_.tx_node = kNoNode;
  if (commit) {
    commit_session_state();
  } else if (!levels_.empty()) {
    restore(levels_.front());
  }
  levels_.clear();
  if (levels_.capacity() > kMaxKeptLevels) levels_.shrink_to_fit();
  listen_at_commit_.reset();
  (listening_ ? add_pin(Pin::listen) : remove_pin(Pin::listen));
  if (!chain || before.status == TxStatus::idle) return;
  ensure_base();
  Transaction& tx = state_.tx;
  tx.status = TxStatus::open;
  tx.explicit_block = true;
  tx.multi_statement_block = before.multi_statement_block;
  tx.isolation = before.isolation;
  tx.isolation_explicit = before.isolation_explicit;
  tx.read_only = before.read_only;
  tx.read_write_explicit = before.read_write_explicit;
  tx.deferrable = before.deferrable;
}

void VirtualSession::commit_session_state() {
  if (listen_at_commit_) listening_ = *listen_at_commit_;
  for (const std::string& dropped : std::exchange(temp_until_commit_, {})) temporary_gone(dropped);
  std::erase_if(resets_, [](const ResetName& reset) { return reset.local; });
  assign(after_commit_, after_commit_);
}

void VirtualSession::ensure_base() {
  if (levels_.empty()) levels_.push_back(here(""));
}

VirtualSession::Level VirtualSession::here(std::string name) const {
  const bool temporary = state_.has(Pin::temporary_table);
  return Level{.name = std::move(name),
               .after_commit = after_commit_,
               .current = current_,
               .resets = resets_,
               .wrote = state_.tx.wrote,
               .read_only = state_.tx.read_only,
               .read_write_explicit = state_.tx.read_write_explicit,
               .listen_at_commit = listen_at_commit_,
               .temp_tables = state_.temp_tables,
               .temp_until_commit = temp_until_commit_,
               .hold_cursors = hold_cursors_,
               .temporary_pin = temporary,
               .temporary_unnamed = temporary_unnamed_};
}

bool VirtualSession::has_savepoint(std::string_view name) const {
  return std::any_of(levels_.begin(), levels_.end(),
                     [&](const Level& level) { return !level.name.empty() && level.name == name; });
}

void VirtualSession::savepoint(const std::string& name) {
  ensure_base();
  if (levels_.size() > kMaxSavepoints) {
    add_pin(Pin::unparsed_state);
    return;
  }
  levels_.push_back(here(name));
}

void VirtualSession::release(const std::string& name) {
  const auto same = [&](const Level& level) { return level.name == name; };
  const auto found = std::find_if(levels_.rbegin(), levels_.rend(), same);
  if (found == levels_.rend() || found.base() - levels_.begin() == 1) return;
  // PostgreSQL takes the upper level's mode back even when the subtransaction commits.
  state_.tx.read_only = found->read_only;
  state_.tx.read_write_explicit = found->read_write_explicit;
  levels_.erase(found.base() - 1, levels_.end());
}

void VirtualSession::rollback_to(const std::string& name) {
  const auto same = [&](const Level& level) { return level.name == name; };
  const auto found = std::find_if(levels_.rbegin(), levels_.rend(), same);
  if (found == levels_.rend() || found.base() - levels_.begin() == 1) return;
  levels_.erase(found.base(), levels_.end());
  const Level& level = levels_.back();
  restore(level);
  listen_at_commit_ = level.listen_at_commit;
  if (!listening_ && !listen_at_commit_.value_or(false)) remove_pin(Pin::listen);
  Transaction& tx = state_.tx;
  tx.status = TxStatus::open;
  tx.wrote = level.wrote;
  tx.read_only = level.read_only;
  tx.read_write_explicit = level.read_write_explicit;
}

// Parameters go back; a temporary table dropped since is there again, one created since is gone, and so is a WITH HOLD
// cursor declared since.
void VirtualSession::restore(const Level& level) {
  resets_ = level.resets;
  assign(level.after_commit, level.current);
  state_.temp_tables = level.temp_tables;
  temp_until_commit_ = level.temp_until_commit;
  temporary_unnamed_ = level.temporary_unnamed;
  if (level.temporary_pin) {
    add_pin(Pin::temporary_table);
  } else {
    remove_pin(Pin::temporary_table);
  }
  std::erase_if(hold_cursors_, [&](const std::string& name) {
    return std::find(level.hold_cursors.begin(), level.hold_cursors.end(), name) == level.hold_cursors.end();
  });
  if (hold_cursors_.empty()) remove_pin(Pin::with_hold_cursor);
}

}  // namespace herdgate::vsession
