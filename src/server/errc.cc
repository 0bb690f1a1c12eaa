#include "server/errc.h"

namespace herdgate::server {
HG_DEFINE_ERRC(Errc, "server", "success", "pid file found", "could not read pid file", "could not write pid file",
               "no such process", "could not send the signal", "bad configuration", "too few file descriptors",
               "system call failed")
}  // namespace herdgate::server
