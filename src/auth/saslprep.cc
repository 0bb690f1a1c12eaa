#include "auth/saslprep.h"

#include <algorithm>
#include <optional>

namespace herdgate::auth {
namespace {

struct Mapping {
  unsigned char from;   // U+00xx
  std::string_view to;  // UTF-8
};
// The characters of Latin-1 that do not stand for themselves. NO-BREAK SPACE is C.1.2, SOFT HYPHEN is B.1, the
// others have a compatibility decomposition. (A space before a combining mark never composes with it.)
constexpr Mapping kMappings[] = {
    {0xA0, " "},
    {0xA8, " \xCC\x88"},
    {0xAA, "a"},
    {0xAD, ""},
    {0xAF, " \xCC\x84"},
    {0xB2, "2"},
    {0xB3, "3"},
    {0xB4, " \xCC\x81"},
    {0xB5, "\xCE\xBC"},
    {0xB8, " \xCC\xA7"},
    {0xB9, "1"},
    {0xBA, "o"},
    {0xBC, "1\xE2\x81\x84\x34"},
    {0xBD, "1\xE2\x81\x84\x32"},
    {0xBE, "3\xE2\x81\x84\x34"},
};

bool is_prohibited(unsigned c) { return c < 0x20 || (c >= 0x7F && c < 0xA0); }

void append_prepared(std::string& out, unsigned char c) {
  const auto* found =
      std::find_if(std::begin(kMappings), std::end(kMappings), [&](const Mapping& m) { return m.from == c; });
  if (found != std::end(kMappings)) {
    out += found->to;
  } else if (c < 0x80) {
    out.push_back(static_cast<char>(c));
  } else {
    out.push_back(static_cast<char>(0xC0 | c >> 6));
    out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
  }
}

// nullopt: a character beyond Latin-1, a prohibited one, or broken UTF-8.
std::optional<std::string> prepare_latin1(ByteView text) {
  std::string out;
  out.reserve(text.size() * 3);
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned c = static_cast<unsigned char>(text[i]);
    if (c == 0xC2 || c == 0xC3) {
      const unsigned next = ++i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
      if ((next & 0xC0) != 0x80) return std::nullopt;
      c = (c & 0x1F) << 6 | (next & 0x3F);
    } else if (c >= 0x80) {
      return std::nullopt;
    }
    if (is_prohibited(c)) return std::nullopt;
    append_prepared(out, static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace

Secret saslprep(ByteView password) {
  auto prepared = prepare_latin1(password);
  if (!prepared || prepared->empty()) return Secret(std::string(password));
  return Secret(std::move(*prepared));
}

}  // namespace herdgate::auth
