#include "admin/pcp_server.h"

#include <fmt/format.h>

#include <filesystem>

#include "admin/pcp_connection.h"

namespace herdgate::admin {

PcpServer::PcpServer(PcpMeans means, Services& services)
    : means_(std::move(means)), services_(services), commands_(services) {
  who_.application = "pcp_main";
  who_.process = "PCP CHILD";
}

PcpServer::~PcpServer() { *alive_ = false; }

Result<Done> PcpServer::open() {
  HG_CHECK(listen());
  for (const auto& listener : listeners_) {
    const auto accepted = [this](net::Socket socket, const net::Address& peer) { accept(std::move(socket), peer); };
    const auto troubled = [this](const Error& error) { say(Level::warning, error.text() + "; PCP clients wait"); };
    HG_CHECK(listener->start(accepted, troubled));
  }
  return Done{};
}

Result<Done> PcpServer::listen() {
  const config::SettingsPtr settings = services_.settings();
  for (const std::string& folder : settings->pcp_socket_dir) {
    if (folder.empty()) continue;
    net::Listener::UnixOptions options;
    // Absolute, because going into the background changes the working folder and the file is removed at the end.
    options.path = fmt::format("{}/.s.PGSQL.{}", std::filesystem::absolute(folder).string(), settings->pcp_port);
    options.group = settings->unix_socket_group;
    options.mode = settings->unix_socket_permissions;
    options.backlog = kPcpBacklog;
    HG_TRY(auto added, net::Listener::unix_socket(means_.loop, options));
    listeners_.push_back(std::move(added));
    say(Level::log, fmt::format("PCP listens on UNIX socket \"{}\"", options.path));
  }
  for (const std::string& address : settings->pcp_listen_addresses) {
    if (address.empty()) continue;
    HG_TRY(auto added, net::Listener::tcp(means_.loop, address, settings->pcp_port, kPcpBacklog));
    std::move(added.begin(), added.end(), std::back_inserter(listeners_));
    say(Level::log, fmt::format("PCP listens on address \"{}\", port {}", address, settings->pcp_port));
  }
  return Done{};
}

std::vector<int> PcpServer::ports() const {
  std::vector<int> out;
  for (const auto& listener : listeners_)
    if (const int port = listener->port(); port != 0) out.push_back(port);
  return out;
}

void PcpServer::say(Level level, std::string_view text, std::string_view detail) {
  means_.log.write(who_, LogLine{.level = level, .text = text, .detail = detail});
}

void PcpServer::accept(net::Socket socket, const net::Address& peer) {
  const std::string where = peer.is_unix() ? "[local]" : fmt::format("{}({})", peer.host(), peer.port());
  const std::uint64_t id = ++last_id_;
  const auto connection = std::make_shared<PcpConnection>(*this, id, std::move(socket), where);
  if (const auto started = connection->start(); !started)
    return say(Level::warning, "could not serve a PCP client", started.error().text());
  connections_.emplace(id, connection);
  connection->counted = served_ < kMaxClients;
  if (connection->counted) {
    ++served_;
    if (services_.settings()->log_pcp_processes)
      say(Level::log, "new PCP connection received", "The client is " + where + ".");
  } else {
    connection->refuse({"FATAL", "Sorry, too many PCP clients already", "", "", "53300"});
  }
  if (connections_.size() < kMaxClients + kMaxRefused) return;
  paused_ = true;
  for (const auto& listener : listeners_) listener->pause();
}

// The connection is in the middle of its own work.
void PcpServer::remove(std::uint64_t id) {
  means_.loop.defer([this, alive = alive_, id] {
    if (!*alive) return;
    const auto found = connections_.extract(id);
    if (!found) return;
    if (found.mapped()->counted) {
      --served_;
      if (services_.settings()->log_pcp_processes) say(Level::log, "PCP connection ended");
    }
    if (paused_ && connections_.size() < kMaxClients + kMaxRefused / 2) admit_again();
  });
}

void PcpServer::admit_again() {
  paused_ = false;
  for (const auto& listener : listeners_) listener->resume();
}

}  // namespace herdgate::admin
