// Writes metrics in the text formats of Prometheus 0.0.4 and OpenMetrics 1.0.
//
// Shape    metric() begins one of the table, then its samples follow; finish() gives the text. Labels are given as
//          values in the order of the table.
// Limits   none of its own: what it is given is bounded (report::Figures).
// Errors   samples that do not fit the table are bugs: HG_ASSERT.
// Threads  belongs to one call.
// Source   Prometheus documentation, "Exposition formats"; OpenMetrics 1.0, "Text Format".
#pragma once
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "admin/metric_table.h"
#include "base/histogram.h"

namespace herdgate::admin {

enum class Format : std::uint8_t { prometheus, openmetrics };
std::string_view content_type(Format format);

class Exposition {
 public:
  using Labels = std::initializer_list<std::string_view>;
  explicit Exposition(Format format) : format_(format) {}

  void metric(Metric metric);
  void sample(Labels labels, std::uint64_t value);
  void sample(Labels labels, double value);
  void sample(Labels labels, const Histogram& histogram);
  std::string finish();

 private:
  void begin_line(std::string_view suffix, Labels labels, std::string_view bound = {});

  Format format_;
  const MetricRow* row_ = nullptr;
  std::vector<std::string_view> names_;  // of the labels
  std::string out_;
};

// A value between the quotes of a label, and the text of a HELP line.
void append_label_value(std::string& out, std::string_view value);
void append_help(std::string& out, std::string_view text, Format format);

}  // namespace herdgate::admin
