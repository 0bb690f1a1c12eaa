#include "report/figures.h"

#include <algorithm>
#include <tuple>

namespace herdgate::report {

void keep_first_pools(Figures& figures) {
  std::vector<PoolFigures>& pools = figures.pools;
  std::sort(pools.begin(), pools.end(), [](const PoolFigures& a, const PoolFigures& b) {
    return std::tie(a.database, a.user, a.node) < std::tie(b.database, b.user, b.node);
  });
  if (pools.size() <= Figures::kMaxPools) return;
  figures.pools_left_out = pools.size() - Figures::kMaxPools;
  pools.resize(Figures::kMaxPools);
}

}  // namespace herdgate::report
