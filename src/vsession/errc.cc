#include "vsession/errc.h"

namespace herdgate::vsession {
HG_DEFINE_ERRC(Errc, "vsession", "success", "prepared statement already exists", "too many prepared statements",
               "too many parameters", "invalid parameter name")
}  // namespace herdgate::vsession
