// The `options` of the startup packet: a small command line.
#include <algorithm>

#include "vsession/virtual_session.h"

namespace herdgate::vsession {
namespace {

bool blank(char c) { return std::string_view(" \t\n\v\f\r").find(c) != std::string_view::npos; }

// Words are separated by blanks; a backslash takes the next octet as it is.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  for (std::size_t i = 0; i < text.size();) {
    if (blank(text[i])) {
      ++i;
      continue;
    }
    std::string& word = words.emplace_back();
    for (; i < text.size() && !blank(text[i]); ++i) {
      if (text[i] == '\\' && ++i == text.size()) break;
      word += text[i];
    }
  }
  return words;
}

bool split(std::string_view assignment, std::vector<std::pair<std::string, std::string>>& out) {
  const std::size_t equals = assignment.find('=');
  if (equals == 0 || equals == std::string_view::npos) return false;
  std::string name(assignment.substr(0, equals));
  std::replace(name.begin(), name.end(), '-', '_');
  out.emplace_back(std::move(name), assignment.substr(equals + 1));
  return true;
}

}  // namespace

std::optional<std::vector<std::pair<std::string, std::string>>> parse_startup_options(std::string_view options) {
  std::vector<std::pair<std::string, std::string>> out;
  const std::vector<std::string> words = words_of(options);
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string_view word = words[i];
    if (word == "-c") {
      if (++i == words.size()) return std::nullopt;
      word = words[i];
    } else if (word.starts_with("-c") || word.starts_with("--")) {
      word.remove_prefix(2);
    } else {
      return std::nullopt;
    }
    if (!split(word, out) || out.size() > VirtualSession::kMaxParameters) return std::nullopt;
  }
  return out;
}

}  // namespace herdgate::vsession
