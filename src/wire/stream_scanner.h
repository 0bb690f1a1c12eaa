// Walks a server's byte stream chunk by chunk without copying it: says where messages begin, which are whole in the
// chunk, and which are only passing through. The heart of the relay. Pure.
//
// Shape    begin(chunk), then next() until it gives Piece::end. A Piece is a view into the chunk (or, for a message that
//          began in an earlier chunk and is wanted whole, into the scanner's own buffer, valid until the next call).
//          wanted(type) decides which message types are collected whole; the others come as head + continuation.
// Limits   a wanted message is collected up to limit_bytes; a longer one comes as head + continuation like the others.
// Errors   Errc::bad_length, Errc::too_large (over kMaxMessage). Sticky.
// Threads  one scanner per link, no thread of its own.
#pragma once
#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/errc.h"
#include "wire/types.h"

namespace herdgate::wire {

struct Piece {
  enum class Kind : std::uint8_t {
    end,           // nothing more in this chunk
    whole,         // a whole message: bytes = header and payload
    head,          // the beginning of a message that goes on past this chunk: bytes = what is here of it, header first
    continuation,  // more of it; `last` says whether it ends here
  } kind = Kind::end;
  char type = 0;
  ByteView bytes;       // to forward as they are
  bool last = true;     // the message ends with these bytes
  bool buffered = false;  // bytes do not lie in the chunk but in the scanner's buffer
  ByteView payload() const { return bytes.substr(kHeaderBytes); }  // of a whole message
};

class StreamScanner {
 public:
  using Wanted = bool (*)(char type);
  StreamScanner(Wanted wanted, std::size_t limit_bytes) : wanted_(wanted), limit_bytes_(limit_bytes) {}
  void begin(ByteView chunk);
  Result<Piece> next();
  bool mid_message() const;  // between two pieces of one message (the stream cannot be cut here)
  bool mid_forwarded() const { return passing_bytes_ > 0; }  // head was given out, its end was not

 private:
  Result<Piece> finish_held();
  Wanted wanted_;
  std::size_t limit_bytes_;
  ByteView chunk_;
  Bytes held_;                     // a partial header, or a partial wanted message
  bool handed_out_ = false;        // held_ was given to the caller and is cleared at the next call
  std::size_t held_total_ = 0;     // full size of the message in held_, 0 while its header is not whole
  std::size_t passing_bytes_ = 0;  // still to come of a message that passes through
  char passing_type_ = 0;
  bool failed_ = false;
};

}  // namespace herdgate::wire
