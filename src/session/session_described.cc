// Prepared statements are shared by sessions and come to be on many links. What a session was told of one, the types of
// its parameters and its columns, it goes by from then on: a link that takes the statement for another one, because DDL
// that we have not seen lies between, must not run it for that session unawares.
#include <algorithm>

#include "session/described.h"
#include "session/session.h"
#include "session/unit_messages.h"
#include "session/unit_writer.h"
#include "wire/backend.h"
#include "wire/frontend.h"

namespace herdgate::session {
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

bool same(const vsession::DescribedPtr& one, const vsession::DescribedPtr& other) {
  return one == other || (one && other && *one == *other);
}

const vsession::DescribedPtr& described_on(pool::ServerLink& link, const vsession::PreparedStatement& statement) {
  return statement.name.empty() ? link.memory.unnamed_described : link.memory.interned.described(statement.server_name);
}

}  // namespace

std::uint64_t Session::results_epoch() const { return worker_.shared().epochs.results_at(identity_->epoch_place); }

// With one link for all its life a session leaves this to the server.
bool Session::compares_described() const {
  return settings().pool_mode == config::PoolMode::transaction || settings().load_balance_mode;
}

// A Bind or Describe was refused because of types: by DDL that we have not seen, what the link has is not what it was.
// Who holds the statement hears so each time, as from a server; who parses it from now on gets another one. A value
// that cannot be read may have been given for what the statement takes now: then the next Parse on this link reads it
// anew.
void Session::note_refused(const backend::Link& link, const backend::Debt& head, std::string_view state) {
  const std::string_view of = state.substr(0, 2);
  const bool changed = of == "42" || of == "0A";
  if ((!changed && of != "22") || !forget_interned(link, head)) return;
  if (changed) note_changed(*unit().items[head.item]);
}

// Once for all statements of now. Not where a temporary table may be the reason.
void Session::note_changed(const vsession::PreparedStatement& statement) {
  if (!statement.name.empty() && statement.results == results_epoch() && !has_own_names())
    worker_.shared().epochs.raise(identity_->database, catalog::Epochs::Change::results);
}

// It is there and may be run for this session; marks it as used.
bool Session::has(pool::ServerLink& link, const vsession::PreparedStatement& statement) const {
  pool::LinkMemory& memory = link.memory;
  if (statement.name.empty())
    return memory.unnamed_owner == id_ && memory.unnamed_generation == statement.generation &&
           memory.unnamed_queries == link.link->queries();
  return memory.interned.touch(statement.server_name) && memory.interned.serves(statement.server_name, id_);
}

// The link is known to take it for something else than the session was told of.
bool Session::runs_otherwise(const vsession::PreparedStatement& statement, pool::ServerLink& link) const {
  const vsession::DescribedPtr& there = described_on(link, statement);
  return there && statement.described && !same(there, statement.described);
}

// Of the messages up to it, none runs a statement by what its session was not told. Each statement is asked about once
// as it was defined and once by the types that its session was told of: whatever comes of it, it is written then.
std::size_t Session::first_to_describe(const UnitMessages& messages, pool::ServerLink& link) {
  if (!compares_described() || link.link->ledger().skipping()) return messages.list.size();
  for (std::size_t i = 0; i < messages.list.size(); ++i) {
    const UnitMessage& message = messages.list[i];
    const bool names = message.type == wire::fe::kBind || (message.type == wire::fe::kDescribe && message.what == 'S');
    if (!names || !message.good()) continue;
    const vsession::PreparedPtr& statement = named_in(message, messages);
    if (!statement || !statement->described || statement->from_sql) continue;
    const vsession::DescribedPtr& there = described_on(link, *statement);
    if (has(link, *statement) && same(there, statement->described)) continue;
    const bool asked = unit().asked == statement->generation;
    const bool by_others = there && there->parameters != statement->described->parameters;
    if (asked && (unit().asked_as_told || !by_others)) continue;
    if (!replaced_before(messages, i)) return i;
  }
  return messages.list.size();
}

// The statement of the first message: prepared on the link and described, within the unit, so that its waits are the
// client's and an error is what the client's own Bind would have met. The rest follows when the answer is there.
void Session::describe_ahead(const vsession::PreparedPtr& statement, pool::ServerLink& link) {
  Unit& now = unit();
  now.asked_as_told = now.asked == statement->generation;
  now.asked = statement->generation;
  UnitWriter(*this, link, /*asks_id=*/false).describe_ahead(statement, now.asked_as_told);
  now.ahead = now.ahead || !now.open;
  now.open = now.hold = true;
  now.link = work().link = &link;
  phase_ = Phase::running;
  link.link->flush();
}

// The link is lost, and the unit has not begun yet: it is served anew.
void Session::end_ahead() {
  if (!run_ || !run_->unit.ahead) return;
  Unit& now = run_->unit;
  now.ahead = now.open = now.hold = now.failed = false;
  now.link = run_->work.link = nullptr;
  now.asked = 0;
  phase_ = Phase::idle;
}

// ParameterDescription, then RowDescription or NoData.
void Session::description_came(backend::Link& link, const backend::Debt& head, const backend::Message& message) {
  if (message.type == wire::be::kParameterDescription) {
    run().parameters.reset();
    if (!message.cut) run().parameters.emplace(message.payload());
    return;
  }
  const std::optional<Bytes> parameters = std::exchange(run().parameters, std::nullopt);
  if (!parameters || message.cut || head.item >= unit().items.size() || !unit().items[head.item]) return;
  pool::ServerLink* server = of(link);
  const vsession::PreparedStatement& statement = *unit().items[head.item];
  if (server == nullptr || statement.from_sql) return;
  const auto as = described_as(worker_.shared().hash_key, *parameters, message.payload());
  if (!as) return;
  if (!statement.described) statement.described = as;
  if (!statement.name.empty()) {
    server->memory.interned.note_described(statement.server_name, as);
  } else if (has(*server, statement)) {
    server->memory.unnamed_described = as;
  }
  if (!same(as, statement.described)) note_changed(statement);
}

}  // namespace herdgate::session
