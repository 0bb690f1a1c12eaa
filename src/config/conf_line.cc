#include "config/conf_line.h"

#include <fmt/format.h>

#include <cctype>

#include "config/errc.h"

namespace herdgate::config {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v'; }
bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)); }
bool in_bare_word(char c) { return is_letter(c) || is_digit(c) || c == '-' || c == '.' || c == ':' || c == '/'; }
bool in_number(char c) { return is_letter(c) || is_digit(c) || c == '.' || c == '+' || c == '-'; }

void skip_blanks(std::string_view& rest) {
  while (!rest.empty() && is_blank(rest.front())) rest.remove_prefix(1);
}

template <class Belongs>
std::string_view take_while(std::string_view& rest, Belongs belongs) {
  std::size_t size = 0;
  while (size < rest.size() && belongs(rest[size])) ++size;
  const std::string_view taken = rest.substr(0, size);
  rest.remove_prefix(size);
  return taken;
}

// From after the opening quote. A quote behind a backslash belongs to the text; when there is no other quote on the
// line it closes the text after all ('C:\dir\').
std::optional<std::string_view> take_quoted(std::string_view& rest) {
  std::optional<std::size_t> escaped_quote;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] == '\\' && i + 1 < rest.size()) {
      if (rest[++i] == '\'') escaped_quote = i;
      continue;
    }
    if (rest[i] != '\'') continue;
    const std::string_view text = rest.substr(0, i);
    rest.remove_prefix(i + 1);
    return text;
  }
  if (!escaped_quote) return std::nullopt;
  const std::string_view text = rest.substr(0, *escaped_quote);
  rest.remove_prefix(*escaped_quote + 1);
  return text;
}

auto syntax(std::string reason) { return fail(Errc::syntax, std::move(reason)); }

Result<std::string> take_value(const std::string& key, std::string_view& rest) {
  if (rest.empty() || rest.front() == '#') return syntax(fmt::format("value missing after \"{}\"", key));
  if (rest.front() == '\'') {
    rest.remove_prefix(1);
    const auto text = take_quoted(rest);
    if (!text) return syntax(fmt::format("closing quote missing in the value of \"{}\"", key));
    return std::string(*text);
  }
  const char first = rest.front();
  if (is_letter(first)) return std::string(take_while(rest, in_bare_word));
  const bool number = is_digit(first) || ((first == '-' || first == '+' || first == '.') && rest.size() > 1 &&
                                          (is_digit(rest[1]) || rest[1] == '.'));
  if (number) return std::string(take_while(rest, in_number));
  return syntax(fmt::format("the value of \"{}\" must be quoted with '", key));
}

}  // namespace

Result<std::optional<ConfLine>> parse_conf_line(std::string_view rest) {
  if (rest.find('\0') != std::string_view::npos) return syntax("the line contains a zero byte");
  skip_blanks(rest);
  if (rest.empty() || rest.front() == '#') return std::optional<ConfLine>{};
  if (!is_letter(rest.front())) return syntax("a line starts with the name of a parameter");
  ConfLine line;
  line.key = take_while(rest, [](char c) { return is_letter(c) || is_digit(c) || c == '.'; });
  const bool blank_follows = !rest.empty() && is_blank(rest.front());
  skip_blanks(rest);
  const bool equals = !rest.empty() && rest.front() == '=';
  if (equals) rest.remove_prefix(1);
  if (!rest.empty() && !equals && !blank_follows && rest.front() != '#' && rest.front() != '\'')
    return syntax(fmt::format("unexpected character after \"{}\"", line.key));
  skip_blanks(rest);
  HG_TRY(line.value, take_value(line.key, rest));
  const bool comment_touches = !rest.empty() && rest.front() == '#';
  skip_blanks(rest);
  if (!rest.empty() && !comment_touches && rest.front() != '#')
    return syntax(fmt::format("unexpected text after the value of \"{}\"", line.key));
  return std::optional<ConfLine>(std::move(line));
}

}  // namespace herdgate::config
