#include "auth/stored_secret.h"

#include <openssl/evp.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>

#include "auth/digest.h"
#include "auth/errc.h"
#include "auth/md5.h"
#include "auth/scram.h"

namespace herdgate::auth {
namespace {

using Kind = StoredSecret::Kind;
constexpr std::string_view kTextPrefix = "TEXT";
constexpr std::string_view kScramPrefix = "SCRAM-SHA-256$";
constexpr std::size_t kAesBlockBytes = 16;

StoredSecret stored(Kind kind, std::string_view value) { return {kind, Secret(std::string(value))}; }

bool is_aes_text(std::string_view base64) {
  const auto octets = base64_decode(base64);
  return octets && !octets->empty() && octets->size() % kAesBlockBytes == 0;
}

Result<StoredSecret> parse_scram(std::string_view text) {
  HG_TRY([[maybe_unused]] const auto keys, parse_verifier(text));
  return stored(Kind::scram, text);
}

unsigned char* octets(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
const unsigned char* octets(ByteView text) { return reinterpret_cast<const unsigned char*>(text.data()); }

struct AesKey {
  std::array<unsigned char, EVP_MAX_KEY_LENGTH> key{};
  std::array<unsigned char, EVP_MAX_IV_LENGTH> iv{};
  ~AesKey() {
    wipe(reinterpret_cast<char*>(key.data()), key.size());
    wipe(reinterpret_cast<char*>(iv.data()), iv.size());
  }
};

Result<Done> derive_aes_key(ByteView text, AesKey& out) {
  if (text.empty()) return fail(Errc::key_missing);
  if (text.size() > kMaxKeyBytes) return fail(Errc::bad_key, "longer than 256 characters");
  const int made = EVP_BytesToKey(EVP_aes_256_cbc(), EVP_sha1(), nullptr, octets(text), static_cast<int>(text.size()),
                                  1, out.key.data(), out.iv.data());
  if (made == 0) return fail(Errc::hash_unavailable, "SHA-1");
  return Done{};
}

struct FreeCipher {
  void operator()(EVP_CIPHER_CTX* cipher) const { EVP_CIPHER_CTX_free(cipher); }
};

enum class Direction { decrypt = 0, encrypt = 1 };

// nullopt: broken padding, that is, a wrong key or damaged text.
std::optional<std::string> run_aes(ByteView in, const AesKey& key, Direction direction) {
  const std::unique_ptr<EVP_CIPHER_CTX, FreeCipher> cipher(EVP_CIPHER_CTX_new());
  std::string out(in.size() + kAesBlockBytes, '\0');
  int first = 0, last = 0;
  const bool done = cipher &&
                    EVP_CipherInit_ex(cipher.get(), EVP_aes_256_cbc(), nullptr, key.key.data(), key.iv.data(),
                                      static_cast<int>(direction)) == 1 &&
                    EVP_CipherUpdate(cipher.get(), octets(out), &first, octets(in), static_cast<int>(in.size())) == 1 &&
                    EVP_CipherFinal_ex(cipher.get(), octets(out) + first, &last) == 1;
  if (!done) {
    wipe(out);
    return std::nullopt;
  }
  out.resize(static_cast<std::size_t>(first + last));
  return out;
}

}  // namespace

Result<StoredSecret> parse_stored(std::string_view text) {
  if (text.empty() || text == kTextPrefix) return StoredSecret{};
  if (is_md5_entry(text)) return stored(Kind::md5, text);
  if (text.starts_with(kScramPrefix)) return parse_scram(text);
  if (text.starts_with(kAesPrefix) && is_aes_text(text.substr(kAesPrefix.size()))) {
    return stored(Kind::aes, text.substr(kAesPrefix.size()));
  }
  if (text.starts_with(kTextPrefix)) return stored(Kind::plain, text.substr(kTextPrefix.size()));
  return stored(Kind::plain, text);
}

Result<StoredSecret> parse_rolpassword(std::string_view text) {
  if (text.empty()) return StoredSecret{};
  if (is_md5_entry(text)) return stored(Kind::md5, text);
  if (text.starts_with(kScramPrefix)) return parse_scram(text);
  return fail(Errc::bad_verifier, "neither an md5 hash nor a SCRAM-SHA-256 verifier");
}

Result<StoredSecret> unlock(const StoredSecret& secret, const std::optional<Secret>& key) {
  if (secret.kind != Kind::aes) return secret;
  if (!key) return fail(Errc::key_missing);
  HG_TRY(Secret plain, decrypt_password(secret.value.view(), key->view()));
  return StoredSecret{Kind::plain, std::move(plain)};
}

Result<std::string> encrypt_password(ByteView password, ByteView key) {
  if (password.empty()) return fail(Errc::unfit_secret, "an empty password cannot be stored");
  if (password.size() > kMaxPlainBytes) return fail(Errc::unfit_secret, "the password is longer than 95 octets");
  AesKey aes;
  HG_CHECK(derive_aes_key(key, aes));
  const auto sealed = run_aes(password, aes, Direction::encrypt);
  if (!sealed) return fail(Errc::hash_unavailable, "AES-256-CBC");
  return base64_encode(*sealed);
}

Result<Secret> decrypt_password(std::string_view base64, ByteView key) {
  if (!is_aes_text(base64)) return fail(Errc::bad_verifier, "AES text is malformed");
  AesKey aes;
  HG_CHECK(derive_aes_key(key, aes));
  auto plain = run_aes(*base64_decode(base64), aes, Direction::decrypt);
  if (!plain) return fail(Errc::bad_key, "it does not open the entry");
  Secret secret(std::move(*plain));
  // A wrong key passes the padding check once in 256 times; most of those show here.
  if (secret.empty() || secret.view().find('\0') != ByteView::npos) {
    return fail(Errc::bad_key, "it does not open the entry");
  }
  return secret;
}

Result<Secret> key_from_text(ByteView file_text) {
  ByteView line = file_text.substr(0, file_text.find('\n'));
  while (line.ends_with('\r')) line.remove_suffix(1);
  if (line.empty()) return fail(Errc::bad_key, "the first line is empty");
  if (line.size() > kMaxKeyBytes) return fail(Errc::bad_key, "longer than 256 characters");
  if (line.find('\0') != ByteView::npos) return fail(Errc::bad_key, "it contains a NUL");
  return Secret(std::string(line));
}

Result<KeyFile> read_key_file(const std::string& path) {
  struct stat about {};
  if (stat(path.c_str(), &about) != 0) return fail(Errc::key_missing, path + ": " + std::strerror(errno));
  if (!S_ISREG(about.st_mode)) return fail(Errc::key_missing, path + ": not a plain file");
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxKeyBytes + 3, '\0');  // one octet more than "\r\n" behind the longest key
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad() || (!file.is_open())) return fail(Errc::key_missing, path + ": cannot be read");
  text.resize(static_cast<std::size_t>(file.gcount()));
  auto key = key_from_text(text);
  wipe(text);
  if (!key) return fail(key.error().code, path + ": " + key.error().context);
  KeyFile found{std::move(*key), {}};
  if ((about.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    found.warning = "key file \"" + path + "\" has group or world access; permissions should be u=rw (0600) or less";
  }
  return found;
}

std::string key_file_path(const char* pgpoolkeyfile, const char* home) {
  if (pgpoolkeyfile != nullptr && *pgpoolkeyfile != '\0') return pgpoolkeyfile;
  if (home != nullptr && *home != '\0') return std::string(home) + "/.pgpoolkey";
  return {};
}

}  // namespace herdgate::auth
