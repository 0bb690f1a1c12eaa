#include "cache/memcached_protocol.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

namespace herdgate::cache {
namespace {

constexpr std::string_view kLineEnd = "\r\n";

// The next word of a line; the line is shortened by it.
std::string_view word(std::string_view& line) {
  const std::size_t size = std::min(line.find(' '), line.size());
  const std::string_view found = line.substr(0, size);
  line.remove_prefix(std::min(size + 1, line.size()));
  return found;
}

void put_data(Bytes& out, ByteView data) {
  out += data;
  out += kLineEnd;
}

}  // namespace

std::optional<std::uint64_t> decimal(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

void put_get(Bytes& out, std::span<const std::string> keys) {
  out += "get";
  for (const std::string& key : keys) {
    out += ' ';
    out += key;
  }
  out += kLineEnd;
}

void put_set(Bytes& out, std::string_view key, std::uint32_t expiry, ByteView data) {
  fmt::format_to(std::back_inserter(out), "set {} 0 {} {}\r\n", key, expiry, data.size());
  put_data(out, data);
}

void put_add(Bytes& out, std::string_view key, ByteView data) {
  fmt::format_to(std::back_inserter(out), "add {} 0 0 {}\r\n", key, data.size());
  put_data(out, data);
}

void put_increase(Bytes& out, std::string_view key, std::uint64_t by) {
  fmt::format_to(std::back_inserter(out), "incr {} {}\r\n", key, by);
}

void put_delete(Bytes& out, std::string_view key) { fmt::format_to(std::back_inserter(out), "delete {}\r\n", key); }

void MemcachedReplies::feed(ByteView octets) {
  if (!broken_.empty()) return;
  in_.erase(0, std::exchange(used_, 0));
  in_ += octets;
}

std::optional<MemcachedReply> MemcachedReplies::breaks(std::string_view why) {
  broken_ = why;
  Bytes().swap(in_);
  used_ = 0;
  return std::nullopt;
}

std::optional<MemcachedReply> MemcachedReplies::next() {
  if (!broken_.empty()) return std::nullopt;
  const std::string_view rest = std::string_view(in_).substr(used_);
  const std::size_t at = rest.substr(0, kMaxLine + kLineEnd.size()).find(kLineEnd);
  if (at == std::string_view::npos) {
    if (rest.size() > kMaxLine + kLineEnd.size()) return breaks("a line is too long");
    return std::nullopt;
  }
  const std::string_view line = rest.substr(0, at);
  if (line.starts_with("VALUE ")) return value(line, at + kLineEnd.size());
  used_ += at + kLineEnd.size();
  return simple(line);
}

std::optional<MemcachedReply> MemcachedReplies::simple(std::string_view line) {
  using Kind = MemcachedReply::Kind;
  constexpr std::pair<std::string_view, Kind> kWords[] = {
      {"STORED", Kind::stored},   {"NOT_STORED", Kind::not_stored},
      {"DELETED", Kind::deleted}, {"NOT_FOUND", Kind::not_found},
      {"END", Kind::end},
  };
  for (const auto& [text, kind] : kWords) {
    if (line == text) return MemcachedReply{.kind = kind};
  }
  // The value of a counter may be followed by blanks, where it has become shorter.
  std::string_view figure = line;
  while (figure.ends_with(' ')) figure.remove_suffix(1);
  if (const auto count = decimal(figure)) return MemcachedReply{.kind = Kind::number, .count = *count};
  // CLIENT_ERROR: what is there is no number, for one.
  if (line.starts_with("SERVER_ERROR ") || line.starts_with("CLIENT_ERROR "))
    return MemcachedReply{.kind = Kind::refused, .data = line.substr(13)};
  return breaks(fmt::format("it says \"{:.60}\"", line));
}

// VALUE <key> <flags> <bytes> [<cas>], then the octets, then the end of a line.
std::optional<MemcachedReply> MemcachedReplies::value(std::string_view line, std::size_t line_bytes) {
  word(line);
  const std::string_view key = word(line);
  const auto flags = decimal(word(line));
  const auto bytes = decimal(word(line));
  if (key.empty() || !flags || !bytes) return breaks("the head of a value is wrong");
  if (*bytes > most_bytes_) return breaks("a value is too long");
  const std::string_view rest = std::string_view(in_).substr(used_ + line_bytes);
  if (rest.size() < *bytes + kLineEnd.size()) return std::nullopt;
  if (rest.substr(*bytes, kLineEnd.size()) != kLineEnd) return breaks("a value does not end where it should");
  used_ += line_bytes + *bytes + kLineEnd.size();
  return MemcachedReply{.kind = MemcachedReply::value, .key = key, .data = rest.substr(0, *bytes)};
}

}  // namespace herdgate::cache
