// Whatever memcached may say: the same replies however it is cut, within the limits; and entries made of it.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "cache/memcached_protocol.h"
#include "cache/remote_entry.h"

using namespace herdgate;
using namespace herdgate::cache;

namespace {

constexpr std::size_t kMostBytes = 1000;

std::vector<std::string> replies_of(ByteView octets, std::size_t step) {
  MemcachedReplies replies(kMostBytes);
  std::vector<std::string> got;
  for (std::size_t at = 0; at < octets.size(); at += step) {
    replies.feed(octets.substr(at, step));
    while (const auto reply = replies.next()) {
      if (reply->data.size() > std::max(kMostBytes, MemcachedReplies::kMaxLine)) std::abort();
      got.push_back(std::to_string(reply->kind) + ' ' + std::to_string(reply->count) + ' ' + std::string(reply->key) +
                    ' ' + std::string(reply->data));
    }
    if (replies.buffered() > kMostBytes + MemcachedReplies::kMaxLine + 4 + step) std::abort();
  }
  if (!replies.broken().empty()) got.push_back(replies.broken());
  return got;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView octets(reinterpret_cast<const char*>(data), size);
  if (size == 0) return 0;
  const auto whole = replies_of(octets, size);
  if (replies_of(octets, 1) != whole || replies_of(octets, 7) != whole) std::abort();
  const auto entry = decode({1, 2}, {3, 4}, octets);
  if (entry && entry->footing.counters.size() != entry->tables.size() + 2) std::abort();
  return 0;
}
