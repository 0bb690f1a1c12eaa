// What comes back from servers: to the client, to the virtual session, or nowhere.
#include <algorithm>
#include <cctype>

#include "base/sqlstate.h"
#include "session/session.h"
#include "session/session_log.h"
#include "session/words.h"
#include "wire/frontend.h"

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

// What a standby says when a write came to it by mistake, or recovery does not allow something or got in the way: the
// primary can do better. It says so in its own language (lc_messages); who else uses these says it once more there.
bool primary_can_do_better(std::string_view state) {
  return state == sqlstate::kReadOnlyTransaction || state == sqlstate::kObjectNotInPrerequisiteState ||
         state == sqlstate::kSerializationFailure;
}

// The text of the simple query that `head` answers, from the copy kept of it; empty when it is none, or too long to
// keep.
std::string_view simple_text(const Debt& head, ByteView copy) {
  if (head.what != Owes::query || copy.empty() || copy[0] != wire::fe::kQuery) return {};
  return wire::parse_query(copy.substr(wire::kHeaderBytes)).value_or(std::string_view());
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
void note_prepare_refused(pool::LinkMemory& memory, std::size_t item) {
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

// As a word, between quotation marks of whatever language.
bool mentions(std::string_view text, std::string_view name) {
  const auto part_of_word = [&](std::size_t at) {
    return at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) != 0 || text[at] == '_');
  };
  for (std::size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
    if (!part_of_word(at - 1) && !part_of_word(at + name.size())) return true;
  }
  return false;
}

}  // namespace

void Session::on_rows(backend::Link& link, const Debt& head, ByteView bytes, bool stable) {
  if (head.note == kNoteCatalog) {
    if (work().look_up().rows.size() + bytes.size() > backend::Client::kMaxResultBytes) {
      work().look_up().failed = true;
    } else {
      work().look_up().rows.append(bytes);
    }
    return;
  }
  if (head.note == kNoteTransactionId) return asks_id(head) ? take_transaction_id(bytes) : void();
  if (head.note == kNoteIsolation) return take_isolation(bytes);
  if (head.note == kNoteDefaults && cache_) return cache_->defaults_came(bytes);
  if (head.fate != backend::Fate::forward) return;
  if (own().log_backend_messages(settings()) != config::LogBackendMessages::none) log_rows(link, bytes);
  work().forwarded = true;
  if (cache_) cache_->rows(head, bytes);
  client_.add(bytes, stable);
}

void Session::on_reply(backend::Link& link, const Debt& head, const Message& message, bool) {
  using namespace wire::be;
  if (head.fate == backend::Fate::forward) {
    log_backend_message(link, message.type);
    if (message.type == kReady && message_log_) {
      message_log_->flush(worker_.log(), who_);
      message_log_.reset();
    }
  }
  if (cache_) cache_->reply(head, message);
  if (message.type == kError) return reply_error(link, head, message);
  if (head.note == kNoteDescribed) return description_came(link, head, message);
  if (head.note != kNoteClient) return;
  switch (message.type) {
    case kReady:
      if (pool::ServerLink* server = of(link)) reply_ready(*server, message.bytes, message.stable);
      return;
    case kCommandComplete:
      statement_completed(head, message.payload());
      if (tells_why_rolled_back()) return;
      break;
    case kEmptyQuery:
      ++work().statement;
      break;
    case kFunctionResult:
      vs_.rows_done(/*write=*/true);  // what it does cannot be seen
      break;
    case kCopyIn:
      work().copy_over = false;
      break;
    default:
      break;
  }
  if (head.fate != backend::Fate::forward) return;
  if (is_head(message.type)) {
    if (!forward_head()) return;
  } else {
    work().forwarded = true;
  }
  client_.add(message.bytes, message.stable);
}

void Session::statement_completed(const Debt& debt, ByteView payload) {
  if (const auto tag = wire::parse_command_tag(payload)) work().tag.assign(*tag);
  if (debt.what == Owes::query) note_statement(work().statement++, true);
}

// A COMMIT that was on its way already when the transaction failed for a reason that its client has not heard.
bool Session::tells_why_rolled_back() {
  const bool commits = work().ends_transaction && work().may_commit;
  const bool has_news = pending_error_ && pending_error_->of_transaction && !pending_error_->had_failed;
  if (!has_news || !commits || work().tag != "ROLLBACK") return false;
  say_error(std::exchange(pending_error_, nullptr)->report);
  work().forwarded = true;
  return true;
}

// Unless something looks at each message.
bool Session::takes_answers(const Debt& head) const {
  return head.note == kNoteClient && run_ != nullptr && !pending_error_ && run_->known_heads == 0 &&
         !run_->work.cancel && own().log_backend_messages(settings()) == config::LogBackendMessages::none &&
         !message_log_;
}

void Session::on_answer(backend::Link& link, const backend::Answer& answer) {
  Work& now = run_->work;
  now.heads += static_cast<int>(answer.messages);
  if (cache_) cache_->answer(answer);
  client_.add(answer.bytes(), true);
  if (!answer.rows.empty() || !answer.complete.empty()) now.forwarded = true;
  if (!answer.complete.empty()) {
    statement_completed(answer.done, answer.complete.substr(wire::kHeaderBytes));
    if (answer.done.what == Owes::execute) execute_ended(link, answer.done, Ended::ok);
  }
  if (answer.ready.empty()) return;
  if (pool::ServerLink* server = of(link)) reply_ready(*server, answer.ready, true);
  request_ended(link, answer.ended);
}

// What precedes the rows would come twice when a request is run again: the client gets it once.
bool Session::forward_head() {
  ++work().heads;
  if (run().known_heads == 0) return true;
  --run().known_heads;
  return false;
}

// What we asked or set ourselves was refused: whom it concerns learns of it. False: the client asked.
bool Session::error_is_ours(const backend::Link& link, const Debt& head, const wire::ServerReport& report) {
  switch (head.note) {
    case kNoteCatalog:
      work().look_up().failed = true;
      work().look_up().error = copy_of(report);
      return true;
    case kNoteNamed:
      run().named_error = copy_of(report);
      if (pool::ServerLink* server = of(link)) note_prepare_refused(server->memory, head.item);
      return true;
    case kNoteIsolation:
      if (greeting_) greeting_->isolation.clear();
      return true;
    case kNoteReplay:
    case kNoteAcknowledged: {
      run().replay_error = copy_of(report);
      if (pool::ServerLink* server = of(link)) server->retire = true;  // a link in doubt is not used again
      return true;
    }
    case kNoteTransactionId:
      // A cancel that came a moment late, say: the transaction has failed, and its client has not heard of it.
      if (!pending_error_ && asks_id(head) && vs_.state().tx.status == TxStatus::open &&
          parts_.part(link.key().node) != nullptr)
        pending_error_ = std::make_unique<PendingError>(PendingError{copy_of(report), /*of_transaction=*/true});
      return true;
    case kNoteSecondary:
    case kNoteDefaults:
      return true;
    case kNotePoison:
      if (unit().poison) say_error(*unit().poison);
      unit().poison.reset();
      work().failed = true;
      return true;
    default:
      return false;
  }
}

void Session::reply_error(const backend::Link& link, const Debt& head, const Message& message) {
  if (message.cut) return long_error(link, head, message);
  auto report = wire::parse_report(message.payload());
  if (!report) return;
  const bool last_words = report->severity == "FATAL" || report->severity == "PANIC";
  if (last_words) {  // the link is about to be lost; on_lost() finds the right words for the client
    run().farewell = report->message;
    return;
  }
  if (error_is_ours(link, head, *report)) return;
  const bool can_rerun = work().plan.rerunnable && !work().forwarded && !work().copy.empty() &&
                         run().reruns < kMaxReruns && vs_.state().tx.status == TxStatus::idle;
  // READ COMMITTED: every statement has a snapshot of its own, so the primary may run this one in its own part of the
  // transaction; the standby's part is given up.
  const bool can_move = vs_.state().tx.status == TxStatus::open && !work().plan.write && !work().forwarded &&
                        !work().copy.empty() && run().reruns < kMaxReruns &&
                        vs_.state().tx.isolation <= sql::Isolation::read_committed;
  if (report->sqlstate == sqlstate::kInvalidStatementName && forget_interned(link, head) && can_rerun) {
    work().rerun = true;
    return;
  }
  const bool misses = missing_named(link, *report);
  if ((can_rerun || can_move) && link.key().node != view().write_node() &&
      (misses || primary_can_do_better(report->sqlstate))) {
    work().rerun = work().on_primary = true;
    work().writes_after_all = report->sqlstate == sqlstate::kReadOnlyTransaction;
    return;
  }
  if (own().log_per_node_statement(settings()))
    log_backend_error(worker_.log(), who_, link, simple_text(head, work().copy), report->message);
  if (compares_described()) note_refused(link, head, report->sqlstate);
  NodeCounters& counters = worker_.counters().nodes[link.key().node.value];
  counters.error.fetch_add(1, std::memory_order_relaxed);
  work().failed = true;
  work().forwarded = true;
  unit().failed = unit_open();
  if (head.what == Owes::query) note_statement(work().statement, false);
  if (head.what == Owes::sync) commit_failed();
  if (misses && run().named_error) {
    say_error(*run().named_error);
  } else {
    client_.add(message.bytes, message.stable);
  }
}

// Too long to be looked at; the rest of it follows as rows do.
void Session::long_error(const backend::Link& link, const Debt& head, const Message& message) {
  if (head.note == kNoteCatalog) work().look_up().failed = true;
  if (head.note != kNoteClient) return;
  worker_.counters().nodes[link.key().node.value].error.fetch_add(1, std::memory_order_relaxed);
  work().failed = work().forwarded = true;
  if (head.what == Owes::query) note_statement(work().statement, false);
  if (head.what == Owes::sync) commit_failed();
  client_.add(message.bytes, message.stable);
}

// An error answers Sync: the implicit transaction has not been committed, though each of its statements succeeded.
void Session::commit_failed() {
  if (!vs_.state().tx.explicit_block) vs_.transaction_lost(/*stay_failed=*/false);
}

// The session has a statement of that name and this link has not, because its PREPARE was refused when it was repeated
// here, which has failed the transaction if there is one. Of several names that a unit executes it may be another's.
bool Session::missing_named(const backend::Link& link, const wire::ServerReport& report) {
  const bool failed_by_us = report.sqlstate == sqlstate::kInFailedTransaction && run().named_error;
  const bool named = report.sqlstate == sqlstate::kInvalidStatementName && mentions(report.message, work().executed);
  if ((!named && !failed_by_us) || work().executed.empty()) return false;
  const vsession::PreparedPtr known = vs_.find_prepared(work().executed);
  pool::ServerLink* server = of(link);
  if (!known || server == nullptr) return false;
  const auto at = server->memory.named.find(work().executed);
  if (at == server->memory.named.end()) return false;
  at->second.refused = true;
  return true;
}

// A statement that the link was believed to have is not there: something that we did not see has dropped it.
bool Session::forget_interned(const backend::Link& link, const Debt& head) {
  if ((head.what != Owes::bind && head.what != Owes::describe) || head.item >= unit().items.size()) return false;
  const vsession::PreparedPtr& item = unit().items[head.item];
  pool::ServerLink* server = of(link);
  if (!item || item->from_sql || item->name.empty() || server == nullptr) return false;
  may_be_there(*server, item->server_name);
  return true;
}

void Session::reply_ready(pool::ServerLink& link, ByteView message, bool stable) {
  const auto status = static_cast<TxStatus>(link.link->status());
  const NodeId node = link.link->key().node;
  if (work().rerun) return send_ends(parts_.leave(node));
  // Whichever message failed, a Parse or Bind too: what SET did before it in the unit is taken back.
  const bool failed = std::exchange(unit().failed, false) || work().failed;  // of a unit in parts another part
  if (failed && status == TxStatus::idle) commit_failed();
  vs_.ready(status);
  const bool may_have_begun = (!work().facts || work().facts->multi()) && !work().chained;
  if (status != TxStatus::idle && may_have_begun) settle_transaction_node(node);
  // A reader's link at I inside the session's own transaction cannot be: its BEGIN went ahead of the statement.
  const bool committed = work().tag != "ROLLBACK" && !failed;
  send_ends(parts_.answered(node, status, committed, vs_.base_parameters()));
  if (status == TxStatus::idle) transaction_over();
  vs_.tell_link(link.memory.parameters);
  if (status != TxStatus::idle) {
    parts_.will_leave(node, vs_.session_parameters());
    // A RESET within the transaction: what a commit will leave on this link is not what the session has.
    if (link.memory.parameters != vs_.parameters()) link.retire = true;
  }
  if (cache_) cache_->ready(committed);
  give_notices();
  client_.add(message, stable);
}

// What it has defined or altered holds from now on.
void Session::transaction_over() {
  forget_transaction_id();
  forget_pending_of_transaction();  // a link was lost that only read: the transaction has ended without it
  if (const auto change = std::exchange(ddl_in_transaction_, std::nullopt))
    worker_.shared().epochs.raise(identity_->database, *change);
  if (std::exchange(defaults_altered_, false)) worker_.renew_links();
  if (std::exchange(servers_reload_, false)) worker_.workers().hint_server_reloads();
}

void Session::on_ended(backend::Link& link, const Debt& debt, Ended how) {
  const bool of_request = at_work() != nullptr && at_work()->link.get() == &link;
  if (of_request && std::exchange(work().cancel, false)) cancel_on(*at_work());
  switch (debt.note) {
    // Each ends only the wait that it belongs to: another link may be at work for something else.
    case kNoteDefaults:
      if (pool::ServerLink* server = of(link); server != nullptr && cache_) {
        cache_->defaults_told(*server, how == Ended::ok);
        if (server->memory.parameters->all().empty()) tell_reported(*server);  // nothing is replayed behind it
      }
      [[fallthrough]];
    case kNoteAcknowledged:
    case kNoteIsolation:
      if (pool::ServerLink* server = of(link); server != nullptr && debt.item == kLastOfReplay) tell_reported(*server);
      if (phase_ == Phase::replaying && waits_for(link) && link.ledger().empty()) finished_in_chunk_ = true;
      return;
    case kNoteCatalog:
      if (phase_ == Phase::lookup && link.ledger().empty()) finished_in_chunk_ = true;
      return;
    case kNoteSecondary:  // the next request may be under way behind it
      if (of_request && phase_ == Phase::running) tell_reported(*at_work());
      if (phase_ == Phase::idle && link.ledger().empty()) finished_in_chunk_ = true;
      return;
    case kNoteNamed:
    case kNoteReplay:
      // What was not done leaves the link in doubt.
      if (pool::ServerLink* server = of(link); server != nullptr && debt.note == kNoteReplay) {
        if (how != Ended::ok) server->retire = true;
        if (debt.item == kLastOfReplay) tell_reported(*server);
      }
      // PREPAREs follow what is acknowledged. The last reply ends the wait, or lets an idle session's link go.
      if ((phase_ == Phase::idle || (phase_ == Phase::replaying && waits_for(link))) && link.ledger().empty())
        finished_in_chunk_ = true;
      return;
    case kNoteOwnName:
      if (how != Ended::ok) not_under_own_name(link, debt);
      return;
    case kNotePrepare:
      if (how != Ended::ok) not_prepared(link, debt);
      [[fallthrough]];
    case kNoteDescribed:
      hold_over(link);
      return;
    case kNoteTransactionId:
      // Whether the statement is there is not known then: the next question closes it and prepares it anew.
      if (how == Ended::failed || (debt.what == Owes::parse && how == Ended::skipped)) {
        if (pool::ServerLink* server = of(link)) renew_transaction_question(*server);
      }
      if (debt.what == Owes::execute && asks_id(debt)) xid_asked_ = false;
      return;
    case kNotePoison:
      return;
    default:
      return clients_own_ended(link, debt, how);
  }
}

// What the client itself has asked for.
void Session::clients_own_ended(backend::Link& link, const Debt& debt, Ended how) {
  if (debt.what == Owes::local) {
    if (how == Ended::ok && forward_head()) client_.add(debt.local, false);
    if (how == Ended::ok || debt.item == 0) return;
    return debt.local[0] == wire::be::kParseComplete ? unit_parse_undone(debt.item - 1, how)
                                                     : unit_close_undone(debt.item - 1);
  }
  if (debt.what == Owes::close && debt.item != 0) {
    return unit_close_ended(link, unit().items[debt.item - 1], how == Ended::ok);
  }
  // Which portal has its name now is not known: of one that was there an Execute runs what we have not seen.
  if (debt.what == Owes::bind && how != Ended::ok && parts_.has_named_portals()) {
    if (pool::ServerLink* server = of(link)) server->memory.opaque = server->memory.unseen = true;
  }
  if (debt.what == Owes::execute) return execute_ended(link, debt, how);
  if (debt.what == Owes::parse) {
    if (debt.item < unit().items.size()) unit_item_ended(link, debt, how);
    return;
  }
  if (debt.what == Owes::query || debt.what == Owes::sync || debt.what == Owes::function_call)
    request_ended(link, debt);
}

void Session::execute_ended(backend::Link& link, const Debt& debt, Ended how) {
  if (debt.item < unit().items.size()) unit_item_ended(link, debt, how);
  hold_over(link);
}

// COPY may have begun behind the last Execute that was sent, or the statement of what follows was asked about: when all
// that was owed has come, the rest of the unit can follow. Behind a server's last words comes the loss of the link.
void Session::hold_over(const backend::Link& link) {
  if (unit().hold && link.ledger().empty() && run().farewell.empty()) finished_in_chunk_ = true;
}

// A query, a Sync or a function call.
void Session::request_ended(const backend::Link& link, const Debt& debt) {
  if (debt.what == Owes::sync) unit().open = false;
  if (at_work() != nullptr && at_work()->link.get() == &link) finished_in_chunk_ = true;
}

// A Parse that we sent ahead of a Bind has failed or was skipped: the statement is not on this link.
void Session::not_prepared(backend::Link& link, const Debt& debt) {
  pool::ServerLink* server = of(link);
  if (server == nullptr || debt.item >= unit().items.size() || !unit().items[debt.item]) return;
  may_be_there(*server, unit().items[debt.item]->server_name);
  if (unit().items[debt.item]->name.empty()) server->memory.unnamed_owner = SessionId();
}

// What the session has sent itself comes back under the process id that its client was told: by it clients know their
// own.
void Session::on_notification(backend::Link& link, const Message& message) {
  auto told = wire::parse_notification(message.payload());
  if (!told || told->pid != link.greeting().pid || told->pid == pid_) return say_aside(link, message.bytes);
  told->pid = pid_;
  Bytes own;
  wire::put_notification(own, *told);
  say_aside(link, own);
}

// The client has a part of a message, the rest is still to come.
bool Session::mid_message() const {
  return std::any_of(links_.begin(), links_.end(),
                     [](const pool::ServerLink* held) { return held->link->mid_forward(); });
}

// What is no answer. Where a long row is on its way to the client, the row comes first.
void Session::say_aside(ByteView message) {
  if (run_ && mid_message()) {
    run_->aside.append(message);
    return;
  }
  client_.own().append(message);
  client_.added_own();
}

// What a server says unasked. It may be another one than that which is sending the row.
void Session::say_aside(backend::Link& link, ByteView message) {
  say_aside(message);
  if (run_ && run_->aside.size() > kMostAside) link.pause();
}

void Session::give_asides() {
  if (!run_ || run_->aside.empty() || mid_message()) return;
  client_.own().append(run_->aside);
  client_.added_own();
  Bytes().swap(run_->aside);
  for (pool::ServerLink* link : links_) link->link->resume();
}

void Session::on_async(backend::Link& link, const Debt* head, const Message& message) {
  using namespace wire::be;
  switch (message.type) {
    case kNotification:
      return on_notification(link, message);
    case kParameterStatus:
      return on_parameter_status(link, head, message);
    default:
      if (head == nullptr || head->note != kNoteClient || head->fate != backend::Fate::forward) return;
      if (cache_) cache_->noticed();
      client_.add(message.bytes, message.stable);
      return;
  }
}

// The chunk's bytes are about to go: write them, then go on with whatever has become possible.
void Session::on_chunk_end(backend::Link& link) {
  if (phase_ == Phase::closed) return;
  give_asides();
  const bool finished = std::exchange(finished_in_chunk_, false);
  if (unit_link() != nullptr && unit_link()->link.get() == &link && unit_open() && link.ledger().empty())
    arm_idle_timer();  // from here on its client is idle
  if (pool::ServerLink* server = of(link)) part(*server);
  if (!finished) {
    client_.flush();
    if (client_.broken()) return retire();
    if (client_.pending() > 0 && of(link) != nullptr) link.pause();
    // The server takes COPY data now, or an answer freed the way for what the client sent ahead. With room for more of
    // that the client is read again: nothing else would do it, for his socket has been ready all along.
    if (unit_stalls() || (phase_ == Phase::running && link.ledger().in_copy_in())) {
      pump();
      return read_client();
    }
    return client_ended();
  }
  switch (phase_) {
    case Phase::lookup:
      return lookup_done();
    case Phase::replaying:
      return replay_done();
    case Phase::running:
      break;
    default:
      if (phase_ == Phase::idle) release_idle_links();
      return go_on();
  }
  if (work().rerun) return run_again();
  if (std::exchange(unit().hold, false)) {
    phase_ = Phase::idle;  // the rest of the unit goes to the same link
  } else {
    finish_request();
  }
  client_.flush();
  if (client_.broken()) return retire();
  if (client_.pending() > 0 && of(link) != nullptr) link.pause();
  go_on();
}

void Session::lookup_done() {
  phase_ = Phase::idle;
  sql::Answers answers;  // empty when the server would not answer: then the worst is assumed
  if (!work().look_up().failed) {
    auto rows = text_rows(work().look_up().rows);
    if (rows) {
      auto learned = worker_.catalog().learn(viewpoint(), std::move(work().look_up().found), *rows);
      if (learned) answers = std::move(*learned);
    }
  }
  work().seldom().learned.emplace_back(work().look_up().about, std::move(answers));
  Bytes().swap(work().look_up().rows);
  // A transaction that failed under our question has failed for the client, who hears why.
  const bool failed =
      work().look_up().error && vs_.state().tx.status == TxStatus::open &&
      std::any_of(links_.begin(), links_.end(), [](const auto* link) { return link->link->status() == 'E'; });
  if (work().cancel || failed) {
    const wire::Report report = work().cancel ? canceled() : *work().look_up().error;
    drop_request_from_input();
    fail_request(report);
  }
  go_on();
}

void Session::replay_done() {
  std::optional<wire::Report> error;
  if (run_) error = std::exchange(run_->replay_error, {});
  replay_refused_ = replay_refused_ || error.has_value();
  if (greeting_) {
    const std::unique_ptr<Greeting> greeting = std::move(greeting_);
    if (!error) return greet_anew(*greeting);
    error->severity = "FATAL";
    return end(*error);
  }
  phase_ = Phase::idle;
  if (!error && work().cancel) error = canceled();
  if (!error) return go_on();
  // What had to succeed did not: the link is closed, the statement was not sent.
  const std::vector<pool::ServerLink*> links = links_;
  for (pool::ServerLink* link : links) {
    if (link->retire) drop_link(*link, Error{backend::Errc::closed_by_us, "replay failed"});
  }
  drop_request_from_input();
  fail_request(*error);
  go_on();
}

void Session::on_drained(backend::Link&) {
  if (phase_ == Phase::closed) return;
  pump();
  read_client();
}

void Session::say_error(const wire::Report& report) {
  log_told(worker_.log(), who_, report);
  wire::put_error(client_.own(), report);
  client_.added_own();
}

void Session::say_ready() {
  give_notices();
  wire::put_ready(client_.own(), static_cast<char>(vs_.state().tx.status));
  client_.added_own();
}

// Ends the current request with an error of our own; an extended unit's rest has been dropped already.
void Session::fail_request(const wire::Report& report) {
  end_hold();
  const TxStatus status = vs_.state().tx.status;
  const bool over = work().ends_transaction && status != TxStatus::idle;  // an end that fails ends it as well
  if (over || status == TxStatus::open) {
    forget_told();
    forget_transaction_id();
    vs_.transaction_lost(!over);
    send_ends(parts_.end_all(/*commit=*/false));
  } else if (status == TxStatus::idle && work().begins.first) {
    if (!work().begins.works) {  // a client whose BEGIN is refused is in no transaction, and may have sent more already
      wire::Report last = report;
      last.severity = "FATAL";
      return end(last);
    }
    vs_.transaction_lost(/*stay_failed=*/true);  // what the client has sent behind it must not run by itself
  }
  say_error(report);
  const bool cut = work().request.kind == Request::Kind::extended && !work().request.synced;
  if (cut) unit().skip = true;
  if (!unit().skip) say_ready();
  finish_request();
}

// The request that waited lies at the front of the input.
void Session::drop_request_from_input() {
  in_.erase(0, std::min(in_.size(), work().request.bytes));
  unit().taken(work().request.bytes);
  rest_follows();
}

}  // namespace herdgate::session
