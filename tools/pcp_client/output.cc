#include "output.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/clock.h"
#include "pcp/errc.h"

namespace herdgate::pcp_client {
namespace {

using Values = std::vector<std::string>;
using Labels = std::span<const std::string_view>;

constexpr double kWholeWeight = 2147483647;  // the server sends shares multiplied by this
constexpr double kMicrosecondsPerSecond = 1e6;

constexpr std::string_view kNodeLabels[] = {"Hostname",
                                            "Port",
                                            "Status",
                                            "Weight",
                                            "Status Name",
                                            "Backend Status Name",
                                            "Role",
                                            "Backend Role",
                                            "Replication Delay",
                                            "Replication State",
                                            "Replication Sync State",
                                            "Last Status Change"};
constexpr std::string_view kHealthLabels[] = {"Node Id",
                                              "Host Name",
                                              "Port",
                                              "Status",
                                              "Role",
                                              "Last Status Change",
                                              "Total Count",
                                              "Success Count",
                                              "Fail Count",
                                              "Skip Count",
                                              "Retry Count",
                                              "Average Retry Count",
                                              "Max Retry Count",
                                              "Max Health Check Duration",
                                              "Minimum Health Check Duration",
                                              "Average Health Check Duration",
                                              "Last Health Check",
                                              "Last Successful Health Check",
                                              "Last Skip Health Check",
                                              "Last Failed Health Check"};

// Where a printed field of pcp_proc_info stands in the answer: the two orders differ.
struct ProcessField {
  std::string_view label;
  std::size_t place;
};
constexpr ProcessField kProcessFields[] = {{"Database", 5},
                                           {"Username", 6},
                                           {"Start time", 1},
                                           {"Client connection count", 2},
                                           {"Major", 11},
                                           {"Minor", 12},
                                           {"Backend connection time", 7},
                                           {"Client connection time", 8},
                                           {"Client idle duration", 10},
                                           {"Client disconnection time", 9},
                                           {"Pool Counter", 13},
                                           {"Backend PID", 14},
                                           {"Connected", 15},
                                           {"PID", 0},
                                           {"Backend ID", 4},
                                           {"Status", 16},
                                           {"Load balance node", 17}};
constexpr std::size_t kProcessValues = 18, kNodeValues = 13, kConfigValues = 3, kDatabasePlace = 5;

template <class Number>
Number to_number(const std::string& text) {
  Number number{};
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

std::string node_status_word(const std::string& status, bool quarantined) {
  static constexpr const char* kWords[] = {"unused", "waiting", "up", "down"};
  const int number = to_number<int>(status);
  if (quarantined) return "quarantine";
  return number >= 0 && number < 4 ? kWords[number] : "unknown";
}

std::string role_word(const std::string& role) {
  static constexpr const char* kWords[] = {"main", "replica", "primary", "standby"};
  const int number = to_number<int>(role);
  return number >= 0 && number < 4 ? kWords[number] : "unknown";
}

std::string delay_text(const std::string& delay, bool by_time, bool verbose) {
  if (!by_time) return delay;
  const double seconds = static_cast<double>(to_number<std::int64_t>(delay)) / kMicrosecondsPerSecond;
  return fmt::format("{:.6f}{}", seconds, !verbose ? "" : seconds >= 2 ? " seconds" : " second");
}

std::string or_none(const std::string& text) { return text.empty() ? "none" : text; }

Values node_fields(const Values& v, bool verbose) {
  const auto changed = WallTime(std::chrono::seconds(to_number<std::int64_t>(v[12])));
  return {v[0],
          v[1],
          v[2],
          fmt::format("{:.6f}", to_number<double>(v[5]) / kWholeWeight),
          node_status_word(v[2], v[3] == "1"),
          v[4],
          role_word(v[6]),
          v[7],
          delay_text(v[9], v[8] == "1", verbose),
          or_none(v[10]),
          or_none(v[11]),
          format_wall(changed)};
}

tl::unexpected<Error> odd_answer() { return fail(pcp::Errc::bad_payload, "the answer has an odd number of fields"); }

Result<std::string> render_nodes(const pcp::Reply& reply, bool verbose) {
  std::string out;
  for (const Values& row : reply.rows) {
    if (row.size() < kNodeValues) return odd_answer();
    out += record(kNodeLabels, node_fields(row, verbose), verbose);
  }
  return out.empty() ? "No node information available\n\n" : out;
}

Result<std::string> render_processes(const pcp::Reply& reply, const Options& options) {
  std::vector<std::string_view> labels;
  for (const ProcessField& field : kProcessFields) labels.push_back(field.label);
  std::string out;
  for (const Values& row : reply.rows) {
    if (row.size() < kProcessValues) return odd_answer();
    if (!options.all && row[kDatabasePlace].empty()) continue;
    Values values;
    for (const ProcessField& field : kProcessFields) values.push_back(row[field.place]);
    out += record(labels, values, options.verbose);
  }
  return out.empty() ? "No process information available\n\n" : out;
}

std::string render_process_ids(const pcp::Reply& reply, bool verbose) {
  std::string out = verbose ? "No \t | \t PID\n_____________________\n" : "";
  const std::size_t count = reply.values.empty() ? 0 : reply.values.size() - 1;  // the first is the count itself
  for (std::size_t i = 0; i < count; ++i)
    out += verbose ? fmt::format("{} \t | \t {}\n", i, reply.values[i + 1]) : reply.values[i + 1] + " ";
  return verbose ? out + fmt::format("\nTotal Processes:{}\n", count) : out + "\n";
}

Result<std::string> render_configuration(const pcp::Reply& reply, bool verbose) {
  std::string out;
  for (std::size_t i = 0; i < reply.rows.size(); ++i) {
    const Values& row = reply.rows[i];
    if (row.size() < kConfigValues) return odd_answer();
    out += verbose ? fmt::format("Name [{:3}]:\t{}\nValue:      \t{}\nDescription:\t{}\n\n", i, row[0], row[1], row[2])
                   : fmt::format("name : {}\nvalue: {}\ndesc : {}\n\n", row[0], row[1], row[2]);
  }
  return out;
}

}  // namespace

std::string record(Labels labels, std::span<const std::string> values, bool verbose) {
  std::string out;
  if (!verbose) {
    for (const std::string& value : values) out += (&value == &values.front() ? "" : " ") + value;
    return out + "\n";
  }
  const std::size_t width = std::ranges::max(labels, {}, &std::string_view::size).size();
  for (std::size_t i = 0; i < values.size(); ++i) out += fmt::format("{:{}} : {}\n", labels[i], width, values[i]);
  return out + "\n";
}

std::string trouble_text(const pcp::Trouble& trouble) {
  std::string out = fmt::format("{}:  {}\n", trouble.severity, trouble.message);
  if (!trouble.detail.empty()) out += fmt::format("DETAIL:  {}\n", trouble.detail);
  if (trouble.detail.starts_with(pcp::kUnknownRequest))
    out += "HINT:  This server does not have the command; it is of another release or product.\n";
  return out + "\n";
}

Result<std::string> render(const Program& program, const Options& options, const pcp::Reply& reply) {
  const bool verbose = options.verbose;
  switch (program.output) {
    case Output::success:
      return fmt::format("{} -- Command Successful\n", program.name);
    case Output::deed:
      if (reply.values.empty()) return odd_answer();
      return fmt::format("{} -- Command Successful: {}\n", program.name, reply.values[0]);
    case Output::node_count:
      if (reply.values.empty()) return odd_answer();
      return verbose ? "Node Count\n____________\n " + reply.values[0] + "\n" : reply.values[0] + "\n";
    case Output::node_info:
      return render_nodes(reply, verbose);
    case Output::health_check_stats:
      if (reply.values.size() < std::size(kHealthLabels)) return odd_answer();
      return record(kHealthLabels, std::span(reply.values).first(std::size(kHealthLabels)), verbose);
    case Output::pool_status:
      return render_configuration(reply, verbose);
    case Output::process_count:
      return render_process_ids(reply, verbose);
    case Output::process_info:
      return render_processes(reply, options);
    case Output::watchdog_info:
      if (reply.values.empty()) return odd_answer();
      return render_watchdog(reply.values[0], verbose);
  }
  return odd_answer();
}

}  // namespace herdgate::pcp_client
