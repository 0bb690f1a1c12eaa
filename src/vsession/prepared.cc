// Prepared statements of the session, by protocol (Parse) and by SQL (PREPARE).

#include "vsession/set_sql.h"
#include "vsession/virtual_session.h"

namespace herdgate::vsession {
using sql::Kind;

// A server makes '01/02/03'::date a value when it parses a statement, not when it runs it, and 0.1::float8::text when
// it plans it: float8out, byteaout and quote_ident count as immutable. It fixes the columns by the tables that the path
// finds then. Beside the session's own settings, encoding and backslashes hang on what the servers have reported.
const Hash128& VirtualSession::reading() const {
  if (read_under_ == current_) return reading_;
  Bytes bytes;
  for (const std::string_view name : kReadConstants) append_cstr(bytes, setting_of(name));
  for (const std::string* key : {&search_path_key_, &role_key_}) append_cstr(bytes, *key);
  append_cstr(bytes, canonical_name(setting_of("client_encoding")));
  append_cstr(bytes, conforming_strings_ ? "on" : "off");
  reading_ = hash128(key_, bytes);
  read_under_ = current_;
  return reading_;
}

// The same text means the same statement only where it is read in the same way.
Hash128 VirtualSession::statement_id(std::string_view query, ByteView types, std::uint64_t results) const {
  const Hash128& read_by = reading();
  Bytes bytes;
  bytes.reserve(sizeof read_by + sizeof results + query.size() + 1 + types.size());
  bytes.append(reinterpret_cast<const char*>(&read_by), sizeof read_by);
  bytes.append(reinterpret_cast<const char*>(&results), sizeof results);
  append_cstr(bytes, query);  // neither of these holds a NUL
  bytes.append(types);
  return hash128(key_, bytes);
}

Result<PreparedPtr> VirtualSession::define(std::string_view name, std::string_view query, ByteView types,
                                           std::shared_ptr<const sql::Facts> facts, std::uint64_t results) {
  const bool named = !name.empty();
  if (named && prepared_.contains(name)) return fail(Errc::duplicate_prepared, std::string(name));
  if (named && prepared_.size() >= kMaxPrepared) return fail(Errc::too_many_prepared, std::string(name));
  auto statement = std::make_shared<PreparedStatement>();
  statement->name = name;
  statement->query = query;
  statement->types = types;
  statement->facts = std::move(facts);
  statement->generation = ++generation_;
  statement->names_prepared = statement->facts && !statement->facts->first().names_prepared().empty();
  statement->read_by = reading();
  statement->read_under = current_;
  statement->results = results;
  if (named) {
    statement->id = statement_id(query, types, results);
    statement->server_name = "hg_" + statement->id.hex();
  }
  PreparedPtr made = std::move(statement);
  put_prepared(made);
  return made;
}

const PreparedPtr& VirtualSession::find_prepared(std::string_view name) const {
  static const PreparedPtr kNone;
  const PreparedByName::value_type*& found =
      found_[name.empty() ? 0 : static_cast<unsigned char>(name.back()) % kFound];
  if (found == nullptr || found->first != name) {
    const auto at = prepared_.find(name);
    if (at == prepared_.end()) return kNone;
    found = &*at;
  }
  return found->second;
}

void VirtualSession::close_prepared(std::string_view name) {
  const auto at = prepared_.find(name);
  if (at == prepared_.end()) return;
  if (at->second->from_sql) --prepared_by_sql_;
  found_.fill(nullptr);
  ++prepared_changes_;
  prepared_.erase(at);
}

// What was defined under the name since then has been skipped as well.
void VirtualSession::close_undone(const PreparedPtr& closed) {
  const PreparedPtr& now = find_prepared(closed->name);
  if (!now || now->generation > closed->generation) put_prepared(closed);
}

void VirtualSession::put_prepared(PreparedPtr statement) {
  ++prepared_changes_;
  PreparedPtr& slot = prepared_[statement->name];
  if (slot && slot->from_sql) --prepared_by_sql_;
  if (statement->from_sql) ++prepared_by_sql_;
  slot = std::move(statement);
}

// DEALLOCATE ALL leaves the unnamed statement.
void VirtualSession::drop_named(std::uint64_t until) {
  PreparedByName before;
  before.swap(prepared_);
  found_.fill(nullptr);
  ++prepared_changes_;
  prepared_by_sql_ = 0;
  for (auto& [name, statement] : before) {
    if (name.empty() || statement->generation > until) put_prepared(std::move(statement));
  }
}

// What a Bind or an EXECUTE of it runs. Of no text of its own, so that nothing is kept by it.
std::shared_ptr<const sql::Facts> VirtualSession::facts_of_body(const sql::Statement& prepare) {
  auto body = std::make_shared<sql::Facts>();
  body->statements.push_back(prepare.inner ? *prepare.inner : prepare);
  return body;
}

// None of this is undone by a rollback. DISCARD PLANS drops no statement.
void VirtualSession::note_prepared(const Outcome& outcome) {
  const sql::Statement& s = outcome.statement;
  if (s.kind == Kind::deallocate && !s.all) {
    const PreparedPtr& known = find_prepared(s.name);
    if (known && known->generation <= outcome.until) close_prepared(s.name);
    return;
  }
  const bool discards = s.kind == Kind::discard && s.discard == sql::DiscardTarget::all;
  if (discards || s.kind == Kind::deallocate) return drop_named(outcome.until);
  if (s.kind != Kind::prepare) return;
  if (outcome.text.empty() || prepared_.size() >= kMaxPrepared) return add_pin(Pin::unparsed_state);
  auto statement = std::make_shared<PreparedStatement>();
  statement->name = statement->server_name = s.name;
  statement->query = outcome.text;
  statement->from_sql = true;
  statement->id = statement_id(outcome.text, {}, 0);
  statement->read_by = reading();
  statement->read_under = current_;
  statement->generation = ++generation_;
  statement->facts = facts_of_body(s);
  put_prepared(std::move(statement));
}

}  // namespace herdgate::vsession
