#include "auth/auth_wire.h"

#include "auth/errc.h"
#include "auth/scram.h"

namespace herdgate::auth {
namespace {

constexpr std::size_t kLengthBytes = 4;
constexpr std::uint32_t kNoData = 0xFFFFFFFF;  // SASLInitialResponse without an initial response

Bytes message(char type, ByteView payload) {
  Bytes out;
  out.reserve(1 + kLengthBytes + payload.size());
  out.push_back(type);
  append_u32(out, static_cast<std::uint32_t>(kLengthBytes + payload.size()));
  out.append(payload);
  return out;
}

}  // namespace

Bytes auth_request(AuthRequest code, ByteView body) {
  Bytes payload;
  append_u32(payload, static_cast<std::uint32_t>(code));
  payload.append(body);
  return message('R', payload);
}

Bytes sasl_request() {
  Bytes list;
  append_cstr(list, kScramMechanism);
  list.push_back('\0');
  return auth_request(AuthRequest::sasl, list);
}

Bytes password_message(ByteView password) {
  Bytes payload;
  append_cstr(payload, password);
  return message('p', payload);
}

Bytes sasl_initial_response(std::string_view mechanism, ByteView data) {
  Bytes payload;
  append_cstr(payload, mechanism);
  append_u32(payload, static_cast<std::uint32_t>(data.size()));
  payload.append(data);
  return message('p', payload);
}

Bytes sasl_response(ByteView data) { return message('p', data); }

Result<ByteView> read_password(ByteView payload) {
  if (payload.size() > kMaxAuthPayloadBytes) return fail(Errc::malformed_message, "password message is too long");
  if (payload.empty() || payload.find('\0') != payload.size() - 1) {
    return fail(Errc::malformed_message, "invalid password packet size");
  }
  return payload.substr(0, payload.size() - 1);
}

Result<SaslInitial> read_sasl_initial(ByteView payload) {
  const std::size_t nul = payload.find('\0');
  if (nul == ByteView::npos || payload.size() - nul - 1 < kLengthBytes) {
    return fail(Errc::malformed_message, "broken SASL initial response");
  }
  const ByteView data = payload.substr(nul + 1 + kLengthBytes);
  const std::uint32_t length = load_u32(payload.data() + nul + 1);
  // The protocol allows a mechanism without data; SCRAM's client always speaks first, and every client we know does.
  if (length == kNoData) return fail(Errc::malformed_message, "SASL initial response without data");
  if (length != data.size()) return fail(Errc::malformed_message, "SASL initial response of wrong length");
  return SaslInitial{payload.substr(0, nul), data};
}

Result<ServerRequest> read_auth_request(ByteView payload) {
  if (payload.size() < kLengthBytes) return fail(Errc::malformed_message, "authentication request is too short");
  return ServerRequest{load_u32(payload.data()), payload.substr(kLengthBytes)};
}

Result<bool> offers_scram(ByteView list) {
  bool found = false;
  for (;;) {
    const std::size_t nul = list.find('\0');
    if (nul == ByteView::npos) return fail(Errc::malformed_message, "broken list of SASL mechanisms");
    if (nul == 0) break;
    found = found || list.substr(0, nul) == kScramMechanism;
    list.remove_prefix(nul + 1);
  }
  return found;
}

}  // namespace herdgate::auth
