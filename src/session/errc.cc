#include "session/errc.h"

namespace herdgate::session {
HG_DEFINE_ERRC(Errc, "session", "success", "no answer within", "query failed for the moment", "too many logins wait")
}  // namespace herdgate::session
