#include "session/unit_writer.h"

#include <algorithm>

#include "base/sqlstate.h"
#include "session/session_log.h"
#include "session/words.h"
#include "wire/frontend.h"

namespace herdgate::session {
namespace {
using backend::Fate;
using backend::Owes;

// Answers of our own, as they go to the client.
constexpr ByteView kParseComplete("1\0\0\0\4", 5), kCloseComplete("3\0\0\0\4", 5);

// COPY FROM STDIN may begin behind this Execute; of a text that we cannot parse we do not know.
bool may_start_copy(const vsession::PreparedPtr& statement) {
  if (!statement || !statement->facts) return false;
  const sql::Kind kind = statement->facts->first().kind;
  return kind == sql::Kind::copy_from || kind == sql::Kind::unparsable;
}

bool may_take_back(sql::Kind kind) {
  return kind == sql::Kind::deallocate || kind == sql::Kind::discard || kind == sql::Kind::reset ||
         kind == sql::Kind::set;
}

// What follows in the unit may be read and planned by other settings than those that the session has now.
bool may_set(const sql::Statement& statement) {
  const auto reads_by = [](const sql::Setting& setting) {
    const auto& names = vsession::kReadConstants;
    return setting.form == sql::SetForm::reset_all ||
           std::find(std::begin(names), std::end(names), setting.name) != std::end(names);
  };
  return statement.sets_unseen || statement.kind == sql::Kind::discard || statement.kind == sql::Kind::execute ||
         std::any_of(statement.settings.begin(), statement.settings.end(), reads_by);
}

// Types that the client leaves to the server it is to be told as they are now: what the link has may be from before DDL
// that we have not seen.
bool all_declared(ByteView types, const vsession::DescribedPtr& there) {
  return !there || there->parameters == types || there->parameters == ByteView("\0\0", 2);
}

// What a server takes in a failed transaction.
bool goes_on_failed(sql::Kind kind) { return ends_transaction(kind) || kind == sql::Kind::rollback_to; }

}  // namespace

UnitWriter::UnitWriter(Session& session, pool::ServerLink& link, bool asks_id)
    : session_(session),
      link_(link),
      raw_(*link.link),
      sent_(session.unit_open()),
      announces_(session.announces()),
      asks_id_(asks_id),
      failed_(session.unit().poison.has_value()) {}  // in an earlier part of the unit: the first error is the one told

UnitWriter::Written UnitWriter::write(const UnitMessages& unit) {
  unit_ = &unit;
  std::vector<std::string>& names = link_.memory.to_close;
  for (; !names.empty() && has_room() && !raw_.ledger().skipping(); names.pop_back()) {
    scratch_.clear();
    wire::put_close(scratch_, 'S', names.back());
    raw_.send(scratch_, Owes::close, Fate::swallow, kNoteReplay);
    sent_ = true;
  }
  for (const UnitMessage& next : unit.list) {
    if (!has_room()) break;  // the rest when some of it has been answered
    written_.bytes += next.whole.size();
    if (next.type == wire::fe::kSync) {
      written_.synced = true;
      if (asks_id_ && !failed_) {
        put_verbatim();
        session_.ask_transaction_id(link_, /*sync=*/false);
      }
      if (!written_.answered_locally) pass(next.whole, Owes::sync);
      continue;
    }
    if (failed_ || raw_.ledger().skipping()) continue;  // as a server does after an error
    if (!message(next)) break;
  }
  put_verbatim();
  return written_;
}

// As it is. What lies behind one another in the unit goes out in one piece.
void UnitWriter::pass(ByteView whole, Owes what, std::uint16_t item) {
  if (verbatim_.empty() || verbatim_.data() + verbatim_.size() != whole.data()) {
    put_verbatim();
    verbatim_ = whole;
  } else {
    verbatim_ = ByteView(verbatim_.data(), verbatim_.size() + whole.size());
  }
  raw_.owe(what, Fate::forward, kNoteClient, item);
}

void UnitWriter::put_verbatim() {
  if (!verbatim_.empty()) raw_.put(std::exchange(verbatim_, {}));
}

bool UnitWriter::message(const UnitMessage& message) {
  switch (message.type) {
    case wire::fe::kParse:
      return parse(message);
    case wire::fe::kBind:
      return bind(message);
    case wire::fe::kDescribe:
      return describe(message);
    case wire::fe::kExecute:
      return execute(message);
    case wire::fe::kClose:
      return close(message);
    default:
      raw().send_unanswered(message.whole);
      return true;  // Flush
  }
}

// A batch that runs one statement over and over needs one place for it.
std::uint16_t UnitWriter::item(const vsession::PreparedPtr& statement) {
  std::vector<vsession::PreparedPtr>& items = session_.unit().items;
  if (!items.empty() && items.back() == statement) return static_cast<std::uint16_t>(items.size() - 1);
  const std::size_t recent = items.size() - std::min(items.size(), kRecentItems);
  for (std::size_t i = items.size(); i > recent; --i) {
    if (items[i - 1] == statement) return static_cast<std::uint16_t>(i - 1);
  }
  items.push_back(statement);
  return static_cast<std::uint16_t>(items.size() - 1);
}

void UnitWriter::log(std::string_view what, std::string_view sql) {
  if (announces_) session_.announce(raw_, what, sql);
}

// An error that we found ourselves. If a server already works for this unit it must fail there too, so that nothing of
// the implicit transaction is committed: a message that is sure to fail is sent, and its error replaced by ours.
bool UnitWriter::fail(const wire::Report& report) {
  failed_ = true;
  const bool in_transaction = session_.vs_.state().tx.status != vsession::TxStatus::idle;
  if (!sent_ && !in_transaction) {
    session_.say_error(report);
    written_.answered_locally = true;
    return true;
  }
  session_.unit().poison = report;
  scratch_.clear();
  // Should a client have prepared a statement of this name: two formats for no parameter are refused all the same.
  constexpr ByteView kTwoFormats("\0\2\0\0\0\0\0\0\0\0", 10);
  wire::put_bind(scratch_, wire::Bind{"", "hg_poison", kTwoFormats});
  raw().send(scratch_, Owes::bind, Fate::swallow, kNotePoison);
  return true;
}

bool UnitWriter::parse(const UnitMessage& message) {
  auto read = wire::parse_parse(message.payload());
  if (!read) return fail(protocol_violation("invalid message format"));
  const sql::ParseOptions options{session_.vs_.standard_conforming_strings(), session_.vs_.ascii_safe_encoding()};
  auto facts = session_.worker_.facts().facts(read->query, options);
  vsession::PreparedPtr before;
  if (read->statement.empty() && !raw_.synced()) before = session_.vs_.find_prepared("");
  auto defined =
      session_.vs_.define(read->statement, read->query, read->types, std::move(facts), session_.results_epoch());
  if (!defined) return name_taken(*read);
  const vsession::PreparedPtr& statement = *defined;
  if (before) session_.unit().replaced.push_back({statement, std::move(before)});
  session_.unit().parsed_bytes += read->query.size();
  session_.note_trace(read->query);
  session_.log_if_unparsable(*statement->facts, read->query);
  log("Parse: ", read->query);
  if (statement->names_prepared) give_own_name(*statement);
  const bool by_others = session_.unit().sets;
  note_planned(*statement, by_others);
  if (read->statement.empty()) {
    note_unnamed(*statement);
    pass(message.whole, Owes::parse, item(statement));
    sent_ = true;
    return true;
  }
  written_.defines = true;
  pool::InternedStatements& interned = link_.memory.interned;
  const bool there = interned.touch(statement->server_name);
  const bool fresh = there && interned.epoch(statement->server_name) == epoch();
  const bool refused = raw_.status() == 'E' && !goes_on_failed(statement->facts->first().kind);
  if (there && (refused || !fresh || by_others || !interned.serves(statement->server_name, SessionId()) ||
                !all_declared(read->types, interned.described(statement->server_name)))) {
    drop(statement->server_name);  // prepared before some DDL: a Parse of now sees the tables of now; or it is to fail
  } else if (there) {
    raw_.owe_local(kParseComplete, kNoteClient, static_cast<std::uint16_t>(item(statement) + 1));
    sent_ = true;
    statement->described = interned.described(statement->server_name);
    if (!statement->described) ask_description(statement);
    return true;
  }
  intern(statement->server_name);
  if (by_others) interned.keep_for(statement->server_name, session_.id_);
  return send_parse(statement);
}

// A server looks at the text first: what it has to say of that comes before the name.
bool UnitWriter::name_taken(const wire::Parse& read) {
  constexpr const char* kRefused = "hg_refused";
  scratch_.clear();
  wire::put_close(scratch_, 'S', kRefused);
  raw().send(scratch_, Owes::close, Fate::swallow, kNotePrepare, item(nullptr));
  scratch_.clear();
  wire::put_parse(scratch_, wire::Parse{kRefused, read.query, read.types});
  raw().send(scratch_, Owes::parse, Fate::swallow, kNotePrepare, item(nullptr));
  sent_ = true;
  wire::Report report;
  report.sqlstate = sqlstate::kDuplicatePreparedStatement;
  report.message = fmt::format("prepared statement \"{}\" already exists", read.statement);
  report.file = "session";
  return fail(report);
}

bool UnitWriter::send_parse(const vsession::PreparedPtr& statement) {
  scratch_.clear();
  wire::put_parse(scratch_, wire::Parse{statement->server_name, statement->query, statement->types});
  raw().send(scratch_, Owes::parse, Fate::forward, kNoteClient, item(statement));
  sent_ = true;
  ask_description(statement);
  return true;
}

// Of what has rows or parameters.
void UnitWriter::ask_description(const vsession::PreparedPtr& statement) {
  const sql::Kind kind = statement->facts->first().kind;
  const bool planned = kind == sql::Kind::select || kind == sql::Kind::insert || kind == sql::Kind::update ||
                       kind == sql::Kind::delete_ || kind == sql::Kind::merge;
  if (!planned || !session_.compares_described()) return;
  scratch_.clear();
  wire::put_describe(scratch_, 'S', statement->server_name);
  raw().send(scratch_, Owes::describe, Fate::swallow, kNoteDescribed, item(statement));
}

std::uint64_t UnitWriter::epoch() const {
  return session_.worker_.shared().epochs.current_at(session_.identity_->epoch_place);
}

void UnitWriter::note_unnamed(const vsession::PreparedStatement& statement) {
  link_.memory.unnamed_owner = session_.id_;
  link_.memory.unnamed_generation = statement.generation;
  link_.memory.unnamed_queries = raw_.queries();
  link_.memory.unnamed_described = nullptr;
}

void UnitWriter::drop(const std::string& name) {
  link_.memory.interned.remove(name);
  close_on_link(name);
}

void UnitWriter::close_on_link(const std::string& name) {
  scratch_.clear();
  wire::put_close(scratch_, 'S', name);
  raw().send(scratch_, Owes::close, Fate::swallow, kNoteReplay);
}

void UnitWriter::intern(const std::string& name) {
  if (std::erase(link_.memory.to_close, name) != 0) close_on_link(name);  // it may be there still
  const auto limit = static_cast<std::size_t>(session_.settings().max_prepared_statements);
  for (const std::string& old : link_.memory.interned.add(name, limit, epoch())) close_on_link(old);
}

// Where it is not, or is to be prepared anew.
void UnitWriter::make_room(const vsession::PreparedStatement& statement) {
  if (statement.name.empty()) return note_unnamed(statement);
  if (link_.memory.interned.touch(statement.server_name)) drop(statement.server_name);
  intern(statement.server_name);
}

// What differs from what the session was told of has been asked about (Session::first_to_describe), or cannot wait for
// that: a server would say the same.
bool UnitWriter::prepare(const vsession::PreparedPtr& statement) {
  if (statement->from_sql) return true;  // bring_up() has seen to it
  if (statement->names_prepared) give_own_name(*statement);
  const bool by_others =
      session_.unit().sets || (statement->read_by != session_.vs_.reading() &&
                               !vsession::same_constants(*statement->read_under, *session_.vs_.parameters()));
  note_planned(*statement, by_others);
  if (!session_.has(link_, *statement)) {
    make_room(*statement);
    parse_as(statement->server_name, statement, statement->types, kNotePrepare, item(statement));
  } else if (session_.runs_otherwise(*statement, link_)) {
    fail(changed_result_type());
    return false;
  }
  if (by_others && !statement->name.empty()) link_.memory.interned.keep_for(statement->server_name, session_.id_);
  return true;
}

// By others than its session has, or had when it was defined: its answers are not those of the session's settings.
void UnitWriter::note_planned(const vsession::PreparedStatement& statement, bool by_others) {
  if (!by_others) return;
  if (statement.name.empty()) {
    session_.unnamed_otherwise_ = statement.generation;
  } else {
    session_.planned_otherwise_ = true;
  }
}

void UnitWriter::describe_ahead(const vsession::PreparedPtr& statement, bool as_told) {
  // What is there may only not have been asked about yet.
  if (as_told || !session_.has(link_, *statement) || session_.runs_otherwise(*statement, link_)) {
    make_room(*statement);
    parse_as(statement->server_name, statement, as_told ? statement->described->parameters : statement->types,
             kNotePrepare, item(statement));
  }
  scratch_.clear();
  wire::put_describe(scratch_, 'S', statement->server_name);
  raw().send(scratch_, Owes::describe, Fate::swallow, kNoteDescribed, item(statement));
  scratch_.clear();
  wire::put_empty(scratch_, wire::fe::kFlush);
  raw().send_unanswered(scratch_);
}

// Under the settings that it was defined under, which are put back. `settings_of`: whose failure one of these is.
void UnitWriter::parse_as(const std::string& name, const vsession::PreparedPtr& statement, ByteView types, Note note,
                          std::uint16_t settings_of) {
  // In a failed transaction nothing can be set, and nothing with constants is parsed.
  const bool in_transaction = session_.vs_.state().tx.status != vsession::TxStatus::idle;
  vsession::ReadAs read;
  if (raw_.status() != 'E') read = read_as(*statement->read_under, *link_.memory.parameters, in_transaction);
  for (const std::string& sql : read.before) set(sql, settings_of);
  scratch_.clear();
  wire::put_parse(scratch_, wire::Parse{name, statement->query, types});
  raw().send(scratch_, Owes::parse, Fate::swallow, note, item(statement));
  for (const std::string& sql : read.after) set(sql, settings_of);
  sent_ = true;
}

// Within the unit, without its unnamed statement and portal. An error is that of the statement it is for.
void UnitWriter::set(const std::string& sql, std::uint16_t of) {
  constexpr const char* kSet = "hg_set";
  const auto put = [&](Owes what) {
    raw().send(scratch_, what, Fate::swallow, kNotePrepare, of);
    scratch_.clear();
  };
  scratch_.clear();
  wire::put_close(scratch_, 'S', kSet);  // an error may have kept it from being closed
  put(Owes::close);
  wire::put_parse(scratch_, wire::Parse{kSet, sql, ByteView("\0\0", 2)});
  put(Owes::parse);
  wire::put_bind(scratch_, wire::Bind{kSet, kSet, ByteView("\0\0\0\0\0\0", 6)});
  put(Owes::bind);
  wire::put_execute(scratch_, kSet, 0);
  put(Owes::execute);
  for (const char what : {'P', 'S'}) {
    wire::put_close(scratch_, what, kSet);
    put(Owes::close);
  }
}

bool UnitWriter::bind(const UnitMessage& message) {
  const bool streamed = session_.work().request.streamed;
  if (message.shape == UnitMessage::Shape::cut && streamed)
    return fail(protocol_violation("names in Bind are too long"));
  if (!message.good()) return fail(protocol_violation("invalid message format"));
  const vsession::PreparedPtr& statement = session_.named_in(message, *unit_);
  if (!statement) return fail(no_such_statement(message.statement));
  if (!prepare(statement)) return true;
  session_.parts_.bind_portal(message.portal, statement, raw_.key().node);
  session_.note_trace(statement->query);
  log("Bind: ", statement->query);
  const std::size_t missing = streamed ? session_.work().request.missing : 0;
  const auto put = [&](Bytes& out) {
    const std::size_t at = out.size();
    wire::put_bind(out, wire::Bind{message.portal, statement->server_name, message.rest()});
    // The length word counts what is still to come.
    if (streamed) store_u32(out.data() + at + 1, static_cast<std::uint32_t>(out.size() - at - 1 + missing));
  };
  raw().send_put(put, Owes::bind, Fate::forward, kNoteClient, item(statement));
  if (streamed) raw().send_unanswered({}, missing);
  sent_ = true;
  return true;
}

bool UnitWriter::describe(const UnitMessage& message) {
  if (!message.good()) return fail(protocol_violation("invalid message format"));
  log("D message", "");
  if (message.what == 'P') {
    pass(message.whole, Owes::describe);
    sent_ = true;
    return true;
  }
  const vsession::PreparedPtr& statement = session_.named_in(message, *unit_);
  if (!statement) return fail(no_such_statement(message.statement));
  if (!prepare(statement)) return true;
  // Few ask for the unnamed statement's description, so it is not asked for with its Parse.
  if (statement->name.empty() && !statement->described) ask_description(statement);
  scratch_.clear();
  wire::put_describe(scratch_, 'S', statement->server_name);
  raw().send(scratch_, Owes::describe, Fate::forward, kNoteClient, item(statement));
  sent_ = true;
  return true;
}

bool UnitWriter::execute(const UnitMessage& message) {
  if (!message.good()) return fail(protocol_violation("invalid message format"));
  const vsession::Portal* portal = session_.parts_.portal(message.portal);
  const vsession::PreparedPtr& statement = portal == nullptr ? Session::may_be_anything() : portal->statement;
  if (portal != nullptr) {
    session_.note_trace(statement->query);
    if (session_.own().log_statement(session_.settings()))
      log_statement(session_.worker_.log(), session_.who_, statement->query);
    log("Execute: ", statement->query);
    if (statement->facts) {
      count_statement(session_.worker_.counters(), raw_.key().node, statement->facts->first().kind);
      session_.worker_.make_way_for(statement->facts->first());
    }
  }
  pass(message.whole, Owes::execute, item(statement));
  sent_ = true;
  if (statement && statement->facts) {
    const sql::Statement& first = statement->facts->first();
    const sql::Statement* does = first.kind == sql::Kind::execute ? session_.prepared_statement(first) : &first;
    if (does != nullptr && may_take_back(does->kind)) takes_back(statement, *does);
    const bool set_in_it = !vsession::same_constants(*session_.vs_.parameters(), *session_.vs_.base_parameters());
    session_.unit().sets |= may_set(first) || (goes_on_failed(first.kind) && set_in_it);
  }
  if (!may_start_copy(statement)) return true;
  // The server would ignore a Sync in copy-in mode, or answer it after an error: it is sent when we know which.
  scratch_.clear();
  wire::put_empty(scratch_, wire::fe::kFlush);
  raw().send_unanswered(scratch_);
  written_.hold = true;
  return false;
}

// SQL in this unit is to find the statement under its client's name.
void UnitWriter::give_own_name(const vsession::PreparedStatement& by) {
  const vsession::PreparedPtr known = session_.wants_own_name(by.facts->first().names_prepared(), link_);
  if (!known) return;
  scratch_.clear();
  wire::put_close(scratch_, 'S', known->name);  // it may be there: that it was refused is only what we believe
  raw().send(scratch_, Owes::close, Fate::swallow, kNotePrepare, item(nullptr));
  parse_as(known->name, known, known->types, kNoteOwnName, item(nullptr));
}

// DEALLOCATE, RESET, SET … TO DEFAULT and DISCARD ALL: what follows in the unit is to find statements gone and the
// session's own start-up values again. Unless the server skips it or fails.
void UnitWriter::takes_back(const vsession::PreparedPtr& by, const sql::Statement& statement) {
  const bool discards = statement.kind == sql::Kind::discard && statement.discard == sql::DiscardTarget::all;
  if (statement.kind == sql::Kind::deallocate) Session::renew_transaction_question(link_);
  if (discards || statement.kind == sql::Kind::deallocate)
    drop_statements(by, statement.name, discards || statement.all);
  const sql::Setting* setting = statement.settings.empty() ? nullptr : &statement.settings.front();
  const bool all = discards || (setting != nullptr && setting->form == sql::SetForm::reset_all);
  const bool one = setting != nullptr && setting->form == sql::SetForm::to_default && !setting->local;
  if (!all && !one) return;
  for (const vsession::Parameter& parameter : session_.vs_.startup_parameters()->all()) {
    if (all || setting->name == parameter.name) set(parameter.sql, item(nullptr));
  }
}

void UnitWriter::drop_statements(const vsession::PreparedPtr& by, const std::string& one, bool all) {
  vsession::VirtualSession& vs = session_.vs_;
  pool::LinkMemory& memory = link_.memory;
  Unit::Dropped dropped{.by = by, .until = vs.generation()};
  if (all) {
    dropped.named.swap(memory.named);
    dropped.interned = memory.interned.take_all();
    memory.forget_statements();
    for (const auto& [name, statement] : vs.prepared()) {
      if (!name.empty()) dropped.closed.push_back(statement);
    }
    vs.drop_named(dropped.until);
  } else if (const vsession::PreparedPtr known = vs.find_prepared(one)) {
    dropped.closed.push_back(known);
    if (auto node = memory.named.extract(known->name)) dropped.named.insert(std::move(node));
    vs.close_prepared(known->name);
  }
  session_.unit().dropped.push_back(std::move(dropped));
}

bool UnitWriter::close(const UnitMessage& message) {
  if (!message.good()) return fail(protocol_violation("invalid message format"));
  if (message.what == 'P') return close_portal(message);
  // At once, since what follows in the unit must not find it; should the server skip it, it is undone.
  const vsession::PreparedPtr statement = session_.vs_.find_prepared(message.statement);
  const auto undo = statement ? static_cast<std::uint16_t>(item(statement) + 1) : std::uint16_t{0};
  auto own = statement ? link_.memory.named.extract(statement->name) : decltype(link_.memory.named)::node_type();
  if (!own.empty() || (statement && statement->from_sql)) {
    pass(message.whole, Owes::close, undo);
    Unit::Dropped& dropped = session_.unit().dropped.emplace_back(Unit::Dropped{.by = statement, .by_close = true});
    if (!own.empty()) dropped.named.insert(std::move(own));
  } else {
    raw_.owe_local(kCloseComplete, kNoteClient, undo);
  }
  session_.vs_.close_prepared(message.statement);
  sent_ = true;
  return true;
}

// Drivers send the Close of a portal that is done with along with the next statement, wherever that goes.
bool UnitWriter::close_portal(const UnitMessage& message) {
  const vsession::Portal* portal = session_.parts_.portal(message.portal);
  const NodeId node = portal == nullptr ? raw_.key().node : portal->node;
  session_.parts_.close_portal(message.portal);
  sent_ = true;
  pool::ServerLink* other = node == raw_.key().node ? nullptr : session_.held(node);
  if (other == nullptr) {
    pass(message.whole, Owes::close);
    return true;
  }
  other->link->send(message.whole, Owes::close, Fate::swallow, kNoteSecondary);
  other->link->send_sync(Fate::swallow, kNoteSecondary);
  other->link->flush();
  raw_.owe_local(kCloseComplete, kNoteClient);
  return true;
}

}  // namespace herdgate::session
