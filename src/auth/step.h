// What an authentication state machine wants next, and why it gave up. Shared by both directions.
#pragma once
#include <optional>

#include "auth/errc.h"
#include "auth/scram.h"
#include "base/sqlstate.h"

namespace herdgate::auth {

// A login that ends here. text/detail/hint go to the client as FATAL; `error` is for programs.
struct Refusal {
  Error error;
  std::string text, detail, hint;
  std::string_view sqlstate = sqlstate::kInvalidPassword;
};

// PBKDF2, to be run away from the event loop. Equal (password, salt, iterations) give equal keys: worth a cache.
struct HashJob {
  Secret password;
  Bytes salt;
  int iterations = 0;
  Result<ScramKeys> run() const { return derive_keys(password.view(), salt, iterations); }
};

struct Step {
  enum class Kind {
    need_more,         // send, then wait for the peer's next message
    need_hash,         // run `job` elsewhere, hand the result to on_hashed
    need_credentials,  // server side only: hand them to on_credentials
    ok,
    failed,  // see `refusal`; the machine stays failed
  };
  Kind kind = Kind::need_more;
  Bytes send;  // whole wire messages; may be present with every kind
  std::optional<HashJob> job;
  std::optional<Refusal> refusal;
};

}  // namespace herdgate::auth
