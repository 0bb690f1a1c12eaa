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
#include "pool/pool.h"
#include "session/identity.h"
#include "session/shared.h"
#include "wire/backend.h"
#include "wire/frontend.h"

namespace herdgate::session {

class Session;

// Who the client is, once it is in.
struct LoginResult {
  Identity identity;
  int minor = 0;                                             // protocol 3.minor
  std::vector<std::pair<std::string, std::string>> startup;  // parameters that a SET can give
  pool::ServerLink* link = nullptr;                          // the primary's, when one was needed
  LoginMemory::Reported reported;  // by the server to an earlier login like this one; null: ask the link
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
  void on_startup(const wire::Startup& startup);
  bool read_parameters(const wire::Startup& startup);
  void on_cancel(const wire::Startup& startup);
  void enter_gate();
  void find_rule();
  void ask_host_name();
  void decide();
  void run_auth_query();
  void on_auth_query(const Result<auth::StoredSecret>& verifier);
  TimePoint now() const;
  LoginMemory& memory() const;
  LoginMemory::Who who() const { return {result_.identity.database, result_.identity.user}; }
  void on_step(auth::Step step);
  void client_proved();
  void get_link();
  bool wait_for_primary();
  void on_link(pool::Pool::Result link);
  void on_server_method(auth::ServerMethod method, backend::Opener& opener);
  void check_parameters();
  void welcome(pool::ServerLink* link);
  void refuse(const auth::Refusal& refusal);
  void refuse(const wire::Report& report);
  bool link_is_needed();

  Session& session_;
  State state_ = State::startup;
  LoginResult result_;
  auth::PolicyInput policy_;
  std::unique_ptr<auth::ClientAuth> client_auth_;
  std::unique_ptr<pool::Pool::Pending> pending_;
  backend::Opener* waiting_opener_ = nullptr;
  net::TimerId timer_ = 0;
  net::TimerId primary_timer_ = 0;  // runs from the first time that a primary was waited for
  std::string host_name_;           // of the client, verified; only when a rule wants it
  bool host_name_asked_ = false;
  int cut_short_ = 0;
  bool queued_ = false;  // waits at the gate
  bool inside_ = false;  // counted by the gate
  bool fresh_ = false;   // the server must prove the password now
  bool ok_sent_ = false;
  friend class Session;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace herdgate::session
