#include "admin/http_server.h"

#include <fmt/format.h>

#include <algorithm>

#include "admin/http_connection.h"
#include "admin/metrics.h"
#include "admin/state_json.h"

namespace herdgate::admin {

HttpServer::HttpServer(HttpMeans means) : means_(std::move(means)) {
  who_.application = "http";
  who_.process = "HTTP";
}

HttpServer::~HttpServer() {
  *alive_ = false;
  means_.loop.cancel(next_round_);
}

Result<Done> HttpServer::open() {
  const config::SettingsPtr settings = means_.settings();
  for (const std::string& address : settings->http_listen_addresses) {
    if (address.empty()) continue;
    HG_TRY(auto added, net::Listener::tcp(means_.loop, address, settings->http_port, kHttpBacklog));
    std::move(added.begin(), added.end(), std::back_inserter(listeners_));
    HG_LOG(means_.log, who_, Level::log, "HTTP listens on address \"{}\", port {}", address, settings->http_port);
  }
  for (const auto& listener : listeners_) {
    const auto accepted = [this](net::Socket socket, const net::Address&) { accept(std::move(socket)); };
    const auto troubled = [this](const Error& error) {
      HG_LOG(means_.log, who_, Level::warning, "{}; HTTP clients wait", error.text());
    };
    HG_CHECK(listener->start(accepted, troubled));
  }
  return Done{};
}

std::vector<int> HttpServer::ports() const {
  std::vector<int> out;
  for (const auto& listener : listeners_) out.push_back(listener->port());
  return out;
}

void HttpServer::accept(net::Socket socket) {
  const std::uint64_t id = ++last_id_;
  const auto connection = std::make_shared<HttpConnection>(*this, id, std::move(socket));
  if (const auto started = connection->start(); !started) {
    HG_LOG(means_.log, who_, Level::warning, "could not serve an HTTP client: {}", started.error().text());
    return;
  }
  connections_.emplace(id, connection);
  make_room();
}

// One too many takes the place of the one that has been silent longest: whoever has something to ask has asked by now.
// While all are being answered the next ones wait in the kernel; the newest has not had its chance yet.
void HttpServer::make_room() {
  std::size_t open = 0;
  std::vector<HttpConnection*> silent;  // the oldest first
  for (const auto& [id, connection] : connections_) {
    if (!connection->open()) continue;
    ++open;
    if (id != last_id_ && connection->silent()) silent.push_back(connection.get());
  }
  std::stable_sort(silent.begin(), silent.end(), [](auto* a, auto* b) { return a->since() < b->since(); });
  const std::size_t surplus = open > kMaxConnections ? open - kMaxConnections : 0;
  for (std::size_t i = 0; i < std::min(surplus, silent.size()); ++i) silent[i]->close();
  if (open < kMaxConnections || silent.size() > surplus) return;
  paused_ = true;
  for (const auto& listener : listeners_) listener->pause();
}

void HttpServer::admit_again() {
  if (!std::exchange(paused_, false)) return;
  for (const auto& listener : listeners_) listener->resume();
}

// The connection may be in the middle of its own work.
void HttpServer::remove(std::uint64_t id) {
  asking_.erase(id);
  gathering_for_.erase(id);
  means_.loop.defer([this, alive = alive_, id] {
    if (!*alive) return;
    connections_.erase(id);
    admit_again();
  });
}

// ---- figures

void HttpServer::ask(std::uint64_t connection, Wants what) {
  asking_[connection] = what;
  gather();
}

// What is being gathered already may be older than the question, so that waits for the next round.
void HttpServer::gather() {
  if (gathering_ || next_round_ != 0 || asking_.empty()) return;
  const Duration since = means_.loop.now() - gathered_last_;
  if (gathered_last_ != TimePoint{} && since < kGatherPause) {
    next_round_ = means_.loop.after(kGatherPause - since, [this] {
      next_round_ = 0;
      gather();
    });
    return;
  }
  gathering_ = true;
  gathered_last_ = means_.loop.now();
  gathering_for_ = std::exchange(asking_, {});
  means_.gather([this, alive = alive_](const std::shared_ptr<const report::Figures>& figures) {
    if (*alive) gathered(*figures);
  });
}

void HttpServer::gathered(const report::Figures& figures) {
  gathering_ = false;
  std::map<Wants, std::string> texts;  // made once for all who want the same
  for (const auto& [id, what] : std::exchange(gathering_for_, {})) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) continue;
    const auto [made, fresh] = texts.try_emplace(what);
    if (fresh) made->second = text(figures, what);
    const std::string_view type =
        what == Wants::state ? "application/json"
                             : content_type(what == Wants::openmetrics ? Format::openmetrics : Format::prometheus);
    found->second->answer(type, made->second);
  }
  gather();
}

std::string HttpServer::text(const report::Figures& figures, Wants what) const {
  const config::SettingsPtr settings = means_.settings();
  if (what == Wants::state) return state_json(figures, *settings);
  return metrics_text(figures, *settings, what == Wants::openmetrics ? Format::openmetrics : Format::prometheus);
}

}  // namespace herdgate::admin
