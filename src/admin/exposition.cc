#include "admin/exposition.h"

#include <fmt/format.h>

#include "base/assert.h"

namespace herdgate::admin {
namespace {

constexpr std::string_view kTotal = "_total", kInfo = "_info";

// OpenMetrics names a family without the suffix of its samples.
std::string_view family_of(const MetricRow& row, Format format) {
  std::string_view name = row.name;
  if (format == Format::prometheus) return name;
  if (row.kind == MetricKind::counter) name.remove_suffix(kTotal.size());
  if (row.kind == MetricKind::info) name.remove_suffix(kInfo.size());
  return name;
}

// The older format knows no info: it is a gauge of 1.
std::string_view type_of(const MetricRow& row, Format format) {
  const bool unknown = row.kind == MetricKind::info && format == Format::prometheus;
  return word_of(unknown ? MetricKind::gauge : row.kind);
}

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

// A name of a database may be any octets; the formats want UTF-8.
std::size_t utf8_length(std::string_view text) {
  const auto octet = [&](std::size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u; };
  const auto follows = [&](std::size_t at) { return (octet(at) & 0xC0u) == 0x80u; };
  const unsigned first = octet(0), second = octet(1);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF && follows(1)) return 2;
  const bool three = first >= 0xE0 && first <= 0xEF && follows(1) && follows(2);
  if (three) return (first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ? 0 : 3;
  const bool four = first >= 0xF0 && first <= 0xF4 && follows(1) && follows(2) && follows(3);
  if (four) return (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F) ? 0 : 4;
  return 0;
}

}  // namespace

std::string_view content_type(Format format) {
  return format == Format::openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                       : "text/plain; version=0.0.4; charset=utf-8";
}

void append_label_value(std::string& out, std::string_view value) {
  while (!value.empty()) {
    const std::size_t size = utf8_length(value);
    if (size == 0)
      out += "\xEF\xBF\xBD";
    else
      append_escaped(out, value.substr(0, size), /*quotes=*/true);
    value.remove_prefix(std::max<std::size_t>(size, 1));
  }
}

void append_help(std::string& out, std::string_view text, Format format) {
  append_escaped(out, text, /*quotes=*/format == Format::openmetrics);
}

void Exposition::metric(Metric metric) {
  row_ = &row_of(metric);
  names_.clear();
  for (std::string_view rest = row_->labels; !rest.empty();) {
    const std::size_t end = std::min(rest.find(','), rest.size());
    names_.push_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  const std::string_view family = family_of(*row_, format_);
  out_ += fmt::format("# HELP {} ", family);
  append_help(out_, row_->help, format_);
  out_ += fmt::format(".\n# TYPE {} {}\n", family, type_of(*row_, format_));
  if (const std::string_view unit = unit_of(*row_); format_ == Format::openmetrics && !unit.empty())
    out_ += fmt::format("# UNIT {} {}\n", family, unit);
}

void Exposition::begin_line(std::string_view suffix, Labels labels, std::string_view bound) {
  HG_ASSERT(row_ != nullptr && labels.size() == names_.size());
  out_ += row_->name;
  out_ += suffix;
  const bool any = labels.size() > 0 || !bound.empty();
  const char* before = "{";
  for (std::size_t i = 0; i < labels.size(); ++i) {
    out_ += fmt::format("{}{}=\"", std::exchange(before, ","), names_[i]);
    append_label_value(out_, labels.begin()[i]);
    out_ += '"';
  }
  if (!bound.empty()) out_ += fmt::format("{}le=\"{}\"", before, bound);
  out_ += any ? "} " : " ";
}

void Exposition::sample(Labels labels, std::uint64_t value) {
  begin_line({}, labels);
  out_ += fmt::format("{}\n", value);
}

void Exposition::sample(Labels labels, double value) {
  begin_line({}, labels);
  out_ += fmt::format("{}\n", value);
}

void Exposition::sample(Labels labels, const Histogram& histogram) {
  HG_ASSERT(row_ != nullptr && row_->kind == MetricKind::histogram);
  std::uint64_t so_far = 0;
  for (std::size_t i = 0; i < Histogram::kBuckets; ++i) {
    so_far += histogram.count(i);
    begin_line("_bucket", labels, Histogram::kBounds[i].seconds);
    out_ += fmt::format("{}\n", so_far);
  }
  begin_line("_bucket", labels, "+Inf");
  out_ += fmt::format("{}\n", histogram.total());
  begin_line("_sum", labels);
  out_ += fmt::format("{}\n", std::chrono::duration<double>(histogram.sum()).count());
  begin_line("_count", labels);
  out_ += fmt::format("{}\n", histogram.total());
}

std::string Exposition::finish() {
  if (format_ == Format::openmetrics) out_ += "# EOF\n";
  return std::move(out_);
}

}  // namespace herdgate::admin
