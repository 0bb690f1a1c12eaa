// How many file descriptors the configuration may need, against how many the system grants.
//
// Shape    needed_descriptors(...), judge_descriptors() and socket_bounds() are pure; raise_descriptor_limit() sets the
//          soft limit to the hard one.
// Source   setrlimit(2).
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"

namespace herdgate::server {

// Logs, listeners, epoll instances, probes of the monitor, PCP connections (200 at most) and the like.
inline constexpr std::int64_t kOwnDescriptors = 300;

struct DescriptorNeed {
  std::int64_t clients = 0, links = 0, nodes = 0;                           // links: to all nodes together
  std::int64_t least() const { return clients + nodes + kOwnDescriptors; }  // below that it cannot work at all
  std::int64_t most() const { return clients + links + kOwnDescriptors; }
};
DescriptorNeed needed_descriptors(int num_init_children, int max_pool, std::size_t nodes);

std::int64_t raise_descriptor_limit();  // the limit now in force

// How many sockets clients and servers may take, so that kOwnDescriptors are left whatever comes from outside. Where
// not all that is configured fits, some are still for clients that wait, cancel, or have not logged in yet.
struct SocketBounds {
  std::int64_t clients = 0, links = 0;
};
SocketBounds socket_bounds(const DescriptorNeed& need, std::int64_t limit);

// An error refuses the start, a text is a warning.
Result<std::optional<std::string>> judge_descriptors(const DescriptorNeed& need, std::int64_t limit);

}  // namespace herdgate::server
