#include "admin/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "admin/state_json.h"

using namespace std::literals;
using testing::HasSubstr;
using testing::Not;

namespace herdgate::admin {
namespace {

// A herd with something in every place.
report::Figures herd() {
  report::Figures figures;
  auto view = std::make_shared<cluster::View>();
  view->epoch = 7;
  view->primary = NodeId(0);
  view->nodes = {
      cluster::Node{.id = NodeId(0), .host = "one", .port = 5432, .weight = 0.25, .status = cluster::NodeStatus::up},
      cluster::Node{
          .id = NodeId(3), .host = "/tmp", .port = 5433, .weight = 0.75, .status = cluster::NodeStatus::down}};
  view->nodes[0].real_role = cluster::Role::primary;
  view->nodes[1].delay_bytes = 4096;
  view->nodes[1].delay_time = 1500ms;
  view->nodes[1].status_changed = WallTime(1700000000s);
  view->nodes[1].status_reason = "health check: no answer";
  figures.view = view;
  auto health = std::make_shared<report::HealthByNode>();
  report::HealthFigures& checks = (*health)[NodeId(3)];
  checks.total = 6, checks.success = 3, checks.fail = 2, checks.skip = 1, checks.retries = 4;
  checks.all_durations = 250ms;
  checks.last_success = checks.last_fail = checks.last_skip = WallTime(1700000001s);
  figures.health = health;
  figures.nodes.resize(2);
  figures.nodes[0].counts = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  figures.nodes[0].links = {10, 11};
  figures.nodes[0].query_times.record(200us);
  figures.nodes[0].query_times.record(2min);
  figures.nodes[0].link_waits.record(1s);
  figures.nodes[1].failovers.lost[static_cast<std::size_t>(cluster::Cause::health_check)] = 12;
  figures.nodes[1].failovers.returned = 13;
  figures.local_query_times.record(0s);
  figures.pools = {{NodeId(0), "a\"b\\c\nd", "u\xff", {14, 15}, 16}};
  figures.pools_left_out = 17;
  figures.links_limit = 18, figures.pool_links_limit = 19;
  figures.clients = {20, 21, 22, 23, 24, {25, 26, 27}};
  figures.cache_on = true;
  figures.cache = {28, 29, 30, 31, 32, 33, 27};
  figures.primary_changes = 34;
  figures.log = {35, 36};
  figures.process = report::ProcessFigures{1.5, 37, 38, 39, 40, 41};
  figures.workers = 42;
  figures.started = WallTime(1700000000s);
  return figures;
}

std::string text(Format format = Format::prometheus, const report::Figures& figures = herd()) {
  return metrics_text(figures, config::Settings{}, format);
}

std::vector<std::string> lines(const std::string& all) {
  std::istringstream in(all);
  std::vector<std::string> out;
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

bool has_line(const std::string& all, const std::string& line) {
  const auto every = lines(all);
  const bool found = std::ranges::find(every, line) != every.end();
  EXPECT_TRUE(found) << "not there: " << line;
  return found;
}

TEST(Metrics, EveryMetricOfTheTableIsThereOnceAndInOrderWithASample) {
  std::vector<std::string> shown;
  std::set<std::string> sampled;
  for (const std::string& line : lines(text())) {
    if (line.starts_with("# TYPE ")) shown.push_back(line.substr(7, line.find(' ', 7) - 7));
    if (!line.starts_with("#")) sampled.insert(shown.back());
    if (!line.starts_with("#")) {
      EXPECT_TRUE(line.starts_with(shown.back())) << line;
    }
  }
  std::vector<std::string> wanted;
  for (const MetricRow& row : metric_table()) wanted.emplace_back(row.name);
  EXPECT_EQ(shown, wanted);
  EXPECT_EQ(sampled, std::set<std::string>(wanted.begin(), wanted.end()));
}

TEST(Metrics, NamesKeepTheConventions) {
  std::set<std::string_view> names;
  for (const MetricRow& row : metric_table()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_TRUE(row.name.starts_with("herdgate_") || row.name.starts_with("process_")) << row.name;
    EXPECT_EQ(row.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string_view::npos) << row.name;
    EXPECT_EQ(row.kind == MetricKind::counter, row.name.ends_with("_total")) << row.name;
    if (row.kind == MetricKind::histogram) {
      EXPECT_EQ(unit_of(row), "seconds") << row.name;
    }
    EXPECT_FALSE(row.help.ends_with('.')) << row.name;
  }
}

TEST(Metrics, SamplesSayWhatIsSo) {
  const std::string all = text();
  for (const char* line : {"# TYPE herdgate_info gauge",
                           "herdgate_workers 42",
                           "herdgate_node_info{node=\"3\",host=\"/tmp\",port=\"5433\"} 1",
                           "herdgate_node_state{node=\"0\",state=\"up\"} 1",
                           "herdgate_node_state{node=\"0\",state=\"down\"} 0",
                           "herdgate_node_state{node=\"3\",state=\"down\"} 1",
                           "herdgate_node_role{node=\"0\",role=\"primary\"} 1",
                           "herdgate_node_role{node=\"0\",role=\"standby\"} 0",
                           "herdgate_node_role{node=\"3\",role=\"standby\"} 1",
                           "herdgate_node_weight_ratio{node=\"3\"} 0.75",
                           "herdgate_node_replication_delay_bytes{node=\"3\"} 4096",
                           "herdgate_node_replication_delay_seconds{node=\"3\"} 1.5",
                           "herdgate_node_links{node=\"0\",state=\"used\"} 10",
                           "herdgate_node_statements_total{node=\"0\",kind=\"select\"} 1",
                           "herdgate_node_statements_total{node=\"0\",kind=\"delete\"} 4",
                           "herdgate_node_errors_total{node=\"0\",severity=\"error\"} 9",
                           "herdgate_node_failovers_total{node=\"3\",reason=\"health_check\"} 12",
                           "herdgate_node_failbacks_total{node=\"3\"} 13",
                           "herdgate_health_checks_total{node=\"3\",result=\"fail\"} 2",
                           "herdgate_health_check_duration_seconds_total{node=\"3\"} 0.25",
                           "herdgate_client_refusals_total{reason=\"other\"} 27",
                           "herdgate_query_cache_hits_total 28",
                           "herdgate_query_cache_passed_total 27",
                           "herdgate_log_messages_lost_total 36",
                           "process_cpu_seconds_total 1.5",
                           "process_resident_memory_bytes 38"})
    has_line(all, line);
  EXPECT_THAT(all, Not(HasSubstr("replication_delay_bytes{node=\"0\"")));
  EXPECT_THAT(all, Not(HasSubstr("health_checks_total{node=\"0\"")));
}

TEST(Metrics, HistogramsSumUp) {
  const std::string all = text();
  const std::string name = "herdgate_node_query_duration_seconds";
  has_line(all, name + "_bucket{node=\"0\",le=\"0.0001\"} 0");
  has_line(all, name + "_bucket{node=\"0\",le=\"0.00025\"} 1");
  has_line(all, name + "_bucket{node=\"0\",le=\"60.0\"} 1");
  has_line(all, name + "_bucket{node=\"0\",le=\"+Inf\"} 2");
  has_line(all, name + "_sum{node=\"0\"} 120.0002");
  has_line(all, name + "_count{node=\"0\"} 2");
  has_line(all, "herdgate_local_query_duration_seconds_bucket{le=\"0.0001\"} 1");
  has_line(all, "herdgate_local_query_duration_seconds_count 1");
}

TEST(Metrics, LabelValuesAreEscaped) {
  has_line(text(),
           "herdgate_pool_links{node=\"0\",database=\"a\\\"b\\\\c\\nd\",user=\"u\xEF\xBF\xBD\",state=\"used\"} 14");
  std::string out;
  append_label_value(out, "gr\xC3\xBC\xC3\x9F \xF0\x9F\x90\x91 \xC3 \xED\xA0\x80 \xC0\xAF");
  EXPECT_EQ(out,
            "gr\xC3\xBC\xC3\x9F \xF0\x9F\x90\x91 \xEF\xBF\xBD \xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD "
            "\xEF\xBF\xBD\xEF\xBF\xBD");
  std::string help;
  append_help(help, "a\\b\n\"c\"", Format::prometheus);
  EXPECT_EQ(help, "a\\\\b\\n\"c\"");
  help.clear();
  append_help(help, "\"c\"", Format::openmetrics);
  EXPECT_EQ(help, "\\\"c\\\"");
}

TEST(Metrics, OpenMetricsNamesFamiliesWithoutTheSuffixAndEnds) {
  const std::string all = text(Format::openmetrics);
  has_line(all, "# TYPE herdgate info");
  has_line(all, "# TYPE herdgate_client_logins counter");
  has_line(all, "# UNIT process_cpu_seconds seconds");
  has_line(all, "herdgate_client_logins_total 24");
  EXPECT_TRUE(all.ends_with("\n# EOF\n"));
  EXPECT_THAT(text(), Not(HasSubstr("# EOF")));
  EXPECT_THAT(text(), Not(HasSubstr("# UNIT")));
}

TEST(Metrics, WhatIsNotKnownIsLeftOut) {
  report::Figures figures;
  figures.view = std::make_shared<cluster::View>();
  const std::string all = text(Format::prometheus, figures);
  for (const std::string& line : lines(all)) {
    EXPECT_FALSE(line.starts_with("herdgate_node")) << line;
    EXPECT_FALSE(line.starts_with("herdgate_health")) << line;
    EXPECT_FALSE(line.starts_with("herdgate_query_cache")) << line;
    EXPECT_FALSE(line.starts_with("process_open")) << line;
  }
  has_line(all, "herdgate_pools_left_out 0");
}

TEST(Metrics, TheDocumentIsThatOfTheTable) {
  std::ifstream in(HG_SOURCE_DIR "/docs/metrics.md", std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  EXPECT_EQ(text.str(), metrics_document()) << "run herdgate_generate";
}

TEST(StateJson, SaysWhatShowPoolNodesSays) {
  const auto state = nlohmann::json::parse(state_json(herd(), config::Settings{}));
  EXPECT_EQ(state["epoch"], 7);
  EXPECT_EQ(state["primary"], 0);
  EXPECT_EQ(state["started"], "2023-11-14T22:13:20Z");
  ASSERT_EQ(state["nodes"].size(), 2u);
  const auto& node = state["nodes"][1];
  EXPECT_EQ(node["node_id"], 3);
  EXPECT_EQ(node["status"], "down");
  EXPECT_EQ(node["role"], "standby");
  EXPECT_EQ(node["lb_weight"], 0.75);
  EXPECT_EQ(node["replication_delay_bytes"], 4096);
  EXPECT_EQ(node["status_reason"], "health check: no answer");
  EXPECT_EQ(node["last_status_change"], "2023-11-14T22:13:20Z");
  EXPECT_TRUE(state["nodes"][0]["replication_delay_bytes"].is_null());
  EXPECT_EQ(state["nodes"][0]["links"]["used"], 10);
  EXPECT_EQ(state["pools"][0]["database"], "a\"b\\c\nd");
  EXPECT_EQ(state["pools"][0]["user"], "u\xEF\xBF\xBD");
  EXPECT_EQ(state["clients"]["inside"], 20);
}

TEST(StateJson, WithoutAPrimaryThereIsNull) {
  report::Figures figures;
  figures.view = std::make_shared<cluster::View>();
  const auto state = nlohmann::json::parse(state_json(figures, config::Settings{}));
  EXPECT_TRUE(state["primary"].is_null());
  EXPECT_TRUE(state["nodes"].is_array() && state["nodes"].empty());
  EXPECT_TRUE(state["started"].is_null());
}

}  // namespace
}  // namespace herdgate::admin
