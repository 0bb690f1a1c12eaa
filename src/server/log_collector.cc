#include "server/log_collector.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace herdgate::server {
namespace {

constexpr mode_t kFolderMode = 0700;

bool too_many_open(const Error& error) {
  return error.code == std::errc::too_many_files_open || error.code == std::errc::too_many_files_open_in_system;
}

}  // namespace

LogCollector::LogCollector(const Clock& clock, Voice voice, bool take_stderr)
    : clock_(clock), voice_(std::move(voice)), take_stderr_(take_stderr) {}

Result<Done> LogCollector::begin(const RotationRules& rules, bool json) {
  rules_ = rules;
  const WallTime now = clock_.wall();
  next_ = next_rotation(now, rules_.age);
  outputs_[kPlain].on = true;
  outputs_[kJson].on = json;
  HG_CHECK(open(kPlain, now, Why::asked));
  if (json) HG_CHECK(open(kJson, now, Why::asked));
  return Done{};
}

// A file is emptied only when its time comes again: neither a start nor a rotation by size loses what was there.
Result<Done> LogCollector::open(LogShape shape, WallTime when, Why why) {
  LogFile& file = outputs_[shape].file;
  if (::mkdir(rules_.directory.c_str(), kFolderMode) != 0 && errno != EEXIST)
    return fail(Error{std::error_code(errno, std::system_category()), rules_.directory});
  const std::string plain = log_file_path(rules_, when);
  const std::string path = shape == kJson ? json_path(plain) : plain;
  const bool emptied = rules_.truncate && why == Why::age && path != file.path();
  HG_CHECK(file.begin(path, rules_.mode, emptied));
  if (take_stderr_ && shape == kPlain) ::dup2(file.fd(), STDERR_FILENO);
  return Done{};
}

// For want of descriptors each batch would try it again, and what is said of that would be the next batch.
bool LogCollector::rotate(LogShape shape, WallTime when, Why why) {
  Output& output = outputs_[shape];
  const auto opened = open(shape, when, why);
  const bool starved = !opened && too_many_open(opened.error());
  const bool told = std::exchange(output.starved, starved) && starved && why == Why::size;
  if (opened) return true;
  output.not_before = clock_.now() + kRetry;
  if (told) return false;
  const std::string text =
      fmt::format("could not open log file \"{}\": {}", opened.error().context, opened.error().code.message());
  voice_.log({.text = text});
  voice_.alarm({.text = text});
  if (!starved) {
    disabled_ = true;
    voice_.log({.text = "disabling automatic rotation (use SIGHUP to re-enable)"});
  }
  return false;
}

// Named by the time that was planned, so that names are regular however late it is done.
void LogCollector::rotate_by_age() {
  const WallTime now = clock_.wall();
  if (!next_ || now < *next_) return;
  if (!disabled_) {
    for (const LogShape shape : {kPlain, kJson})
      if (outputs_[shape].on) rotate(shape, *next_, Why::age);
  }
  next_ = next_rotation(now, rules_.age);
}

void LogCollector::rotate_now() {
  for (const LogShape shape : {kPlain, kJson})
    if (outputs_[shape].on) rotate(shape, clock_.wall(), Why::asked);
}

void LogCollector::configure(const RotationRules& rules, bool json) {
  const bool elsewhere = rules.directory != rules_.directory || rules.filename != rules_.filename;
  if (rules.age != rules_.age) next_ = next_rotation(clock_.wall(), rules.age);
  rules_ = rules;
  const bool asked = elsewhere || disabled_;
  disabled_ = false;
  const bool fresh_json = json && !outputs_[kJson].on;
  outputs_[kJson].on = json;
  if (asked) {
    rotate_now();
  } else if (fresh_json) {
    rotate(kJson, clock_.wall(), Why::asked);
  }
}

bool LogCollector::write(LogBatch& batch) {
  rotate_by_age();
  bool all = true;
  for (const LogShape shape : {kPlain, kJson}) {
    if (!outputs_[shape].on) {
      batch.taken[shape] = batch.lines[shape].size();
    } else {
      all = write_one(shape, batch) && all;
    }
  }
  return all;
}

bool LogCollector::write_one(LogShape shape, LogBatch& batch) {
  Output& output = outputs_[shape];
  const std::span<const std::string_view> lines = batch.lines[shape];
  std::size_t& taken = batch.taken[shape];
  if (taken == lines.size()) return true;
  if (output.file.removed() && !replace_removed(shape)) return false;
  while (taken < lines.size()) {
    std::uint64_t limit = limit_bytes();
    if (output.file.full(limit)) {
      const std::string before = output.file.path();
      const std::string plain = log_file_path(rules_, clock_.wall());
      // A name without the time would only open the same file again.
      const bool same = before == (shape == kJson ? json_path(plain) : plain);
      if (!same && clock_.now() >= output.not_before) rotate(shape, clock_.wall(), Why::size);
      if (same || output.file.full(limit)) limit = 0;
    }
    taken += output.file.append(lines.subspan(taken), limit);
    if (output.file.trouble().empty()) continue;
    troubled(output, output.file.trouble());
    return false;
  }
  recovered(output);
  return true;
}

// Somebody has deleted the file, or its folder. (A file that was only renamed stays in use until it is rotated.)
bool LogCollector::replace_removed(LogShape shape) {
  Output& output = outputs_[shape];
  const std::string before = output.file.path();
  const auto opened = open(shape, clock_.wall(), Why::asked);
  if (!opened) {
    troubled(output, fmt::format("{}: {}", opened.error().context, opened.error().code.message()));
    return false;
  }
  if (!before.empty() && output.trouble.empty()) {
    const std::string text =
        fmt::format("log file \"{}\" was removed, \"{}\" takes its place", before, output.file.path());
    voice_.log({.level = Level::warning, .text = text});
  }
  return true;
}

void LogCollector::troubled(Output& output, const std::string& why) {
  if (!output.trouble.empty()) return;
  output.trouble = why;
  output.since = clock_.now();
  const std::string text = fmt::format("could not write to log file: {}", why);
  voice_.alarm({.level = Level::error, .text = text});
}

void LogCollector::recovered(Output& output) {
  if (output.trouble.empty()) return;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(clock_.now() - output.since).count();
  const std::string text = fmt::format("could not write to log file for {} s: {}", seconds, output.trouble);
  output.trouble.clear();
  const LogLine line{.level = Level::warning, .text = text, .detail = "It is written again."};
  voice_.log(line);
  voice_.alarm(line);
}

std::optional<Duration> LogCollector::wakes_in() const {
  std::optional<Duration> soonest;
  for (const Output& output : outputs_)
    if (output.on && !output.trouble.empty()) soonest = kRetry;
  if (!next_) return soonest;
  const Duration until = std::max(Duration::zero(), std::chrono::duration_cast<Duration>(*next_ - clock_.wall()));
  return soonest ? std::min(*soonest, until) : until;
}

}  // namespace herdgate::server
