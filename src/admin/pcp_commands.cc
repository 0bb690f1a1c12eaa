#include "admin/pcp_commands.h"

#include <fmt/format.h>

#include <utility>

#include "report/pcp_rows.h"

namespace herdgate::admin {
namespace {

using Answer = PcpCommands::Answer;
using pcp::Ask;

Answer refused(std::string severity, std::string message, std::string detail) {
  Answer out;
  out.trouble = pcp::Trouble{std::move(severity), std::move(message), std::move(detail), "", "XX000"};
  return out;
}

// Done, or the refusal's words.
Answer answer_to(Ask ask, const std::optional<cluster::Refusal>& refusal) {
  if (refusal) return refused(refusal->level >= Level::fatal ? "FATAL" : "ERROR", refusal->text, refusal->detail);
  Answer out;
  pcp::put_done(out.reply, pcp::reply_letter(ask));
  return out;
}

bool known_node(const report::Server& server, int id) { return report::find_node(server, NodeId(id)) != nullptr; }

}  // namespace

void PcpCommands::run(const pcp::Request& request, Answered answered) {
  switch (request.ask) {
    case Ask::attach:
    case Ask::detach:
    case Ask::detach_gracefully:
      return change_node(request, std::move(answered));
    case Ask::promote:
    case Ask::promote_gracefully:
      return promote(request, std::move(answered));
    case Ask::recover:
      return recover(request, std::move(answered));
    case Ask::stop:
    case Ask::stop_cluster:
      return answered(stop(request));
    case Ask::reload:
      return answered(answer_to(request.ask, services_.reload()));
    case Ask::rotate_log:
      return answered(rotate_log(request));
    case Ask::drop_cache:
      return answered(answer_to(request.ask, services_.drop_query_cache()));
    case Ask::pause:
    case Ask::resume:
      return pause(request, std::move(answered));
    case Ask::watchdog_info:
      return answered(refused("ERROR", "PCP: informing watchdog info failed", "watchdog is not enabled"));
    default:
      return show(request, std::move(answered));
  }
}

void PcpCommands::show(const pcp::Request& request, Answered answered) {
  services_.report([this, request, answered = std::move(answered)](const report::Server& server) {
    answered(shown(request, server, *services_.settings()));
  });
}

void PcpCommands::change_node(const pcp::Request& request, Answered answered) {
  const auto done = [ask = request.ask, answered = std::move(answered)](std::optional<cluster::Refusal> refusal) {
    answered(answer_to(ask, refusal));
  };
  const NodeId node(request.number);
  if (request.ask == Ask::detach_gracefully) return services_.cluster().detach_gracefully(node, done);
  const auto kind = request.ask == Ask::attach ? cluster::Request::attach : cluster::Request::detach;
  services_.cluster().request({kind, node}, done);
}

Answer PcpCommands::promote_refusal(const pcp::Request& request, const report::Server& server) const {
  if (services_.settings()->backend_clustering_mode != config::ClusteringMode::streaming_replication)
    return refused("FATAL", "invalid pgpool mode for process recovery request",
                   "not in streaming replication mode, can't promote");
  if (!known_node(server, request.number))
    return refused("ERROR", "could not process promote request",
                   fmt::format("node id {} is not valid", request.number));
  if (server.view->primary == NodeId(request.number))
    return refused("FATAL", "invalid promote request",
                   fmt::format("specified node is already primary node, can't promote node id {}", request.number));
  return {};
}

// Gracefully or not: no session ends because of a promotion, so there is nothing to wait for.
void PcpCommands::promote(const pcp::Request& request, Answered answered) {
  if (request.option != pcp::option::kSwitchover && request.option != pcp::option::kRoleOnly)
    return answered(refused("ERROR", "could not process promote request",
                            fmt::format("invalid promote option \"{}\"", request.option)));
  services_.report([this, request, answered = std::move(answered)](const report::Server& server) {
    Answer refusal = promote_refusal(request, server);
    if (refusal.trouble) return answered(std::move(refusal));
    const auto kind =
        request.option == pcp::option::kSwitchover ? cluster::Request::switchover : cluster::Request::promote;
    services_.cluster().request(
        {kind, NodeId(request.number)},
        [ask = request.ask, answered](std::optional<cluster::Refusal> no) { answered(answer_to(ask, no)); });
  });
}

void PcpCommands::recover(const pcp::Request& request, Answered answered) {
  if (auto busy = refusal_while_busy()) return answered(std::move(*busy));
  services_.report([this, request, answered = std::move(answered)](const report::Server& server) {
    constexpr const char* kFailed = "process recovery request failed";
    if (!known_node(server, request.number))
      return answered(refused("ERROR", kFailed, fmt::format("node id {} is not valid", request.number)));
    if (server.view->primary == NodeId(request.number))
      return answered(refused("ERROR", kFailed, "primary server cannot be recovered by online recovery."));
    services_.cluster().recover(
        NodeId(request.number),
        [ask = request.ask, answered](std::optional<cluster::Refusal> no) { answered(answer_to(ask, no)); });
  });
}

// The answer says what was done, in the words of the log.
void PcpCommands::pause(const pcp::Request& request, Answered answered) {
  const auto done = [ask = request.ask, answered = std::move(answered)](const Services::Refused& refusal,
                                                                        const std::string& did) {
    if (refusal) return answered(answer_to(ask, refusal));
    Answer out;
    pcp::put_done(out.reply, pcp::reply_letter(ask), std::vector<std::string>{did});
    answered(std::move(out));
  };
  services_.pause(request.name, request.ask == Ask::pause, done);
}

Answer PcpCommands::rotate_log(const pcp::Request& request) {
  if (request.option == pcp::option::kCluster && !services_.settings()->use_watchdog)
    return refused("ERROR", "PCP: error while processing log rotation request for cluster", "watchdog is not enabled");
  return answer_to(request.ask, services_.rotate_log());
}

// Without a watchdog the whole cluster is this server.
Answer PcpCommands::stop(const pcp::Request& request) {
  StopMode mode{};
  if (request.option == pcp::option::kSmart) {
    mode = StopMode::smart;
  } else if (request.option == pcp::option::kFast) {
    mode = StopMode::fast;
  } else if (request.option == pcp::option::kImmediate) {
    mode = StopMode::immediate;
  } else {
    return refused("ERROR", "PCP: error while processing shutdown request",
                   fmt::format("invalid shutdown mode \"{}\"", request.option));
  }
  if (auto busy = refusal_while_busy()) return std::move(*busy);
  Answer out = answer_to(request.ask, std::nullopt);
  out.afterwards = [this, mode] { services_.stop(mode); };
  return out;
}

std::optional<Answer> PcpCommands::refusal_while_busy() const {
  const std::string busy = services_.cluster().busy_with();
  if (busy.empty()) return std::nullopt;
  return refused("ERROR", "failed to process PCP request at the moment", busy + " is in progress");
}

}  // namespace herdgate::admin
