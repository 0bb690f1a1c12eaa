// What start-up packets asked for lately: most clients send the same octets as the one before them.
//
// Limits   kKept packets of up to kMaxPacket octets; the oldest makes way.
// Threads  one worker.
#pragma once
#include <array>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "vsession/virtual_session.h"

namespace herdgate::session {

struct Identity;

// What one packet asks for, read.
struct Asked {
  std::string user, database, application;
  vsession::ParameterSetPtr parameters;      // those that a SET can give
  int minor = 0;                             // protocol 3.minor, as it is spoken
  Bytes negotiation;                         // NegotiateProtocolVersion, where the packet needs that answer
  mutable std::weak_ptr<Identity> identity;  // of the last who asked so and got in
};
using AskedPtr = std::shared_ptr<const Asked>;

class RecentStartups {
 public:
  static constexpr std::size_t kKept = 8, kMaxPacket = 1024;

  AskedPtr find(ByteView packet) const {
    for (const Entry& entry : entries_) {
      if (entry.asked && entry.packet == packet) return entry.asked;
    }
    return nullptr;
  }
  void add(ByteView packet, AskedPtr asked) {
    if (packet.size() > kMaxPacket) return;
    entries_[next_] = {Bytes(packet), std::move(asked)};
    next_ = (next_ + 1) % kKept;
  }

 private:
  struct Entry {
    Bytes packet;
    AskedPtr asked;
  };
  std::array<Entry, kKept> entries_;
  std::size_t next_ = 0;
};

}  // namespace herdgate::session
