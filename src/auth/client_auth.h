// Examines one client: sends the challenge, reads the answers, ends with what is now known about the user.
//
// Shape    begin() → Step; each 'p' payload → on_message → Step; after need_hash → on_hashed → Step. On ok:
//          credentials(). AuthenticationOk is not part of `send`: the session sends auth_request(AuthRequest::ok) when
//          the server side stands as well (credentials().admitted may be false, see credentials.h).
// Limits   kMaxAuthPayloadBytes for each message; at most two messages; one hash.
// Errors   Step::refusal: malformed_message, wrong_order, unsupported_mechanism (08P01), wrong_password (28P01), …
// Threads  none of its own; one object per login.
// Source   PostgreSQL manual, "Start-up"; Pgpool-II 4.6 manual, "Client Authentication" for the texts.
#pragma once
#include "auth/credentials.h"
#include "auth/step.h"

namespace herdgate::auth {

// How one client is to be examined; made by policy.h.
struct ClientChallenge {
  enum class Method { trust, password, md5, scram };
  enum class Check { by_us, by_server };  // who compares a clear-text password
  Method method = Method::trust;
  Check check = Check::by_us;
  std::string user;
  StoredSecret secret;            // unlocked: never of kind aes
  std::optional<ScramKeys> keys;  // scram with a plain secret: keys derived earlier, which save the hash
  bool known = true;              // false: a mock run that fails at the end (md5 and scram only)
  std::string log_text;           // not empty: to be logged at level LOG
};

// The random parts of a challenge; drawn are those that its method needs.
struct ClientSalts {
  Bytes md5_salt;
  std::string scram_nonce;
  Bytes scram_salt;
  static ClientSalts draw(ClientChallenge::Method method);
};

// What a user has whom nobody asks for anything.
Result<Done> trusted_credentials(const ClientChallenge& challenge, Credentials& into);

class ClientAuth {
 public:
  ClientAuth(ClientChallenge challenge, ClientSalts salts);
  Step begin();
  Step on_message(ByteView payload);
  Step on_hashed(Result<ScramKeys> keys);
  const Credentials& credentials() const { return credentials_; }

 private:
  enum class State { begin, password, password_hash, md5, sasl_first, sasl_hash, sasl_final, done };
  Step on_password(ByteView payload);
  Step on_md5(ByteView payload);
  Step on_sasl_first(ByteView payload);
  Step on_sasl_final(ByteView payload);
  Step run_scram(ScramKeys keys);
  Step check_password(Secret typed);
  Step succeed(Credentials credentials, Bytes send = {});
  Step fail_login(Error error);
  Step wait(State next, Bytes send);

  ClientChallenge challenge_;
  ClientSalts salts_;
  State state_ = State::begin;
  std::optional<ScramServer> scram_;
  std::string client_first_;
  Secret typed_;
  Credentials credentials_;
};

// "md5 authentication failed" and its like.
std::string_view failure_text(ClientChallenge::Method method);

}  // namespace herdgate::auth
