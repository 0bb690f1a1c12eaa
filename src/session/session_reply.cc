// What comes back from servers: to the client, to the virtual session, or nowhere.
#include "base/sqlstate.h"
#include "session/session.h"
#include "session/session_log.h"
#include "session/words.h"

namespace herdgate::session {
namespace {
using backend::Debt;
using backend::Ended;
using backend::Message;
using backend::Owes;
using vsession::TxStatus;

bool is_head(char type) {
  using namespace wire::be;
  return type == kParseComplete || type == kBindComplete || type == kCloseComplete || type == kParameterDescription ||
         type == kRowDescription || type == kNoData;
}

// What a standby says when replay got in the way or a write came to it by mistake: the primary can do better.
bool primary_can_do_better(std::string_view state, std::string_view message) {
  return state == sqlstate::kReadOnlyTransaction ||
         (state == sqlstate::kObjectNotInPrerequisiteState && message == "recovery is in progress") ||
         (state == sqlstate::kSerializationFailure && message.find("conflict with recovery") != std::string_view::npos);
}

Result<std::vector<std::vector<std::string>>> text_rows(ByteView messages) {
  HG_TRY(auto rows, backend::read_rows(messages));
  std::vector<std::vector<std::string>> text;
  for (auto& row : rows) {
    auto& columns = text.emplace_back();
    for (auto& column : row) columns.push_back(column ? std::move(*column) : std::string());
  }
  return text;
}

// A PREPARE was refused; 0: it was a DEALLOCATE.
void note_refused(pool::LinkMemory& memory, std::size_t item) {
  if (item == 0 || item > memory.naming.size()) return;
  const auto at = memory.named.find(memory.naming[item - 1]);
  if (at != memory.named.end()) at->second.refused = true;
}

// Of the words that a server gave: severity, SQLSTATE and texts.
wire::Report copy_of(const wire::ServerReport& report) {
  wire::Report own;
  own.severity = std::string(report.severity);
  own.sqlstate = std::string(report.sqlstate);
  own.message = std::string(report.message);
  own.detail = std::string(report.detail);
  own.hint = std::string(report.hint);
  return own;
}

}  // namespace

// log_backend_messages.
void Session::log_backend_message(const backend::Link& link, char type) {
  const auto mode = own_.log_backend_messages(settings());
  if (mode == config::LogBackendMessages::none) return;
  if (!message_log_) message_log_ = std::make_unique<BackendMessageLog>();
  message_log_->message(worker_.log(), who_, link.key().node.value, type, mode == config::LogBackendMessages::terse);
}

void Session::on_rows(backend::Link& link, const Debt& head, ByteView bytes, bool stable) {
  if (head.note == kNoteCatalog) {
    if (lookup_rows_.size() + bytes.size() > backend::Client::kMaxResultBytes) {
      lookup_failed_ = true;
    } else {
      lookup_rows_.append(bytes);
    }
    return;
  }
  if (head.fate != backend::Fate::forward) return;
  if (own_.log_backend_messages(settings()) != config::LogBackendMessages::none) log_rows(link, bytes);
  work_.forwarded = true;
  client_.add(bytes, stable);
}

// Whole rows of a run, one by one; the rest of a row that was cut is not a message of its own.
void Session::log_rows(const backend::Link& link, ByteView bytes) {
  while (bytes.size() >= wire::kHeaderBytes && (bytes[0] == wire::be::kDataRow || bytes[0] == wire::be::kCopyData)) {
    log_backend_message(link, bytes[0]);
    const std::size_t total = load_u32(bytes.data() + 1) + 1;
    if (total >= bytes.size()) return;
    bytes.remove_prefix(total);
  }
}

void Session::on_reply(backend::Link& link, const Debt& head, const Message& message, bool) {
  using namespace wire::be;
  if (head.fate == backend::Fate::forward) {
    log_backend_message(link, message.type);
    if (message.type == kReady && message_log_) message_log_->flush(worker_.log(), who_);
  }
  if (message.type == kError) return reply_error(link, head, message);
  if (head.note != kNoteClient) return;
  switch (message.type) {
    case kReady:
      if (pool::ServerLink* server = of(link)) reply_ready(*server, message);
      return;
    case kCommandComplete: {
      auto tag = wire::parse_command_tag(message.payload());
      if (tag) work_.tag.assign(*tag);
      if (head.what == Owes::query) note_statement(work_.statement++, true);
      break;
    }
    case kEmptyQuery:
      ++work_.statement;
      break;
    case kCopyIn:
      work_.copy_over = false;
      break;
    default:
      break;
  }
  if (head.fate != backend::Fate::forward) return;
  if (is_head(message.type)) {
    if (!forward_head()) return;
  } else {
    work_.forwarded = true;
  }
  client_.add(message.bytes, message.stable);
}

// What precedes the rows would come twice when a request is run again: the client gets it once.
bool Session::forward_head() {
  ++work_.heads;
  if (known_heads_ == 0) return true;
  --known_heads_;
  return false;
}

void Session::reply_error(const backend::Link& link, const Debt& head, const Message& message) {
  auto report = wire::parse_report(message.payload());
  if (!report) return;
  const bool last_words = report->severity == "FATAL" || report->severity == "PANIC";
  if (last_words) {  // the link is about to be lost; on_lost() finds the right words for the client
    server_farewell_ = report->message;
    return;
  }
  switch (head.note) {
    case kNoteCatalog:
      lookup_failed_ = true;
      return;
    case kNoteNamed:
      named_error_ = copy_of(*report);
      if (pool::ServerLink* server = of(link)) note_refused(server->memory, head.item);
      return;
    case kNoteReplay:
    case kNoteAcknowledged: {
      replay_error_ = copy_of(*report);
      if (pool::ServerLink* server = of(link)) server->retire = true;  // a link in doubt is not used again
      return;
    }
    case kNoteSecondary:
      return;
    case kNotePoison:
      if (poison_) wire::put_error(client_.own(), *poison_);
      client_.added_own();
      poison_.reset();
      work_.failed = true;
      return;
    default:
      break;
  }
  const bool can_rerun = work_.plan.rerunnable && !work_.forwarded && !work_.copy.empty() && reruns_ < kMaxReruns &&
                         vs_.state().tx.status == TxStatus::idle;
  // READ COMMITTED: every statement has a snapshot of its own, so the primary may run this one in its own part of the
  // transaction; the standby's part is given up.
  const bool can_move = vs_.state().tx.status == TxStatus::open && !work_.plan.write && !work_.forwarded &&
                        !work_.copy.empty() && reruns_ < kMaxReruns &&
                        vs_.state().tx.isolation <= sql::Isolation::read_committed;
  const bool misses = missing_named(link, report->sqlstate);
  if ((can_rerun || can_move) && link.key().node != view().write_node() &&
      (misses || primary_can_do_better(report->sqlstate, report->message))) {
    work_.rerun = work_.on_primary = true;
    return;
  }
  if (own_.log_per_node_statement(settings())) log_backend_error(worker_.log(), who_, link, "", report->message);
  if (pool::ServerLink* server = of(link)) {
    if (report->message.find("cached plan must not change result type") != std::string_view::npos)
      forget_plans(*server);
  }
  NodeCounters& counters = worker_.counters().nodes[link.key().node.value];
  counters.error.fetch_add(1, std::memory_order_relaxed);
  work_.failed = true;
  work_.forwarded = true;
  if (head.what == Owes::query) note_statement(work_.statement, false);
  if (misses && named_error_) {
    say_error(*named_error_);
  } else {
    client_.add(message.bytes, message.stable);
  }
}

// The session has a statement of that name and this link has not, because its PREPARE was refused when it was repeated
// here, which has failed the transaction if there is one.
bool Session::missing_named(const backend::Link& link, std::string_view state) {
  const bool failed_by_us = state == sqlstate::kInFailedTransaction && named_error_;
  if ((state != sqlstate::kInvalidStatementName && !failed_by_us) || work_.executed.empty()) return false;
  const vsession::PreparedPtr known = vs_.find_prepared(work_.executed);
  pool::ServerLink* server = of(link);
  if (!known || !known->from_sql || server == nullptr) return false;
  const auto at = server->memory.named.find(work_.executed);
  if (at == server->memory.named.end()) return false;
  at->second.refused = true;
  return true;
}

// A plan on this link has become invalid: the statements of this unit are closed there, so that the client's new Parse
// makes new ones.
void Session::forget_plans(pool::ServerLink& link) {
  for (const vsession::PreparedPtr& item : items_) {
    if (!item || item->from_sql || item->name.empty() || !link.memory.interned.touch(item->server_name)) continue;
    link.memory.interned.remove(item->server_name);
    link.memory.to_close.push_back(item->server_name);
  }
}

void Session::reply_ready(pool::ServerLink& link, const Message& message) {
  const auto status = static_cast<TxStatus>(link.link->status());
  if (work_.rerun) {
    if (link.memory.at_begin == nullptr) return;
    link.link->send_query("ROLLBACK", backend::Fate::swallow, kNoteSecondary);
    link.link->flush();
    link.memory.parameters = link.memory.at_begin;
    link.memory.at_begin = nullptr;
    return;
  }
  vs_.ready(status);
  // A reader's link at I inside the session's own transaction cannot be: its BEGIN went ahead of the statement.
  if (status == TxStatus::idle) {
    const bool committed = work_.tag != "ROLLBACK" && !work_.failed;
    end_secondary(committed);
    link.memory.at_begin = nullptr;
    if (std::exchange(ddl_in_transaction_, false)) worker_.shared().epochs.raise(identity_.database);
  } else if (link.memory.at_begin == nullptr) {
    link.memory.at_begin = link.memory.parameters;
  }
  link.memory.parameters = vs_.link_parameters();
  if (status != TxStatus::idle) {
    link.memory.at_commit = vs_.session_parameters();
    // A RESET within the transaction: what a commit will leave on this link is not what the session has.
    if (link.memory.parameters != vs_.parameters()) link.retire = true;
  }
  client_.add(message.bytes, message.stable);
}

void Session::on_ended(backend::Link& link, const Debt& debt, Ended how) {
  switch (debt.note) {
    // Each ends only the wait that it belongs to: another link may be at work for something else.
    case kNoteAcknowledged:
      if (phase_ == Phase::replaying && link.ledger().empty()) finished_in_chunk_ = true;
      return;
    case kNoteCatalog:
      if (phase_ == Phase::lookup && link.ledger().empty()) finished_in_chunk_ = true;
      return;
    case kNoteSecondary:
      if (phase_ == Phase::idle && link.ledger().empty()) finished_in_chunk_ = true;
      return;
    case kNoteNamed:
    case kNoteReplay:
      // What was not done leaves the link in doubt.
      if (how != Ended::ok && debt.note == kNoteReplay) {
        if (pool::ServerLink* server = of(link)) server->retire = true;
      }
      // PREPAREs of the session follow what has to be acknowledged: the last reply ends the waiting, whosever it is.
      if (phase_ == Phase::replaying && link.ledger().empty()) finished_in_chunk_ = true;
      return;
    case kNotePrepare:
      if (how != Ended::ok) not_prepared(link, debt);
      return;
    case kNotePoison:
      return;
    default:
      break;
  }
  if (debt.what == Owes::local) {
    if (how == Ended::ok && forward_head()) client_.add(debt.local, false);
    if (how != Ended::ok && debt.item != 0) unit_parse_undone(debt.item - 1);
    return;
  }
  if (debt.what == Owes::execute || debt.what == Owes::parse) {
    if (debt.item < items_.size()) unit_item_ended(link, debt, how);
    // COPY may have begun behind this Execute; now the rest of the unit can follow.
    if (debt.what == Owes::execute && work_.hold) finished_in_chunk_ = true;
    return;
  }
  if (debt.what == Owes::query || debt.what == Owes::sync || debt.what == Owes::function_call) {
    if (debt.what == Owes::sync) cut_open_ = false;
    if (&link == (work_.link != nullptr ? work_.link->link.get() : nullptr)) finished_in_chunk_ = true;
  }
}

// A Parse that we sent ahead of a Bind has failed or was skipped: the statement is not on this link.
void Session::not_prepared(backend::Link& link, const Debt& debt) {
  pool::ServerLink* server = of(link);
  if (server == nullptr || debt.item >= items_.size() || !items_[debt.item]) return;
  server->memory.interned.remove(items_[debt.item]->server_name);
  if (items_[debt.item]->name.empty()) server->memory.unnamed_owner = SessionId();
}

void Session::on_async(backend::Link& link, const Debt* head, const Message& message) {
  using namespace wire::be;
  switch (message.type) {
    case kNotification:
      client_.add(message.bytes, message.stable);
      return;
    case kParameterStatus: {
      auto status = wire::parse_parameter_status(message.payload());
      if (!status || head == nullptr) return;
      // During replay the server repeats what the client was told when it set the value.
      if (head->note == kNoteClient) client_.add(message.bytes, message.stable);
      return;
    }
    default:
      if (head != nullptr && head->note == kNoteClient && head->fate == backend::Fate::forward)
        client_.add(message.bytes, message.stable);
      (void)link;
      return;
  }
}

// The chunk's bytes are about to go: write them, then go on with whatever has become possible.
void Session::on_chunk_end(backend::Link& link) {
  if (phase_ == Phase::closed) return;
  const bool finished = std::exchange(finished_in_chunk_, false);
  if (!finished) {
    client_.flush();
    if (client_.broken()) return client_gone();
    if (client_.pending() > 0) link.pause();
    // The server takes COPY data now, or an answer freed the way for what the client sent ahead.
    if (phase_ == Phase::running && !in_.empty() && link.ledger().in_copy_in()) pump();
    return;
  }
  switch (phase_) {
    case Phase::lookup:
      return lookup_done();
    case Phase::replaying:
      return replay_done();
    case Phase::running:
      break;
    default:
      client_.flush();
      if (phase_ == Phase::idle) release_links(false);
      return;
  }
  if (work_.rerun) return run_again();
  if (std::exchange(work_.hold, false)) {
    phase_ = Phase::idle;  // the rest of the unit goes to the same link
  } else {
    finish_request();
  }
  client_.flush();
  if (client_.broken()) return client_gone();
  if (client_.pending() > 0 && of(link) != nullptr) link.pause();
  go_on();
}

void Session::lookup_done() {
  phase_ = Phase::idle;
  sql::Answers answers;  // empty when the server would not answer: then the worst is assumed
  if (!lookup_failed_) {
    auto rows = text_rows(lookup_rows_);
    if (rows) {
      auto learned = worker_.catalog().learn(viewpoint(), std::move(work_.found), *rows);
      if (learned) answers = std::move(*learned);
    }
  }
  work_.learned.emplace_back(work_.found_for, std::move(answers));
  Bytes().swap(lookup_rows_);
  go_on();
}

void Session::replay_done() {
  phase_ = Phase::idle;
  if (greeting_) return greet(identity_.link->link->reported());
  if (!replay_error_) return go_on();
  // What had to succeed did not: the link is closed, the statement was not sent.
  const wire::Report report = std::move(*replay_error_);
  replay_error_.reset();
  const std::vector<pool::ServerLink*> links = links_;
  for (pool::ServerLink* link : links) {
    if (link->retire) drop_link(*link, Error{backend::Errc::closed_by_us, "replay failed"});
  }
  drop_request_from_input();
  fail_request(report);
  go_on();
}

void Session::run_again() {
  ++reruns_;
  Bytes again = std::move(work_.copy);
  const bool on_primary = work_.on_primary;
  const NodeId avoid = work_.avoid;
  known_heads_ = work_.heads;
  items_.clear();
  work_ = Work{};
  work_.on_primary = on_primary;
  work_.avoid = avoid;
  phase_ = Phase::idle;
  in_.insert(0, again);
  snapshot_ = worker_.snapshot();
  go_on();
}

void Session::on_drained(backend::Link&) {
  if (phase_ == Phase::closed) return;
  pump();
  if (readable_) read_client();
}

void Session::on_lost(backend::Link& link, const Error& why) {
  pool::ServerLink* server = of(link);
  if (server == nullptr) return;
  const NodeId node = link.key().node;
  const std::string reason = server_farewell_.empty() ? why.text() : server_farewell_;
  server_farewell_.clear();
  worker_.workers().hint_node_trouble(node, reason);
  const bool was_working = work_.link == server || !link.ledger().empty();
  const bool carried = work_.link == server;
  const bool in_transaction = server->memory.at_begin != nullptr;
  const bool mid_message = link.mid_forward() && work_.link == server;
  const bool pinned = vs_.state().pins != 0;
  const bool greeting = greeting_;
  drop_link(*server, why);
  if (phase_ == Phase::closed) return;
  if (pinned) return end(lost_while_pinned(node, vsession::pin_names(vs_.state().pins)));
  if (greeting) {
    wire::Report report = lost_while_reading(node, reason);
    report.severity = "FATAL";
    return end(report);
  }
  if (mid_message) return retire();  // half of a message has gone out: this stream cannot be mended
  if (phase_ == Phase::lookup && was_working) {
    lookup_failed_ = true;
    return lookup_done();
  }
  if (phase_ == Phase::replaying && was_working) phase_ = Phase::idle;
  if (carried && (phase_ == Phase::running || cut_open_)) return lost_while_running(node, reason, in_transaction);
  if (in_transaction) {
    vs_.transaction_lost(true);
    pending_error_ = lost_in_transaction(node, reason);
    end_secondary(false);
  }
  go_on();
}

void Session::lost_while_running(NodeId node, const std::string& why, bool in_transaction) {
  const bool again = work_.plan.rerunnable && !work_.forwarded && !work_.copy.empty() && reruns_ < kMaxReruns &&
                     !in_transaction && vs_.state().tx.status == TxStatus::idle;
  if (again) {
    work_.avoid = node;
    return run_again();
  }
  const bool commits =
      work_.facts && !work_.facts->multi() &&
      (work_.facts->first().kind == sql::Kind::commit || work_.facts->first().kind == sql::Kind::commit_prepared);
  wire::Report report;
  if (in_transaction && !commits) {
    vs_.transaction_lost(true);
    end_secondary(false);
    report = lost_in_transaction(node, why);
  } else {
    vs_.transaction_lost(false);
    end_secondary(false);
    report = work_.plan.write || commits ? outcome_unknown(node, why) : lost_while_reading(node, why);
  }
  cut_open_ = false;
  fail_request(report);
  go_on();
}

void Session::say_error(const wire::Report& report) {
  wire::put_error(client_.own(), report);
  client_.added_own();
}

void Session::say_ready() {
  wire::put_ready(client_.own(), static_cast<char>(vs_.state().tx.status));
  client_.added_own();
}

// Ends the current request with an error of our own; an extended unit's rest has been dropped already.
void Session::fail_request(const wire::Report& report) {
  if (vs_.state().tx.status == TxStatus::open) {
    vs_.transaction_lost(true);
    for (pool::ServerLink* link : links_) {
      if (link->memory.at_begin == nullptr) continue;
      link->link->send_query("ROLLBACK", backend::Fate::swallow, kNoteSecondary);
      link->link->flush();
      link->memory.parameters = link->memory.at_begin;
      link->memory.at_begin = nullptr;
    }
  }
  say_error(report);
  if (work_.request.kind == Request::Kind::extended && !work_.request.synced) {
    skip_to_sync_ = true;
  } else {
    say_ready();
  }
  finish_request();
}

// The request that waited lies at the front of the input.
void Session::drop_request_from_input() {
  in_.erase(0, std::min(in_.size(), work_.request.bytes));
  if (work_.request.streamed) {
    copy_missing_ = work_.request.missing;
    copy_swallow_ = true;
  }
}

}  // namespace herdgate::session
