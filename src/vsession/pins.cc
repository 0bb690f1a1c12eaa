// State that no replay can carry to another link: it ties the session to the one it is on.
#include <algorithm>

#include "vsession/level.h"
#include "vsession/set_sql.h"

namespace herdgate::vsession {
using sql::Kind;
namespace {

bool of_the_system(const sql::Function& function) { return function.schema.empty() || function.schema == "pg_catalog"; }

bool locks_for_the_session(std::string_view name) {
  return name == "pg_advisory_lock" || name == "pg_advisory_lock_shared" || name == "pg_try_advisory_lock" ||
         name == "pg_try_advisory_lock_shared";
}

// Functions in these are only written down, not called.
bool calls_nothing(const sql::Statement& s) {
  return s.kind == Kind::prepare || (s.kind == Kind::explain && !s.explain_analyze) || (s.kind == Kind::ddl && !s.into);
}

bool creates_where_path_says(const sql::Statement& s) {
  return s.into || (s.kind == Kind::ddl && s.ddl_tag.starts_with("CREATE"));
}

// SELECT pg_advisory_unlock_all() and nothing else, which gave its one row.
bool is_plain_call(const VirtualSession::Outcome& outcome) {
  const sql::Statement& s = outcome.statement;
  return s.kind == Kind::select && s.relations.empty() && s.functions.size() == 1 && outcome.tag == "SELECT 1";
}

}  // namespace

void VirtualSession::note_pins(const Outcome& outcome) {
  const sql::Statement& s = outcome.statement;
  if (!s.functions.empty() && !calls_nothing(s)) note_functions(outcome);
  if (!outcome.ok) return;
  const bool not_looked_into = s.kind == Kind::unparsable || (s.too_deep && !s.leaves_nothing);
  if (not_looked_into || s.writes_settings()) add_pin(Pin::unparsed_state);
  switch (s.kind) {
    case Kind::listen:
    case Kind::unlisten:
      return note_listen(s);
    case Kind::load:
      return add_pin(Pin::load);
    case Kind::declare_cursor:
    case Kind::close_cursor:
      return note_hold_cursor(s);
    case Kind::discard:
      return note_discard(s.discard);
    case Kind::prepare:
      return;
    default:
      break;
  }
  if (s.creates_temp) note_temporary(s);
  if (creates_where_path_says(s) && path_names_temp()) {
    add_pin(Pin::temporary_table);  // maybe there: what else is in the path may not exist
    temporary_unnamed_ = true;
  }
  if (s.drops_table) note_dropped(s);
  if (s.kind == Kind::ddl && !state_.temp_tables.empty() && s.ddl_tag == "ALTER TABLE") temporary_unnamed_ = true;
}

// A session-level advisory lock stays even when the statement that took it fails.
void VirtualSession::note_functions(const Outcome& outcome) {
  if (outcome.ok && outcome.statement.sets_unseen) add_pin(Pin::unparsed_state);
  for (const sql::Function& function : outcome.statement.functions) {
    if (!of_the_system(function)) continue;
    if (locks_for_the_session(function.name)) add_pin(Pin::advisory_lock);
    if (!outcome.ok) continue;
    if (function.name == "pg_advisory_unlock_all" && !function.by_dot && is_plain_call(outcome))
      remove_pin(Pin::advisory_lock);
    if (function.name == "pg_export_snapshot") {
      ensure_base();
      state_.tx.snapshot_shared = true;
    }
  }
}

void VirtualSession::note_temporary(const sql::Statement& statement) {
  add_pin(Pin::temporary_table);
  // Only DROP TABLE is followed: what is dropped otherwise stays pinned until DISCARD.
  if (statement.kind == Kind::ddl && !statement.ddl_tag.starts_with("CREATE TABLE")) temporary_unnamed_ = true;
  if (statement.ddl_tag == "CREATE STATISTICS") return;  // written is the table that it describes
  std::vector<std::string>& names = state_.temp_tables;
  for (const sql::Relation& relation : statement.written) {
    // IF NOT EXISTS leaves one that is there as it was made: in doubt it stays.
    const bool there = std::find(names.begin(), names.end(), relation.name) != names.end();
    if (!statement.temp_until_commit) std::erase(temp_until_commit_, relation.name);
    if (there) continue;
    if (statement.temp_until_commit) temp_until_commit_.push_back(relation.name);
    if (names.size() == kMaxTempTables) {
      temporary_unnamed_ = true;
      return;
    }
    names.push_back(relation.name);
  }
}

void VirtualSession::note_dropped(const sql::Statement& statement) {
  if (state_.temp_tables.empty()) return;
  ensure_base();
  // Where pg_temp is searched later than usual, a bare name may mean another table.
  const bool temporary_first = !path_names_temp();
  for (const sql::Relation& relation : statement.written) {
    if (relation.schema == "pg_temp" || (relation.schema.empty() && temporary_first)) temporary_gone(relation.name);
  }
}

void VirtualSession::temporary_gone(const std::string& name) {
  std::erase(state_.temp_tables, name);
  if (state_.temp_tables.empty() && !temporary_unnamed_) remove_pin(Pin::temporary_table);
}

void VirtualSession::note_listen(const sql::Statement& statement) {
  if (statement.kind == Kind::listen) {
    listen_at_commit_ = true;
    add_pin(Pin::listen);
  } else if (statement.all) {
    listen_at_commit_ = false;
  }
}

void VirtualSession::note_hold_cursor(const sql::Statement& statement) {
  ensure_base();
  if (statement.kind == Kind::declare_cursor) {
    if (!statement.with_hold) return;
    add_pin(hold_cursors_.size() < kMaxHoldCursors ? Pin::with_hold_cursor : Pin::unparsed_state);
    if (hold_cursors_.size() < kMaxHoldCursors) hold_cursors_.push_back(statement.name);
    return;
  }
  if (statement.all) hold_cursors_.clear();
  std::erase(hold_cursors_, statement.name);
  if (hold_cursors_.empty()) remove_pin(Pin::with_hold_cursor);
}

void VirtualSession::note_discard(sql::DiscardTarget target) {
  ensure_base();
  if (target == sql::DiscardTarget::temp) return forget_temporary();
  if (target != sql::DiscardTarget::all) return;
  const bool loaded = state_.has(Pin::load);
  clear_pins();
  if (loaded) add_pin(Pin::load);  // a library stays loaded whatever is discarded
  reset_all(/*identity_too=*/true);
}

void VirtualSession::forget_temporary() {
  remove_pin(Pin::temporary_table);
  state_.temp_tables.clear();
  temp_until_commit_.clear();
  temporary_unnamed_ = false;
}

}  // namespace herdgate::vsession
