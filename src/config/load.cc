#include "config/load.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/check.h"
#include "config/conf_line.h"
#include "config/errc.h"
#include "config/findings.h"
#include "config/parameter.h"

namespace herdgate::config {
namespace {

// Names that earlier releases used; the original ignores them, so their values are not taken either.
constexpr std::pair<std::string_view, std::string_view> kRenamed[] = {
    {"white_function_list", "read_only_function_list"},
    {"black_function_list", "write_function_list"},
    {"black_query_pattern_list", "primary_routing_query_pattern_list"},
    {"white_memqcache_table_list", "cache_safe_memqcache_table_list"},
    {"black_memqcache_table_list", "cache_unsafe_memqcache_table_list"},
    {"follow_master_command", "follow_primary_command"},
    {"socket_dir", "unix_socket_directories"},
    {"other_pgpool_hostname", "hostname"},
    {"other_pgpool_port", "pgpool_port"},
    {"other_wd_port", "wd_port"},
    {"wd_hostname", "hostname"},
    {"heartbeat_destination", "heartbeat_hostname"},
    {"heartbeat_destination_port", "heartbeat_port"},
};

std::string_view new_name(std::string_view key) {
  while (!key.empty() && std::isdigit(static_cast<unsigned char>(key.back()))) key.remove_suffix(1);
  for (const auto& [old_name, name] : kRenamed)
    if (old_name == key) return name;
  return {};
}

// Message and hint: "message (hint)".
std::string on_one_line(const std::string& context) {
  const std::size_t end = context.find('\n');
  if (end == std::string::npos) return context;
  return fmt::format("{} ({})", context.substr(0, end), context.substr(end + 1));
}

// Reads one configuration with its includes, line by line.
class Reading {
 public:
  Reading(const FileReader& reader, const LoadOptions& options) : reader_(reader), options_(options) {}

  // `from` is the place that names the file: a file that cannot be read has to be put right there.
  void file(const std::string& path, int depth, const Place& from) {
    auto text = reader_(path);
    if (!text) return note(from, Severity::error, text.error().text());
    lines(*text, path, depth);
  }

  void lines(std::string_view text, const std::string& path, int depth) {
    if (text.size() > kMaxConfigBytes)
      return note({path, 0}, Severity::error, fmt::format("file is larger than {} bytes", kMaxConfigBytes));
    for (int number = 1; !text.empty(); ++number) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      line(text.substr(0, end), {path, number}, depth);
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }

  Loaded finish(const std::string& path) {
    loaded_.settings.config_file = path;
    loaded_.findings = findings_.take(path);
    check_settings(loaded_.settings, loaded_.findings, places_);
    return std::move(loaded_);
  }

 private:
  void note(const Place& place, Severity severity, std::string text) {
    findings_.add({severity, place.file, place.line, std::move(text)});
  }

  void line(std::string_view text, const Place& place, int depth) {
    auto parsed = parse_conf_line(text);
    if (!parsed) return note(place, Severity::error, parsed.error().text());
    if (!*parsed) return;
    const auto& [key, value] = **parsed;
    if (key == "include") return include(value, place, depth);
    assign(key, value, place);
  }

  void include(const std::string& name, const Place& place, int depth) {
    if (name.empty()) return note(place, Severity::error, "include without a file name");
    if (depth + 1 >= kMaxIncludeDepth)
      return note(place, Severity::error, fmt::format("includes are nested more than {} deep", kMaxIncludeDepth));
    if (++includes_ > kMaxIncludes)
      return note(place, Severity::error, fmt::format("more than {} files are included", kMaxIncludes));
    const std::size_t slash = place.file.rfind('/');
    const bool relative = name.front() != '/' && slash != std::string::npos;
    file(relative ? place.file.substr(0, slash + 1) + name : name, depth + 1, place);
  }

  void assign(const std::string& key, const std::string& value, const Place& place) {
    auto named = find_parameter(key);
    if (const auto beyond = find_beyond_range(key))
      return note(place, Severity::error,
                  fmt::format("index {} is outside the valid range for parameter \"{}\" (0 .. {})", beyond->index, key,
                              max_index(beyond->parameter->index) - 1));
    if (!named) return unknown(key, place);
    if (!named->parameter->alias_of.empty()) {
      const std::string_view target = named->parameter->alias_of;
      note(place, Severity::warning, fmt::format("parameter \"{}\" is an old spelling of \"{}\"", key, target));
      named = find_parameter(target);
    }
    const auto parsed = parse_value(*named->parameter, value);
    if (!parsed) return note(place, Severity::error, on_one_line(parsed.error().context));
    named->parameter->set(loaded_.settings, named->index, *parsed);
    std::string name(named->parameter->name);
    if (named->index != kNoIndex) name += std::to_string(named->index);
    places_.insert_or_assign(std::move(name), place);
  }

  void unknown(const std::string& key, const Place& place) {
    std::string text = fmt::format("unrecognized configuration parameter \"{}\"", key);
    if (const auto name = new_name(key); !name.empty()) text += fmt::format(", it is called \"{}\" now", name);
    note(place, options_.strict ? Severity::error : Severity::warning, std::move(text));
  }

  static constexpr int kMaxIncludes = 1000;
  const FileReader& reader_;
  const LoadOptions options_;
  Loaded loaded_;
  Findings findings_;
  Places places_;
  int includes_ = 0;
};

}  // namespace

std::string Finding::where() const {
  if (file.empty() || line == 0) return file;
  return fmt::format("{}:{}", file, line);
}

bool any_error(const std::vector<Finding>& findings) {
  return std::ranges::any_of(findings, [](const Finding& f) { return f.severity == Severity::error; });
}

bool Loaded::has_errors() const { return any_error(findings); }

Loaded load(const std::string& path, const FileReader& reader, const LoadOptions& options) {
  Reading reading(reader, options);
  reading.file(path, 0, {path, 0});
  return reading.finish(path);
}

Loaded load_text(std::string_view text, const std::string& path, const FileReader& reader, const LoadOptions& options) {
  Reading reading(reader, options);
  reading.lines(text, path, 0);
  return reading.finish(path);
}

}  // namespace herdgate::config
