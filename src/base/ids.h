// Strong ids: a node number is not a worker number is not a session number.
#pragma once
#include <compare>
#include <cstdint>
#include <functional>

namespace herdgate {

template <class Tag, class Int>
struct StrongId {
  Int value{};
  constexpr StrongId() = default;
  constexpr explicit StrongId(Int v) : value(v) {}
  auto operator<=>(const StrongId&) const = default;
};

using NodeId = StrongId<struct NodeIdTag, int>;                  // backend number, 0..127, as in backend_hostnameN
using WorkerId = StrongId<struct WorkerIdTag, int>;              // index of a worker thread
using SessionId = StrongId<struct SessionIdTag, std::uint64_t>;  // one client connection, never used again
using LinkId = StrongId<struct LinkIdTag, std::uint64_t>;        // one server link, never used again

inline constexpr NodeId kNoNode{-1};
inline constexpr int kMaxNodes = 128;

}  // namespace herdgate

template <class Tag, class Int>
struct std::hash<herdgate::StrongId<Tag, Int>> {
  std::size_t operator()(herdgate::StrongId<Tag, Int> id) const noexcept { return std::hash<Int>{}(id.value); }
};
