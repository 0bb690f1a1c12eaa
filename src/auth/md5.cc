#include "auth/md5.h"

#include <algorithm>

#include "auth/digest.h"
#include "auth/errc.h"

namespace herdgate::auth {
namespace {

constexpr std::string_view kPrefix = "md5";
constexpr std::size_t kHexDigits = 32;

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
char lower(char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c; }

Result<Secret> prefixed_md5(std::string& text) {
  auto hex = md5_hex(text);
  wipe(text);
  if (!hex) return fail(std::move(hex.error()));
  return Secret(std::string(kPrefix) + *hex);
}

std::string lower_entry(ByteView entry) {
  std::string out(entry);
  std::transform(out.begin() + kPrefix.size(), out.end(), out.begin() + kPrefix.size(), lower);
  return out;
}

}  // namespace

bool is_md5_entry(std::string_view text) {
  return text.size() == kPrefix.size() + kHexDigits && text.starts_with(kPrefix) &&
         std::all_of(text.begin() + kPrefix.size(), text.end(), is_hex);
}

Result<Secret> md5_entry(ByteView password, std::string_view user) {
  std::string text(password);
  text += user;
  return prefixed_md5(text);
}

Result<Secret> md5_answer(ByteView entry, ByteView salt) {
  if (!is_md5_entry(entry)) return fail(Errc::bad_verifier, "not an md5 entry");
  if (salt.size() != kMd5SaltBytes) return fail(Errc::malformed_message, "md5 salt of wrong length");
  std::string text = lower_entry(entry).substr(kPrefix.size());
  text += salt;
  return prefixed_md5(text);
}

Result<bool> md5_entry_fits(ByteView entry, ByteView password, std::string_view user) {
  if (!is_md5_entry(entry)) return fail(Errc::bad_verifier, "not an md5 entry");
  HG_TRY(const Secret typed, md5_entry(password, user));
  return equal_in_constant_time(lower_entry(entry), typed.view());
}

}  // namespace herdgate::auth
