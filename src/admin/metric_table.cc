#include "admin/metric_table.h"

#include <fmt/format.h>

#include <array>

#include "base/histogram.h"

namespace herdgate::admin {
namespace {

constexpr MetricRow kTable[] = {
#define HG_METRIC(name, kind, labels, help) {#name, MetricKind::kind, labels, help},
#include "admin/metrics.inc"
};

constexpr std::string_view kPageHead =
    "<!-- Made by herdgate_generate from src/admin/metrics.inc. Do not edit. -->\n"
    "# Metrics\n\n"
    "With `http_port` set, Herdgate answers HTTP requests at `http_listen_addresses` (by itself `localhost`). There is "
    "no "
    "password and no TLS:\nwhoever can connect can read the names of hosts, databases and users.\n\n"
    "| Path | Answer |\n"
    "|---|---|\n"
    "| `/metrics` | the metrics below: Prometheus' text format 0.0.4, or OpenMetrics 1.0 when the Accept header "
    "prefers "
    "it |\n"
    "| `/healthz` | 200 as long as the process answers |\n"
    "| `/readyz` | 200 when clients can be served: at least one node is usable; else 503 and why not |\n"
    "| `/api/state` | nodes, pools and clients as JSON |\n\n"
    "Other paths: 404; other methods than GET and HEAD: 405.\n\n"
    "Counters begin at 0 when the process starts. Label `node` is the number of the node, as in `backend_hostnameN`. "
    "Times "
    "of queries and waits\nare differences of the event loop's time, which is read once for each wake-up of a worker: "
    "they "
    "may be wrong by the length of a turn,\nmostly some tens of microseconds, under full load up to some milliseconds; "
    "what "
    "begins and ends in one turn counts as 0.\n\n";

constexpr std::string_view kTableHead =
    "| Metric | Type | Unit | Labels | Meaning |\n"
    "|---|---|---|---|---|\n";

}  // namespace

std::span<const MetricRow> metric_table() { return kTable; }

const MetricRow& row_of(Metric metric) { return kTable[static_cast<std::size_t>(metric)]; }

std::string_view word_of(MetricKind kind) {
  static constexpr std::string_view kWords[] = {"counter", "gauge", "histogram", "info"};
  return kWords[static_cast<std::size_t>(kind)];
}

std::string_view unit_of(const MetricRow& row) {
  std::string_view name = row.name;
  if (row.kind == MetricKind::counter) name.remove_suffix(std::string_view("_total").size());
  for (const std::string_view unit : {"seconds", "bytes", "ratio"})
    if (name.ends_with(unit)) return unit;
  return {};
}

std::string metrics_document() {
  std::string page(kPageHead);
  page += "Buckets of histograms end at";
  for (const Histogram::Bound& bound : Histogram::kBounds)
    page += fmt::format("{} {}", &bound == Histogram::kBounds.data() ? "" : ",", bound.seconds);
  page += " seconds.\n\n";
  page += kTableHead;
  for (const MetricRow& row : metric_table())
    page +=
        fmt::format("| `{}` | {} | {} | {} | {}. |\n", row.name, word_of(row.kind), unit_of(row), row.labels, row.help);
  return page;
}

}  // namespace herdgate::admin
