#include "pcp/errc.h"

namespace herdgate::pcp {

HG_DEFINE_ERRC(Errc, "pcp", "success", "incorrect packet length", "unknown PCP packet type", "malformed PCP packet")

}  // namespace herdgate::pcp
