#include "route/hold.h"

namespace herdgate::route {

Hold hold(const HoldInput& in) {
  if (in.paused && in.begins) return Hold::pause;
  const bool concerned = in.write || in.may_miss_own;
  if (in.outcomes_open && concerned && in.begins && !in.view.primary_awaited) return Hold::outcomes;
  if (in.view.switching && in.begins && in.node == in.view.write_node()) return Hold::primary;
  if (!in.view.primary_awaited || in.node != in.view.write_node()) return Hold::none;
  // Where none was ever found the main node stands in for it: what only reads is as well served there.
  if (in.view.primary == kNoNode && !in.write) return Hold::none;
  return Hold::primary;
}

}  // namespace herdgate::route
