// The table of metrics (metrics.inc) as values.
//
// Shape    metric_table() by Metric; metrics_document() is docs/metrics.md.
// Threads  pure.
// Source   Prometheus documentation, "Metric and label naming"; OpenMetrics 1.0.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace herdgate::admin {

enum class MetricKind : std::uint8_t { counter, gauge, histogram, info };

enum class Metric : std::uint8_t {
#define HG_METRIC(name, kind, labels, help) name,
#include "admin/metrics.inc"
};

struct MetricRow {
  std::string_view name;
  MetricKind kind = MetricKind::gauge;
  std::string_view labels;  // names with commas between them
  std::string_view help;
};
std::span<const MetricRow> metric_table();
const MetricRow& row_of(Metric metric);

std::string_view word_of(MetricKind kind);
// The last word of the name before _total where it is a unit: "seconds", "bytes", "ratio"; else empty.
std::string_view unit_of(const MetricRow& row);

std::string metrics_document();

}  // namespace herdgate::admin
