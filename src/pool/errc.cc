#include "pool/errc.h"

namespace herdgate::pool {
HG_DEFINE_ERRC(Errc, "pool", "success", "timed out waiting for a server connection",
               "too many are waiting for a server connection", "node is no longer available",
               "could not log in to the server", "server is shutting down", "no such node",
               "all server connections are taken, and this session cannot give back its own")
}  // namespace herdgate::pool
