#include "config/errc.h"

namespace herdgate::config {
HG_DEFINE_ERRC(Errc, "config", "success", "could not read file", "syntax error", "unknown parameter",
               "parameter cannot be changed", "invalid value", "invalid pattern", "invalid redirect entry",
               "invalid object relationship", "invalid pool_hba.conf rule", "invalid password file entry")
}  // namespace herdgate::config
