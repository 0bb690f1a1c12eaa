#include "backend/errc.h"

namespace herdgate::backend {
HG_DEFINE_ERRC(Errc, "backend", "success", "could not connect", "could not log in", "server refused the login",
               "server broke the protocol", "server closed the connection", "connection was closed", "timed out",
               "query failed", "result too large", "could not look up the host name", "could not connect",
               "could not make a socket", "too many logins at once", "could not connect")
}  // namespace herdgate::backend
