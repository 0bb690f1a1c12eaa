#include "monitor/errc.h"

namespace herdgate::monitor {
HG_DEFINE_ERRC(Errc, "monitor", "success", "could not read the status file", "could not write the status file")
}  // namespace herdgate::monitor
