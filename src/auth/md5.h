// PostgreSQL's md5 login: what is stored, and what answers a challenge.
//
// Shape    stored = "md5" + hex(md5(password + user)); answer = "md5" + hex(md5(hex part of stored + salt)).
// Units    the salt is 4 octets.
// Errors   Errc::hash_unavailable, Errc::bad_verifier (the stored text is not "md5" and 32 hex digits).
// Threads  pure.
// Source   PostgreSQL manual, "Frontend/Backend Protocol", AuthenticationMD5Password.
#pragma once
#include "auth/secret.h"
#include "base/result.h"

namespace herdgate::auth {

inline constexpr std::size_t kMd5SaltBytes = 4;

bool is_md5_entry(std::string_view text);  // "md5" and 32 lower- or upper-case hex digits

Result<Secret> md5_entry(ByteView password, std::string_view user);
Result<Secret> md5_answer(ByteView entry, ByteView salt);

// Does the clear-text password belong to the stored md5 entry?
Result<bool> md5_entry_fits(ByteView entry, ByteView password, std::string_view user);

}  // namespace herdgate::auth
