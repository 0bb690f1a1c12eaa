// Takes fields off the front of a message's payload; once something did not fit, everything after it reads as empty.
//
// Shape    u8(), u16(), i32(), cstr(), bytes(n) in the order of the manual's format, then fits() or whole().
// Errors   none raised: the caller asks whole() once at the end, so that no field check can be forgotten.
// Threads  values.
#pragma once
#include "base/bytes.h"

namespace herdgate::wire {

class PayloadReader {
 public:
  explicit PayloadReader(ByteView payload) : rest_(payload) {}

  char u8() {
    const ByteView v = bytes(1);
    return v.empty() ? '\0' : v[0];
  }
  std::uint16_t u16() {
    const ByteView v = bytes(2);
    return v.empty() ? std::uint16_t{0} : load_u16(v.data());
  }
  std::uint32_t u32() {
    const ByteView v = bytes(4);
    return v.empty() ? 0 : load_u32(v.data());
  }
  std::int32_t i32() { return static_cast<std::int32_t>(u32()); }
  // Up to the NUL, which is taken but not given.
  std::string_view cstr() {
    if (!rest_.empty() && rest_[0] == '\0') {  // most names are
      const std::string_view none = rest_.substr(0, 0);
      rest_.remove_prefix(1);
      return none;
    }
    const std::size_t nul = rest_.find('\0');
    if (nul == ByteView::npos) return spoil();
    const std::string_view text = rest_.substr(0, nul);
    rest_.remove_prefix(nul + 1);
    return text;
  }
  ByteView bytes(std::size_t count) {
    if (count > rest_.size()) return spoil();
    const ByteView taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  // A value with its length before it; false for NULL.
  bool value(ByteView& out) {
    const std::int32_t length = i32();
    if (length == -1) return false;
    out = length < 0 ? spoil() : bytes(static_cast<std::size_t>(length));
    return true;
  }
  // A count, then as many format codes of two octets; a count, then values; the two of Bind and FunctionCall.
  void formats() { bytes(std::size_t{2} * u16()); }
  void values() {
    ByteView ignored;
    for (unsigned left = u16(); left > 0 && fits_; --left) value(ignored);
  }

  ByteView rest() const { return rest_; }
  bool fits() const { return fits_; }
  bool whole() const { return fits_ && rest_.empty(); }

 private:
  ByteView spoil() {
    fits_ = false;
    rest_ = {};
    return {};
  }
  ByteView rest_;
  bool fits_ = true;
};

}  // namespace herdgate::wire
