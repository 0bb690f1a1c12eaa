#include "admin/http_choice.h"

#include <strings.h>

#include <algorithm>
#include <utility>

namespace herdgate::admin {
namespace {

constexpr std::pair<std::string_view, Page> kPages[] = {
    {"/metrics", Page::metrics},
    {"/healthz", Page::health},
    {"/readyz", Page::readiness},
    {"/api/state", Page::state},
};

constexpr int kWhole = 1000;  // a quality of 1, in thousandths

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t";
  const std::size_t begin = std::min(text.find_first_not_of(kBlanks), text.size());
  text.remove_prefix(begin);
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);  // npos + 1 is 0
}

// The part before the next `mark` that is not between quotes; `rest` goes on behind it.
std::string_view next_part(std::string_view& rest, char mark) {
  bool quoted = false;
  std::size_t at = 0;
  for (; at < rest.size(); ++at) {
    if (rest[at] == '\\' && quoted) {
      ++at;
    } else if (rest[at] == '"') {
      quoted = !quoted;
    } else if (rest[at] == mark && !quoted) {
      break;
    }
  }
  at = std::min(at, rest.size());
  const std::string_view part = rest.substr(0, at);
  rest.remove_prefix(std::min(at + 1, rest.size()));
  return trimmed(part);
}

// "0.5" -> 500. What is no quality counts as none.
int quality(std::string_view text) {
  if (text.empty() || (text[0] != '0' && text[0] != '1')) return 0;
  int value = (text[0] - '0') * kWhole, place = kWhole / 10;
  if (text.size() > 1 && text[1] != '.') return 0;
  for (std::size_t i = 2; i < text.size(); ++i, place /= 10) {
    if (text[i] < '0' || text[i] > '9') return 0;
    value += (text[i] - '0') * place;
  }
  return std::min(value, kWhole);
}

struct Range {
  std::string_view type, version;
  int quality = kWhole;
};

Range read_range(std::string_view text) {
  Range range;
  range.type = next_part(text, ';');
  while (!text.empty()) {
    std::string_view value = next_part(text, ';');
    const std::string_view name = next_part(value, '=');
    value = trimmed(value);
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
    if (same(name, "q")) range.quality = quality(value);
    if (same(name, "version")) range.version = value;
  }
  return range;
}

bool is_openmetrics(const Range& range) {
  const bool spoken = range.version.empty() || range.version == "1.0.0" || range.version == "0.0.1";
  return spoken && same(range.type, "application/openmetrics-text");
}

bool is_plain(const Range& range) {
  return same(range.type, "text/plain") && (range.version.empty() || range.version == "0.0.4");
}

}  // namespace

Page page_of(std::string_view target) {
  // The absolute form, as to a proxy.
  constexpr std::string_view kScheme = "http://";
  if (target.size() > kScheme.size() && same(target.substr(0, kScheme.size()), kScheme)) {
    target.remove_prefix(kScheme.size());
    target.remove_prefix(std::min(target.find('/'), target.size()));
  }
  const std::string_view path = target.substr(0, target.find('?'));
  for (const auto& [name, page] : kPages)
    if (name == path) return page;
  return Page::none;
}

Format format_for(std::string_view accept) {
  int openmetrics = 0, plain = 0;
  while (!accept.empty()) {
    const Range range = read_range(next_part(accept, ','));
    if (is_openmetrics(range)) openmetrics = std::max(openmetrics, range.quality);
    if (is_plain(range)) plain = std::max(plain, range.quality);
  }
  return openmetrics > 0 && openmetrics >= plain ? Format::openmetrics : Format::prometheus;
}

}  // namespace herdgate::admin
