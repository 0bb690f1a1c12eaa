#include "config/documents.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/parameter.h"

namespace herdgate::config {
namespace {

constexpr int kGroups = static_cast<int>(Group::herdgate) + 1;
constexpr std::size_t kCommentColumns = 100;

std::string_view context_text(Context context) {
  switch (context) {
    case Context::startup:
      return "start";
    case Context::reload:
      return "reload";
    case Context::session:
      return "reload, PGPOOL SET";
  }
  return "";
}

std::string_view status_text(const Parameter& p) {
  switch (p.status) {
    case Status::built:
      return "";
    case Status::not_built:
      return "Accepted, no effect yet.";
    case Status::not_needed:
      return "Accepted, nothing to do in a threaded server.";
    case Status::refused:
      return "Not supported yet: anything but the default refuses the start.";
  }
  return "";
}

std::string_view kind_text(const Parameter& p) {
  switch (p.kind) {
    case Kind::boolean:
      return "boolean";
    case Kind::real:
      return "number";
    case Kind::text:
      return "text";
    case Kind::list:
      return "list";
    case Kind::word:
      return "word";
    case Kind::integer:
      break;
  }
  switch (p.unit) {
    case Unit::none:
      return "integer";
    case Unit::bytes:
      return "integer (bytes)";
    case Unit::kilobytes:
      return "integer (kB)";
    case Unit::milliseconds:
      return "integer (ms)";
    case Unit::seconds:
      return "integer (s)";
    case Unit::minutes:
      return "integer (min)";
  }
  return "";
}

bool quoted_in_file(const Parameter& p) { return p.kind == Kind::text || p.kind == Kind::list; }

// As a line of pgpool.conf gives it.
std::string file_value(const Parameter& p, const Value& value) {
  const std::string text = format_value(p, value);
  return quoted_in_file(p) ? fmt::format("'{}'", text) : text;
}

std::string shown_name(const Parameter& p) {
  if (p.index == Index::none) return std::string(p.name);
  return fmt::format("{}{}", p.name, p.index == Index::per_node ? "[N]" : "N");
}

std::string table_cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

std::string page_row(const Parameter& p) {
  if (!p.alias_of.empty()) return fmt::format("| `{}` | | | | | {}; a warning is logged. |\n", p.name, p.description);
  const std::string text = fmt::format("{}.{}{}", p.description, status_text(p).empty() ? "" : " ", status_text(p));
  return fmt::format("| `{}` | {} | `{}` | {} | {} | {} |\n", shown_name(p), kind_text(p),
                     table_cell(file_value(p, default_value(p))), table_cell(range_text(p)), context_text(p.context),
                     table_cell(text));
}

constexpr std::string_view kPageHead =
    "<!-- Made by herdgate_generate from src/config/parameters.inc. Do not edit. -->\n"
    "# Configuration\n\n"
    "`pgpool.conf` has one setting on a line: `name = value` or `name value`. What follows `#` is a comment. When a\n"
    "parameter is set more than once, the last line counts. `include 'file'` reads another file, relative to the one\n"
    "that includes it. `pgpool -f FILE --check` reads everything and says what is wrong, without starting.\n\n"
    "| Type | How it is written |\n"
    "|---|---|\n"
    "| boolean | `on`, `off`, `true`, `false`, `yes`, `no`, `1`, `0`, or the beginning of such a word, in any case |\n"
    "| integer | decimal, octal (`0770`) or hexadecimal (`0x1F8`); a fraction is rounded. Where the parameter has a "
    "unit: `B kB MB GB TB` or `us ms s min h d` |\n"
    "| text | in single quotes; without them only letters, digits and `_ - . : /`, beginning with a letter or `_` |\n"
    "| list | text, split at commas (`reset_query_list` and `primary_routing_query_pattern_list`: at semicolons); "
    "blanks around elements are dropped |\n"
    "| word | one of the words listed, in any case |\n\n"
    "Names that end in `N` take a number: `backend_port0`, `backend_port1`, … Names that end in `[N]` may: "
    "`health_check_period` is for all nodes that have no value of their own, `health_check_period1` for node 1.\n\n"
    "*Takes effect*: at the start only (`start`), also by `pgpool reload` (`reload`), or by `PGPOOL SET` for one "
    "session "
    "besides.\n";

// Not in the sample files of the original; kept out of ours as well, so that comparing scripts find what they know.
bool in_sample(const Parameter& p) {
  constexpr std::string_view kLeftOut[] = {"dml_adaptive_object_relationship_list", "health_check_test",
                                           "replication_mode", "ssl_passphrase_command"};
  return p.alias_of.empty() && std::ranges::find(kLeftOut, p.name) == std::end(kLeftOut);
}

// Samples show an example where the default would say nothing.
std::string sample_value(const Parameter& p) {
  constexpr std::pair<std::string_view, std::string_view> kExamples[] = {
      {"backend_hostname", "'localhost'"},
      {"backend_port", "5432"},
      {"backend_weight", "1"},
      {"backend_data_directory", "'/var/lib/postgresql/data'"},
      {"backend_application_name", "'server0'"},
      {"hostname", "'localhost'"},
      {"wd_port", "9000"},
      {"pgpool_port", "9999"},
      {"heartbeat_hostname", "'localhost'"},
      {"heartbeat_port", "9694"},
      {"ssl_key", "'server.key'"},
      {"ssl_cert", "'server.crt'"},
      {"reset_query_list", "'ABORT; DISCARD ALL'"},
      {"health_check_database", "''"},
  };
  for (const auto& [name, value] : kExamples)
    if (name == p.name) return std::string(value);
  return file_value(p, default_value(p));
}

// A comment broken into lines that start with "# ".
std::string comment(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    std::size_t end = text.size();
    if (end > kCommentColumns) end = text.rfind(' ', kCommentColumns);
    out += fmt::format("# {}\n", text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

// Without what says little: on and off, and a limit that only the type sets.
std::string short_range(const Parameter& p) {
  const bool limited = p.kind != Kind::integer || (p.shape.max != kIntMax && p.shape.max != kInt64Max);
  if (p.kind == Kind::boolean) return "";
  return limited ? range_text(p) : fmt::format("at least {}", p.shape.min);
}

std::string sample_entry(const Parameter& p) {
  std::string facts(p.description);
  if (const auto status = status_text(p); !status.empty()) facts += fmt::format(". {}", status);
  if (facts.ends_with('.')) facts.pop_back();
  std::string notes = short_range(p);
  if (p.context == Context::startup) notes += notes.empty() ? "needs a restart" : "; needs a restart";
  const std::string name =
      p.index == Index::none || p.index == Index::per_node ? std::string(p.name) : fmt::format("{}0", p.name);
  const std::string all = notes.empty() ? facts + "." : fmt::format("{}. ({})", facts, notes);
  return fmt::format("{}#{} = {}\n\n", comment(all), name, sample_value(p));
}

constexpr std::string_view kSampleHead =
    "# Configuration of Herdgate: a copy of this file serves as pgpool.conf.\n"
    "#\n"
    "# One setting on a line: name = value. What follows a # is a comment. The lines below show the defaults;\n"
    "# remove the # in front of a name to change its value, or add a line: the last one for a name counts.\n"
    "# Units: B, kB, MB, GB, TB for sizes; us, ms, s, min, h, d for times.\n"
    "# A parameter whose name ends in 0 takes the number of a node: one line for each node.\n\n";

}  // namespace

std::string configuration_page() {
  std::string page(kPageHead);
  for (int g = 0; g < kGroups; ++g) {
    const auto group = static_cast<Group>(g);
    page += fmt::format("\n## {}\n\n", group_title(group));
    if (group == Group::herdgate) page += "These parameters are Herdgate's; Pgpool-II does not have them.\n\n";
    page += "| Name | Type | Default | Values | Takes effect | Meaning |\n|---|---|---|---|---|---|\n";
    for (const Parameter& p : parameters())
      if (p.group == group) page += page_row(p);
  }
  return page;
}

std::string pgpool_conf_sample() {
  std::string sample(kSampleHead);
  for (int g = 0; g < kGroups; ++g) {
    const auto group = static_cast<Group>(g);
    sample += fmt::format("#{:-<78}\n# {}\n#{:-<78}\n\n", "", group_title(group), "");
    for (const Parameter& p : parameters())
      if (p.group == group && in_sample(p)) sample += sample_entry(p);
  }
  sample.pop_back();  // one line break at the end, not two
  return sample;
}

std::string pool_hba_sample() {
  return "# Who may come in, and how they prove who they are: a copy of this file serves as pool_hba.conf.\n"
         "# It is read when enable_pool_hba is on. The first line that fits a client decides; none: it is refused.\n"
         "#\n"
         "# local      DATABASE  USER  METHOD  [OPTIONS]\n"
         "# host       DATABASE  USER  ADDRESS  METHOD  [OPTIONS]\n"
         "# hostssl    DATABASE  USER  ADDRESS  METHOD  [OPTIONS]\n"
         "# hostnossl  DATABASE  USER  ADDRESS  METHOD  [OPTIONS]\n"
         "#\n"
         "# DATABASE: all, sameuser, a name, or names joined by commas.\n"
         "# USER: all, a name, or names joined by commas.\n"
         "# ADDRESS: all, samehost, samenet, an address with the length of its mask (10.0.0.0/8, ::1/128), an address\n"
         "# and a mask, a host name, or the end of one (.example.com).\n"
         "# METHOD: trust, reject, md5, scram-sha-256 or password.\n"
         "#\n"
         "# As it stands, every user of this machine may come in. Change that where others can reach it.\n\n"
         "# TYPE  DATABASE    USER        ADDRESS               METHOD\n\n"
         "# UNIX sockets\n"
         "local   all         all                               trust\n"
         "# IPv4\n"
         "host    all         all         127.0.0.1/32          trust\n"
         "# IPv6\n"
         "host    all         all         ::1/128               trust\n";
}

std::string pcp_conf_sample() {
  return "# Users of the pcp_* commands: a copy of this file serves as pcp.conf.\n"
         "#\n"
         "# One user on a line: USER:MD5, where MD5 is what \"pg_md5 PASSWORD\" prints. A line that starts with # is "
         "a\n"
         "# comment. Nobody is let in until a line is added:\n"
         "#\n"
         "# postgres:e8a48653851e28c69d0506508fb27fc5\n";
}

std::vector<Document> documents() {
  return {{"docs/configuration.md", configuration_page()},
          {"etc/pgpool.conf.sample", pgpool_conf_sample()},
          {"etc/pool_hba.conf.sample", pool_hba_sample()},
          {"etc/pcp.conf.sample", pcp_conf_sample()}};
}

}  // namespace herdgate::config
