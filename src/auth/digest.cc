#include "auth/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "auth/errc.h"
#include "base/assert.h"

namespace herdgate::auth {
namespace {

const unsigned char* octets(ByteView text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* octets(Key256& key) { return reinterpret_cast<unsigned char*>(key.data()); }

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int sextet(char c) {
  const std::size_t at = kAlphabet.find(c);
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

}  // namespace

Key256 sha256(ByteView text) {
  Key256 out;
  unsigned length = 0;
  HG_ASSERT(EVP_Digest(text.data(), text.size(), octets(out), &length, EVP_sha256(), nullptr) == 1);
  return out;
}

Key256 hmac_sha256(ByteView key, ByteView text) {
  Key256 out;
  unsigned length = 0;
  HG_ASSERT(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), octets(text), text.size(), octets(out),
                 &length) != nullptr);
  return out;
}

Key256 pbkdf2_sha256(ByteView password, ByteView salt, int iterations) {
  Key256 out;
  HG_ASSERT(iterations > 0);
  HG_ASSERT(PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), octets(salt),
                              static_cast<int>(salt.size()), iterations, EVP_sha256(), Key256::kBytes,
                              octets(out)) == 1);
  return out;
}

Result<std::string> md5_hex(ByteView text) {
  constexpr std::size_t kMd5Bytes = 16;
  unsigned char sum[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  if (EVP_Digest(text.data(), text.size(), sum, &length, EVP_md5(), nullptr) != 1 || length != kMd5Bytes) {
    return fail(Errc::hash_unavailable, "MD5");
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * kMd5Bytes);
  for (std::size_t i = 0; i < kMd5Bytes; ++i) {
    hex.push_back(kDigits[sum[i] >> 4]);
    hex.push_back(kDigits[sum[i] & 15]);
  }
  return hex;
}

std::string base64_encode(ByteView octets) {
  std::string out;
  out.reserve((octets.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < octets.size(); i += 3) {
    const std::size_t here = std::min<std::size_t>(3, octets.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (k < here ? static_cast<unsigned char>(octets[i + k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k) out.push_back(k <= here ? kAlphabet[group >> (18 - 6 * k) & 63] : '=');
  }
  return out;
}

std::optional<Bytes> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  Bytes out;
  out.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    std::size_t padding = 0;
    if (i + 4 == text.size()) padding = text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const int value = k >= 4 - padding ? 0 : sextet(text[i + k]);
      if (value < 0) return std::nullopt;
      group = group << 6 | static_cast<std::uint32_t>(value);
    }
    // Bits under the padding must be zero, or one value would have several spellings.
    if ((padding == 1 && (group & 0xff) != 0) || (padding == 2 && (group & 0xffff) != 0)) return std::nullopt;
    for (std::size_t k = 0; k < 3 - padding; ++k) out.push_back(static_cast<char>(group >> (16 - 8 * k)));
  }
  return out;
}

Bytes random_bytes(std::size_t count) {
  Bytes out(count, '\0');
  HG_ASSERT(RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(count)) == 1);
  return out;
}

}  // namespace herdgate::auth
