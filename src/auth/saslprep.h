// SASLprep for passwords, as PostgreSQL applies it before PBKDF2: text that cannot be prepared is used as it is.
//
// Shape    octets in, octets out. ASCII and Latin-1 (U+0000 to U+00FF) are prepared exactly; text with any character
//          beyond is returned unchanged, which is right whenever it is in form NFKC already (TODO(compat): tables).
// Limits   the result is at most 3 times the input.
// Threads  pure.
// Source   RFC 4013, RFC 3454 tables B.1, C.1.2, C.2.2; Unicode normalisation form KC of the Latin-1 block.
#pragma once
#include "auth/secret.h"

namespace herdgate::auth {

Secret saslprep(ByteView password);

}  // namespace herdgate::auth
