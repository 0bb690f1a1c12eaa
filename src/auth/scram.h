// SCRAM-SHA-256, both roles: ScramServer examines a client, ScramClient logs in to a server. No channel binding.
//
// Shape    message text in, message text out; no framing, no sockets, no randomness (nonces are handed in).
//          PBKDF2 (1.4 ms for 4096 rounds) happens in derive_keys only, which the caller runs off the event loop.
// Units    nonces are printable ASCII; salts and keys are raw octets.
// Limits   a message is at most kMaxScramMessageBytes; rounds at most kMaxScramIterations (a hostile server must not
//          make us compute for minutes); a salt at most kMaxScramSaltBytes.
// Errors   Errc::malformed_message, wrong_order, unsupported_mechanism, wrong_password, iterations_out_of_range,
//          verifier_differs, server_not_authentic. Sticky: after an error every further call is wrong_order.
// Threads  none of its own; one object per login.
// Source   RFC 5802, RFC 7677; PostgreSQL manual, "SASL Authentication".
#pragma once
#include <optional>

#include "auth/digest.h"

namespace herdgate::auth {

inline constexpr std::string_view kScramMechanism = "SCRAM-SHA-256";
inline constexpr std::size_t kMaxScramMessageBytes = 1024;
inline constexpr std::size_t kMaxScramSaltBytes = 256;
inline constexpr int kMaxScramIterations = 1'000'000;
inline constexpr int kDefaultScramIterations = 4096;
inline constexpr std::size_t kScramSaltBytes = 16;
inline constexpr std::size_t kScramNonceOctets = 18;  // 24 characters of base64, as PostgreSQL and libpq use

// What a verifier holds, and the key that only the password or a client's proof can give.
struct ScramKeys {
  Bytes salt;
  int iterations = 0;
  Key256 stored_key, server_key;
  std::optional<Key256> client_key;
};

Result<ScramKeys> parse_verifier(std::string_view text);  // SCRAM-SHA-256$<rounds>:<salt>$<stored>:<server>
std::string print_verifier(const ScramKeys& keys);

// Slow. The password is prepared by SASLprep. Rounds outside 1..kMaxScramIterations: iterations_out_of_range.
Result<ScramKeys> derive_keys(ByteView password, ByteView salt, int iterations);

// Keys for a user who does not exist: stable for (secret, user), so that asking twice tells nothing.
ScramKeys mock_keys(ByteView secret, std::string_view user, int iterations = kDefaultScramIterations);

std::string random_scram_nonce();

class ScramServer {
 public:
  enum class Known { yes, no };  // no: a mock run, which fails at the end whatever the client sends
  ScramServer(ScramKeys keys, std::string nonce, Known known = Known::yes);

  Result<std::string> start(std::string_view client_first);   // gives server-first
  Result<std::string> finish(std::string_view client_final);  // gives server-final
  // After a successful finish: the keys with the client key that the proof revealed.
  const ScramKeys& keys() const { return keys_; }

 private:
  enum class State { start, finish, done };
  ScramKeys keys_;
  std::string nonce_;
  Known known_;
  State state_ = State::start;
  std::string gs2_header_, client_first_bare_, server_first_;
};

class ScramClient {
 public:
  explicit ScramClient(std::string nonce);

  struct Challenge {
    Bytes salt;
    int iterations = 0;
  };
  Result<std::string> start();                                 // gives client-first
  Result<Challenge> challenge(std::string_view server_first);  // what keys are needed
  Result<std::string> answer(const ScramKeys& keys);           // gives client-final; keys need a client_key
  Result<Done> verify(std::string_view server_final);          // did the server know the verifier?

 private:
  enum class State { start, challenge, answer, verify, done };
  Result<Done> enter(State expected, State next, std::string_view message);
  std::string nonce_, client_first_bare_, server_first_, combined_nonce_;
  Challenge challenge_;
  Key256 server_signature_;
  State state_ = State::start;
};

}  // namespace herdgate::auth
