// Secrets in memory: text that is overwritten when it dies, 32-octet keys likewise, comparisons that take equal time.
//
// Shape    Secret holds text of any length, Key256 exactly 32 octets. Both copy; the copy wipes itself as well.
// Limits   none of its own.
// Threads  values; none.
#pragma once
#include <array>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace herdgate::auth {

// Overwrites in a way the compiler may not leave out, whole capacity included, and empties.
void wipe(std::string& text);
void wipe(char* octets, std::size_t count);

// True when equal; the time depends on the lengths only.
bool equal_in_constant_time(ByteView a, ByteView b);

// An empty Secret has no remains: it never held any, or was wiped when they left it.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  Secret(const Secret&) = default;
  // A moved std::string may leave its octets behind (short strings live inside the object).
  Secret(Secret&& other) noexcept : text_(std::move(other.text_)) {
    if (!text_.empty()) wipe(other.text_);
  }
  Secret& operator=(const Secret& other);
  Secret& operator=(Secret&& other) noexcept;
  ~Secret() {
    if (!text_.empty()) wipe(text_);
  }

  ByteView view() const { return text_; }
  bool empty() const { return text_.empty(); }
  bool operator==(const Secret& other) const { return equal_in_constant_time(text_, other.text_); }

 private:
  std::string text_;
};

class Key256 {
 public:
  static constexpr std::size_t kBytes = 32;
  Key256() = default;                // all zero
  explicit Key256(ByteView octets);  // asserts kBytes octets
  Key256(const Key256&) = default;
  Key256& operator=(const Key256&) = default;
  ~Key256() {
    if (!blank()) wipe(octets_.data(), kBytes);
  }

  ByteView view() const { return {octets_.data(), kBytes}; }
  char* data() { return octets_.data(); }
  bool operator==(const Key256& other) const { return equal_in_constant_time(view(), other.view()); }

 private:
  // Nothing to overwrite: most logins have no keys. How long it takes tells no more than that.
  bool blank() const {
    char any = 0;
    for (const char octet : octets_) any |= octet;
    return any == 0;
  }
  std::array<char, kBytes> octets_{};
};

}  // namespace herdgate::auth
