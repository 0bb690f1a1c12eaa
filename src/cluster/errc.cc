#include "cluster/errc.h"

namespace herdgate::cluster {
HG_DEFINE_ERRC(Errc, "cluster", "success", "primary_conninfo is not understood")
}  // namespace herdgate::cluster
