// The page /metrics: figures in, text out. Pure.
//
// Shape    metrics_text(figures, settings, format); every metric of the table is there, some without samples.
// Threads  pure.
#pragma once
#include <string>

#include "admin/exposition.h"
#include "config/settings.h"
#include "report/figures.h"

namespace herdgate::admin {

std::string metrics_text(const report::Figures& figures, const config::Settings& settings, Format format);

}  // namespace herdgate::admin
