// Appends one message: the type letter now, its length when the scope ends.
//
// Shape    { MessageWriter message(out, be::kReady); message.u8('I'); }
// Threads  values; `out` must outlive it and not be touched by others meanwhile.
#pragma once
#include "base/bytes.h"

namespace herdgate::wire {

class MessageWriter {
 public:
  MessageWriter(Bytes& out, char type) : out_(out) {
    out_.push_back(type);
    length_at_ = out_.size();
    out_.append(4, '\0');
  }
  // A packet without type letter (start-up, cancel).
  explicit MessageWriter(Bytes& out) : out_(out), length_at_(out.size()) { out_.append(4, '\0'); }
  ~MessageWriter() { store_u32(out_.data() + length_at_, static_cast<std::uint32_t>(out_.size() - length_at_)); }
  MessageWriter(const MessageWriter&) = delete;
  MessageWriter& operator=(const MessageWriter&) = delete;

  void u8(char v) { out_.push_back(v); }
  void u16(std::uint16_t v) { append_u16(out_, v); }
  void u32(std::uint32_t v) { append_u32(out_, v); }
  void i32(std::int32_t v) { append_u32(out_, static_cast<std::uint32_t>(v)); }
  void cstr(std::string_view v) { append_cstr(out_, v); }
  void bytes(ByteView v) { out_.append(v); }

 private:
  Bytes& out_;
  std::size_t length_at_ = 0;
};

}  // namespace herdgate::wire
