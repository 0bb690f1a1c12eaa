// Decides how a client has to prove who he is.
//
// Shape    PolicyInput (rule, stored secret, settings, the server's method) → ClientChallenge, or a Refusal with the
//          words for the client, or AskServer: without pool_hba the method of the server decides, so ask it first.
// Errors   Refusal::error: rejected, no_entry, unfit_secret, unsupported_method.
// Threads  pure.
// Source   Pgpool-II 4.6 manual, "Client Authentication"; CVE-2025-46801 names three ways in which a session started
//          although nobody had compared the password. Here every path ends in ClientChallenge::Check: by us, or by
//          the server, and a session may start on by_server only as credentials.h says.
#pragma once
#include <variant>

#include "auth/client_auth.h"
#include "config/hba.h"

namespace herdgate::auth {

using config::HbaMethod;

struct PolicyInput {
  std::string_view user, database;
  std::string host;         // for the words of a refusal by pool_hba
  std::optional<bool> tls;  // nullopt: built without TLS, then not mentioned
  bool enable_pool_hba = false;
  std::optional<HbaMethod> rule;  // the line of pool_hba.conf that matched; nullopt: none did
  StoredSecret pool_passwd;       // unlocked where possible; aes: the key was missing or wrong
  bool auth_query_used = false;   // a verifier was asked for, because pool_passwd has no entry
  StoredSecret auth_query;        // its answer; none: there is no such user
  bool allow_clear_text_frontend_auth = false;
  std::optional<ServerMethod> server;  // what it asked of this very user and database, never of another
  // Secret of the process for the mock runs of unknown users. Empty: only known users are challenged.
  ByteView mock_secret;
};

struct AskServer {};
using Decision = std::variant<ClientChallenge, Refusal, AskServer>;

Decision decide(const PolicyInput& in);
// False: the rules refuse the client whatever is known of the user, so nobody need be asked for a verifier.
bool secret_matters(const PolicyInput& in);

// For a session whose password nobody has compared: the server trusts, the rule does not.
Refusal refuse_unproved(std::string_view user);

}  // namespace herdgate::auth
