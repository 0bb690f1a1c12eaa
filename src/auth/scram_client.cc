// The role of SCRAM that logs in: RFC 5802 section 5, "client" side.
#include <fmt/format.h>

#include "auth/scram_text.h"
#include "base/assert.h"

namespace herdgate::auth {
namespace {

constexpr std::string_view kGs2Header = "n,,";  // no channel binding, no authorization identity
constexpr std::string_view kBinding = "biws";   // the same in base64

}  // namespace

ScramClient::ScramClient(std::string nonce) : nonce_(std::move(nonce)) { HG_ASSERT(is_scram_nonce(nonce_)); }

// Moves to `next` at once and back only on success of the step, so that a failed step cannot be tried again.
Result<Done> ScramClient::enter(State expected, State next, std::string_view message) {
  if (state_ != expected) {
    state_ = State::done;
    return fail(Errc::wrong_order, "SCRAM message of the server");
  }
  state_ = State::done;
  HG_CHECK(check_scram_message(message));
  state_ = next;
  return Done{};
}

Result<std::string> ScramClient::start() {
  HG_CHECK(enter(State::start, State::challenge, {}));
  // PostgreSQL takes the user from the startup message and ignores the name here.
  client_first_bare_ = "n=,r=" + nonce_;
  return std::string(kGs2Header) + client_first_bare_;
}

Result<ScramClient::Challenge> ScramClient::challenge(std::string_view server_first) {
  HG_CHECK(enter(State::challenge, State::done, server_first));
  if (server_first.starts_with("m=")) return fail(Errc::unsupported_mechanism, "server requires a SCRAM extension");
  ScramText text(server_first);
  HG_TRY(const std::string_view nonce, text.attribute('r'));
  if (!is_scram_nonce(nonce) || !nonce.starts_with(nonce_) || nonce.size() == nonce_.size()) {
    return fail(Errc::malformed_message, "the server's SCRAM nonce does not continue ours");
  }
  HG_TRY(const std::string_view salt_text, text.attribute('s'));
  auto salt = base64_decode(salt_text);
  if (!salt || salt->empty() || salt->size() > kMaxScramSaltBytes) {
    return fail(Errc::malformed_message, "the server's SCRAM salt is malformed");
  }
  HG_TRY(const std::string_view digits, text.attribute('i'));
  HG_TRY(const int iterations, parse_iterations(digits));
  HG_CHECK(text.ignore_extensions());
  server_first_ = server_first;
  combined_nonce_ = nonce;
  challenge_ = {std::move(*salt), iterations};
  state_ = State::answer;
  return challenge_;
}

Result<std::string> ScramClient::answer(const ScramKeys& keys) {
  HG_CHECK(enter(State::answer, State::done, {}));
  if (keys.salt != challenge_.salt || keys.iterations != challenge_.iterations) {
    return fail(Errc::verifier_differs, "salt or iterations of the server are not those of the known keys");
  }
  if (!keys.client_key) return fail(Errc::unfit_secret, "the client key is not known");
  const std::string without_proof = fmt::format("c={},r={}", kBinding, combined_nonce_);
  const std::string message = auth_message(client_first_bare_, server_first_, without_proof);
  const Key256 proof = exclusive_or(*keys.client_key, hmac_sha256(sha256(keys.client_key->view()).view(), message));
  server_signature_ = hmac_sha256(keys.server_key.view(), message);
  state_ = State::verify;
  return fmt::format("{},p={}", without_proof, base64_encode(proof.view()));
}

Result<Done> ScramClient::verify(std::string_view server_final) {
  HG_CHECK(enter(State::verify, State::done, server_final));
  if (server_final.starts_with("e=")) {
    return fail(Errc::wrong_password, fmt::format("SCRAM error of the server: {}", server_final.substr(2)));
  }
  ScramText text(server_final);
  HG_TRY(const std::string_view base64, text.attribute('v'));
  HG_CHECK(text.ignore_extensions());
  HG_TRY(const Key256 signature, parse_key(base64));
  if (!(signature == server_signature_)) return fail(Errc::server_not_authentic);
  return Done{};
}

}  // namespace herdgate::auth
