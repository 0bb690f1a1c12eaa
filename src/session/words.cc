#include "session/words.h"

#include "base/sqlstate.h"
#include "session/errc.h"

namespace herdgate::session {
namespace {

wire::Report make(std::string_view severity, std::string_view state, std::string message, std::string detail = {},
                  std::string hint = {}) {
  wire::Report report;
  report.severity = severity;
  report.sqlstate = state;
  report.message = std::move(message);
  report.detail = std::move(detail);
  report.hint = std::move(hint);
  report.file = "session";
  return report;
}

}  // namespace

wire::Report refusal_report(const auth::Refusal& refusal) {
  return make("FATAL", refusal.sqlstate, refusal.text, refusal.detail, refusal.hint);
}

wire::Report report_of(const backend::OpenFailure& failure, NodeId node) {
  if (failure.server) {
    wire::Report report = *failure.server;
    report.severity = "ERROR";
    return report;
  }
  if (failure.refusal) {
    wire::Report report = refusal_report(*failure.refusal);
    report.severity = "ERROR";
    return report;
  }
  const auto& code = failure.error.code;
  if (code == pool::Errc::wait_timed_out || code == pool::Errc::queue_full || code == pool::Errc::all_taken) {
    const std::string_view timeout = code == pool::Errc::wait_timed_out ? "query_wait_timeout" : "";
    return make("ERROR", sqlstate::kTooManyConnections, "could not get a server connection",
                fmt::format("{}.", failure.error.text()), no_link_hint(failure.no_slot, timeout));
  }
  if (code == Errc::auth_query_slow)
    return make("ERROR", sqlstate::kCannotConnectNow,
                fmt::format("auth_query did not answer within {}", failure.error.context));
  if (code == Errc::auth_query_hindered)
    return make("ERROR", sqlstate::kCannotConnectNow, "auth_query failed for the moment", {},
                "See the log for details.");
  if (code == Errc::auth_query_crowded)
    return make("ERROR", sqlstate::kTooManyConnections, "too many logins wait for auth_query");
  if (code == backend::Errc::crowded) return make("ERROR", sqlstate::kTooManyConnections, "too many logins at once");
  if (code == pool::Errc::stopping) return shutting_down();
  if (code == backend::Errc::own_shortage)
    return make("ERROR", sqlstate::kTooManyConnections, "could not get a server connection",
                fmt::format("{}.", failure.error.text()),
                "The proxy is short of file descriptors, memory or ports; the node has not been asked.");
  return make("ERROR", sqlstate::kConnectionFailure, fmt::format("could not connect to node {}", node.value),
              fmt::format("{}.", failure.error.text()), "The node is probed and used again when it answers.");
}

std::string no_link_hint(bool server_bounds, std::string_view timeout) {
  std::string limits = server_bounds     ? "the server's max_connections"
                       : timeout.empty() ? "max_pool or pool_size"
                                         : "max_pool, pool_size";
  if (!timeout.empty()) limits += fmt::format(" or {}", timeout);
  return fmt::format("Raise {}, or close idle transactions.", limits);
}

wire::Report too_many_clients(std::string hint) {
  return make("FATAL", sqlstate::kTooManyConnections, "Sorry, too many clients already", {}, std::move(hint));
}

wire::Report protocol_violation(std::string_view problem) {
  return make("FATAL", sqlstate::kProtocolViolation, std::string(problem));
}

wire::Report in_failed_transaction(std::string_view statement) {
  return make("ERROR", sqlstate::kInFailedTransaction,
              "current transaction is aborted, commands ignored until end of transaction block",
              fmt::format("statement: {}", statement));
}

wire::Report canceled() { return make("ERROR", sqlstate::kQueryCanceled, "canceling statement due to user request"); }

wire::Report lost_in_transaction(NodeId node, const std::string& why) {
  return make("ERROR", sqlstate::kSerializationFailure,
              fmt::format("connection to node {} was lost during the transaction", node.value),
              fmt::format("{}. The transaction was rolled back.", why), "Run the transaction again.");
}

wire::Report lost_while_reading(NodeId node, const std::string& why) {
  return make("ERROR", sqlstate::kSerializationFailure,
              fmt::format("connection to node {} was lost while it answered", node.value), fmt::format("{}.", why),
              "Run the statement again.");
}

// Run anew it was ended there, too: somebody does not want it to run.
wire::Report ended_again(NodeId node) {
  return make("ERROR", sqlstate::kAdminShutdown, "terminating connection due to administrator command",
              fmt::format("Node {} has ended the statement, which had run on another one before.", node.value));
}

bool ended_by_time_limit(std::string_view farewell) {
  return farewell == sqlstate::kIdleInTransactionTimeout || farewell == sqlstate::kTransactionTimeout;
}

// As the server calls it, for to run the transaction again would end in the same way.
wire::Report time_limit_over(NodeId node, std::string_view farewell, bool rolled_back) {
  const bool idle = farewell == sqlstate::kIdleInTransactionTimeout;
  return make("ERROR", idle ? sqlstate::kIdleInTransactionTimeout : sqlstate::kTransactionTimeout,
              idle ? "terminating connection due to idle-in-transaction timeout"
                   : "terminating connection due to transaction timeout",
              rolled_back ? fmt::format("Node {} has rolled the transaction back.", node.value)
                          : fmt::format("Node {} has ended it; what was committed before that stays.", node.value));
}

wire::Report outcome_unknown(NodeId node, const std::string& why) {
  return make("ERROR", sqlstate::kOutcomeUnknown,
              fmt::format("connection to node {} was lost, the outcome of the statement is unknown", node.value),
              fmt::format("{}.", why), "Find out whether it took effect before running it again.");
}

wire::Report committed_after_all(NodeId node, const std::string& why) {
  return make(
      "ERROR", sqlstate::kOutcomeUnknown,
      fmt::format("connection to node {} was lost while it committed, and the transaction is committed", node.value),
      fmt::format("{}. The primary of now has the transaction.", why), "Do not run it again.");
}

wire::Report not_committed(NodeId node, const std::string& why) {
  return make("ERROR", sqlstate::kSerializationFailure,
              fmt::format("connection to node {} was lost while it committed, and nothing was committed", node.value),
              fmt::format("{}. The primary of now does not have the transaction.", why), "Run the transaction again.");
}

wire::Report lost_after_commit(std::uint64_t id, NodeId from, NodeId to) {
  return make(
      "ERROR", sqlstate::kSystemError,
      fmt::format("a committed transaction of this session is lost: node {}, the primary of now, does not have it",
                  to.value),
      fmt::format("Transaction {} was committed on node {}, which has failed. Whatever the session committed "
                  "after it is lost, too.",
                  id, from.value),
      "This statement was not run. Look at what is there before you go on.");
}

wire::Report lost_while_pinned(NodeId node, const std::string& pins) {
  return make("FATAL", sqlstate::kAdminShutdown,
              fmt::format("connection to node {} was lost, and with it the session's {}", node.value, pins));
}

wire::Report no_primary(const cluster::View& view, std::chrono::seconds waited) {
  const cluster::Node* node = view.find(view.primary);
  std::string why = "Nobody knows which node is the primary.";
  if (node != nullptr && !node->live())
    why = fmt::format("Node {} was the primary and is down: {}.", node->id.value, node->status_reason);
  else if (node != nullptr)
    why = fmt::format("Node {} is the primary and could not be reached.", node->id.value);
  return make("ERROR", sqlstate::kConnectionFailure,
              fmt::format("waited {} s for a primary, and there is none", waited.count()), std::move(why),
              "The statement was not sent. A node that works again serves when it is attached (pcp_attach_node, or "
              "auto_failback). Raise failover_wait_timeout if a failover takes longer than this.");
}

wire::Report paused(std::string_view database, std::chrono::seconds waited) {
  return make("ERROR", sqlstate::kCannotConnectNow,
              fmt::format("waited {} s for the end of a pause of database \"{}\"", waited.count(), database),
              "PGPOOL PAUSE holds new work. The statement was not sent.", "PGPOOL RESUME ends the pause.");
}

wire::Report no_answer_to_us(NodeId node, bool asked, const std::string& why) {
  return make("ERROR", sqlstate::kConnectionFailure,
              asked ? fmt::format("could not ask node {} about the names in the statement", node.value)
                    : fmt::format("could not set the session's parameters on node {}", node.value),
              fmt::format("{}. The connection to it was closed, the statement was not run.", why));
}

// In a server's words: drivers go by the routine (asyncpg, Rails).
wire::Report changed_result_type() {
  wire::Report report;
  report.sqlstate = sqlstate::kFeatureNotSupported;
  report.message = "cached plan must not change result type";
  report.file = "session";
  report.routine = "RevalidateCachedQuery";
  return report;
}

wire::Report no_such_statement(std::string_view name) {
  return make("ERROR", sqlstate::kInvalidStatementName,
              name.empty() ? "unnamed prepared statement does not exist"
                           : fmt::format("prepared statement \"{}\" does not exist", name));
}

wire::Report no_such_savepoint(std::string_view name) {
  return make("ERROR", sqlstate::kInvalidSavepoint, fmt::format("savepoint \"{}\" does not exist", name));
}

wire::Report shutting_down() {
  return make("FATAL", sqlstate::kAdminShutdown, "terminating connection due to administrator command");
}

}  // namespace herdgate::session
