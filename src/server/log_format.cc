#include "server/log_format.h"

#include <algorithm>

namespace herdgate::server {
namespace {

constexpr std::string_view kNoSession = "[No Connection]";
constexpr std::string_view kUnknown = "[unknown]";  // of a client that has not said it (yet)
constexpr std::string_view kCut = "…\n";

void append_padded(std::string& out, std::string_view text, int width) {
  const auto size = static_cast<int>(std::min<std::size_t>(text.size(), kMaxPadding));
  const auto blanks = static_cast<std::size_t>(std::max(0, std::abs(width) - size));
  if (width > 0) out.append(blanks, ' ');
  // A client chooses its names: they must not begin a line of their own.
  for (const char c : text) out += static_cast<unsigned char>(c) < ' ' || c == 0x7f ? '?' : c;
  if (width < 0) out.append(blanks, ' ');
}

// "-12" before an escape. Moves `pattern` behind it; a lone minus counts as no padding.
int take_width(std::string_view& pattern) {
  const bool left = pattern.starts_with('-');
  if (left) pattern.remove_prefix(1);
  int width = 0;
  while (!pattern.empty() && pattern.front() >= '0' && pattern.front() <= '9') {
    width = std::min(kMaxPadding, width * 10 + (pattern.front() - '0'));
    pattern.remove_prefix(1);
  }
  return left ? -width : width;
}

std::string_view told(const LogContext& who, std::string_view text) {
  if (!text.empty()) return text;
  return who.session != 0 ? kUnknown : kNoSession;
}

void append_escape(std::string& out, char escape, int width, const LineFacts& facts, const LogContext& who) {
  switch (escape) {
    case 'a':
      return append_padded(out, who.application, width);
    case 'P':
      return append_padded(out, who.process, width);
    case 'u':
      return append_padded(out, told(who, who.user), width);
    case 'd':
      return append_padded(out, told(who, who.database), width);
    case 'p':
      return append_padded(out, std::to_string(facts.pid), width);
    case 'l':
      return append_padded(out, std::to_string(who.lines), width);
    case 't':
      return append_padded(out, facts.time, width);
    case 'm':
      return append_padded(out, facts.time_ms, width);
    case '%':
      out.push_back('%');
      return;
    default:
      return;  // unknown escapes vanish
  }
}

void append_text(std::string& out, std::string_view text) {
  for (std::size_t at = 0; at < text.size() && out.size() < Log::kMaxLineBytes;) {
    // A loop of our own: find_first_of() calls a function for each octet.
    const auto stop = std::find_if(text.begin() + static_cast<std::ptrdiff_t>(at), text.end(),
                                   [](char c) { return c == '\n' || c == '\0'; });
    const auto end = static_cast<std::size_t>(stop - text.begin());
    out.append(text.substr(at, std::min(end - at, Log::kMaxLineBytes)));
    if (end < text.size()) out.append(text[end] == '\n' ? "\n\t" : "?");
    at = end + 1;
  }
}

std::string_view file_name(const char* path) {
  const std::string_view all = path;
  return all.substr(all.find_last_of('/') + 1);  // npos + 1 is 0
}

}  // namespace

std::string format_prefix(std::string_view pattern, const LineFacts& facts, LogContext& who) {
  ++who.lines;
  std::string out;
  while (!pattern.empty()) {
    const std::size_t escape = pattern.find('%');
    out.append(pattern.substr(0, escape));
    if (escape == std::string_view::npos) break;
    pattern.remove_prefix(escape + 1);
    const int width = take_width(pattern);
    if (pattern.empty()) break;
    append_escape(out, pattern.front(), width, facts, who);
    pattern.remove_prefix(1);
  }
  return out;
}

std::string format_message(std::string_view pattern, Verbosity verbosity, const LineFacts& facts, LogContext& who,
                           const LogLine& line) {
  constexpr std::size_t kPrefix = 80;  // what one mostly takes
  std::string out;
  out.reserve(std::min(2 * kPrefix + line.text.size() + line.detail.size(), Log::kMaxLineBytes));
  const auto add = [&](std::string_view label, std::string_view text) {
    if (out.size() >= Log::kMaxLineBytes) return;
    out.append(format_prefix(pattern, facts, who));
    out.append(label);
    out.append(":  ");
    append_text(out, text);
    out.push_back('\n');
  };
  const bool coded = verbosity == Verbosity::verbose && !line.sqlstate.empty();
  add(level_name(line.level), coded ? fmt::format("{}: {}", line.sqlstate, line.text) : line.text);
  if (verbosity != Verbosity::terse) {
    if (!line.detail.empty()) add("DETAIL", line.detail);
    if (!line.hint.empty()) add("HINT", line.hint);
    if (!line.query.empty()) add("QUERY", line.query);
    if (!line.context.empty()) add("CONTEXT", line.context);
  }
  if (verbosity == Verbosity::verbose && line.file != nullptr)
    add("LOCATION", fmt::format("{}:{}", file_name(line.file), line.line));
  if (out.size() > Log::kMaxLineBytes) {
    out.resize(Log::kMaxLineBytes - kCut.size());
    out.append(kCut);
  }
  return out;
}

}  // namespace herdgate::server
