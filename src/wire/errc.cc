#include "wire/errc.h"

namespace herdgate::wire {
HG_DEFINE_ERRC(Errc, "wire", "success", "malformed message", "bad message length", "message too large",
               "unexpected message")
}  // namespace herdgate::wire
