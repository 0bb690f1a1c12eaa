// The hashes and encodings that PostgreSQL's login methods are made of, over OpenSSL.
//
// Shape    text and keys in, values out. base64 is strict: canonical padding, no white space.
// Errors   Errc::hash_unavailable for MD5 (FIPS builds of OpenSSL refuse it); SHA-256 is taken as always there.
// Threads  pure, except random_bytes, which may be called from any thread.
// Source   RFC 4648 section 4 (base64), RFC 2104 (HMAC), RFC 8018 (PBKDF2).
#pragma once
#include <optional>

#include "auth/secret.h"
#include "base/result.h"

namespace herdgate::auth {

Key256 sha256(ByteView text);
Key256 hmac_sha256(ByteView key, ByteView text);
Key256 pbkdf2_sha256(ByteView password, ByteView salt, int iterations);
Result<std::string> md5_hex(ByteView text);  // 32 lower-case digits

std::string base64_encode(ByteView octets);
std::optional<Bytes> base64_decode(std::string_view text);  // nullopt: not canonical base64

Bytes random_bytes(std::size_t count);

}  // namespace herdgate::auth
