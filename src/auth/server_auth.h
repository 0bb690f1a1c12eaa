// Logs in to one server with what is known of the user, and notes how the server wanted it.
//
// Shape    each 'R' payload → on_auth_request → Step. need_credentials: the server asked and none were given yet
//          (without pool_hba its method decides how the client is asked) → on_credentials. need_hash → on_hashed.
//          On ok: method() and proved(). An ErrorResponse instead of 'R' is the caller's to read.
// Limits   those of SCRAM; at most one challenge in a login.
// Errors   Step::refusal: unfit_secret, no_entry, unsupported_method, server_not_authentic, malformed_message, …
// Threads  none of its own; one object per login.
// Source   PostgreSQL manual, "Start-up"; Pgpool-II 4.6 manual, "Client Authentication" for the texts.
#pragma once
#include "auth/credentials.h"
#include "auth/step.h"

namespace herdgate::auth {

class ServerAuth {
 public:
  // Without credentials: the server is only asked for its method first.
  ServerAuth(std::string user, std::string scram_nonce);
  ServerAuth(std::string user, std::string scram_nonce, Credentials credentials);

  Step on_auth_request(ByteView payload);
  Step on_credentials(Credentials credentials);
  Step on_hashed(Result<ScramKeys> keys);

  std::optional<ServerMethod> method() const { return method_; }  // what the server asked for
  // True once the server has compared a secret and said yes. A server that trusts has compared nothing.
  bool proved() const { return state_ == State::done_ok && method_ != ServerMethod::trust; }

 private:
  enum class State { start, credentials, sent, sasl_challenge, sasl_hash, sasl_final, sasl_ok, done_ok, failed };
  Step on_start(std::uint32_t code, ByteView body);
  Step answer();
  Step answer_password();
  Step answer_md5();
  Step answer_scram();
  Step on_sasl_challenge(ByteView body);
  Step send_proof(const ScramKeys& keys);
  Step wait(State next, Bytes send);
  Step succeed();
  Step fail_login(Error error);
  Step fail_unfit(std::string_view known);

  std::string user_;
  std::optional<Credentials> credentials_;
  ScramClient scram_;
  State state_ = State::start;
  std::optional<ServerMethod> method_;
  Bytes md5_salt_;
};

}  // namespace herdgate::auth
