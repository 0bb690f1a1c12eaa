// The examining role of SCRAM: RFC 5802 section 5, "server" side.
#include <fmt/format.h>

#include "auth/scram_text.h"

namespace herdgate::auth {
namespace {

// gs2-header: a channel binding flag, then an authorization identity, which PostgreSQL does not allow.
// Gives the length of the header, commas included.
Result<std::size_t> read_gs2_header(std::string_view client_first) {
  const std::string_view flag = client_first.substr(0, 1);
  if (flag == "p") {
    return fail(Errc::unsupported_mechanism, "client asks for channel binding, which is not offered");
  }
  // "y" means: the client could, and believes that we cannot. It is right.
  if ((flag != "n" && flag != "y") || client_first.substr(1, 1) != ",") {
    return fail(Errc::malformed_message, "broken channel-binding flag in a SCRAM message");
  }
  if (client_first.substr(2, 1) == "a") {
    return fail(Errc::unsupported_mechanism, "client uses an authorization identity");
  }
  if (client_first.substr(2, 1) != ",") return fail(Errc::malformed_message, "broken header of a SCRAM message");
  return std::size_t{3};
}

}  // namespace

ScramServer::ScramServer(ScramKeys keys, std::string nonce, Known known)
    : keys_(std::move(keys)), nonce_(std::move(nonce)), known_(known) {
  keys_.client_key.reset();  // it shall come from the proof only
}

Result<std::string> ScramServer::start(std::string_view client_first) {
  if (std::exchange(state_, State::done) != State::start) return fail(Errc::wrong_order, "SCRAM client-first");
  HG_CHECK(check_scram_message(client_first));
  HG_TRY(const std::size_t header_bytes, read_gs2_header(client_first));
  const std::string_view bare = client_first.substr(header_bytes);
  if (bare.starts_with("m=")) return fail(Errc::unsupported_mechanism, "client requires a SCRAM extension");
  ScramText text(bare);
  // The user is the one of the startup message; libpq sends an empty name here.
  HG_TRY([[maybe_unused]] const auto user, text.attribute('n'));
  HG_TRY(const std::string_view client_nonce, text.attribute('r'));
  if (!is_scram_nonce(client_nonce)) return fail(Errc::malformed_message, "unprintable SCRAM nonce");
  HG_CHECK(text.ignore_extensions());

  gs2_header_ = client_first.substr(0, header_bytes);
  client_first_bare_ = bare;
  nonce_.insert(0, client_nonce);
  server_first_ = fmt::format("r={},s={},i={}", nonce_, base64_encode(keys_.salt), keys_.iterations);
  state_ = State::finish;
  return server_first_;
}

Result<std::string> ScramServer::finish(std::string_view client_final) {
  if (std::exchange(state_, State::done) != State::finish) return fail(Errc::wrong_order, "SCRAM client-final");
  HG_CHECK(check_scram_message(client_final));
  const std::size_t proof_at = client_final.rfind(",p=");
  if (proof_at == std::string_view::npos) return fail(Errc::malformed_message, "SCRAM proof is missing");
  const std::string_view without_proof = client_final.substr(0, proof_at);
  HG_TRY(const Key256 proof, parse_key(client_final.substr(proof_at + 3)));

  ScramText text(without_proof);
  HG_TRY(const std::string_view binding, text.attribute('c'));
  if (binding != base64_encode(gs2_header_)) return fail(Errc::malformed_message, "SCRAM channel binding differs");
  HG_TRY(const std::string_view nonce, text.attribute('r'));
  if (nonce != nonce_) return fail(Errc::malformed_message, "SCRAM nonce differs");
  HG_CHECK(text.ignore_extensions());

  const std::string message = auth_message(client_first_bare_, server_first_, without_proof);
  const Key256 client_key = exclusive_or(proof, hmac_sha256(keys_.stored_key.view(), message));
  const bool fits = sha256(client_key.view()) == keys_.stored_key;
  if (!fits || known_ == Known::no) return fail(Errc::wrong_password);
  keys_.client_key = client_key;
  return "v=" + base64_encode(hmac_sha256(keys_.server_key.view(), message).view());
}

}  // namespace herdgate::auth
