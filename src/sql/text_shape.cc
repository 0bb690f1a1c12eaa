#include "sql/text_shape.h"

#include <algorithm>
#include <array>

namespace herdgate::sql {
namespace {

// What a character means to shape_of(); plain and word characters are copied as they are.
enum CharClass : std::uint8_t { kPlain, kWord, kDigit, kQuote, kMinus, kSlash, kOpaque };

constexpr std::array<CharClass, 256> char_classes() {
  std::array<CharClass, 256> classes{};
  for (int c = 0; c < 256; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
    classes[static_cast<std::size_t>(c)] = letter ? kWord : c >= '0' && c <= '9' ? kDigit : kPlain;
  }
  classes['\''] = kQuote, classes['-'] = kMinus, classes['/'] = kSlash;
  classes['"'] = classes['$'] = classes['\\'] = kOpaque;
  return classes;
}
constexpr std::array<CharClass, 256> kClasses = char_classes();
CharClass class_of(char c) { return kClasses[static_cast<unsigned char>(c)]; }
bool in_word(char c) { return class_of(c) == kWord || class_of(c) == kDigit; }
bool in_number(char c) { return class_of(c) == kDigit || c == '.'; }

}  // namespace

bool shape_of(std::string_view text, TextShape& shape) {
  shape.text.resize(text.size());  // a shape is never longer
  shape.numbers.clear();
  char* out = shape.text.data();
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    const CharClass is = class_of(*p);
    const char next = p + 1 < end ? p[1] : '\0';
    if (is == kOpaque || (is == kMinus && next == '-') || (is == kSlash && next == '*')) return false;
    if (is == kQuote) {  // a constant stays as it is: 'now' means something
      const char* const close = std::find(p + 1, end, '\'');
      if (close == end || std::find(p, close, '\\') != close) return false;
      out = std::copy(p, close + 1, out);
      p = close + 1;
    } else if (is == kDigit && (p == text.data() || !in_word(p[-1]))) {
      while (p < end && in_number(*p)) ++p;
      if (p < end && (in_word(*p) || *p == '$')) return false;
      shape.numbers.push_back(static_cast<std::uint32_t>(out - shape.text.data()));
      *out++ = '0';
    } else {
      do *out++ = *p++;
      while (p < end && class_of(*p) <= kWord);
    }
  }
  shape.text.resize(static_cast<std::size_t>(out - shape.text.data()));
  return !shape.numbers.empty();
}

// What stands between the numbers must be the same, octet by octet. Then shape_of() would cut both texts alike: what it
// does at a place hangs on what came before and on the next octet, and next to a number both are of one class. A number
// is as long as it can be in both, so what follows begins neither with a digit nor with a point.
bool has_shape(std::string_view text, const TextShape& shape) {
  const std::string_view known = shape.text;
  std::size_t from = 0;
  for (const std::uint32_t number : shape.numbers) {
    const std::size_t between = number - from;
    if (!text.starts_with(known.substr(from, between))) return false;
    text.remove_prefix(between);
    if (text.empty() || class_of(text[0]) != kDigit) return false;
    std::size_t digits = 1;
    while (digits < text.size() && in_number(text[digits])) ++digits;
    text.remove_prefix(digits);
    from = number + 1;
  }
  return text == known.substr(from);
}

}  // namespace herdgate::sql
