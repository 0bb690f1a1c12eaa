#include "sql/text_scan.h"

#include <algorithm>

namespace herdgate::sql {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Offset of the next octet that is neither blank nor part of a comment.
std::size_t skip_ignored(std::string_view text, std::size_t at, bool& saw_comment) {
  while (at < text.size()) {
    if (is_blank(text[at])) {
      ++at;
      continue;
    }
    const std::size_t end = comment_end(text, at);
    if (end == at || end == std::string_view::npos) return at;
    saw_comment = true;
    at = end;
  }
  return at;
}

// Cuts a text into words; stops for good at what it does not understand.
class Words {
 public:
  explicit Words(std::string_view text, std::size_t at) : text_(text), at_(at) {}

  void skip() {
    bool comment = false;
    at_ = skip_ignored(text_, at_, comment);
  }
  bool at_end() {
    skip();
    return at_ >= text_.size();
  }
  std::size_t offset() const { return at_; }
  char peek() const { return text_[at_]; }

  // nullopt: an unclosed quote.
  std::optional<std::string> next() {
    if (peek() == '\'' || peek() == '"') return quoted(peek());
    const std::size_t begin = at_;
    std::string word;
    if (starts_word(peek())) {
      while (at_ < text_.size() && continues_word(text_[at_])) word.push_back(lower(text_[at_++]));
    } else if (begins_number()) {
      ++at_;
      while (at_ < text_.size() && (continues_word(text_[at_]) || text_[at_] == '.')) ++at_;
      word = text_.substr(begin, at_ - begin);
    } else {
      word.push_back(text_[at_++]);
    }
    return word;
  }

 private:
  // -1 is one word, as it is to those who write it.
  bool begins_number() const {
    const auto digit = [this](std::size_t at) { return at < text_.size() && text_[at] >= '0' && text_[at] <= '9'; };
    return digit(at_) || (text_[at_] == '-' && digit(at_ + 1));
  }
  std::optional<std::string> quoted(char quote) {
    std::string word;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] != quote) {
        word.push_back(text_[at_]);
      } else if (at_ + 1 < text_.size() && text_[at_ + 1] == quote) {
        word.push_back(text_[at_++]);
      } else {
        ++at_;
        return word;
      }
    }
    return std::nullopt;
  }

  std::string_view text_;
  std::size_t at_;
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// "00-" 32 digits "-" 16 digits "-" 2 digits, all lower-case hexadecimal.
bool well_formed_traceparent(std::string_view value) {
  if (value.size() != 55) return false;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const bool dash = i == 2 || i == 35 || i == 52;
    const bool hex = (value[i] >= '0' && value[i] <= '9') || (value[i] >= 'a' && value[i] <= 'f');
    if (dash ? value[i] != '-' : !hex) return false;
  }
  return true;
}

std::string traceparent_in(std::string_view comment) {
  constexpr std::string_view kKey = "traceparent='";
  const std::size_t key = comment.find(kKey);
  if (key == std::string_view::npos) return {};
  const std::string_view rest = comment.substr(key + kKey.size());
  const std::string_view value = rest.substr(0, rest.find('\''));
  return well_formed_traceparent(value) ? std::string(value) : std::string{};
}

}  // namespace

bool same_word(std::string_view a, std::string_view lower_b) {
  return a.size() == lower_b.size() && std::ranges::equal(a, lower_b, {}, lower);
}

bool starts_word(char c) {
  return (lower(c) >= 'a' && lower(c) <= 'z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool continues_word(char c) { return starts_word(c) || (c >= '0' && c <= '9') || c == '$'; }

std::size_t comment_end(std::string_view text, std::size_t at) {
  if (text.substr(at, 2) == "--") {
    const std::size_t line = text.find_first_of("\r\n", at);
    return line == std::string_view::npos ? text.size() : line;
  }
  if (text.substr(at, 2) != "/*") return at;
  int depth = 1;
  for (std::size_t i = at + 2; i + 1 < text.size(); ++i) {
    if (text[i] == '*' && text[i + 1] == '/') {
      ++i;
      if (--depth == 0) return i + 1;
    } else if (text[i] == '/' && text[i + 1] == '*') {
      ++i;
      ++depth;
    }
  }
  return std::string_view::npos;
}

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

TextStart scan_start(std::string_view text) {
  TextStart start;
  if (text.empty()) return start;
  start.first_char = text.front();
  const auto nonblank = std::ranges::find_if_not(text, is_blank);
  if (nonblank != text.end()) start.first_nonblank = *nonblank;
  bool comment = false;
  start.statement = skip_ignored(text, 0, comment);
  if (!comment) return start;
  const std::size_t end = comment_end(text, 0);
  const std::string_view first = end == std::string_view::npos ? std::string_view{} : text.substr(0, end);
  start.comment = same_word(first, "/*force query cache*/") ? LeadingComment::force_query_cache
                  : same_word(first, "/*no query cache*/")  ? LeadingComment::no_query_cache
                                                            : LeadingComment::other;
  return start;
}

std::optional<std::vector<std::string>> pool_command(std::string_view text) {
  Words words(text, scan_start(text).statement);
  if (words.at_end() || !starts_word(words.peek())) return std::nullopt;
  const auto first = words.next();
  if (*first != "show" && *first != "pgpool") return std::nullopt;
  std::vector<std::string> found = {*first};
  while (!words.at_end() && words.peek() != ';') {
    const bool name = starts_word(words.peek()) || words.peek() == '"';
    auto word = words.next();
    if (!word) return std::nullopt;
    if (found.size() == 1 && *first == "show" && !(name && word->starts_with("pool_"))) return std::nullopt;
    found.push_back(std::move(*word));
    if (found.size() == 3 && found[0] == "pgpool" && found[1] == "explain" && found[2] == "route") {
      found.emplace_back(trimmed(text.substr(words.offset())));
      return found;
    }
  }
  while (!words.at_end()) {
    if (words.peek() != ';') return std::nullopt;  // another statement follows
    words.next();
  }
  if (found.size() == 1 && *first == "show") return std::nullopt;
  return found;
}

std::size_t scanner_rereads(std::string_view text) {
  constexpr std::string_view kOperator = "~!@#^&|`?+-*/%<>=";
  std::size_t rereads = 0;
  for (std::size_t at = text.find_first_of(kOperator); at != std::string_view::npos;) {
    std::size_t end = at;
    std::size_t restarts = 0;
    for (; end < text.size() && kOperator.find(text[end]) != std::string_view::npos; ++end) {
      const char before = end > at ? text[end - 1] : ' ';
      restarts += text[end] == '+' || (text[end] == '-' && before != '-') || (text[end] == '*' && before == '/');
    }
    rereads += restarts * (end - at);
    at = text.find_first_of(kOperator, end);
  }
  return rereads;
}

std::string find_traceparent(std::string_view text) {
  text = trimmed(text);
  if (text.starts_with("/*")) {
    if (std::string found = traceparent_in(text.substr(0, comment_end(text, 0))); !found.empty()) return found;
  }
  while (!text.empty() && (text.back() == ';' || is_blank(text.back()))) text.remove_suffix(1);
  if (!text.ends_with("*/")) return {};
  const std::size_t begin = text.rfind("/*");
  return begin == std::string_view::npos ? std::string{} : traceparent_in(text.substr(begin));
}

}  // namespace herdgate::sql
