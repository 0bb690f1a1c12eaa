// The few message layouts of the login phase: 'R' in all its forms, 'p' in all its forms. Pure.
//
// Shape    makers give whole messages with type octet and length; readers take a payload (without both).
// Limits   a 'p' payload is at most kMaxAuthPayloadBytes.
// Errors   Errc::malformed_message.
// Source   PostgreSQL manual, "Message Formats".
#pragma once
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace herdgate::auth {

inline constexpr std::size_t kMaxAuthPayloadBytes = 65535;  // tokens used as passwords can be long

enum class AuthRequest : std::uint32_t {
  ok = 0,
  cleartext = 3,
  md5 = 5,
  sasl = 10,
  sasl_continue = 11,
  sasl_final = 12
};

Bytes auth_request(AuthRequest code, ByteView body = {});
Bytes sasl_request();  // offers SCRAM-SHA-256 only

Bytes password_message(ByteView password);  // clear text or md5 answer
Bytes sasl_initial_response(std::string_view mechanism, ByteView data);
Bytes sasl_response(ByteView data);

Result<ByteView> read_password(ByteView payload);  // without its NUL
struct SaslInitial {
  std::string_view mechanism;
  ByteView data;
};
Result<SaslInitial> read_sasl_initial(ByteView payload);

struct ServerRequest {
  std::uint32_t code = 0;
  ByteView body;
};
Result<ServerRequest> read_auth_request(ByteView payload);
Result<bool> offers_scram(ByteView mechanism_list);

}  // namespace herdgate::auth
