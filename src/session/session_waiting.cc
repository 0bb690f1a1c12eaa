// Work that cannot be sent now because the herd is in the middle of a change, or because somebody paused it: it stays
// in the input, unsent, and the worker's next snapshot has it looked at again.
#include <algorithm>

#include "base/sqlstate.h"
#include "session/session.h"
#include "session/words.h"
#include "wire/backend.h"
#include "wire/frontend.h"

namespace herdgate::session {
namespace {

// A primary that is said to work and cannot be reached this often for one request will not be reached.
constexpr int kMaxHoldFailures = 5;

std::chrono::seconds limit_of(route::Hold why, const config::Settings& settings) {
  return why == route::Hold::pause ? settings.pause_timeout + settings.failover_wait_timeout
                                   : settings.failover_wait_timeout;
}

}  // namespace

// No server works for the session's transaction: what comes next begins one.
bool Session::begins() const { return !unit_open() && parts_.empty(); }

route::Hold Session::restrained(NodeId node, bool write) const {
  const Snapshot& snapshot = *snapshot_;
  const bool paused = snapshot.pauses && snapshot.pauses->holds(identity_->database);
  const bool checked = worker_.shared().commits_checked.load() > 0;
  return route::hold({.view = *snapshot.view,
                      .node = node,
                      .write = write,
                      .begins = begins(),
                      .paused = paused,
                      .outcomes_open = worker_.shared().outcomes_open.load() > 0 || checked,
                      .may_miss_own = checked && told_commit_ != 0});
}

// Nobody is known to be the primary: what writes waits, though the session has a link there (it has asked about names
// over it, say). What hangs on that link stays with it, and so does a transaction.
bool Session::is_stand_in(NodeId node) const {
  const bool nobody = view().primary_awaited && view().primary == kNoNode && node == view().write_node();
  return nobody && begins() && vs_.state().pins == 0;
}

// `served`: waiting is switched off.
Session::Next Session::hold_back(route::Hold why, NodeId node) {
  const bool unlimited = why == route::Hold::pause && settings().pause_timeout.count() == 0;
  const std::chrono::seconds limit = limit_of(why, settings());
  if (why != route::Hold::pause && limit.count() == 0) return Next::served;
  const TimePoint now = worker_.loop().now();
  if (!work().hold_until) work().hold_until = unlimited ? Deadline::never() : Deadline::after(now, limit);
  end_hold();
  holding_ = std::make_unique<Holding>(Holding{.why = why, .node = node});
  phase_ = Phase::held;
  // Decided by an older snapshot than the worker has: what it waits for may have come, and nobody would say so again.
  if (snapshot_ != worker_.snapshot()) {
    worker_.loop().defer([&worker = worker_, id = id_] {
      Session* session = worker.find(id);
      if (session != nullptr && session->phase_ == Phase::held) session->snapshot_came();
    });
  }
  if (!unlimited) {
    const Duration left = std::max(Duration::zero(), work().hold_until->at - now);
    holding_->timer = worker_.loop().after(left, [this] {
      holding_->timer = 0;
      hold_expired();
    });
  }
  return Next::waiting;
}

void Session::end_hold() {
  if (holding_) worker_.loop().cancel(holding_->timer);
  holding_.reset();
}

void Session::hold_expired() {
  const route::Hold why = holding_->why;
  end_hold();
  phase_ = Phase::idle;
  drop_request_from_input();
  const std::chrono::seconds waited = limit_of(why, settings());
  fail_request(why == route::Hold::pause ? paused(identity_->database, waited) : no_primary(view(), waited));
  go_on();
}

// Terminate lies behind what waits.
bool Session::said_goodbye() const {
  for (ByteView rest = in_; rest.size() >= wire::kHeaderBytes;) {
    if (rest[0] == wire::fe::kTerminate) return true;
    rest.remove_prefix(std::min(rest.size(), std::size_t{load_u32(rest.data() + 1)} + 1));
  }
  return false;
}

// Its client has ended its stream, and may have sent the held request again by now: nothing of it has been sent, so it
// is dropped once nobody listens any more. Who has closed his half only does, which shows when something is sent to
// him: the connection is reset if he does not.
void Session::ask_whether_gone() {
  if (said_goodbye()) return retire();
  if (std::exchange(holding_->client_asked, true)) return;
  wire::Report notice;
  notice.severity = "NOTICE";
  notice.sqlstate = sqlstate::kSuccess;
  notice.message = holding_->why == route::Hold::pause ? "waiting for PGPOOL RESUME" : "waiting for a primary";
  notice.file = "session";
  wire::put_notice(client_.own(), notice);
  client_.added_own();
  client_.flush();
  if (client_.broken()) retire();
}

void Session::snapshot_came() {
  if (login_) return login_->snapshot_came();
  if (lost_commit_) return ask_outcome();
  if (phase_ == Phase::acquiring && pending_) {
    // Nobody will give us a link to a node that is down; one that hangs would not even say so.
    const cluster::Node* node = worker_.snapshot()->view->find(pending_node_);
    if (node != nullptr && node->live()) return;
    pending_.reset();
    return serve_anew();
  }
  if (phase_ != Phase::held) return;
  snapshot_ = worker_.snapshot();
  // What it waits for may be another node by now.
  const NodeId node = holding_->why == route::Hold::primary ? view().write_node() : holding_->node;
  const route::Hold why = restrained(node, work().plan.write);
  if (why == route::Hold::none) {
    end_hold();
    return serve_anew();
  }
  holding_->why = why;
  holding_->node = node;
}

// The request has not been sent: it is planned again, with the herd as it is now.
void Session::serve_anew() {
  if (ended_ && said_goodbye()) return retire();
  phase_ = Phase::idle;
  snapshot_ = worker_.snapshot();
  work().planned = false;
  if (begins()) vs_.stay_on(kNoNode);
  go_on();
}

// The primary is asked for a link for a read that any node may serve.
bool Session::reads_elsewhere() {
  const auto others = [&](const cluster::Node& node) { return node.live() && node.id != pending_node_; };
  const auto& nodes = view().nodes;
  const route::Rule rule = work().plan.rule;
  const bool balanced =
      work().planned && !work().plan.write && (rule == route::Rule::load_balance || rule == route::Rule::redirect);
  if (!balanced || work().avoid != kNoNode || std::none_of(nodes.begin(), nodes.end(), others)) return false;
  return pending_node_ == view().write_node();
}

// Such a read has met a primary that does not work.
bool Session::read_elsewhere() {
  if (!reads_elsewhere()) return false;
  work().avoid = pending_node_;
  work().planned = work().on_primary = false;
  return true;
}

// The standby cannot be had for the moment, for trouble of ours, and the primary can. A link that is there serves.
bool Session::left_out(NodeId node) {
  if (!worker_.left_out().contains(node, worker_.loop().now())) return false;
  const NodeId primary = view().write_node();
  if (node == primary || work().avoid == primary || view().primary_awaited) return false;
  return held(node) == nullptr && key_pool(node)->idle.empty();
}

// The connection to the primary could not be made: the probe that the pool has asked for decides, and its word comes
// with a snapshot. True: the request waits, or is planned again because another node is the primary by now.
bool Session::wait_after_failure(const backend::OpenFailure& failure) {
  const bool gone = failure.error.code == make_error_code(pool::Errc::node_gone);
  if (!gone && !failure.against_node() && !failure.not_ready()) return false;
  const bool streaming = settings().backend_clustering_mode == config::ClusteringMode::streaming_replication;
  if (!streaming || settings().failover_wait_timeout.count() == 0 || vs_.state().pins != 0) return false;
  if (pending_node_ != view().write_node() && !work().plan.write) return false;
  if (++work().hold_failures > kMaxHoldFailures) return false;
  if (pending_node_ != view().write_node() || (gone && !view().primary_awaited)) {  // the herd is another one by now
    work().planned = false;
    return true;
  }
  return hold_back(route::Hold::primary, pending_node_) == Next::waiting;
}

// The primary's server has no room, and has said so at once because the session holds a link elsewhere. True: that goes
// back, and the session asks once more, as one who may wait.
bool Session::wait_for_room(const backend::OpenFailure& failure) {
  const bool full = failure.server && failure.no_slot;
  return full && pending_node_ == view().write_node() && holds_link() && give_way();
}

}  // namespace herdgate::session
