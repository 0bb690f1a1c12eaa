#include "net/errc.h"

namespace herdgate::net {
HG_DEFINE_ERRC(Errc, "net", "success", "could not watch a descriptor", "could not resolve the host name",
               "could not connect", "timed out", "too many look-ups are waiting", "not an address",
               "the address is in use", "could not listen", "could not accept a connection",
               "as many connections are open as there may be", "the name service does not answer",
               "could not make a socket", "io_uring cannot be used", "could not connect")
}  // namespace herdgate::net
