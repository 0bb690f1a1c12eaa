// Simple queries and function calls: understanding, planning, sending.
#include <algorithm>
#include <utility>

#include "base/sqlstate.h"
#include "session/own_commands.h"
#include "session/session.h"
#include "session/session_log.h"
#include "session/words.h"
#include "sql/text_scan.h"
#include "wire/frontend.h"

namespace herdgate::session {
namespace {
using sql::Kind;
using vsession::TxStatus;

// A server in copy-in mode takes nothing but data.
bool may_copy(Kind kind) { return kind == Kind::copy_from || kind == Kind::unparsable; }

bool keeps_text(const sql::Facts& facts) {
  for (const sql::Statement& statement : facts.statements) {
    if (statement.kind == Kind::set || statement.kind == Kind::prepare || !statement.settings.empty()) return true;
  }
  return false;
}

// At most so many octets of it, and whole characters in any encoding: where ASCII octets are nothing else, there is
// none that goes on behind one.
std::string_view beginning_of(std::string_view text, std::size_t most, bool ascii_safe) {
  if (text.size() <= most) return text;
  const auto beyond_ascii = [](char c) { return static_cast<unsigned char>(c) >= 0x80; };
  if (!ascii_safe) {
    const auto begin = text.begin(), end = begin + static_cast<std::ptrdiff_t>(most);
    return {begin, std::find_if(begin, end, beyond_ascii)};
  }
  while (most > 0 && beyond_ascii(text[most - 1]) && beyond_ascii(text[most])) --most;
  return text.substr(0, most);
}

void count(NodeCounters& counters, Kind kind) {
  auto add = [](std::atomic<std::uint64_t>& counter) { counter.fetch_add(1, std::memory_order_relaxed); };
  switch (kind) {
    case Kind::select:
      return add(counters.select);
    case Kind::insert:
      return add(counters.insert);
    case Kind::update:
      return add(counters.update);
    case Kind::delete_:
      return add(counters.del);
    case Kind::ddl:
      return add(counters.ddl);
    default:
      return add(counters.other);
  }
}

}  // namespace

void count_statement(WorkerCounters& counters, NodeId node, Kind kind) {
  if (node.value >= 0 && node.value < kMaxNodes) count(counters.nodes[node.value], kind);
}

// What a simple query says, and the log lines about its coming.
void Session::understand(ByteView input, std::string_view text) {
  note_trace(text);
  log_from_client(input);
  if (own().log_statement(settings())) log_statement(worker_.log(), who_, text);
  const sql::ParseOptions options{vs_.standard_conforming_strings(), vs_.ascii_safe_encoding()};
  work().facts = worker_.facts().facts(text, options);
  for (const sql::Statement& statement : work().facts->statements) work().begins.see(statement.kind);
  log_if_unparsable(*work().facts, text);
  if (!unit_open()) vs_.close_prepared("");  // as a server does, whoever answers; amid a unit it may skip the text
}

// In an encoding whose characters cannot be told from quotes no text is parsed, which is not the text's doing.
void Session::log_if_unparsable(const sql::Facts& facts, std::string_view text) {
  if (facts.first().kind == Kind::unparsable && vs_.ascii_safe_encoding())
    log_unparsable(*this, worker_.log(), who_, text);
}

Session::Next Session::serve_query(ByteView input, std::size_t& used) {
  auto text = wire::parse_query(input.substr(wire::kHeaderBytes));
  if (!text) {
    end(protocol_violation("invalid message format"));
    return Next::stop;
  }
  if (!work().facts) understand(input, *text);
  const std::shared_ptr<const sql::Facts> facts = work().facts;
  if (!work().planned && unit_link() != nullptr) {
    const route::Plan before = work().plan;
    if (const Next next = plan_query(*facts, *text); next != Next::served) return next;
    keep_to_unit(before, true);
  }
  // The transaction this was planned for was lost while it waited.
  if (pending_error_ && !unit_open()) work().planned = false;
  if (!work().planned) {
    Explained ahead;
    std::string_view explained;
    if (OwnCommands::is_explain_route(facts->first(), *text, explained)) {
      if (const Next next = plan_explained(explained, ahead); next != Next::served) return next;
    }
    if (const Next next = delete_from_cache(facts->first()); next != Next::served) return next;
    if (!unit_open() && (answer_locally(*facts, *text) || (cache_ && cache_->answer_query(*facts, *text)))) {
      used += input.size();
      if (phase_ != Phase::idle) return Next::waiting;
      finish_request();
      return Next::served;
    }
    if (phase_ == Phase::asking) return Next::waiting;
    const sql::Statement& first = facts->first();
    const Next next = goes_to_process(*facts) ? plan_terminate(*first.terminate_pid) : plan_query(*facts, *text);
    if (next != Next::served) return next;
  }
  pool::ServerLink* link = nullptr;
  if (const Next next = take_link(link, used); link == nullptr) return next;
  if (cache_ && cache_->waits_for_query(*facts)) return Next::waiting;
  if (!unit_open()) {
    const vsession::ParameterSetPtr instead = replay_refused_ ? without_overwritten(*facts) : nullptr;
    if (const Next next = bring_up(*link, true, instead); next != Next::served) return next;
  }
  if (!vs_.prepared().empty()) give_own_names(*facts, *link);
  // Kept for running it again, and because SET and PREPARE are replayed in the client's own words.
  if (work().copy.empty() && (input.size() <= kMaxUnitBytes || keeps_text(*facts))) work().copy.assign(input);
  if (work().plan.write) send_ends(parts_.writes_at(link->link->key().node));
  if (cache_) cache_->sending_query(*facts, *text, link->link->key().node);
  announce_query(facts->first(), *text, *link);
  note_unseen(*link);
  phase_ = Phase::running;
  work().link = link;
  used += input.size();
  link->link->send(input, backend::Owes::query, backend::Fate::forward, kNoteClient);
  if (asks_id_behind(*facts)) ask_transaction_id(*link, /*sync=*/true);
  link->link->flush();
  return phase_ == Phase::idle ? Next::served : Next::waiting;
}

// Not amid a unit: where the server skips the query, what follows is to be skipped too, up to the client's own Sync.
bool Session::asks_id_behind(const sql::Facts& facts) {
  return work().plan.write && settings().commit_outcome_check && !unit_open() && !facts.multi() &&
         !may_copy(facts.first().kind);
}

void Session::announce_query(const sql::Statement& first, std::string_view text, pool::ServerLink& link) {
  if (announces()) announce(*link.link, "", text);
  count_statement(worker_.counters(), link.link->key().node, first.kind);
  worker_.make_way_for(first);
}

// PGPOOL EXPLAIN ROUTE: planned as if it were to be run. When this has been served once, it is served again at once.
Session::Next Session::plan_explained(std::string_view text, Explained& into) {
  const sql::ParseOptions options{vs_.standard_conforming_strings(), vs_.ascii_safe_encoding()};
  into.facts = worker_.facts().facts(text, options);
  auto& kept = work().seldom().explained;  // the same value when we come back from a look-up
  if (std::find(kept.begin(), kept.end(), into.facts) == kept.end()) kept.push_back(into.facts);
  return decide(*into.facts, text, into);
}

// With memcached, PGPOOL SET CACHE DELETE is answered when that has answered.
Session::Next Session::delete_from_cache(const sql::Statement& command) {
  if (!cache_ || command.kind != Kind::pool_command) return Next::served;
  const std::string_view text = OwnCommands::deleted_from_cache(command);
  return !text.empty() && cache_->waits_for_removal(text) ? Next::waiting : Next::served;
}

// log_per_node_statement and notice_per_node_statement. `what`: "Parse: " and the like; empty for a simple query.
void Session::announce(const backend::Link& link, std::string_view what, std::string_view text) {
  if (own().log_per_node_statement(settings())) log_node_statement(worker_.log(), who_, link, what, text);
  if (!own().notice_per_node_statement(settings()) || !tells_client(Level::notice)) return;
  wire::Report notice;
  notice.severity = "NOTICE";
  notice.sqlstate = sqlstate::kSuccess;
  // A unit may name one long text over and over, and all of it is told before anything goes out.
  const std::size_t waiting = client_.gathered_own() + client_.pending() + run().aside.size();
  if (waiting > kMaxNotices) text = beginning_of(text, kMostOfText, vs_.ascii_safe_encoding());
  notice.message = fmt::format("DB node id: {} statement: {}{}", link.key().node.value, what, text);
  notice.file = "session";
  Bytes message;
  wire::put_notice(message, notice);
  say_aside(message);
}

Session::Next Session::serve_function_call(ByteView input, std::size_t& used) {
  if (!std::exchange(work().logged, true)) log_from_client(input);
  if (pending_error_) {
    used += input.size();
    fail_request(std::exchange(pending_error_, nullptr)->report);
    return Next::served;
  }
  const NodeId begun = transaction_node();
  work().plan.node = begun != kNoNode ? begun : view().write_node();
  work().plan.write = true;
  pool::ServerLink* link = nullptr;
  if (const Next next = take_link(link, used); link == nullptr) return next;
  if (cache_ && cache_->waits_for_unknown()) return Next::waiting;
  if (!unit_open()) {
    if (const Next next = bring_up(*link, true); next != Next::served) return next;
  }
  send_ends(parts_.writes_at(link->link->key().node));
  if (cache_) cache_->sending_unknown();
  work().plan.opaque = work().plan.unseen = true;
  note_unseen(*link);
  phase_ = Phase::running;
  work().link = link;
  used += input.size();
  link->link->send(input, backend::Owes::function_call, backend::Fate::forward, kNoteClient);
  link->link->flush();
  return Next::waiting;
}

void Session::forget_pending_of_transaction() {
  if (pending_error_ && pending_error_->of_transaction) pending_error_.reset();
}

// A pool that tries a connection by an empty text, or cleans it by ROLLBACK, would keep the error to itself. Behind
// BEGIN the statement hears it that would have run: its transaction has failed, as its driver knows.
bool Session::hears_of_loss(Kind kind) const {
  if (kind == Kind::pool_command) return false;
  if (pending_error_->had_failed) return kind == Kind::rollback_to;
  return pending_error_->of_transaction || (kind != Kind::empty && kind != Kind::rollback && kind != Kind::begin);
}

// Empty texts, own commands, DEALLOCATE of what the session has, statements in a failed transaction, and a
// transaction's beginning and end when no server has heard of it yet.
bool Session::answer_locally(const sql::Facts& facts, std::string_view text) {
  const sql::Statement& first = facts.first();
  Bytes& out = client_.own();
  if (first.kind == Kind::rollback) forget_pending_of_transaction();
  if (pending_error_ && hears_of_loss(first.kind)) {
    work().ends_transaction = ends_transaction(first.kind);
    fail_request(std::exchange(pending_error_, nullptr)->report);
    return true;
  }
  if (first.kind == Kind::empty) {
    wire::put_empty_query(out);
    client_.added_own();
    say_ready();
    return true;
  }
  if (first.kind == Kind::pool_command && !facts.multi()) {
    OwnCommands(*this).run(first, text);
    return true;
  }
  const TxStatus status = vs_.state().tx.status;
  const bool knows = first.kind == Kind::rollback_to && vs_.has_savepoint(first.name);
  // A server parses first: of a text that our grammar does not take it has the last word.
  const bool is_refused = status == TxStatus::failed && first.kind != Kind::unparsable;
  if (is_refused && !ends_transaction(first.kind) && !knows) {
    // Of a text with several statements the first one fails, and the rest is not looked at.
    say_error(first.kind == Kind::rollback_to ? no_such_savepoint(first.name) : in_failed_transaction(text));
    say_ready();
    return true;
  }
  if (facts.multi()) return false;
  if (first.kind == Kind::deallocate && !first.all && vs_.find_prepared(first.name)) {
    vs_.close_prepared(first.name);  // links that have it drop it before they are used again
    wire::put_command_complete(out, "DEALLOCATE");
    client_.added_own();
    say_ready();
    return true;
  }
  if (needs_server(first.kind)) return false;
  wire::put_command_complete(out, begin_or_end_here(first, text, work().facts));
  client_.added_own();
  say_ready();
  return true;
}

// client_min_messages: whether messages of ours of this level go to the client.
bool Session::tells_client(Level level) const {
  return passes_client_threshold(level, own().client_min_messages(settings()));
}

// pg_terminate_backend(constant) goes to the node whose process it names; which one that is the workers' pools know.
bool Session::goes_to_process(const sql::Facts& facts) const {
  return !facts.multi() && facts.first().terminate_pid &&
         settings().backend_clustering_mode != config::ClusteringMode::raw;
}

route::Plan Session::plan_to_process(int pid, const report::Server& server) {
  route::Plan plan{.node = view().write_node(), .rule = route::Rule::process_node};
  for (const report::LinkRow& link : server.links) {
    if (link.backend_pid == pid) plan.node = link.node;
  }
  // At a standby nothing is written, and a snapshot that is elsewhere stays.
  const NodeId begun = transaction_node();
  const bool here = begun == kNoNode || begun == plan.node;
  plan.write = here && plan.node == view().write_node();
  return plan;
}

Session::Next Session::plan_terminate(int pid) {
  ask_workers([this, pid](const report::Server& server) {
    work().plan = plan_to_process(pid, server);
    work().planned = true;
  });
  return Next::waiting;
}

// Has all workers tell of their sessions and links; `then` is called only if the session still waits for that.
void Session::ask_workers(std::function<void(const report::Server&)> then) {
  phase_ = Phase::running;
  worker_.collect([&worker = worker_, id = id_, then = std::move(then)](const report::Server& server) {
    Session* session = worker.find(id);
    if (session == nullptr || session->phase_ != Phase::running) return;
    session->phase_ = Phase::idle;
    then(server);
    session->go_on();
  });
}

}  // namespace herdgate::session
