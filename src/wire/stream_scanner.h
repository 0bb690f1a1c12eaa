// Walks a server's byte stream chunk by chunk without copying it: says where messages begin, which are whole in the
// chunk, and which are only passing through. The heart of the relay. Pure.
//
// Shape    begin(chunk), then next() until it gives Piece::end. A Piece is a view into the chunk (or, for a message
//          that began in an earlier chunk and is wanted whole, into the scanner's own buffer, valid until the next
//          call). wanted(type) decides which message types are collected whole; the others come as head + continuation.
//          take_rows(type) before next(): passes a run of unwanted messages of one type in one go, the relay's fast
//          path.
// Limits   a wanted message is collected up to limit_bytes; a longer one comes as head + continuation like the others.
// Errors   Errc::bad_length, Errc::too_large (over kMaxMessage). Sticky.
// Threads  one scanner per link, no thread of its own.
#pragma once
#include <cstdint>
#include <optional>

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
  ByteView bytes;         // to forward as they are
  bool last = true;       // the message ends with these bytes
  bool buffered = false;  // bytes do not lie in the chunk but in the scanner's buffer
  ByteView payload() const { return bytes.substr(kHeaderBytes); }  // of a whole message
};

// Consecutive messages of one unwanted type, as they lie in the chunk.
struct Run {
  ByteView bytes;            // empty: there is no such message here (or what is here must go through next())
  std::size_t messages = 0;  // that begin in this run; the rest of one that began in an earlier chunk counts as none
  bool last = true;          // the run ends with a message; else its last message goes on past this chunk
};

class StreamScanner {
 public:
  using Wanted = bool (*)(char type);
  StreamScanner(Wanted wanted, std::size_t limit_bytes) : wanted_(wanted), limit_bytes_(limit_bytes) {}
  void begin(ByteView chunk);
  Result<Piece> next();
  // Never fails: what is wrong or not of that type is left to next(). `type` must not be wanted.
  Run take_rows(char type);
  // The type of what comes next as far as take_rows() and take_whole() can tell; 0: ask next().
  char next_type() const {
    if (passing_bytes_ > 0) return passing_type_;
    return (held_.empty() || handed_out_) && chunk_.size() >= kHeaderBytes ? chunk_[0] : '\0';
  }
  // What next() would give when it is a whole message that lies in the chunk; most are, and this is the short way.
  bool take_whole(Piece& piece) {
    if (passing_bytes_ > 0 || !held_.empty() || failed_ || chunk_.size() < kHeaderBytes) return false;
    const std::uint32_t length = load_u32(chunk_.data() + 1);
    if (length < 4 || length >= chunk_.size() || length > kMaxMessage) return false;
    piece = Piece{.kind = Piece::Kind::whole, .type = chunk_[0], .bytes = chunk_.substr(0, std::size_t{length} + 1)};
    chunk_.remove_prefix(std::size_t{length} + 1);
    return true;
  }
  // What is left of the chunk, when it begins with a message; empty: ask next(). skip(): whole messages of it are done.
  ByteView ahead() const {
    const bool between = passing_bytes_ == 0 && (held_.empty() || handed_out_) && !failed_;
    return between ? chunk_ : ByteView();
  }
  void skip(std::size_t bytes) {
    if (handed_out_) drop_held();
    chunk_.remove_prefix(bytes);
  }
  // Between two pieces of one message (the stream cannot be cut here).
  bool mid_message() const { return passing_bytes_ > 0 || (!held_.empty() && !handed_out_); }
  bool mid_forwarded() const { return passing_bytes_ > 0; }  // head was given out, its end was not

 private:
  // An idle link keeps no more than this for the next message that is cut.
  static constexpr std::size_t kMaxKeptCapacity = 4096;

  Result<Piece> start_message();
  Result<Piece> continue_passing();
  Result<Piece> finish_held();
  Result<Piece> finish_header();
  Result<std::size_t> total_of(const char* header);
  void drop_held();
  ByteView take(std::size_t count);
  Wanted wanted_;
  std::size_t limit_bytes_;
  ByteView chunk_;
  Bytes held_;                     // a partial header, or a partial wanted message
  bool handed_out_ = false;        // held_ was given to the caller and is cleared at the next call
  std::size_t held_total_ = 0;     // full size of the message in held_, 0 while its header is not whole
  std::size_t passing_bytes_ = 0;  // still to come of a message that passes through
  char passing_type_ = 0;
  std::optional<Errc> failed_;
};

}  // namespace herdgate::wire
