#include "auth/errc.h"

namespace herdgate::auth {

HG_DEFINE_ERRC(Errc, "auth", "success", "malformed authentication message", "authentication message out of order",
               "unsupported authentication mechanism", "unsupported authentication method", "password does not match",
               "no password is known for the user", "client rejected", "stored password cannot be used",
               "malformed stored password", "iteration count out of range", "SCRAM verifiers differ",
               "server could not prove its identity", "encryption key not provided", "unusable encryption key",
               "hash function unavailable")

}  // namespace herdgate::auth
