// A link is lost: what that does to what is under way, and what the client hears of it.
#include "base/sqlstate.h"
#include "session/session.h"
#include "session/words.h"

namespace herdgate::session {
using vsession::TxStatus;

// From its beginning: nothing of the unit is under way any more, on whichever link it was.
void Session::run_again() {
  ++run().reruns;
  Bytes again = std::move(work().copy);
  const bool on_primary = work().on_primary, writes = work().writes_after_all;
  const NodeId avoid = work().avoid;
  run().known_heads = work().heads;
  const std::size_t logged = unit().logged + again.size();
  unit().reset();
  unit().logged = logged;
  work().reset();
  work().on_primary = on_primary;
  work().writes_after_all = writes;
  work().avoid = avoid;
  phase_ = Phase::idle;
  in_.insert(0, again);
  snapshot_ = worker_.snapshot();
  go_on();
}

void Session::on_lost(backend::Link& link, const Error& why) {
  pool::ServerLink* server = of(link);
  if (server == nullptr) return;
  const NodeId node = link.key().node;
  if (!link.farewell().empty()) {
    NodeCounters& counters = worker_.counters().nodes[node.value];
    (link.panicked() ? counters.panic : counters.fatal).fetch_add(1, std::memory_order_relaxed);
  }
  const std::string farewell = run_ ? std::exchange(run_->farewell, {}) : std::string();
  const std::string reason = farewell.empty() ? why.text() : farewell;
  const std::string code = link.farewell();
  worker_.workers().hint_node_trouble(node, reason, link.farewell());
  const vsession::TransactionLinks::Under under = what_is_under_way(*server);
  const bool half_told = link.mid_forward() && under.carried;
  const bool waited = waits_for(link);
  dropped_is_back(*server);
  // In session mode a standby may have served reads beside the link that the pin is about.
  const pool::ServerLink* primary = held(view().write_node());
  const bool pinned = vs_.state().pins != 0 && (primary == nullptr || primary == server);
  const bool greeting = greeting_ != nullptr;
  vsession::TransactionLinks::Loss loss;
  if (!server->parting) loss = parts_.lost(node, vs_.state().tx, under);
  drop_link(*server, why);
  if (phase_ == Phase::closed) return;
  if (pinned) return end(lost_while_pinned(node, vsession::pin_names(vs_.state().pins)));
  if (greeting) {
    wire::Report report = lost_while_reading(node, reason);
    report.severity = "FATAL";
    return end(report);
  }
  if (half_told) return retire();  // half of a message has gone out: this stream cannot be mended
  using Tells = vsession::TransactionLinks::Tells;
  if (phase_ == Phase::lookup && waited && loss.tells == Tells::nothing) {
    work().look_up().failed = true;
    return lookup_done();
  }
  // What waited for this link is served again: elsewhere, or with the news of the loss.
  if (waited) end_ahead();
  if (waited || (phase_ == Phase::acquiring && !pending_)) phase_ = Phase::idle;
  if (phase_ == Phase::idle) {
    for (pool::ServerLink* other : links_) other->on_cancels_over = nullptr;
  }
  tell_loss(loss, node, reason, code);
}

vsession::TransactionLinks::Under Session::what_is_under_way(const pool::ServerLink& lost) {
  vsession::TransactionLinks::Under under;
  const bool here = at_work() == &lost || unit_link() == &lost;
  under.carried = here && (phase_ == Phase::running || unit_open()) && !run_->unit.ahead;
  const bool there = (phase_ == Phase::replaying || phase_ == Phase::lookup) && !waits_for(*lost.link);
  under.elsewhere = !under.carried && (unit_open() || phase_ == Phase::running || there);
  if (!run_) return under;
  const Work& now = run_->work;
  under.may_commit = now.may_commit;
  under.only_ends = now.ends_transaction;
  under.goes_on = now.ends && !now.ends_transaction;
  under.writes = now.plan.write;
  under.runs_again = now.plan.rerunnable && !now.forwarded && !now.copy.empty() && run_->reruns < kMaxReruns;
  return under;
}

// A COMMIT alone, of a transaction whose id is known, of which the client has heard nothing yet.
bool Session::may_learn_outcome() const {
  if (!run_ || xid_ == 0 || vs_.state().tx.status != TxStatus::open) return false;
  const Work& now = run_->work;
  const bool whole = now.request.kind == Request::Kind::query || now.request.synced;
  return now.ends_transaction && whole && !now.forwarded;
}

void Session::tell_loss(const vsession::TransactionLinks::Loss& loss, NodeId node, const std::string& why,
                        std::string_view farewell) {
  using vsession::TransactionLinks;
  using Tells = TransactionLinks::Tells;
  const bool late = ended_by_time_limit(farewell);
  const bool over =
      loss.tells == Tells::unknown || loss.tells == Tells::rolled_back || loss.tells == Tells::run_it_again;
  // What has not been sent must not be taken for a unit of its own when that it belongs to is over.
  if (over && run_ && std::exchange(run_->work.waits, false)) drop_request_from_input();
  if (loss.tells == Tells::unknown && !late && may_learn_outcome()) {
    send_ends(loss.ends);
    if (phase_ == Phase::closed) return;
    unit().open = unit().stalled = false;
    return learn_outcome(node, why);
  }
  // It must not be taken for that of the next transaction, whatever ends this one.
  if (parts_.part(view().write_node()) == nullptr) forget_transaction_id();
  forget_told();
  if (loss.session != TransactionLinks::Leaves::as_it_is)
    vs_.transaction_lost(/*stay_failed=*/loss.session == TransactionLinks::Leaves::failed);
  send_ends(loss.ends);
  if (phase_ == Phase::closed) return;
  wire::Report report;
  switch (loss.tells) {
    case Tells::nothing:
      if (loss.session != TransactionLinks::Leaves::failed) return go_on();
      [[fallthrough]];
    case Tells::later:
      if (pending_error_ && !pending_error_->of_transaction) return go_on();  // a commit of before is lost: that stays
      pending_error_ = std::make_unique<PendingError>(
          PendingError{late ? time_limit_over(node, farewell, true) : lost_in_transaction(node, why),
                       /*of_transaction=*/true, /*had_failed=*/loss.tells == Tells::nothing});
      return go_on();
    case Tells::once_more:
      if (late) break;  // it would take as long elsewhere
      work().avoid = node;
      return run_again();
    case Tells::rolled_back:
      report = lost_in_transaction(node, why);
      break;
    case Tells::unknown:
      report = outcome_unknown(node, why);
      break;
    case Tells::run_it_again:
      report = farewell == sqlstate::kAdminShutdown && run_ && run_->reruns > 0 ? ended_again(node)
                                                                                : lost_while_reading(node, why);
      break;
  }
  if (late) report = time_limit_over(node, farewell, loss.tells != Tells::unknown);
  work().begins.first = work().begins.now;              // it was sent
  unit().skip = unit().open && !work().request.synced;  // its Sync is still to come
  unit().open = unit().stalled = false;
  fail_request(report);
  go_on();
}

}  // namespace herdgate::session
