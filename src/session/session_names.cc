// What the protocol has prepared is on servers under names that sessions share. SQL's EXECUTE and DEALLOCATE name it as
// its client does: a link over which they go gets it under that name too, until it works for somebody else.
#include <algorithm>

#include "session/session.h"
#include "wire/frontend.h"

namespace herdgate::session {

// Null: the link has it, or there is none. SQL's PREPARE is to find its name taken.
vsession::PreparedPtr Session::wants_own_name(std::string_view name, pool::ServerLink& link) {
  const vsession::PreparedPtr& known = vs_.find_prepared(name);
  const bool refuses = link.link->status() == 'E' || unit().items.size() >= Unit::kMaxItems;
  if (!known || known->from_sql || refuses) return nullptr;
  pool::LinkMemory& memory = link.memory;
  const auto [at, fresh] = memory.named.try_emplace(known->name, pool::NamedStatement{known->id});
  if (!fresh && !at->second.refused) return nullptr;
  at->second.refused = false;
  memory.named_owner = id_;
  return known;
}

// Failed, or skipped along with the DEALLOCATE that would have taken it away again.
void Session::not_under_own_name(const backend::Link& link, const backend::Debt& debt) {
  const std::string& name = unit().items[debt.item]->name;
  for (Unit::Dropped& one : unit().dropped) one.named.erase(name);
  if (pool::ServerLink* server = of(link)) server->memory.named.erase(name);
}

// Ahead of a simple query. Should the server refuse it, EXECUTE says why; within an unfinished unit it fails that, as
// it would fail the statement.
void Session::give_own_names(const sql::Facts& facts, pool::ServerLink& link) {
  backend::Link& raw = *link.link;
  pool::LinkMemory& memory = link.memory;
  for (const sql::Statement& statement : facts.statements) {
    const std::string_view name = statement.names_prepared();
    const vsession::PreparedPtr known = name.empty() ? nullptr : wants_own_name(name, link);
    if (!known) continue;
    Bytes parse;
    wire::put_parse(parse, wire::Parse{known->name, known->query, known->types});
    if (unit_open()) {
      unit().items.push_back(known);
      raw.send(parse, backend::Owes::parse, backend::Fate::swallow, kNoteOwnName,
               static_cast<std::uint16_t>(unit().items.size() - 1));
      continue;
    }
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

// What an Execute of DEALLOCATE or DISCARD ALL has dropped, by the generation of then. Where it has failed the session
// has all of that again, and so has the link; what is closed there once more is one that nobody relies on.
std::uint64_t Session::unit_dropped(const backend::Link& link, const vsession::PreparedPtr& by, bool ok) {
  std::vector<Unit::Dropped>& dropped = unit().dropped;
  const auto found =
      std::find_if(dropped.begin(), dropped.end(), [&](const Unit::Dropped& one) { return one.by == by; });
  if (found == dropped.end()) return vsession::VirtualSession::kUntilNow;
  Unit::Dropped one = std::move(*found);
  dropped.erase(found);
  if (ok) return one.until;
  for (const vsession::PreparedPtr& closed : one.closed) close_undone(closed);
  if (pool::ServerLink* server = of(link)) {
    server->memory.named.merge(one.named);
    for (std::string& name : one.interned) server->memory.to_close.push_back(std::move(name));
  }
  return one.until;
}

}  // namespace herdgate::session
