// The running server: listeners, signals, reload and stop, on the control loop; clients go to the proxy, those of PCP
// and HTTP to admin.
//
// Shape    open() binds everything and starts the threads; run() serves until it is stopped by SIGTERM (smart: waits
//          for the clients), SIGINT or SIGQUIT (fast). SIGHUP reads the files again.
// Limits   a fast stop takes at most kFastStopLimit.
// Errors   open() says what could not be bound; afterwards nothing fails as a whole. A reload with an error changes
//          nothing.
// Threads  the main thread, which becomes the control thread.
// Source   Pgpool-II 4.6 manual, "pgpool", "Server Configuration".
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admin/http_server.h"
#include "admin/pcp_server.h"
#include "server/files.h"
#include "server/log_writer.h"
#include "server/proxy.h"
#include "server/signals.h"

namespace herdgate::server {

inline constexpr Duration kFastStopLimit = std::chrono::seconds(10);
inline constexpr int kBlockingThreads = 4;
inline constexpr int kMaxBacklog = 65535;

struct ServerOptions {
  FilePaths paths;
  bool debug = false, discard_status = false;
  std::string notify_address;  // $NOTIFY_SOCKET
};

class Server final : private admin::Services {
 public:
  Server(const Clock& clock, Log& log, LogWriter& writer, Files files, ServerOptions options);
  ~Server() override;

  Result<Done> open();
  void announce();  // "successfully started", and to the service manager
  void run();

 private:
  Result<Done> listen();
  void accept_clients();
  Result<Done> open_pcp();
  Result<Done> open_http();
  void gather(const admin::HttpMeans::Gathered& done);
  std::string not_ready() const;
  Result<Done> add_tcp(const std::string& address, int backlog);
  Result<Done> add_unix(const std::string& folder, int backlog);
  void on_signal(int number);
  // What went wrong has been logged; the text is for whoever asked.
  Result<Done> read_again();

  config::SettingsPtr settings() const override { return files_.settings; }
  void report(std::function<void(const report::Server&)> done) override { proxy_.collect(std::move(done)); }
  cluster::Control& cluster() override { return proxy_.cluster_control(); }
  void stop(StopMode mode) override;
  Refused reload() override;
  Refused rotate_log() override;
  Refused drop_query_cache() override;
  void pause(const std::string& database, bool on, PauseAnswered answered) override;

  void say_findings(const std::vector<config::Finding>& findings);
  void apply_log_settings();
  void notify(const std::string& message);

  Log& log_;
  LogWriter& writer_;
  LogContext who_;
  ServerOptions options_;
  Files files_;
  net::Loop loop_;
  net::BlockingPool blocking_;
  Proxy proxy_;
  std::unique_ptr<SignalWatch> signals_;
  std::unique_ptr<admin::PcpServer> pcp_;
  std::unique_ptr<admin::HttpServer> http_;
  std::vector<std::unique_ptr<net::Listener>> listeners_;
  std::optional<StopMode> stopping_;
  bool accepting_ = false;
};

Level log_threshold(const config::Settings& settings, bool debug);

}  // namespace herdgate::server
