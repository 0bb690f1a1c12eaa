// The first part of a client's life: start-up packet, gate, authentication, the first link, the welcome.
//
// Shape    start() … events … Session::welcomed(). Any failure is a FATAL to the client and the end of the session.
// Limits   authentication_timeout for everything the client has to do; client_wait_timeout at the gate; a start-up
//          packet of kMaxStartup octets; kMaxPasswordMessage for each answer.
// Threads  the worker of its session.
// Source   PostgreSQL manual, "Start-up"; Pgpool-II 4.6 manual, "Client Authentication".
#pragma once
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "auth/client_auth.h"
#include "auth/policy.h"
#include "base/lifetime.h"
#include "pool/pool.h"
#include "session/auth_query.h"
#include "session/identity.h"
#include "session/shared.h"
#include "wire/backend.h"
#include "wire/frontend.h"

namespace herdgate::session {

class Session;

// Who the client is, once it is in.
struct LoginResult {
  AskedPtr asked;
  auth::Credentials credentials;
  pool::ServerLink* link = nullptr;  // the primary's, when one was needed
  LoginMemory::Reported reported;    // by the server to an earlier login like this one; null: ask the link
};

// What is left of it for the welcome.
struct Greeting {
  int minor = 0;  // protocol 3.minor
  pool::ServerLink* link = nullptr;
  Bytes isolation = {};     // rows of the question for the isolation level and the search_path that the login was given
  std::uint64_t epoch = 0;  // of the servers' settings, when it was begun
};

class Login {
 public:
  static constexpr std::size_t kMaxPasswordMessage = 8192;
  static constexpr int kMaxCutShort = 3;  // logins at a server that it ends by 57P01, one after another
  // Read ahead of what the login has taken: the longest message of it, no more for one who has not proved anything yet.
  static constexpr std::size_t kMaxReadAhead = std::max<std::size_t>(wire::kMaxStartup, kMaxPasswordMessage + 1);
  explicit Login(Session& session);
  ~Login();
  void start();
  // Consumes what it can of the client's bytes; returns how much.
  std::size_t take(ByteView input);
  void let_in();
  void snapshot_came();
  void stop() { state_ = State::done; }  // the client has gone; what still comes finds nobody

 private:
  enum class State : std::uint8_t { startup, gate, asking_name, auth_query, client, server, primary, done };
  void on_startup(ByteView packet);
  void on_new_startup(const wire::Startup& startup, ByteView packet);
  bool read_parameters(const wire::Startup& startup, Asked& asked);
  void asked_for(AskedPtr asked);
  void on_cancel(const wire::Startup& startup);
  void enter_gate();
  void find_rule();
  void ask_host_name();
  void decide();
  void examine(auth::ClientChallenge&& challenge);
  void run_auth_query();
  void on_auth_query(const AuthQueries::Found& verifier);
  TimePoint now() const;
  std::shared_ptr<bool> alive();  // for what runs later
  LoginMemory& memory() const;
  std::string who_asks() const;  // for the log
  const std::string& user() const { return result_.asked->user; }
  LoginMemory::WhoView who_view() const { return {result_.asked->database, result_.asked->user}; }
  LoginMemory::Who who() const { return {result_.asked->database, result_.asked->user}; }
  void on_step(auth::Step step);
  void client_proved();
  void get_link();
  bool wait_for_primary();
  void end_wait_for_primary();
  bool primary_is_awaited();
  pool::KeyPoolPtr key_pool(NodeId node) const;
  void on_link(pool::Pool::Result link);
  void on_server_method(auth::ServerMethod method);
  void welcome(pool::ServerLink* link);
  void refuse(const auth::Refusal& refusal);
  void refuse(const wire::Report& report);
  bool link_is_needed();

  Session& session_;
  State state_ = State::startup;
  LoginResult result_;
  auth::PolicyInput policy_;
  std::unique_ptr<auth::ClientAuth> client_auth_;  // null: the client was not asked for anything
  bool examined_ = false;                          // it has been decided how the client proves who it is
  std::unique_ptr<pool::Pool::Pending> pending_;
  net::TimerId timer_ = 0;
  net::TimerId primary_timer_ = 0;          // runs in State::primary
  std::optional<TimePoint> primary_until_;  // from the first time that a primary was waited for
  std::shared_ptr<std::string> host_name_;  // of the client, verified; null unless a rule wants it
  bool host_name_asked_ = false;
  int cut_short_ = 0;
  bool asked_ssl_ = false, asked_gss_ = false;  // each may be asked for once
  bool queued_ = false;                         // waits at the gate
  bool inside_ = false;                         // counted by the gate
  bool fresh_ = false;                          // the server must prove the password now
  friend class Session;
  std::shared_ptr<bool> alive_;  // null: nothing runs later
  Lifetime lifetime_;
};

}  // namespace herdgate::session
