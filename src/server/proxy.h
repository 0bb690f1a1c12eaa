// The proxy proper: the workers with their threads, the monitor on the control loop, and the snapshots between them.
//
// Shape    start(), serve(), reload(), stop(). Everything that is configured comes in as Files.
// Limits   num_workers threads; SocketBounds of clients and links, known at the start; the rest is bounded by its
//          parts.
// Errors   start() fails when a thread or a descriptor cannot be had; afterwards nothing fails as a whole.
// Threads  the control thread, except hint_* and post*, which any worker may call.
#pragma once
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "monitor/monitor.h"
#include "server/commit_check.h"
#include "server/descriptors.h"
#include "server/start_doubt.h"
#include "session/worker.h"

namespace herdgate::server {

// What was read from the files of the configuration.
struct Files {
  config::SettingsPtr settings;
  std::shared_ptr<const config::HbaLoaded> hba;           // null: enable_pool_hba is off
  std::shared_ptr<const config::PasswordFile> passwords;  // never null
  bool has_passwords = false;                             // the file exists
  std::optional<auth::Secret> key;
};

class Proxy final : public session::Workers {
 public:
  static constexpr int kProbingThreads = 2;

  Proxy(const Clock& clock, Log& log, net::Loop& control, net::BlockingPool& blocking, Files files);
  ~Proxy() override;

  // `ready` comes by the control loop when clients may be accepted: the first of them may want to write.
  void start(bool discard_state, std::function<void()> ready);
  // Clients come in by these from now on, until stop().
  void serve(std::vector<std::unique_ptr<net::Listener>> listeners);
  void reload(Files files);
  // `stopped` is posted to the control loop when the last client has left.
  void stop(bool fast, std::function<void()> stopped);
  // What all workers contribute to a report, with the view of now; `done` is called on the control loop.
  void collect(std::function<void(const report::Server&)> done);
  // The figures of all workers, without log and process; `done` is called on the control loop.
  using FiguresDone = std::function<void(std::shared_ptr<report::Figures>)>;
  void figures(FiguresDone done);
  cluster::ViewPtr view() const { return view_; }
  bool drop_query_cache();  // false: there is none
  // `done` is called on the control loop when all workers keep to it.
  void set_pause(const session::Pauses::Change& change, PauseDone done);
  // Requests of people to the cluster; after start(), on the control thread.
  cluster::Control& cluster_control() { return *monitor_; }

  session::Worker& worker(WorkerId id) override { return *workers_[static_cast<std::size_t>(id.value)]; }
  std::size_t count() const override { return workers_.size(); }
  void post_all_others(WorkerId from, std::function<void(pool::Pool&)> work) override;
  void post(WorkerId to, std::function<void(pool::Pool&)> work) override;
  void hint_node_trouble(NodeId node, const std::string& why, std::string_view farewell) override;
  void hint_node_reached(NodeId node) override;
  void hint_server_reloads() override;
  void outcomes_closed() override;
  void pause(const session::Pauses::Change& change, WorkerId from, PauseDone done) override;

 private:
  void listen_on(net::Loop& loop, net::Listener::Accepted accepted);
  void hand_out(net::Socket socket, const net::Address& peer);
  bool has_room() const;
  void close_listeners();
  void publish();
  void take_view(cluster::ViewPtr view);
  void publish_pauses(session::Pauses pauses);
  void end_old_pauses();
  void when_settled(std::function<void()> done);
  void shut_gate(std::function<void()> empty);
  void open_gate();
  void announce_roles();
  void forget_answers();
  void flush_query_cache();
  void outdate_answers();
  void server_has_reloaded();
  void renew_links();
  StartDoubt::Whom whom_to_ask() const;
  session::SnapshotPtr snapshot() const;
  std::shared_ptr<report::Figures> own_figures() const;
  std::optional<auth::Credentials> monitor_credentials(const std::string& user, const std::string& password) const;

  const Clock& clock_;
  Log& log_;
  net::Loop& control_;
  net::BlockingPool& blocking_;
  net::BlockingPool probing_{kProbingThreads};  // look-ups for probes wait behind nothing that clients cause
  Files files_;
  std::shared_ptr<const std::vector<config::Interface>> interfaces_;
  std::atomic<std::int64_t> client_sockets_;  // a bound, see SocketBounds; a lone worker reads it
  session::Shared shared_;
  backend::Scratch scratch_;
  std::unique_ptr<monitor::Monitor> monitor_;
  CommitCheck commit_check_{{control_, probing_, scratch_}, shared_, *this};
  StartDoubt start_doubt_{{control_, probing_, scratch_}, shared_, *this, [this] { return whom_to_ask(); }};
  cluster::ViewPtr view_;
  NodeId last_primary_ = kNoNode;                  // also while none is known
  std::shared_ptr<const session::Pauses> pauses_;  // null: none
  net::TimerId outdating_ = 0;
  bool outdate_again_ = false;
  net::TimerId pause_timer_ = 0, reload_timer_ = 0;  // the next one that ends by itself
  bool roles_announced_ = false;
  std::uint64_t primary_changes_ = 0;
  std::vector<std::unique_ptr<session::Worker>> workers_;
  std::vector<std::unique_ptr<net::Listener>> listeners_;  // of the worker's thread where there is but one
  std::vector<std::thread> threads_;
};

}  // namespace herdgate::server
