#include "wire/stream_scanner.h"

#include <algorithm>

#include "base/assert.h"

namespace herdgate::wire {
namespace {
constexpr std::uint32_t kLengthBytes = 4;  // the length counts itself, not the type letter
}

void StreamScanner::begin(ByteView chunk) {
  HG_ASSERT(chunk_.empty() || failed_);  // a chunk is walked to its end before the next one comes
  chunk_ = chunk;
}

Result<Piece> StreamScanner::next() {
  if (failed_) return fail(*failed_);
  if (handed_out_) drop_held();
  if (chunk_.empty()) return Piece{};
  if (passing_bytes_ > 0) return continue_passing();
  if (!held_.empty()) return finish_held();
  return start_message();
}

Run StreamScanner::take_rows(char type) {
  HG_ASSERT(!wanted_(type));
  if (failed_) return {};
  if (handed_out_) drop_held();
  if (!held_.empty() || (passing_bytes_ > 0 && passing_type_ != type)) return {};
  const char* const begin = chunk_.data();
  const char* const end = begin + chunk_.size();
  Run run;
  std::size_t available = chunk_.size();
  std::size_t skip = passing_bytes_;
  const char* p = begin;
  while (skip <= available) {
    p += skip;
    available -= skip;
    skip = 0;
    if (available < kHeaderBytes || *p != type) break;
    const std::uint32_t length = load_u32(p + 1);
    if (length - kLengthBytes > kMaxMessage - kLengthBytes) break;  // too short wraps around: one test for both
    skip = std::size_t{length} + 1;
    ++run.messages;
  }
  if (skip > available) {
    skip -= available;
    p = end;
    run.last = false;
  }
  passing_bytes_ = skip;
  passing_type_ = type;
  run.bytes = take(static_cast<std::size_t>(p - begin));
  return run;
}

Result<Piece> StreamScanner::start_message() {
  if (chunk_.size() < kHeaderBytes) {
    held_.append(take(chunk_.size()));
    return Piece{};
  }
  const char type = chunk_[0];
  HG_TRY(const std::size_t total, total_of(chunk_.data()));
  if (total <= chunk_.size()) return Piece{.kind = Piece::Kind::whole, .type = type, .bytes = take(total)};
  if (wanted_(type) && total <= limit_bytes_) {
    held_total_ = total;
    held_.append(take(chunk_.size()));
    return Piece{};
  }
  passing_bytes_ = total - chunk_.size();
  passing_type_ = type;
  return Piece{.kind = Piece::Kind::head, .type = type, .bytes = take(chunk_.size()), .last = false};
}

Result<Piece> StreamScanner::continue_passing() {
  const ByteView bytes = take(std::min(passing_bytes_, chunk_.size()));
  passing_bytes_ -= bytes.size();
  return Piece{.kind = Piece::Kind::continuation, .type = passing_type_, .bytes = bytes, .last = passing_bytes_ == 0};
}

// A header that was cut is put together first; only then is it known whether the message is wanted.
Result<Piece> StreamScanner::finish_held() {
  if (held_total_ == 0) {
    held_.append(take(std::min(kHeaderBytes - held_.size(), chunk_.size())));
    if (held_.size() < kHeaderBytes) return Piece{};
    HG_TRY(held_total_, total_of(held_.data()));
    if (!wanted_(held_[0]) || held_total_ > limit_bytes_) return finish_header();
  }
  held_.append(take(std::min(held_total_ - held_.size(), chunk_.size())));
  if (held_.size() < held_total_) return Piece{};
  handed_out_ = true;
  return Piece{.kind = Piece::Kind::whole, .type = held_[0], .bytes = held_, .buffered = true};
}

Result<Piece> StreamScanner::finish_header() {
  handed_out_ = true;
  passing_bytes_ = held_total_ - kHeaderBytes;
  passing_type_ = held_[0];
  const bool whole = passing_bytes_ == 0;
  return Piece{.kind = whole ? Piece::Kind::whole : Piece::Kind::head,
               .type = passing_type_,
               .bytes = held_,
               .last = whole,
               .buffered = true};
}

Result<std::size_t> StreamScanner::total_of(const char* header) {
  const std::uint32_t length = load_u32(header + 1);
  if (length >= kLengthBytes && length <= kMaxMessage) return std::size_t{length} + 1;
  failed_ = length < kLengthBytes ? Errc::bad_length : Errc::too_large;
  return fail(*failed_, std::to_string(length) + " bytes");
}

void StreamScanner::drop_held() {
  held_.clear();
  if (held_.capacity() > kMaxKeptCapacity) Bytes().swap(held_);
  held_total_ = 0;
  handed_out_ = false;
}

ByteView StreamScanner::take(std::size_t count) {
  const ByteView taken = chunk_.substr(0, count);
  chunk_.remove_prefix(count);
  return taken;
}

}  // namespace herdgate::wire
