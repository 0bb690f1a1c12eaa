#include "auth/scram.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "auth/saslprep.h"
#include "auth/scram_text.h"

namespace herdgate::auth {

Result<std::string_view> ScramText::attribute(char name) {
  if (at_end_ || rest_.size() < 2 || rest_[0] != name || rest_[1] != '=') {
    return fail(Errc::malformed_message, fmt::format("attribute \"{}\" is missing in a SCRAM message", name));
  }
  const std::size_t comma = rest_.find(',');
  const std::string_view value = rest_.substr(2, comma == std::string_view::npos ? comma : comma - 2);
  at_end_ = comma == std::string_view::npos;
  rest_.remove_prefix(at_end_ ? rest_.size() : comma + 1);
  return value;
}

Result<Done> ScramText::ignore_extensions() {
  while (!at_end_) {
    const char name = rest_.empty() ? '\0' : rest_[0];
    if (!((name >= 'a' && name <= 'z') || (name >= 'A' && name <= 'Z'))) {
      return fail(Errc::malformed_message, "broken extension in a SCRAM message");
    }
    HG_TRY([[maybe_unused]] const auto value, attribute(name));
  }
  return Done{};
}

Result<Done> check_scram_message(std::string_view text) {
  if (text.size() > kMaxScramMessageBytes) return fail(Errc::malformed_message, "SCRAM message is too long");
  if (text.find('\0') != std::string_view::npos) return fail(Errc::malformed_message, "NUL in a SCRAM message");
  return Done{};
}

bool is_scram_nonce(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7F && c != ','; });
}

Result<int> parse_iterations(std::string_view digits) {
  int value = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (problem == std::errc::result_out_of_range) return fail(Errc::iterations_out_of_range, std::string(digits));
  if (problem != std::errc() || end != digits.data() + digits.size()) {
    return fail(Errc::malformed_message, "SCRAM iteration count is not a number");
  }
  if (value < 1 || value > kMaxScramIterations) {
    return fail(Errc::iterations_out_of_range, fmt::format("{}, allowed are 1 to {}", value, kMaxScramIterations));
  }
  return value;
}

Result<Key256> parse_key(std::string_view base64) {
  auto octets = base64_decode(base64);
  if (!octets || octets->size() != Key256::kBytes) return fail(Errc::malformed_message, "SCRAM key is malformed");
  const Key256 key(*octets);
  wipe(*octets);
  return key;
}

std::string auth_message(std::string_view client_first_bare, std::string_view server_first,
                         std::string_view client_final_without_proof) {
  return fmt::format("{},{},{}", client_first_bare, server_first, client_final_without_proof);
}

Key256 exclusive_or(const Key256& a, const Key256& b) {
  Key256 out;
  for (std::size_t i = 0; i < Key256::kBytes; ++i) out.data()[i] = static_cast<char>(a.view()[i] ^ b.view()[i]);
  return out;
}

namespace {

struct VerifierText {
  std::string_view iterations, salt, stored, server;
};

std::optional<VerifierText> split_verifier(std::string_view text) {
  if (!text.starts_with(kScramMechanism) || text.substr(kScramMechanism.size(), 1) != "$") return std::nullopt;
  text.remove_prefix(kScramMechanism.size() + 1);
  const std::size_t first = text.find(':');
  const std::size_t dollar = text.find('$');
  if (first == std::string_view::npos || dollar == std::string_view::npos || first > dollar) return std::nullopt;
  const std::string_view keys = text.substr(dollar + 1);
  const std::size_t second = keys.find(':');
  if (second == std::string_view::npos) return std::nullopt;
  return VerifierText{text.substr(0, first), text.substr(first + 1, dollar - first - 1), keys.substr(0, second),
                      keys.substr(second + 1)};
}

}  // namespace

Result<ScramKeys> parse_verifier(std::string_view text) {
  const auto parts = split_verifier(text);
  if (!parts) return fail(Errc::bad_verifier, "expected SCRAM-SHA-256$<iterations>:<salt>$<stored>:<server>");
  const auto iterations = parse_iterations(parts->iterations);
  if (!iterations) return fail(Errc::bad_verifier, iterations.error().text());
  auto salt = base64_decode(parts->salt);
  if (!salt || salt->empty() || salt->size() > kMaxScramSaltBytes) return fail(Errc::bad_verifier, "salt is malformed");
  const auto stored = parse_key(parts->stored);
  const auto server = parse_key(parts->server);
  if (!stored || !server) return fail(Errc::bad_verifier, "a key is malformed");
  return ScramKeys{std::move(*salt), *iterations, *stored, *server, std::nullopt};
}

std::string print_verifier(const ScramKeys& keys) {
  return fmt::format("{}${}:{}${}:{}", kScramMechanism, keys.iterations, base64_encode(keys.salt),
                     base64_encode(keys.stored_key.view()), base64_encode(keys.server_key.view()));
}

Result<ScramKeys> derive_keys(ByteView password, ByteView salt, int iterations) {
  if (iterations < 1 || iterations > kMaxScramIterations) {
    return fail(Errc::iterations_out_of_range, std::to_string(iterations));
  }
  if (salt.empty() || salt.size() > kMaxScramSaltBytes) return fail(Errc::malformed_message, "SCRAM salt length");
  const Key256 salted = pbkdf2_sha256(saslprep(password).view(), salt, iterations);
  const Key256 client_key = hmac_sha256(salted.view(), "Client Key");
  return ScramKeys{Bytes(salt), iterations, sha256(client_key.view()), hmac_sha256(salted.view(), "Server Key"),
                   client_key};
}

ScramKeys mock_keys(ByteView secret, std::string_view user, int iterations) {
  const auto part = [&](std::string_view label) { return hmac_sha256(secret, fmt::format("{}:{}", label, user)); };
  return ScramKeys{Bytes(part("salt").view().substr(0, kScramSaltBytes)), iterations, part("stored"), part("server"),
                   std::nullopt};
}

std::string random_scram_nonce() { return base64_encode(random_bytes(kScramNonceOctets)); }

}  // namespace herdgate::auth
