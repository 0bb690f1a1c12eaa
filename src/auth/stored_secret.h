// What a file or a catalog knows about a user's password, and how its encrypted form is opened.
//
// Shape    text of pool_passwd (or of rolpassword) → StoredSecret{kind, value}; unlock() turns aes into plain.
// Limits   an encryption key has 1 to kMaxKeyBytes octets; a password to encrypt at most kMaxPlainBytes.
// Errors   Errc::bad_verifier (text of a known form that is broken), key_missing, bad_key, unfit_secret (too long).
// Threads  pure; read_key_file reads one small file.
// Source   Pgpool-II 4.6 manual, "pool_passwd", "pg_enc".
#pragma once
#include <optional>

#include "auth/secret.h"
#include "base/result.h"

namespace herdgate::auth {

struct StoredSecret {
  enum class Kind { none, plain, md5, aes, scram };
  Kind kind = Kind::none;
  // plain: the password. md5 and scram: the whole text, prefix included. aes: the base64 text without its prefix.
  Secret value;
  bool known() const { return kind != Kind::none; }
};

// The password column of pool_passwd: md5…, AES…, TEXT…, SCRAM-SHA-256$…, anything else is the password itself.
// "md5" and "AES" mark their form only when what follows has it; a broken SCRAM verifier is an error, because a
// password of that shape is less likely than a cut line. An empty password, TEXT alone too, is none.
Result<StoredSecret> parse_stored(std::string_view text);

// rolpassword as an auth_query returns it: md5… or SCRAM-SHA-256$…, nothing else. Empty: the user has no password.
Result<StoredSecret> parse_rolpassword(std::string_view text);

// aes → plain; every other kind is returned as it is. No key: key_missing.
Result<StoredSecret> unlock(const StoredSecret& secret, const std::optional<Secret>& key);

inline constexpr std::size_t kMaxKeyBytes = 256;
inline constexpr std::size_t kMaxPlainBytes = 95;  // AES and base64 make 131 characters of it; 132 are allowed
inline constexpr std::string_view kAesPrefix = "AES";

// aes-256-cbc; key and IV from the key text by one round of SHA-1, no salt. base64 without the prefix.
Result<std::string> encrypt_password(ByteView password, ByteView key);
Result<Secret> decrypt_password(std::string_view base64, ByteView key);

// The first line of a key file, without its line end.
Result<Secret> key_from_text(ByteView file_text);

struct KeyFile {
  Secret key;
  std::string warning;  // not empty: group or others may read the file
};
Result<KeyFile> read_key_file(const std::string& path);

// $PGPOOLKEYFILE, else ~/.pgpoolkey; either may be null. Empty: neither is set.
std::string key_file_path(const char* pgpoolkeyfile, const char* home);

}  // namespace herdgate::auth
