// What memcached is told and what it says, in its text protocol. Pure: no sockets, no clock.
//
// Shape    put_*() append a command. MemcachedReplies takes octets in chunks of any size and gives one reply after the
//          other; of a get the values that there are, in the order asked for, then `end`.
// Units    expiry in seconds, 0: never.
// Limits   a line of kMaxLine octets; a value of `most_bytes`, given by the caller.
// Errors   broken() says why; sticky. A `refused` reply is no such error: memcached is well and will not do this.
// Threads  none of its own; a reply's views are valid until the next call.
// Source   memcached 1.6, protocol.txt.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/bytes.h"

namespace herdgate::cache {

// memcached takes a greater number of seconds for a date.
inline constexpr std::uint32_t kLongestExpiry = 30 * 24 * 3600;

void put_get(Bytes& out, std::span<const std::string> keys);
void put_set(Bytes& out, std::string_view key, std::uint32_t expiry, ByteView data);
void put_add(Bytes& out, std::string_view key, ByteView data);
void put_increase(Bytes& out, std::string_view key, std::uint64_t by);
void put_delete(Bytes& out, std::string_view key);

struct MemcachedReply {
  enum Kind : std::uint8_t { stored, not_stored, deleted, not_found, number, value, end, refused } kind = refused;
  std::uint64_t count = 0;  // number
  std::string_view key;     // value
  ByteView data;            // value; refused: the words
};

class MemcachedReplies {
 public:
  static constexpr std::size_t kMaxLine = 1024;
  explicit MemcachedReplies(std::size_t most_bytes) : most_bytes_(most_bytes) {}
  void feed(ByteView octets);
  std::optional<MemcachedReply> next();  // nothing: not whole yet, or broken
  const std::string& broken() const { return broken_; }
  std::size_t buffered() const { return in_.size() - used_; }

 private:
  std::optional<MemcachedReply> simple(std::string_view line);
  std::optional<MemcachedReply> value(std::string_view line, std::size_t line_bytes);
  std::optional<MemcachedReply> breaks(std::string_view why);
  std::size_t most_bytes_;
  Bytes in_;
  std::size_t used_ = 0;
  std::string broken_;
};

// A whole decimal number and nothing else.
std::optional<std::uint64_t> decimal(std::string_view text);

}  // namespace herdgate::cache
