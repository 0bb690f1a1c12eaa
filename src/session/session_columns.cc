// Columns of shared prepared statements: a client that was told them, and does not ask again, must not get rows of
// others.
#include <algorithm>

#include "base/sqlstate.h"
#include "session/session.h"
#include "session/unit_messages.h"
#include "session/unit_writer.h"
#include "wire/backend.h"
#include "wire/frontend.h"

namespace herdgate::session {
using backend::Fate;
using backend::Owes;

namespace {

// Close or Parse of the same name stand before it in its unit: the session has another one by then.
bool replaced_before(const UnitMessages& messages, std::size_t at) {
  const std::string_view name = messages.list[at].statement;
  return std::any_of(
      messages.list.begin(), messages.list.begin() + static_cast<std::ptrdiff_t>(at), [&](const auto& m) {
        if (!m.good()) return false;
        if (m.type == wire::fe::kClose) return m.what == 'S' && m.statement == name;
        const auto parse = m.type == wire::fe::kParse ? wire::parse_parse(m.payload()) : wire::parse_parse({});
        return parse && parse->statement == name;
      });
}

}  // namespace

std::uint64_t Session::results_epoch() const { return worker_.shared().epochs.results_at(identity_->epoch_place); }

// With one link for all its life a session leaves this to the server.
bool Session::compares_columns() const {
  return settings().pool_mode == config::PoolMode::transaction || settings().load_balance_mode;
}

// The columns of a statement have changed by DDL that we have not seen. Who holds it hears so each time, as from a
// server; who parses it from now on gets another one.
void Session::note_stale(const backend::Debt& head) {
  const bool bound = (head.what == Owes::bind || head.what == Owes::describe) && head.item < unit().items.size();
  const vsession::PreparedPtr item = bound ? unit().items[head.item] : nullptr;
  if (item && !item->name.empty() && item->results == results_epoch())
    worker_.shared().epochs.raise(identity_->database, catalog::Epochs::Change::results);
}

// Before a unit is written: what of it was defined before DDL and is not on this link is prepared there and described,
// and the unit waits for the answer. Within an open unit nothing can wait. Each message once: what does not stay on the
// link for want of room there, or has columns that cannot be read, would be asked for without end.
Session::Next Session::check_columns(const UnitMessages& messages, pool::ServerLink& link) {
  const std::uint64_t now = results_epoch();
  if (vs_.oldest_results() == now) return Next::served;
  std::vector<const vsession::PreparedStatement*> asked;
  for (std::size_t& i = work().compared; i < messages.list.size(); ++i) {
    const UnitMessage& message = messages.list[i];
    const bool names = message.type == wire::fe::kBind || (message.type == wire::fe::kDescribe && message.what == 'S');
    if (!names || !message.good()) continue;
    if (!link.link->ledger().may_owe(UnitWriter::kMostOwed)) break;
    const vsession::PreparedPtr& statement = named_in(message, messages);
    if (!statement || statement->results == now || statement->from_sql || statement->name.empty()) continue;
    pool::InternedStatements& interned = link.memory.interned;
    const bool there = interned.touch(statement->server_name) && interned.serves(statement->server_name, id_);
    if (there || link.link->status() == 'E') continue;
    if (std::find(asked.begin(), asked.end(), statement.get()) != asked.end()) continue;
    if (!worker_.shared().columns.find(statement->server_name) || replaced_before(messages, i)) continue;
    if (asked.empty()) run().replay_error.reset();
    prepare_again(link, statement);
    asked.push_back(statement.get());
  }
  if (asked.empty()) return Next::served;
  wait_for_our_own(Phase::replaying, *link.link);
  link.link->flush();
  return Next::waiting;
}

void Session::prepare_again(pool::ServerLink& link, const vsession::PreparedPtr& statement) {
  backend::Link& raw = *link.link;
  const std::string& name = statement->server_name;
  unit().items.push_back(statement);
  const auto item = static_cast<std::uint16_t>(unit().items.size() - 1);
  const bool joined = parts_.part(raw.key().node) != nullptr;
  const vsession::ReadAs read = read_as(*statement->read_under, *link.memory.parameters, joined);
  for (const std::string& sql : read.before) raw.send_query(sql, Fate::swallow, kNoteSameColumns);
  Bytes bytes;
  wire::put_close(bytes, 'S', name);  // one of other columns may have been left there
  raw.send(bytes, Owes::close, Fate::swallow, kNoteSameColumns);
  std::erase(link.memory.to_close, name);
  link.memory.interned.remove(name);
  bytes.clear();
  wire::put_parse(bytes, wire::Parse{name, statement->query, statement->types});
  raw.send(bytes, Owes::parse, Fate::swallow, kNoteSameColumns);
  ask_columns(raw, name, kNoteSameColumns, item);
  raw.send_sync(Fate::swallow, kNoteSameColumns);
  for (const std::string& sql : read.after) raw.send_query(sql, Fate::swallow, kNoteSameColumns);
}

void Session::ask_columns(backend::Link& link, const std::string& name, Note note, std::uint16_t item) {
  Bytes bytes;
  wire::put_describe(bytes, 'S', name);
  link.send(bytes, Owes::describe, Fate::swallow, note, item);
}

void Session::columns_came(backend::Link& link, const backend::Debt& head, const backend::Message& message) {
  if (head.what != Owes::describe) return;  // what goes before it may have columns of its own: SELECT set_config(…)
  const HashKey& key = worker_.shared().hash_key;
  if (message.type == wire::be::kParameterDescription) {
    run().parameters = message.cut ? Hash128() : hash128(key, message.payload());
    return;
  }
  const bool told = message.type == wire::be::kRowDescription || message.type == wire::be::kNoData;
  if (!told || message.cut || head.item >= unit().items.size() || !unit().items[head.item]) return;
  const std::string& name = unit().items[head.item]->server_name;
  const auto columns = columns_of(key, message.payload(), run().parameters);
  if (!columns) return;
  if (head.note == kNoteColumns) return worker_.shared().columns.keep(name, *columns);
  pool::ServerLink* server = of(link);
  if (server == nullptr) return;
  if (const auto known = worker_.shared().columns.find(name); !known || *known == *columns) {
    const auto limit = static_cast<std::size_t>(settings().max_prepared_statements);
    const std::uint64_t epoch = worker_.shared().epochs.current_at(identity_->epoch_place);
    for (const std::string& old : server->memory.interned.add(name, limit, epoch))
      server->memory.to_close.push_back(old);
    return;
  }
  wire::Report report;
  report.sqlstate = sqlstate::kFeatureNotSupported;
  report.message = "cached plan must not change result type";
  report.file = "session";
  report.routine = "RevalidateCachedQuery";  // asyncpg and Rails look for it
  run().replay_error = report;
}

}  // namespace herdgate::session
