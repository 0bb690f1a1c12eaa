#include "config/patterns.h"

#include <fmt/format.h>
#include <re2/re2.h>
#include <regex.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>

#include "config/errc.h"

namespace herdgate::config {

// The C library's matcher defines what a pattern means; RE2 stands in where it means the same, because its time is
// linear and it takes no lock.
class Regex {
 public:
  static Result<std::shared_ptr<const Regex>> compile(const std::string& pattern);
  explicit Regex(std::string text) : text_(std::move(text)) {}
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;
  ~Regex() {
    if (posix_made_) ::regfree(&posix_);
  }
  bool matches(const std::string& subject) const {
    if (fast_) return RE2::PartialMatch(subject, *fast_);
    return ::regexec(&posix_, subject.c_str(), 0, nullptr, 0) == 0;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  ::regex_t posix_{};
  bool posix_made_ = false;
  std::unique_ptr<RE2> fast_;
};

namespace {

std::string anchored(const std::string& pattern) {
  std::string text = pattern.starts_with('^') ? pattern : "^" + pattern;
  if (!text.ends_with('$')) text.push_back('$');
  return text;
}

// Syntax that RE2 reads differently, or not at all: escapes of letters and digits, backslashes in brackets, named
// classes other than [:…:], an open lower bound, octets beyond ASCII.
bool means_the_same_in_re2(std::string_view pattern) {
  const bool brackets = pattern.find('[') != std::string_view::npos;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const auto c = static_cast<unsigned char>(pattern[i]);
    if (c >= 0x80) return false;
    if (c == '\\') {
      if (brackets || i + 1 == pattern.size()) return false;
      const auto next = static_cast<unsigned char>(pattern[++i]);
      if (!std::ispunct(next) || next == '<' || next == '>' || next == '`' || next == '\'') return false;
    }
  }
  return pattern.find("[=") == std::string_view::npos && pattern.find("[.") == std::string_view::npos &&
         pattern.find("{,") == std::string_view::npos && pattern.find("(?") == std::string_view::npos;
}

std::unique_ptr<RE2> compile_re2(const std::string& pattern) {
  if (!means_the_same_in_re2(pattern)) return nullptr;
  RE2::Options options(RE2::Latin1);
  options.set_posix_syntax(true);
  options.set_case_sensitive(false);
  options.set_dot_nl(true);
  options.set_one_line(true);
  options.set_log_errors(false);
  options.set_max_mem(1 << 20);
  auto compiled = std::make_unique<RE2>(pattern, options);
  return compiled->ok() ? std::move(compiled) : nullptr;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}
std::string lowered(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::vector<std::string_view> split_at_commas(std::string_view list) {
  std::vector<std::string_view> entries;
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (const auto entry = trimmed(list.substr(0, comma)); !entry.empty()) entries.push_back(entry);
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return entries;
}

// "0.3" -> 0.3; anything but a plain number from 0 to 1: negative.
double parse_ratio(std::string_view text) {
  const std::string body(trimmed(text));
  if (body.empty() || body.find_first_not_of("0123456789.") != std::string::npos) return -1;
  char* end = nullptr;
  const double ratio = std::strtod(body.c_str(), &end);
  return *end == '\0' && ratio <= 1.0 ? ratio : -1;
}

Result<Done> read_target(std::string_view word, Redirect& redirect) {
  const std::string name = lowered(trimmed(word));
  if (name == "primary") {
    redirect.target = RedirectTarget::primary;
  } else if (name == "standby") {
    redirect.target = RedirectTarget::standby;
  } else {
    const bool number =
        !name.empty() && name.size() <= 3 && std::ranges::all_of(name, [](unsigned char c) { return std::isdigit(c); });
    if (!number || std::stoi(name) >= kMaxNodes)
      return fail(Errc::bad_redirect, fmt::format("\"{}\" in \"{}\" is not primary, standby or a node number",
                                                  trimmed(word), redirect.text));
    redirect.target = RedirectTarget::node;
    redirect.node = NodeId{std::stoi(name)};
  }
  return Done{};
}

Result<Redirect> parse_redirect(std::string_view entry) {
  Redirect redirect;
  redirect.text = std::string(entry);
  std::string_view rest = entry;
  if (rest.ends_with(')')) {
    const std::size_t open = rest.rfind('(');
    const std::size_t colon = rest.rfind(':');
    if (open != std::string_view::npos && colon != std::string_view::npos && open > colon) {
      redirect.ratio = parse_ratio(rest.substr(open + 1, rest.size() - open - 2));
      if (redirect.ratio < 0)
        return fail(Errc::bad_redirect, fmt::format("the ratio in \"{}\" is not a number from 0.0 to 1.0", entry));
      rest = rest.substr(0, open);
    }
  }
  // The last colon: a pattern may have some of its own, as in [[:digit:]].
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos || trimmed(rest.substr(0, colon)).empty())
    return fail(Errc::bad_redirect, fmt::format("\"{}\" is not of the form pattern:node(ratio)", entry));
  HG_CHECK(read_target(rest.substr(colon + 1), redirect));
  const std::string pattern(trimmed(rest.substr(0, colon)));
  HG_TRY(redirect.regex, RegexList::compile(std::span(&pattern, 1)));
  return redirect;
}

// "name()" is a function, "name" a relation. Empty: nonsense.
std::string object_name(std::string_view text, bool& is_function) {
  text = trimmed(text);
  is_function = text.ends_with("()");
  if (is_function) text.remove_suffix(2);
  if (text.find_first_of("() \t:") != std::string_view::npos) return {};
  return lowered(text);
}

// The C library unrolls bounds such as {1,255} in memory, nested ones by their product.
bool repeats_too_often(std::string_view pattern) {
  double product = 1;
  for (std::size_t i = pattern.find('{'); i != std::string_view::npos; i = pattern.find('{', i + 1)) {
    int most = 0, number = 0;
    for (const char c : pattern.substr(i + 1, std::min(pattern.find('}', i), pattern.size()) - i - 1)) {
      number = std::isdigit(static_cast<unsigned char>(c)) ? std::min(number * 10 + (c - '0'), 100'000) : 0;
      most = std::max(most, number);
    }
    product *= std::max(most, 1);
  }
  return product > RegexList::kMaxRepetitions;
}

}  // namespace

Result<std::shared_ptr<const Regex>> Regex::compile(const std::string& pattern) {
  if (pattern.size() > RegexList::kMaxPatternBytes)
    return fail(Errc::bad_pattern, fmt::format("pattern of {} bytes, limit {}", pattern.size(),
                                               static_cast<std::size_t>(RegexList::kMaxPatternBytes)));
  if (repeats_too_often(pattern)) return fail(Errc::bad_pattern, fmt::format("\"{}\": too many repetitions", pattern));
  auto regex = std::make_shared<Regex>(pattern);
  const std::string text = anchored(pattern);
  const int code = ::regcomp(&regex->posix_, text.c_str(), REG_EXTENDED | REG_ICASE | REG_NOSUB);
  if (code != 0) {
    char reason[256];
    ::regerror(code, &regex->posix_, reason, sizeof reason);
    return fail(Errc::bad_pattern, fmt::format("\"{}\": {}", pattern, reason));
  }
  regex->posix_made_ = true;
  regex->fast_ = compile_re2(text);
  return std::shared_ptr<const Regex>(std::move(regex));
}

Result<RegexList> RegexList::compile(std::span<const std::string> patterns) {
  RegexList list;
  for (const std::string& pattern : patterns) {
    HG_TRY(auto regex, Regex::compile(pattern));
    list.regexes_.push_back(std::move(regex));
  }
  return list;
}

int RegexList::first_match(std::string_view subject) const {
  if (regexes_.empty()) return -1;
  std::string bare;
  bare.reserve(subject.size());
  std::ranges::copy_if(subject, std::back_inserter(bare), [](char c) { return c != '"'; });
  const auto at = std::ranges::find_if(regexes_, [&](const auto& regex) { return regex->matches(bare); });
  return at == regexes_.end() ? -1 : static_cast<int>(at - regexes_.begin());
}

const std::string& RegexList::pattern(int index) const { return regexes_.at(static_cast<std::size_t>(index))->text(); }

Result<std::vector<Redirect>> parse_redirects(std::string_view list) {
  std::vector<Redirect> redirects;
  for (const std::string_view entry : split_at_commas(list)) {
    HG_TRY(Redirect redirect, parse_redirect(entry));
    redirects.push_back(std::move(redirect));
  }
  return redirects;
}

Result<std::vector<ObjectRelation>> parse_relations(std::string_view list) {
  std::vector<ObjectRelation> relations;
  for (const std::string_view entry : split_at_commas(list)) {
    const std::size_t colon = entry.find(':');
    ObjectRelation relation;
    if (colon != std::string_view::npos) {
      relation.object = object_name(entry.substr(0, colon), relation.object_is_function);
      relation.dependent = object_name(entry.substr(colon + 1), relation.dependent_is_function);
    }
    if (relation.object.empty() || relation.dependent.empty())
      return fail(Errc::bad_relation, fmt::format("\"{}\" is not of the form object:dependent", entry));
    relations.push_back(std::move(relation));
  }
  return relations;
}

}  // namespace herdgate::config
