#include "server/server.h"

#include <csignal>
#include <filesystem>

#include "config/reload.h"
#include "server/detach.h"
#include "server/errc.h"
#include "server/process_figures.h"

namespace herdgate::server {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

int backlog_of(const config::Settings& settings) {
  const auto wanted = static_cast<std::int64_t>(settings.num_init_children) * settings.listen_backlog_multiplier;
  return static_cast<int>(std::min<std::int64_t>(wanted, kMaxBacklog));
}

bool is_fast(StopMode mode) { return mode != StopMode::smart; }

}  // namespace

Level log_threshold(const config::Settings& settings, bool debug) {
  return debug ? std::min(settings.log_min_messages, Level::debug1) : settings.log_min_messages;
}

Server::Server(const Clock& clock, Log& log, LogWriter& writer, Files files, ServerOptions options)
    : log_(log),
      writer_(writer),
      options_(std::move(options)),
      files_(std::move(files)),
      loop_(clock),
      blocking_(kBlockingThreads),
      proxy_(clock, log, loop_, blocking_, files_) {}

Server::~Server() = default;

Result<Done> Server::open() {
  HG_TRY(signals_, SignalWatch::start(loop_, [this](int number) { on_signal(number); }));
  // The clients' port opens last: who finds it open finds the others too.
  HG_CHECK(open_pcp());
  HG_CHECK(open_http());
  HG_CHECK(listen());
  // They listen already, so early clients wait a moment in the kernel's queue.
  proxy_.start(options_.discard_status, [this] { accept_clients(); });
  return Done{};
}

void Server::accept_clients() {
  if (stopping_) return;
  proxy_.serve(std::move(listeners_));
  accepting_ = true;
}

Result<Done> Server::open_pcp() {
  const auto read_users = [path = options_.paths.pcp] { return read_file(path); };
  pcp_ = std::make_unique<admin::PcpServer>(admin::PcpMeans{loop_, blocking_, log_, read_users},
                                            static_cast<admin::Services&>(*this));
  return pcp_->open();
}

Result<Done> Server::open_http() {
  if (files_.settings->http_port == 0) return Done{};
  http_ = std::make_unique<admin::HttpServer>(
      admin::HttpMeans{.loop = loop_,
                       .log = log_,
                       .settings = [this] { return files_.settings; },
                       .gather = [this](admin::HttpMeans::Gathered done) { gather(done); },
                       .not_ready = [this] { return not_ready(); }});
  return http_->open();
}

// What the kernel knows is read away from the loop; should the pool of threads be busy, it is left out.
void Server::gather(const admin::HttpMeans::Gathered& done) {
  proxy_.figures([this, done](const std::shared_ptr<report::Figures>& figures) {
    const LogWriter::Figures log = writer_.figures();
    figures->log = {log.accepted, log.lost};
    const bool queued = blocking_.submit(
        loop_, [figures] { figures->process = process_figures(); }, [figures, done] { done(figures); });
    if (!queued) done(figures);
  });
}

std::string Server::not_ready() const {
  if (stopping_) return "shutting down";
  if (!accepting_) return "starting: the nodes are being asked";
  return proxy_.view()->main() == kNoNode ? "no node is usable" : std::string();
}

Result<Done> Server::listen() {
  const config::Settings& settings = *files_.settings;
  const int backlog = backlog_of(settings);
  for (const std::string& folder : settings.unix_socket_directories) HG_CHECK(add_unix(folder, backlog));
  for (const std::string& address : settings.listen_addresses) HG_CHECK(add_tcp(address, backlog));
  if (listeners_.empty())
    return fail(Errc::bad_configuration,
                "neither listen_addresses nor unix_socket_directories names a place to listen");
  return Done{};
}

Result<Done> Server::add_tcp(const std::string& address, int backlog) {
  if (address.empty()) return Done{};
  const config::Settings& settings = *files_.settings;
  const net::TcpOptions options{static_cast<int>(settings.tcp_keepalives_idle.count()),
                                static_cast<int>(settings.tcp_keepalives_interval.count()),
                                settings.tcp_keepalives_count, static_cast<int>(settings.tcp_user_timeout.count()),
                                /*defer_accept=*/true};
  HG_TRY(auto added, net::Listener::tcp(loop_, address, settings.port, backlog, &options));
  HG_LOG(log_, who_, Level::log, "listening on address \"{}\", port {}", address, settings.port);
  std::move(added.begin(), added.end(), std::back_inserter(listeners_));
  return Done{};
}

Result<Done> Server::add_unix(const std::string& folder, int backlog) {
  if (folder.empty()) return Done{};
  const config::Settings& settings = *files_.settings;
  // Absolute, because going into the background changes the working folder and the file is removed at the end.
  net::Listener::UnixOptions options;
  options.path = fmt::format("{}/.s.PGSQL.{}", std::filesystem::absolute(folder).string(), settings.port);
  options.group = settings.unix_socket_group;
  options.mode = settings.unix_socket_permissions;
  options.backlog = backlog;
  HG_TRY(auto added, net::Listener::unix_socket(loop_, options));
  HG_LOG(log_, who_, Level::log, "listening on UNIX socket \"{}\"", options.path);
  listeners_.push_back(std::move(added));
  return Done{};
}

void Server::announce() {
  HG_LOG(log_, who_, Level::log, "pgpool-II successfully started. version {} (Herdgate)", HERDGATE_VERSION);
  notify(fmt::format("READY=1\nMAINPID={}\nSTATUS=serving", ::getpid()));
}

void Server::run() { loop_.run(); }

void Server::on_signal(int number) {
  switch (number) {
    case SIGTERM:
      return stop(StopMode::smart);
    case SIGINT:
      return stop(StopMode::fast);
    case SIGQUIT:
      return stop(StopMode::immediate);
    case SIGHUP:
      (void)read_again();
      return;
    case SIGUSR1:  // for logrotate, which may not know a PCP password
      if (files_.settings->logging_collector) writer_.rotate();
      return;
    default:
      return;  // SIGUSR2: nothing waits for it here
  }
}

// Comes again every few seconds from `pgpool stop`; only a faster mode than before means something new.
void Server::stop(StopMode mode) {
  if (stopping_ && (is_fast(*stopping_) || !is_fast(mode))) return;
  stopping_ = mode;
  static constexpr const char* kNames[] = {"smart", "fast", "immediate"};
  HG_LOG(log_, who_, Level::log, "received {} shutdown request", kNames[static_cast<int>(mode)]);
  notify("STOPPING=1");
  listeners_.clear();
  proxy_.stop(is_fast(mode), [this] { loop_.stop(); });
  if (!is_fast(mode)) return;
  loop_.after(kFastStopLimit, [this] {
    HG_LOG(log_, who_, Level::warning, "some sessions did not end in time, leaving them");
    loop_.stop();
  });
}

void Server::say_findings(const std::vector<config::Finding>& findings) {
  for (const config::Finding& finding : findings)
    HG_LOG(log_, who_, level_of(finding.severity), "{}", finding_text(finding));
}

Result<Done> Server::read_again() {
  if (stopping_) return fail(Errc::bad_configuration, "the server is stopping");
  const auto since = std::chrono::duration_cast<std::chrono::microseconds>(loop_.clock().now().time_since_epoch());
  notify(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", since.count()));
  HG_LOG(log_, who_, Level::log, "reloading the configuration files");
  FilesRead read = read_files(options_.paths, {}, &files_);
  say_findings(read.findings);
  if (read.has_errors()) {
    HG_LOG(log_, who_, Level::warning, "configuration files have errors, the settings in force stay as they are");
    notify("READY=1\nSTATUS=serving, the last reload failed");
    return fail(Errc::bad_configuration, "The settings in force stay as they are; the log says why.");
  }
  config::Reloaded reloaded = config::reload(*files_.settings, *read.files.settings);
  files_ = std::move(read.files);
  files_.settings = std::make_shared<const config::Settings>(std::move(reloaded.merged));
  apply_log_settings();
  if (!reloaded.applied.empty()) HG_LOG(log_, who_, Level::log, "changed by reload: {}", joined(reloaded.applied));
  if (!reloaded.ignored_need_restart.empty())
    HG_LOG(log_, who_, Level::warning, "not changed, a restart is needed for: {}",
           joined(reloaded.ignored_need_restart));
  proxy_.reload(files_);
  HG_LOG(log_, who_, Level::log, "configuration files reloaded");
  notify("READY=1\nSTATUS=serving");
  return Done{};
}

// ---- what PCP may ask

admin::Services::Refused Server::reload() {
  const auto done = read_again();
  if (done) return std::nullopt;
  return cluster::Refusal{Level::error, "could not reload the configuration", done.error().context};
}

admin::Services::Refused Server::rotate_log() {
  if (!files_.settings->logging_collector)
    return cluster::Refusal{Level::error, "process log rotation request failed", "logging_collector is disabled"};
  HG_LOG(log_, who_, Level::debug1, "rotating the log file on request");
  writer_.rotate();
  return std::nullopt;
}

admin::Services::Refused Server::drop_query_cache() {
  if (proxy_.drop_query_cache()) return std::nullopt;
  return cluster::Refusal{Level::error, "query cache is not enabled", ""};
}

void Server::pause(const std::string& database, bool on, PauseAnswered answered) {
  proxy_.set_pause({database, on}, [answered = std::move(answered)](const session::Pauses::Outcome& outcome) {
    if (outcome.taken) return answered(std::nullopt, outcome.words);
    answered(cluster::Refusal{Level::error, outcome.words, session::no_room_detail()}, "");
  });
}

void Server::apply_log_settings() {
  LogSettings how = log_settings(*files_.settings);
  how.threshold = log_threshold(*files_.settings, options_.debug);
  writer_.configure(std::move(how));
  log_.set_threshold(log_threshold(*files_.settings, options_.debug));
}

void Server::notify(const std::string& message) {
  if (const auto sent = notify_service_manager(options_.notify_address, message); !sent)
    HG_LOG(log_, who_, Level::warning, "could not tell the service manager: {}", sent.error().text());
}

}  // namespace herdgate::server
