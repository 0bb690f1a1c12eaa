// pool_passwd and pcp.conf from anywhere; what update_pool_passwd writes must be read back as it was given.
#include <cstdint>
#include <cstdlib>

#include "config/password_file.h"

using namespace herdgate::config;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  parse_pcp_conf(text, "p");
  const PasswordFile file = parse_pool_passwd(text, "f");
  if (file.entries.empty()) return 0;
  const PasswordEntry& entry = file.entries[0];
  const auto updated = update_pool_passwd(text, entry.user, "md50123456789abcdef0123456789abcdef");
  if (!updated) return 0;  // a user that cannot be written, such as one that starts with #
  const PasswordFile again = parse_pool_passwd(*updated, "f");
  const PasswordEntry* found = again.find_user(entry.user);
  if (found == nullptr || found->kind != SecretKind::md5) std::abort();
  return 0;
}
