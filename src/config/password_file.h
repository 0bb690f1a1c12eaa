// pool_passwd and pcp.conf: users and their secrets.
//
// Shape    parse_pool_passwd(text) -> entries in file order; find_user gives the first that fits. update_pool_passwd
//          adds or replaces a user's line in the text of the file.
// Limits   user <= 128 octets, password <= 132 octets, except SCRAM verifiers and AES texts: kMaxSecretBytes.
// Errors   findings with line numbers for lines that are not understood; such lines are left out.
// Threads  pure.
// Source   Pgpool-II 4.6 manual, "Authentication" and "pcp.conf".
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/load.h"

namespace herdgate::config {

inline constexpr std::size_t kMaxUserBytes = 128;
inline constexpr std::size_t kMaxPasswordBytes = 132;
inline constexpr std::size_t kMaxSecretBytes = 1024;

enum class SecretKind : std::uint8_t { md5, aes, text, plain, scram_verifier };

struct PasswordEntry {
  std::string user;
  SecretKind kind = SecretKind::plain;
  // md5: "md5" and 32 digits; aes: base64 without "AES"; text: without "TEXT"; scram_verifier: the whole verifier.
  std::string value;
  std::string backend_user;  // empty unless the line names one, with a password, which nobody uses
};
// What the form of a password says about it; also used for sr_check_password and its like.
struct Secret {
  SecretKind kind = SecretKind::plain;
  std::string value;
};
Secret classify_secret(std::string_view text);

struct PasswordFile {
  std::vector<PasswordEntry> entries;
  std::vector<Finding> findings;
  const PasswordEntry* find_user(std::string_view user) const;
};
PasswordFile parse_pool_passwd(std::string_view text, const std::string& path);

// The text with `user:secret` in it, replacing the first line of that user (later ones of the same user go).
Result<std::string> update_pool_passwd(std::string_view text, std::string_view user, std::string_view secret);

struct PcpUser {
  std::string user;
  std::string md5;  // 32 lower-case digits
};
struct PcpFile {
  std::vector<PcpUser> users;
  std::vector<Finding> findings;
  const PcpUser* find_user(std::string_view user) const;
};
PcpFile parse_pcp_conf(std::string_view text, const std::string& path);

}  // namespace herdgate::config
