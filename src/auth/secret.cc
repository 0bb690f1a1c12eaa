#include "auth/secret.h"

#include <openssl/crypto.h>

#include <cstring>

#include "base/assert.h"

namespace herdgate::auth {

void wipe(char* octets, std::size_t count) { OPENSSL_cleanse(octets, count); }

void wipe(std::string& text) {
  text.resize(text.capacity());  // never allocates: the octets beyond size() may be remains of longer text
  wipe(text.data(), text.size());
  text.clear();
}

bool equal_in_constant_time(ByteView a, ByteView b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

Secret& Secret::operator=(const Secret& other) {
  if (this != &other) {
    if (!text_.empty()) wipe(text_);
    text_ = other.text_;
  }
  return *this;
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    if (!text_.empty()) wipe(text_);
    text_ = std::move(other.text_);
    if (!text_.empty()) wipe(other.text_);
  }
  return *this;
}

Key256::Key256(ByteView octets) {
  HG_ASSERT(octets.size() == kBytes);
  std::memcpy(octets_.data(), octets.data(), kBytes);
}

}  // namespace herdgate::auth
