#include "server/descriptors.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <limits>

#include "server/errc.h"

namespace herdgate::server {

DescriptorNeed needed_descriptors(int num_init_children, int max_pool, std::size_t nodes) {
  DescriptorNeed need{.clients = num_init_children, .nodes = static_cast<std::int64_t>(nodes)};
  const std::int64_t of_each = need.clients * std::max(max_pool, 1);  // each factor is an int
  const std::int64_t factor = std::max<std::int64_t>(need.nodes, 1);
  need.links = factor * std::min(of_each, std::numeric_limits<std::int64_t>::max() / (2 * factor));
  return need;
}

std::int64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::numeric_limits<std::int64_t>::max();
  const rlimit before = limit;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) limit = before;
  if (limit.rlim_cur == RLIM_INFINITY) return std::numeric_limits<std::int64_t>::max();
  return static_cast<std::int64_t>(limit.rlim_cur);
}

SocketBounds socket_bounds(const DescriptorNeed& need, std::int64_t limit) {
  constexpr std::int64_t kShareOfWaiting = 4;
  const std::int64_t left = std::max<std::int64_t>(limit - kOwnDescriptors - need.clients, need.nodes);
  const std::int64_t links = std::min(need.links, left - left / kShareOfWaiting);
  return {need.clients + left - links, links};
}

Result<std::optional<std::string>> judge_descriptors(const DescriptorNeed& need, std::int64_t limit) {
  if (limit < need.least())
    return fail(Errc::too_few_descriptors, fmt::format("{} clients and {} nodes need at least {}, the limit is {}",
                                                       need.clients, need.nodes, need.least(), limit));
  if (limit >= need.most()) return std::optional<std::string>{};
  const SocketBounds bounds = socket_bounds(need, limit);
  return std::optional<std::string>{
      fmt::format("{} clients and {} server connections may need {} file descriptors, the limit is {}; in force are {} "
                  "client sockets, waiting ones included, and {} server connections",
                  need.clients, need.links, need.most(), limit, bounds.clients, bounds.links)};
}

}  // namespace herdgate::server
