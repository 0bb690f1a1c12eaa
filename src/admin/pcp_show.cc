#include <fmt/format.h>

#include <algorithm>

#include "admin/pcp_commands.h"
#include "report/pcp_rows.h"

namespace herdgate::admin {
namespace {

using Answer = PcpCommands::Answer;
using Rows = std::vector<std::vector<std::string>>;

constexpr int kAll = -1;

Answer trouble(std::string message, std::string detail) {
  Answer out;
  out.trouble = pcp::Trouble{"ERROR", std::move(message), std::move(detail), "", "XX000"};
  return out;
}

Answer with_values(pcp::Ask ask, const std::vector<std::string>& values) {
  Answer out;
  pcp::put_done(out.reply, pcp::reply_letter(ask), values);
  return out;
}

// The number of rows, the rows, the end.
Answer with_rows(pcp::Ask ask, std::string_view tag, const Rows& rows) {
  const char letter = pcp::reply_letter(ask);
  Answer out;
  pcp::put_row(out.reply, letter, pcp::kArraySize, std::vector<std::string>{std::to_string(rows.size())});
  for (const auto& row : rows) pcp::put_row(out.reply, letter, tag, row);
  pcp::put_done(out.reply, letter);
  return out;
}

Answer node_info(const pcp::Request& request, const report::Server& server, const config::Settings& settings) {
  Rows rows;
  if (request.number == kAll) {
    if (server.view)
      for (const cluster::Node& node : server.view->nodes) rows.push_back(report::pcp_node(server, settings, node));
  } else if (const cluster::Node* node = report::find_node(server, NodeId(request.number))) {
    rows.push_back(report::pcp_node(server, settings, *node));
  } else {
    return trouble("informing node info failed", fmt::format("invalid node ID : {}", request.number));
  }
  return with_rows(request.ask, pcp::kNodeInfo, rows);
}

Answer health(const pcp::Request& request, const report::Server& server, const config::Settings& settings) {
  for (const auto& row : report::pool_health_check_stats(server, settings).rows)
    if (row.front() == std::to_string(request.number)) return with_values(request.ask, row);
  return trouble("informing health check stats info failed", fmt::format("invalid node ID {}", request.number));
}

Answer process_count(const report::Server& server) {
  std::vector<std::string> values = report::pcp_process_ids(server);
  values.insert(values.begin(), std::to_string(values.size()));
  return with_values(pcp::Ask::process_count, values);
}

Answer process_info(const pcp::Request& request, const report::Server& server, const config::Settings& settings) {
  constexpr int kAllProcesses = 0;
  Rows rows = report::pool_pools(server, settings).rows;
  if (request.number != kAllProcesses) {
    const std::string pid = std::to_string(request.number);
    std::erase_if(rows, [&](const auto& row) { return row.front() != pid; });
    const auto all = report::pcp_process_ids(server);
    if (rows.empty() && std::ranges::find(all, pid) == all.end())
      return trouble("informing process info failed", fmt::format("invalid process ID : {}", request.number));
  }
  return with_rows(request.ask, pcp::kProcessInfo, rows);
}

// Here the number of rows is four raw octets.
Answer configuration(const report::Server& server, const config::Settings& settings) {
  const Rows rows = report::pool_status(server, settings).rows;
  const char letter = pcp::reply_letter(pcp::Ask::pool_status);
  Bytes size;
  append_cstr(size, pcp::kArraySize);
  append_u32(size, static_cast<std::uint32_t>(rows.size()));
  Answer out;
  pcp::put_frame(out.reply, letter, size);
  for (const auto& row : rows) pcp::put_row(out.reply, letter, pcp::kProcessConfig, row);
  pcp::put_done(out.reply, letter);
  return out;
}

}  // namespace

Answer shown(const pcp::Request& request, const report::Server& server, const config::Settings& settings) {
  switch (request.ask) {
    case pcp::Ask::pool_status:
      return configuration(server, settings);
    case pcp::Ask::health_check_stats:
      return health(request, server, settings);
    case pcp::Ask::node_info:
      return node_info(request, server, settings);
    case pcp::Ask::node_count:
      return with_values(request.ask, {std::to_string(report::pcp_node_count(server))});
    case pcp::Ask::process_count:
      return process_count(server);
    case pcp::Ask::process_info:
      return process_info(request, server, settings);
    default:
      return trouble("PCP processing request", "this request shows nothing");
  }
}

}  // namespace herdgate::admin
