// Values of parameters: text to value and back.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdlib>

#include "config/errc.h"
#include "config/parameter.h"

namespace herdgate::config {
namespace {

struct UnitWord {
  std::string_view word;
  std::int64_t amount;  // in bytes, or in microseconds
};
// Largest first: the first that divides a value exactly is the one it is shown in.
constexpr UnitWord kSizes[] = {{"TB", 1LL << 40}, {"GB", 1LL << 30}, {"MB", 1LL << 20}, {"kB", 1LL << 10}, {"B", 1}};
constexpr UnitWord kTimes[] = {{"d", 86'400'000'000}, {"h", 3'600'000'000}, {"min", 60'000'000},
                               {"s", 1'000'000},      {"ms", 1000},         {"us", 1}};

bool is_size(Unit unit) { return unit == Unit::bytes || unit == Unit::kilobytes; }
std::span<const UnitWord> words_for(Unit unit) {
  if (is_size(unit)) return kSizes;
  return kTimes;
}
std::int64_t amount_of(Unit unit) {
  switch (unit) {
    case Unit::none:
      return 1;
    case Unit::bytes:
      return 1;
    case Unit::kilobytes:
      return 1 << 10;
    case Unit::milliseconds:
      return 1000;
    case Unit::seconds:
      return 1'000'000;
    case Unit::minutes:
      return 60'000'000;
  }
  return 1;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}
bool same_word(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

auto bad_value(const Parameter& p, std::string_view text, std::string_view hint) {
  return fail(Errc::bad_value, fmt::format("invalid value for parameter \"{}\": \"{}\"\n{}", p.name, text, hint));
}
auto out_of_range(const Parameter& p, std::string_view value) {
  return fail(Errc::bad_value,
              fmt::format("{} is outside the valid range for parameter \"{}\" ({})", value, p.name, range_text(p)));
}

Result<Value> parse_boolean(const Parameter& p, std::string_view text) {
  if (text == "1") return Value{true};
  if (text == "0") return Value{false};
  constexpr std::pair<std::string_view, bool> kWords[] = {{"on", true},     {"off", false}, {"true", true},
                                                          {"false", false}, {"yes", true},  {"no", false}};
  int found = -1;
  for (int i = 0; i < static_cast<int>(std::size(kWords)); ++i) {
    const auto& [word, value] = kWords[i];
    if (text.empty() || text.size() > word.size() || !same_word(word.substr(0, text.size()), text)) continue;
    if (found >= 0) return bad_value(p, text, "It could be on or off.");
    found = i;
  }
  if (found < 0) return bad_value(p, text, "Available values: on, off, true, false, yes, no, 1, 0.");
  return Value{kWords[found].second};
}

// A number as written: exact when it is an integer, else a fraction that is rounded later.
struct Number {
  bool exact = true;
  std::int64_t whole = 0;
  double fraction = 0;
  std::string unit;  // what follows the digits
};

Result<Number> scan_number(const Parameter& p, std::string_view text) {
  const std::string body(trimmed(text));
  char* end = nullptr;
  errno = 0;
  Number n;
  n.whole = std::strtoll(body.c_str(), &end, 0);  // base 0: 0x is hexadecimal, a leading 0 octal
  if (*end == '.' || *end == 'e' || *end == 'E' || errno == ERANGE) {
    n.exact = false;
    n.fraction = std::strtod(body.c_str(), &end);
  }
  if (end == body.c_str()) return bad_value(p, text, "A number is wanted.");
  if (!n.exact && !std::isfinite(n.fraction)) return bad_value(p, text, "The number is too large.");
  n.unit = trimmed(std::string_view(end));
  return n;
}

std::string unit_names(Unit unit) {
  std::string names;
  for (const UnitWord& w : words_for(unit)) names = fmt::format("{}{}{}", w.word, names.empty() ? "" : ", ", names);
  return names;
}

std::string_view unit_name(Unit unit) {
  if (unit == Unit::none) return "";
  return std::ranges::find(words_for(unit), amount_of(unit), &UnitWord::amount)->word;
}

Result<std::int64_t> in_own_unit(const Parameter& p, std::string_view text, const Number& n) {
  std::int64_t amount = amount_of(p.unit);
  if (!n.unit.empty()) {
    if (n.unit.front() >= '0' && n.unit.front() <= '9')
      return bad_value(p, text, "A number that begins with 0 is octal, of the digits 0 to 7.");
    if (p.unit == Unit::none) return bad_value(p, text, "This parameter takes no unit.");
    const auto words = words_for(p.unit);
    const auto at = std::ranges::find(words, n.unit, &UnitWord::word);
    if (at == words.end())
      return bad_value(p, text, fmt::format("Valid units for this parameter are {}.", unit_names(p.unit)));
    amount = at->amount;
  }
  if (n.exact && amount % amount_of(p.unit) == 0) {
    std::int64_t product = 0;
    if (!__builtin_mul_overflow(n.whole, amount / amount_of(p.unit), &product)) return product;
  }
  const long double value = (n.exact ? static_cast<long double>(n.whole) : static_cast<long double>(n.fraction)) *
                            static_cast<long double>(amount) / static_cast<long double>(amount_of(p.unit));
  const long double rounded = std::rintl(value);
  if (rounded >= 9.2233720368547758e18L || rounded < -9.2233720368547758e18L)
    return bad_value(p, text, "The number is too large.");
  // Zero is more than little: it switches things off.
  if (rounded == 0 && value > 0)
    return bad_value(p, text,
                     fmt::format("This would become 0; the smallest value above 0 is 1{}.", unit_name(p.unit)));
  return static_cast<std::int64_t>(rounded);
}

Result<Value> parse_integer(const Parameter& p, std::string_view text) {
  HG_TRY(const Number number, scan_number(p, text));
  HG_TRY(const std::int64_t value, in_own_unit(p, text, number));
  if (value < p.shape.min || value > p.shape.max) return out_of_range(p, std::to_string(value));
  return Value{value};
}

Result<Value> parse_real(const Parameter& p, std::string_view text) {
  const std::string digits(trimmed(text));
  char* end = nullptr;
  const double value = std::strtod(digits.c_str(), &end);
  if (digits.empty() || *end != '\0' || !std::isfinite(value)) return bad_value(p, text, "A number is wanted.");
  if (value < static_cast<double>(p.shape.min) || value > static_cast<double>(p.shape.max))
    return out_of_range(p, fmt::format("{:g}", value));
  return Value{value};
}

Result<Value> parse_word(const Parameter& p, std::string_view text) {
  for (const EnumWord& w : p.shape.words)
    if (same_word(w.word, text)) return Value{static_cast<std::int64_t>(w.number)};
  return bad_value(p, text, fmt::format("Available values: {}.", range_text(p)));
}

Result<Value> parse_list(const Parameter& p, std::string_view text) {
  std::vector<std::string> elements;
  std::string element;
  const auto finish = [&] {
    if (const auto kept = trimmed(element); !kept.empty()) elements.emplace_back(kept);
    element.clear();
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (p.shape.escaped_separator && text[i] == '\\' && i + 1 < text.size() && text[i + 1] == p.shape.separator) {
      element.push_back(text[++i]);
    } else if (text[i] == p.shape.separator) {
      finish();
    } else {
      element.push_back(text[i]);
    }
  }
  finish();
  return Value{std::move(elements)};
}

// backend_flagN: words joined by '|'; kept as text, set_flags reads it.
Result<Value> parse_flags(const Parameter& p, std::string_view text) {
  std::string upper;
  bool allow = false, disallow = false;
  std::string_view rest = text;
  for (bool more = true; more;) {
    const std::size_t bar = rest.find('|');
    more = bar != std::string_view::npos;
    const std::string_view word = trimmed(rest.substr(0, bar));
    if (more) rest.remove_prefix(bar + 1);
    if (!same_word(word, "ALLOW_TO_FAILOVER") && !same_word(word, "DISALLOW_TO_FAILOVER") &&
        !same_word(word, "ALWAYS_PRIMARY"))
      return bad_value(p, text, "Available values: ALLOW_TO_FAILOVER, DISALLOW_TO_FAILOVER, ALWAYS_PRIMARY.");
    allow |= same_word(word, "ALLOW_TO_FAILOVER");
    disallow |= same_word(word, "DISALLOW_TO_FAILOVER");
    for (const char c : word) upper.push_back(static_cast<char>(std::toupper(static_cast<unsigned char>(c))));
    upper.push_back('|');
  }
  if (allow && disallow) return bad_value(p, text, "ALLOW_TO_FAILOVER and DISALLOW_TO_FAILOVER exclude each other.");
  upper.pop_back();
  return Value{std::move(upper)};
}

std::string with_unit(std::int64_t value, Unit unit) {
  if (unit == Unit::none || value <= 0) return std::to_string(value);
  for (const UnitWord& w : words_for(unit)) {
    const std::int64_t own = amount_of(unit);
    if (w.amount < own) break;
    const std::int64_t step = w.amount / own;
    if (value % step == 0) return fmt::format("{}{}", value / step, w.word);
  }
  return std::to_string(value);
}

std::string word_of(const Parameter& p, std::int64_t number) {
  for (const EnumWord& w : p.shape.words)
    if (w.number == number && !w.hidden) return std::string(w.word);
  return std::to_string(number);
}

std::string joined(const std::vector<std::string>& elements, const Shape& shape) {
  std::string text;
  for (const std::string& e : elements) {
    if (!text.empty()) text.push_back(shape.separator);
    for (const char c : e) {
      if (shape.escaped_separator && c == shape.separator) text.push_back('\\');
      text.push_back(c);
    }
  }
  return text;
}

}  // namespace

Result<Value> parse_value(const Parameter& p, std::string_view text) {
  if (p.name == "backend_flag") return parse_flags(p, text);
  switch (p.kind) {
    case Kind::boolean:
      return parse_boolean(p, trimmed(text));
    case Kind::integer:
      return parse_integer(p, text);
    case Kind::real:
      return parse_real(p, text);
    case Kind::word:
      return parse_word(p, trimmed(text));
    case Kind::list:
      return parse_list(p, text);
    case Kind::text:
      break;
  }
  return Value{std::string(text)};
}

std::string format_value(const Parameter& p, const Value& value) {
  switch (p.kind) {
    case Kind::boolean:
      return std::get<bool>(value) ? "on" : "off";
    case Kind::real:
      return fmt::format("{:g}", std::get<double>(value));
    case Kind::word:
      return word_of(p, std::get<std::int64_t>(value));
    case Kind::list:
      return joined(std::get<std::vector<std::string>>(value), p.shape);
    case Kind::text:
      return std::get<std::string>(value);
    case Kind::integer:
      break;
  }
  const std::int64_t number = std::get<std::int64_t>(value);
  return p.shape.octal ? fmt::format("{:04o}", number) : with_unit(number, p.unit);
}

std::string status_value(const Parameter& p, const Value& value) {
  if (p.kind == Kind::boolean) return std::get<bool>(value) ? "1" : "0";
  if (p.kind == Kind::integer && !p.shape.octal) return std::to_string(std::get<std::int64_t>(value));
  // The facility is the one enum that SHOW POOL_STATUS prints as a word.
  if (p.kind == Kind::word && p.name != "syslog_facility") return std::to_string(std::get<std::int64_t>(value));
  return format_value(p, value);
}

std::string range_text(const Parameter& p) {
  if (p.kind == Kind::boolean) return "on, off";
  if (p.kind == Kind::real) return fmt::format("{} .. {}", p.shape.min, p.shape.max);
  if (p.kind == Kind::integer && p.shape.octal) return fmt::format("{:04o} .. {:04o}", p.shape.min, p.shape.max);
  if (p.kind == Kind::integer) return fmt::format("{} .. {}", p.shape.min, p.shape.max);
  std::string words;
  for (const EnumWord& w : p.shape.words)
    if (!w.hidden) words += fmt::format("{}{}", words.empty() ? "" : ", ", w.word);
  return words;
}

}  // namespace herdgate::config
