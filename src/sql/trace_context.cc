#include "sql/trace_context.h"

#include <algorithm>

namespace herdgate::sql {
namespace {

constexpr std::string_view kBlanks = " \t\r\n\f\v";
constexpr std::string_view kBehind = " \t\r\n\f\v;";
constexpr std::string_view kKey = "traceparent";

bool is_hex(std::string_view digits) {
  return std::ranges::all_of(digits, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool all_zero(std::string_view digits) { return digits.find_first_not_of('0') == std::string_view::npos; }

// version "-" trace id "-" parent id "-" flags
bool is_traceparent(std::string_view v) {
  if (v.size() != kTraceparentSize || v[2] != '-' || v[35] != '-' || v[52] != '-') return false;
  const std::string_view version = v.substr(0, 2), trace = v.substr(3, 32), span = v.substr(36, 16);
  return is_hex(version) && is_hex(trace) && is_hex(span) && is_hex(v.substr(53)) && version != "ff" &&
         !all_zero(trace) && !all_zero(span);
}

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  const std::size_t last = text.find_last_not_of(kBlanks);
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

// Of key='value',key='value'. A quote within a value is escaped there, so the next bare one ends it.
std::string_view within(std::string_view comment) {
  while (!comment.empty()) {
    const std::size_t quote = comment.find('\'');
    if (quote == std::string_view::npos) return {};
    std::size_t end = comment.find('\'', quote + 1);
    while (end != std::string_view::npos && comment[end - 1] == '\\') end = comment.find('\'', end + 1);
    if (end == std::string_view::npos) return {};
    std::string_view key = trimmed(comment.substr(0, quote));
    if (key.ends_with('=')) key.remove_suffix(1);
    const std::string_view value = comment.substr(quote + 1, end - quote - 1);
    if (trimmed(key) == kKey) return is_traceparent(value) ? value : std::string_view();
    comment.remove_prefix(end + 1);
    comment = trimmed(comment);
    if (comment.starts_with(',')) comment.remove_prefix(1);
  }
  return {};
}

std::string_view behind(std::string_view text) {
  const std::size_t last = text.find_last_not_of(kBehind);
  if (last == std::string_view::npos) return {};
  text = text.substr(0, last + 1);
  if (!text.ends_with("*/")) return {};
  text.remove_suffix(2);
  const std::string_view tail = text.substr(text.size() - std::min(text.size(), kMaxComment));
  const std::size_t open = tail.rfind("/*");
  return open == std::string_view::npos ? std::string_view() : within(tail.substr(open + 2));
}

std::string_view in_front(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  if (!text.starts_with("/*")) return {};
  const std::string_view head = text.substr(2, kMaxComment);
  const std::size_t close = head.find("*/");
  return close == std::string_view::npos ? std::string_view() : within(head.substr(0, close));
}

}  // namespace

std::string_view traceparent(std::string_view text) {
  const std::string_view found = behind(text);
  return found.empty() ? in_front(text) : found;
}

}  // namespace herdgate::sql
