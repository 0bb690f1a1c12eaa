// The words for clients: the only place where an error code becomes a message.
#pragma once
#include <chrono>

#include "backend/opener.h"
#include "cluster/view.h"
#include "pool/errc.h"
#include "sql/facts.h"
#include "wire/backend.h"

namespace herdgate::session {

wire::Report report_of(const backend::OpenFailure& failure, NodeId node);
wire::Report refusal_report(const auth::Refusal& refusal);
// What to raise when there was no link. server_bounds: it is the server that has no room for more, or else a limit of
// ours is reached. timeout: the parameter that ended the wait; empty where nobody waited.
std::string no_link_hint(bool server_bounds, std::string_view timeout);
wire::Report too_many_clients(std::string hint);
wire::Report protocol_violation(std::string_view problem);
wire::Report in_failed_transaction(std::string_view statement);
wire::Report canceled();
wire::Report lost_in_transaction(NodeId node, const std::string& why);
wire::Report lost_while_reading(NodeId node, const std::string& why);
wire::Report ended_again(NodeId node);
// A time limit of the server's has ended the transaction, and its connection (farewell: the SQLSTATE).
bool ended_by_time_limit(std::string_view farewell);
wire::Report time_limit_over(NodeId node, std::string_view farewell, bool rolled_back);
wire::Report outcome_unknown(NodeId node, const std::string& why);
wire::Report committed_after_all(NodeId node, const std::string& why);
wire::Report not_committed(NodeId node, const std::string& why);
wire::Report lost_after_commit(std::uint64_t id, NodeId from, NodeId to);
wire::Report lost_while_pinned(NodeId node, const std::string& pins);
wire::Report no_primary(const cluster::View& view, std::chrono::seconds waited);
wire::Report paused(std::string_view database, std::chrono::seconds waited);
wire::Report no_answer_to_us(NodeId node, bool asked, const std::string& why);
wire::Report no_such_statement(std::string_view name);
wire::Report changed_result_type();
wire::Report no_such_savepoint(std::string_view name);
wire::Report shutting_down();

}  // namespace herdgate::session
