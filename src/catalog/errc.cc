#include "catalog/errc.h"

namespace herdgate::catalog {
HG_DEFINE_ERRC(Errc, "catalog", "success", "a server's answer about its catalog is not what was asked for")
}
