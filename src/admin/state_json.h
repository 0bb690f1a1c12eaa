// The page /api/state: figures in, JSON out. Pure.
//
// Shape    one object; names as in SHOW POOL_NODES where that has them, numbers as numbers. What is not known is null.
// Errors   none: octets that are no UTF-8 become U+FFFD.
// Threads  pure.
// Source   RFC 8259.
#pragma once
#include <string>

#include "config/settings.h"
#include "report/figures.h"

namespace herdgate::admin {

std::string state_json(const report::Figures& figures, const config::Settings& settings);

}  // namespace herdgate::admin
