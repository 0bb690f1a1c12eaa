// commit_outcome_check: the id of a transaction that writes is learned while it runs, so that the fate of a COMMIT
// which got no answer can be asked of the primary that there is afterwards.
#include <charconv>

#include "session/session.h"
#include "session/words.h"
#include "wire/frontend.h"
#include "wire/payload_reader.h"

namespace herdgate::session {
namespace {
using backend::Fate;
using backend::Owes;
using vsession::TxStatus;

constexpr Duration kAskLimit = std::chrono::seconds(5);
constexpr Duration kAskAgain = std::chrono::milliseconds(100);  // the server still works on it
constexpr const char* kName = "hg_xid";                         // of the statement and the portal

// Bind, Execute and Close.
const Bytes& question() {
  static const Bytes bytes = [] {
    Bytes out;
    wire::put_bind(out, wire::Bind{kName, kName, ByteView("\0\0\0\0\0\0", 6)});
    wire::put_execute(out, kName, 0);
    wire::put_close(out, 'P', kName);
    return out;
  }();
  return bytes;
}

}  // namespace

// Behind the first write of an explicit transaction, in the same write to the server; within a unit ahead of its Sync,
// which saves the server one more answer. Named, because a simple query would drop the client's unnamed portal; and
// nothing behind what may begin COPY.
void Session::ask_transaction_id(pool::ServerLink& link, bool sync) {
  const vsession::Transaction& tx = vs_.state().tx;
  if (xid_ != 0 || xid_asked_ || !work().plan.write || work().ends_transaction || unit().hold) return;
  if (work().plan.idless) return;  // the question would take the transaction's snapshot
  if (tx.status != TxStatus::open || !tx.explicit_block || link.link->key().node != view().write_node()) return;
  if (settings().backend_clustering_mode != config::ClusteringMode::streaming_replication) return;
  backend::Link& raw = *link.link;
  if (raw.ledger().skipping()) return;  // it would not be heard
  xid_asked_ = true;
  const std::uint16_t number = ++xid_question_;
  pool::InternedStatements& interned = link.memory.interned;
  const bool known = interned.touch(kName);
  if (!known) {
    std::erase(link.memory.to_close, kName);  // it is closed here
    for (const std::string& old : interned.add(kName, static_cast<std::size_t>(settings().max_prepared_statements), 0))
      link.memory.to_close.push_back(old);
  }
  // What nobody could see (a DO block, a function) may have dropped it, and our error would fail the client's
  // transaction, which would end as a ROLLBACK without a word. To close what is not there is no error.
  if (!known || link.memory.opaque) {
    Bytes close, parse;
    wire::put_close(close, 'S', kName);
    raw.send(close, Owes::close, Fate::swallow, kNoteTransactionId, number);
    wire::put_parse(parse, wire::Parse{kName, "SELECT pg_catalog.txid_current_if_assigned()", ByteView("\0\0", 2)});
    raw.send(parse, Owes::parse, Fate::swallow, kNoteTransactionId, number);
  }
  raw.send(question(), Owes::bind, Fate::swallow, kNoteTransactionId, number);
  raw.owe(Owes::execute, Fate::capture, kNoteTransactionId, number);
  raw.owe(Owes::close, Fate::swallow, kNoteTransactionId, number);
  if (sync) raw.send_sync(Fate::swallow, kNoteTransactionId);
}

// Of the transaction that is open now; an older one's question may still be under way.
bool Session::asks_id(const backend::Debt& debt) const { return xid_asked_ && debt.item == xid_question_; }

void Session::renew_transaction_question(pool::ServerLink& link) { link.memory.interned.remove(kName); }

// One row that came in pieces is not looked at: the id stays unknown, the next write asks again.
void Session::take_transaction_id(ByteView row) {
  xid_asked_ = false;
  wire::PayloadReader reader(row);
  reader.bytes(wire::kHeaderBytes);
  const bool one = reader.u16() == 1;
  ByteView id;
  if (!one || !reader.value(id) || !reader.whole()) return;
  std::uint64_t read = 0;
  if (std::from_chars(id.data(), id.data() + id.size(), read).ec == std::errc{}) xid_ = read;
}

// Of the old primary nothing can be had any more: it is said once, and as an error, since warnings are read by nobody.
void Session::commit_is_lost(std::uint64_t id, NodeId from, NodeId to) {
  if (told_commit_ != id) return;
  told_commit_ = 0;
  const wire::Report report = lost_after_commit(id, from, to);
  const LogLine line{.level = Level::warning, .text = report.message, .detail = report.detail, .hint = report.hint};
  LogContext log_only = who_;
  log_only.listener = nullptr;
  worker_.log().write(log_only, line);
  pending_error_ = std::make_unique<PendingError>(PendingError{report, false});
}

void Session::forget_transaction_id() {
  xid_ = 0;
  xid_asked_ = false;
}

// The link was lost with COMMIT on it. From here on nobody of ours writes before the fate is known: an asynchronous
// promotion gives ids out again.
void Session::learn_outcome(NodeId node, const std::string& why) {
  lost_commit_ = std::make_unique<LostCommit>();
  lost_commit_->xid = xid_;
  lost_commit_->node = node;
  lost_commit_->why = why;
  forget_transaction_id();
  worker_.shared().outcomes_open.fetch_add(1);
  phase_ = Phase::running;
  lost_commit_->limit = worker_.loop().after(std::max<Duration>(settings().failover_wait_timeout, kAskLimit), [this] {
    lost_commit_->limit = 0;
    outcome_learned(vsession::Fate::unknown);
  });
  ask_outcome();
}

void Session::ask_outcome() {
  LostCommit& lost = *lost_commit_;
  worker_.loop().cancel(std::exchange(lost.again, 0));
  const SnapshotPtr& now = worker_.snapshot();
  const cluster::Node* node = now->view->find(now->view->write_node());
  if (lost.client || now->view->primary_awaited || node == nullptr) return;
  const net::TcpOptions tcp{};
  backend::OpenRequest request{{node->id, identity_->database, identity_->user},
                               {node->host, node->port},
                               Deadline::after(worker_.loop().now(), kAskLimit),
                               tcp,
                               identity_->credentials};
  request.names = &worker_.shared().server_names;
  lost.client =
      std::make_unique<backend::Client>(worker_.loop(), worker_.blocking(), worker_.scratch(), std::move(request));
  lost.client->query(
      fmt::format("SELECT pg_catalog.txid_status({})", lost.xid), Deadline::after(worker_.loop().now(), kAskLimit),
      [this](Result<backend::Rows> rows) {
        // One that is full, say: it works, and is to be asked again.
        const std::optional<backend::OpenFailure>& refused = lost_commit_->client->refused();
        const bool works = refused && refused->server && !refused->not_ready() && !refused->cut_short();
        const std::string sqlstate = lost_commit_->client->sqlstate();
        // The client calls us: it goes when its call has returned.
        worker_.loop().defer([client = std::shared_ptr<backend::Client>(std::move(lost_commit_->client))] {});
        outcome_answered(rows, sqlstate, works);
      });
}

void Session::outcome_answered(const Result<backend::Rows>& rows, std::string_view sqlstate, bool works) {
  vsession::Fate fate = vsession::Fate::unknown;
  if (rows && rows->size() == 1 && rows->front().size() == 1) fate = vsession::fate_of(rows->front()[0]);
  if (!rows) fate = vsession::fate_of_error(sqlstate);
  // Not even asked, for want of a socket of ours, or of time for a password: that is no word about the node.
  const bool short_of = !rows && (rows.error().code == make_error_code(backend::Errc::own_shortage) ||
                                  rows.error().code == make_error_code(backend::Errc::crowded));
  const bool unasked = works || short_of;
  if (!rows && fate == vsession::Fate::unknown && !unasked) {  // not reached: the probe's word comes with a snapshot
    const NodeId primary = worker_.snapshot()->view->write_node();
    worker_.workers().hint_node_trouble(primary, rows.error().text(), {});
    return;
  }
  if (fate != vsession::Fate::running && !unasked) return outcome_learned(fate);
  if (!unasked) close_outcome();  // its id will not be given out again
  lost_commit_->again = worker_.loop().after(kAskAgain, [this] {
    lost_commit_->again = 0;
    ask_outcome();
  });
}

// Others may write again.
void Session::close_outcome() {
  if (!lost_commit_ || !std::exchange(lost_commit_->counted, false)) return;
  if (worker_.shared().outcomes_open.fetch_sub(1) == 1) worker_.workers().outcomes_closed();
}

void Session::forget_lost_commit() {
  if (!lost_commit_) return;
  close_outcome();
  worker_.loop().cancel(lost_commit_->limit);
  worker_.loop().cancel(lost_commit_->again);
  lost_commit_.reset();
}

void Session::outcome_learned(vsession::Fate fate) {
  const NodeId node = lost_commit_->node;
  const std::string why = lost_commit_->why;
  if (fate == vsession::Fate::committed) told_commit_ = lost_commit_->xid;
  forget_lost_commit();
  transaction_over();
  const bool plain = work().facts != nullptr;  // a COMMIT alone in the simple protocol
  if (fate == vsession::Fate::committed && plain) {
    const sql::Statement& end = work().facts->first();
    const std::string_view tag = end.kind == sql::Kind::prepare_transaction ? "PREPARE TRANSACTION" : "COMMIT";
    vs_.statement_done({.statement = end, .text = {}, .tag = tag, .write = true, .facts = work().facts});
    vs_.ready(end.transaction.chain ? TxStatus::open : TxStatus::idle);
    if (cache_) cache_->ready(/*committed=*/false);  // it is: but there is nothing of it to be kept
    wire::put_command_complete(client_.own(), tag);
    client_.added_own();
    say_ready();
    finish_request();
    return go_on();
  }
  vs_.transaction_lost(false);
  if (cache_ && fate != vsession::Fate::unknown) cache_->ready(/*committed=*/false);
  fail_request(fate == vsession::Fate::committed     ? committed_after_all(node, why)
               : fate == vsession::Fate::rolled_back ? not_committed(node, why)
                                                     : outcome_unknown(node, why));
  go_on();
}

}  // namespace herdgate::session
