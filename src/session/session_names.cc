// What the protocol has prepared is on servers under names that sessions share. SQL's EXECUTE and DEALLOCATE name it as
// its client does: a link over which they go gets it under that name too, until it works for somebody else.
#include <algorithm>

#include "session/session.h"
#include "session/unit_writer.h"
#include "wire/frontend.h"

namespace herdgate::session {
namespace {

// What was not dropped is there, instead of what the unit would have put in its place: that is skipped as well.
void has_again(pool::ServerLink* server, const Unit::Dropped& one) {
  if (server == nullptr) return;
  for (const auto& [name, statement] : one.named) server->memory.named.insert_or_assign(name, statement);
  for (const std::string& name : one.interned) server->memory.to_close.push_back(name);
}

}  // namespace

// Null: the link has it, or there is none. SQL's PREPARE is to find its name taken.
vsession::PreparedPtr Session::wants_own_name(std::string_view name, pool::ServerLink& link) {
  const vsession::PreparedPtr& known = vs_.find_prepared(name);
  const bool refuses = link.link->status() == 'E' || unit().items.size() >= Unit::kMaxItems;
  if (!known || known->from_sql || refuses) return nullptr;
  pool::LinkMemory& memory = link.memory;
  const auto [at, fresh] = memory.named.try_emplace(known->name);
  if (!fresh && !at->second.refused) return nullptr;
  at->second = {known->id, /*refused=*/false, known->generation};
  memory.named_owner = id_;
  return known;
}

// Failed, or skipped along with the DEALLOCATE that would have taken it away again.
void Session::not_under_own_name(const backend::Link& link, const backend::Debt& debt) {
  const vsession::PreparedStatement& known = *unit().items[debt.item];
  const auto forget = [&known](std::map<std::string, pool::NamedStatement>& named) {
    const auto at = named.find(known.name);
    if (at != named.end() && at->second.generation == known.generation) named.erase(at);
  };
  for (Unit::Dropped& one : unit().dropped) forget(one.named);
  if (pool::ServerLink* server = of(link)) forget(server->memory.named);
}

// Ahead of a simple query. Should the server refuse it, EXECUTE says why. Not within an unfinished unit: a server that
// refuses it there ignores the query too, and its client would wait for an answer. Nor beyond what a link may owe.
void Session::give_own_names(const sql::Facts& facts, pool::ServerLink& link) {
  if (unit_open()) return;
  backend::Link& raw = *link.link;
  pool::LinkMemory& memory = link.memory;
  for (const sql::Statement& statement : facts.statements) {
    const std::string_view name = statement.names_prepared();
    if (name.empty()) continue;
    if (!raw.ledger().may_owe(UnitWriter::kMostOwed)) return;
    const vsession::PreparedPtr known = wants_own_name(name, link);
    if (!known) continue;
    Bytes parse;
    wire::put_parse(parse, wire::Parse{known->name, known->query, known->types});
    if (raw.ledger().empty()) memory.naming.clear();
    memory.naming.push_back(known->name);
    const bool joined = parts_.part(raw.key().node) != nullptr;
    const vsession::ReadAs read = read_as(*known->read_under, *memory.parameters, joined);
    for (const std::string& sql : read.before) raw.send_query(sql, backend::Fate::swallow, kNoteReplay);
    raw.send(parse, backend::Owes::parse, backend::Fate::swallow, kNoteNamed,
             static_cast<std::uint16_t>(memory.naming.size()));
    raw.send_sync(backend::Fate::swallow, kNoteNamed);
    for (const std::string& sql : read.after) raw.send_query(sql, backend::Fate::swallow, kNoteReplay);
  }
}

// The first of them: answers come in order.
std::optional<Unit::Dropped> Session::take_dropped(const vsession::PreparedPtr& by, bool by_close) {
  std::vector<Unit::Dropped>& dropped = unit().dropped;
  const auto found = std::find_if(dropped.begin(), dropped.end(),
                                  [&](const Unit::Dropped& one) { return one.by == by && one.by_close == by_close; });
  if (found == dropped.end()) return std::nullopt;
  std::optional<Unit::Dropped> one = std::move(*found);
  dropped.erase(found);
  return one;
}

// What an Execute of DEALLOCATE or DISCARD ALL has dropped, by the generation of then. Where it has failed the session
// has all of that again, and so has the link; what is closed there once more is one that nobody relies on.
std::uint64_t Session::unit_dropped(const backend::Link& link, const vsession::PreparedPtr& by, bool ok) {
  const std::optional<Unit::Dropped> one = take_dropped(by, /*by_close=*/false);
  if (!one) return vsession::VirtualSession::kUntilNow;
  if (ok) return one->until;
  for (const vsession::PreparedPtr& closed : one->closed) close_undone(closed);
  has_again(of(link), *one);
  return one->until;
}

// A Close that went to the server, of one that the link had under its client's name.
void Session::unit_close_ended(const backend::Link& link, const vsession::PreparedPtr& closed, bool ok) {
  const std::optional<Unit::Dropped> one = take_dropped(closed, /*by_close=*/true);
  if (ok) return;
  if (one) has_again(of(link), *one);
  close_undone(closed);
}

// Nobody will say whether its unit has dropped anything. The session keeps it, and has it prepared elsewhere.
void Session::dropped_is_back(const pool::ServerLink& lost) {
  if (!run_ || (at_work() != &lost && unit_link() != &lost)) return;
  for (const Unit::Dropped& one : std::exchange(unit().dropped, {})) {
    for (const vsession::PreparedPtr& closed : one.closed) close_undone(closed);
  }
}

}  // namespace herdgate::session
