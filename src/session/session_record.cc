// What a statement has done: the virtual session, its links and all who keep definitions learn of it.
#include <algorithm>

#include "session/session.h"
#include "wire/frontend.h"

namespace herdgate::session {
namespace {
using sql::Kind;
using vsession::TxStatus;

std::string_view slice(const sql::Statement& statement, std::string_view text) {
  return statement.length == 0 ? text : text.substr(statement.begin, statement.length);
}

}  // namespace

// One statement of a simple query has ended: the virtual session learns of it.
void Session::note_statement(std::size_t index, bool ok) {
  if (!work().facts || index >= work().facts->statements.size()) return;
  const sql::Statement& statement = work().facts->statements[index];
  if (statement.only_rows()) return note_done(statement, {}, ok, work().facts);
  const auto text = wire::parse_query(ByteView(work().copy).substr(std::min(work().copy.size(), wire::kHeaderBytes)));
  const std::string_view whole = text ? *text : std::string_view();
  // The server keeps the whole text with a prepared statement, and pg_prepared_statements shows it.
  const bool keeps_whole = statement.kind == Kind::prepare && !work().facts->multi();
  const std::string_view part = keeps_whole                                          ? whole
                                : whole.size() >= statement.begin + statement.length ? slice(statement, whole)
                                                                                     : "";
  const vsession::PreparedPtr executed =
      statement.kind == Kind::execute ? vs_.find_prepared(statement.name) : vsession::PreparedPtr();
  note_done(statement, part, ok, work().facts);
  if (ok && executed) executed_done(executed, vsession::VirtualSession::kUntilNow);
}

// What the protocol has prepared may be anything: what SQL's EXECUTE of it has done counts like the statement itself.
void Session::executed_done(const vsession::PreparedPtr& first, std::uint64_t until) {
  constexpr int kDeepest = 4;  // one may execute another
  vsession::PreparedPtr executed = first;
  for (int depth = 0; executed && executed->facts && depth < kDeepest; ++depth) {
    const vsession::PreparedPtr now = std::move(executed);
    const sql::Statement& statement = now->facts->first();
    executed = statement.kind == Kind::execute ? vs_.find_prepared(statement.name) : nullptr;
    note_done(statement, now->query, true, now->facts, until);
  }
}

// The transaction's other links follow the one on which this statement has ended, has begun it anew, has gone back or
// has given it another isolation level.
void Session::others_follow(const sql::Statement& statement, NodeId node, sql::Isolation before) {
  if (statement.transaction.chain && vs_.state().tx.status == TxStatus::open) {
    // One transaction has ended and another has begun: only here, the other links join it when they are needed.
    forget_pending_of_transaction();
    send_ends(parts_.chained(node, work().tag == "COMMIT", vs_.base_parameters()));
  } else if (statement.kind == Kind::rollback_to) {
    forget_pending_of_transaction();  // what had failed is undone
    send_ends(parts_.rolled_back_to(node));
  } else if (ends_transaction(statement.kind)) {
    // A COMMIT that came back as ROLLBACK is told why.
    if (statement.kind == Kind::rollback || work().tag != "ROLLBACK") forget_pending_of_transaction();
    send_ends(parts_.ended(node, work().tag != "ROLLBACK", vs_.link_parameters()));
  } else if (before != vs_.state().tx.isolation && node == view().write_node()) {
    send_ends(parts_.level_set_at(node));               // none of them has written
    if (parts_.has_named_portals()) vs_.stay_on(node);  // a part with one has the old level: nothing else reads there
  }
}

// One statement has ended, whichever protocol brought it.
void Session::note_done(const sql::Statement& statement, std::string_view text, bool ok,
                        const std::shared_ptr<const sql::Facts>& facts, std::uint64_t until) {
  const bool adaptive = settings().disable_load_balance_on_write == config::DisableLoadBalanceOnWrite::dml_adaptive;
  work().chained = statement.transaction.chain;
  if (ok && !adaptive && statement.only_rows()) return vs_.rows_done(work().plan.write);
  const sql::Isolation level = vs_.state().tx.isolation;
  vs_.statement_done({statement, text, work().tag, ok, work().plan.write, adaptive, facts, until});
  if (ok && statement.kind == Kind::commit && work().tag == "COMMIT" && xid_ != 0) told_commit_ = xid_;
  if (ends_transaction(statement.kind) || statement.kind == Kind::unparsable) forget_transaction_id();
  if (!ok) return;
  if (adaptive && vs_.state().tx.status != TxStatus::idle && work().plan.write)
    vs_.note_written(route::adaptive_written(*facts, settings()));
  if (statement.kind == Kind::ddl && !statement.creates_temp) {  // which nobody else sees
    using Change = catalog::Epochs::Change;
    const Change change = catalog::Epochs::change_by(statement.ddl_tag);
    worker_.shared().epochs.raise(identity_->database, change);
    ddl_in_transaction_ = std::max(ddl_in_transaction_.value_or(Change::names), change);
    // A role of a dropped one's name is another role: what logged in before has no rights of it.
    defaults_altered_ |= statement.ddl_tag == "ALTER DATABASE" || statement.ddl_tag == "DROP ROLE" ||
                         (statement.ddl_tag == "ALTER ROLE" && !statement.role_login_only);
  }
  servers_reload_ |= std::any_of(statement.functions.begin(), statement.functions.end(),
                                 [](const sql::Function& f) { return f.name == "pg_reload_conf"; });
  const bool discards = statement.kind == Kind::discard && statement.discard == sql::DiscardTarget::all;
  if (discards && work().link != nullptr) work().link->memory.unseen = false;
  if (work().link != nullptr) others_follow(statement, work().link->link->key().node, level);
  if (work().link == nullptr || until != vsession::VirtualSession::kUntilNow)
    return;  // UnitWriter has told the link's memory
  pool::LinkMemory& memory = work().link->memory;
  if (statement.kind == Kind::prepare) {
    if (const vsession::PreparedPtr made = vs_.find_prepared(statement.name)) memory.named[made->name] = {made->id};
    memory.named_owner = id_;
  } else if (statement.kind == Kind::deallocate && !statement.all) {
    memory.named.erase(statement.name);
  } else if (discards || statement.kind == Kind::deallocate) {
    memory.forget_statements();
  }
}

}  // namespace herdgate::session
