// pool_hba.conf: text to rules.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "config/errc.h"
#include "config/findings.h"
#include "config/hba.h"

namespace herdgate::config {
namespace {

struct Token {
  std::string text;
  bool quoted = false;
};
using Field = std::vector<Token>;  // one column: words joined by commas

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v'; }

auto bad(std::string reason) { return fail(Errc::bad_rule, std::move(reason)); }

// One word: "quoted parts" may hold anything but the end of the line; "" inside them stands for one quote.
Result<Token> take_token(std::string_view& rest) {
  Token token;
  bool inside = false;
  std::size_t i = 0;
  for (; i < rest.size(); ++i) {
    const char c = rest[i];
    if (c == '"') {
      if (inside && i + 1 < rest.size() && rest[i + 1] == '"') {
        token.text.push_back(rest[++i]);
        continue;
      }
      inside = !inside;
      token.quoted = true;
    } else if (!inside && (is_blank(c) || c == ',' || c == '#')) {
      break;
    } else {
      token.text.push_back(c);
    }
  }
  if (inside) return bad("closing quote missing");
  rest.remove_prefix(i);
  return token;
}

void skip_blanks(std::string_view& rest) {
  while (!rest.empty() && is_blank(rest.front())) rest.remove_prefix(1);
}

Result<std::vector<Field>> split_fields(std::string_view rest) {
  std::vector<Field> fields;
  bool joined = false;  // a comma came before: the next word belongs to the same column
  for (skip_blanks(rest); !rest.empty() && rest.front() != '#'; skip_blanks(rest)) {
    if (rest.front() == ',') {
      if (fields.empty()) return bad("a line starts with local, host, hostssl or hostnossl");
      joined = true;
      rest.remove_prefix(1);
      continue;
    }
    HG_TRY(Token token, take_token(rest));
    if (!joined) fields.emplace_back();
    joined = false;
    fields.back().push_back(std::move(token));
  }
  return fields;
}

Result<HbaType> parse_type(const std::string& word) {
  if (word == "local") return HbaType::local;
  if (word == "host") return HbaType::host;
  if (word == "hostssl") return HbaType::hostssl;
  if (word == "hostnossl") return HbaType::hostnossl;
  return bad(fmt::format("unknown connection type \"{}\", a line starts with local, host, hostssl or hostnossl", word));
}

Result<std::vector<HbaName>> parse_names(const Field& field, std::string_view column) {
  std::vector<HbaName> names;
  for (const Token& token : field) {
    if (!token.quoted && (token.text == "samegroup" || token.text == "samerole") && column == "database")
      return bad(fmt::format("\"{}\" is not supported in the {} column", token.text, column));
    if (!token.quoted && token.text.starts_with('+'))
      return bad(fmt::format("group \"{}\" is not supported in the {} column", token.text, column));
    if (!token.quoted && token.text.starts_with('@'))
      return bad(fmt::format("file \"{}\" is not supported in the {} column", token.text, column));
    names.push_back({token.text, token.quoted});
  }
  return names;
}

IpAddress mask_of(bool v6, int length) {
  IpAddress mask;
  mask.v6 = v6;
  for (int bit = 0; bit < length; ++bit) mask.octets[static_cast<std::size_t>(bit / 8)] |= 0x80 >> bit % 8;
  return mask;
}

bool contiguous(const IpAddress& mask) {
  for (int length = 0; length <= mask.bits(); ++length)
    if (mask_of(mask.v6, length) == mask) return true;
  return false;
}

Result<Done> set_network(HbaRule& rule, const std::string& text) {
  const std::size_t slash = text.find('/');
  const std::string base = text.substr(0, slash), length = text.substr(slash + 1);
  // "0/0" is met in real files: an address of fewer parts than four.
  const auto address = base == "0" ? parse_ip("0.0.0.0") : parse_ip(base);
  const bool digits = !length.empty() && length.size() <= 3 &&
                      std::ranges::all_of(length, [](unsigned char c) { return std::isdigit(c); });
  if (!address || !digits || std::stoi(length) > address->bits())
    return bad(fmt::format("invalid address \"{}\"", text));
  rule.address_kind = HbaAddressKind::network;
  rule.address = *address;
  rule.mask = mask_of(address->v6, std::stoi(length));
  return Done{};
}

bool is_host_name(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isalnum(c) || c == '.' || c == '-' || c == '_'; });
}

// The address column, and for an address without a length the mask column after it. Returns the columns used.
Result<std::size_t> parse_address(HbaRule& rule, const std::vector<Field>& fields, std::size_t at) {
  if (fields[at].size() != 1) return bad("the address column takes one address");
  const Token& token = fields[at][0];
  constexpr std::pair<std::string_view, HbaAddressKind> kWords[] = {
      {"all", HbaAddressKind::all}, {"samehost", HbaAddressKind::samehost}, {"samenet", HbaAddressKind::samenet}};
  for (const auto& [word, kind] : kWords) {
    if (token.quoted || token.text != word) continue;
    rule.address_kind = kind;
    return std::size_t{1};
  }
  if (token.text.find('/') != std::string::npos) {
    HG_CHECK(set_network(rule, token.text));
    return std::size_t{1};
  }
  if (const auto address = parse_ip(token.text)) {
    if (at + 1 >= fields.size() || fields[at + 1].size() != 1)
      return bad(fmt::format("mask missing after address \"{}\"", token.text));
    const auto mask = parse_ip(fields[at + 1][0].text);
    if (!mask || mask->v6 != address->v6 || !contiguous(*mask))
      return bad(fmt::format("invalid mask \"{}\" for address \"{}\"", fields[at + 1][0].text, token.text));
    rule.address_kind = HbaAddressKind::network;
    rule.address = *address;
    rule.mask = *mask;
    return std::size_t{2};
  }
  if (!is_host_name(token.text)) return bad(fmt::format("invalid address \"{}\"", token.text));
  rule.address_kind = token.text.starts_with('.') ? HbaAddressKind::host_suffix : HbaAddressKind::host_name;
  rule.host = token.text;
  return std::size_t{1};
}

constexpr std::pair<std::string_view, HbaMethod> kMethods[] = {
    {"trust", HbaMethod::trust},       {"reject", HbaMethod::reject},
    {"md5", HbaMethod::md5},           {"scram-sha-256", HbaMethod::scram_sha_256},
    {"password", HbaMethod::password}, {"cert", HbaMethod::cert},
    {"pam", HbaMethod::pam},           {"ldap", HbaMethod::ldap}};

bool is_supported(HbaMethod m) { return m != HbaMethod::cert && m != HbaMethod::pam && m != HbaMethod::ldap; }

Result<HbaMethod> parse_method(const Field& field) {
  for (const auto& [word, method] : kMethods)
    if (field.size() == 1 && field[0].text == word) return method;
  std::string known;
  for (const auto& [word, method] : kMethods) {
    if (is_supported(method)) known.append(known.empty() ? "" : ", ").append(word);
  }
  return bad(
      fmt::format("unknown authentication method \"{}\" (known are {})", field.empty() ? "" : field[0].text, known));
}

Result<Done> parse_options(HbaRule& rule, std::span<const Field> fields) {
  for (const Field& field : fields) {
    if (field.size() != 1) return bad("options have the form name=value, without commas");
    const std::string& text = field[0].text;
    const std::size_t equals = text.find('=');
    // One option goes without a value.
    if (equals == std::string::npos && text != "backend_use_passwd")
      return bad(fmt::format("option \"{}\" is not of the form name=value", text));
    if (equals == 0) return bad(fmt::format("option \"{}\" has no name", text));
    rule.options[text.substr(0, equals)] = equals == std::string::npos ? "1" : text.substr(equals + 1);
  }
  return Done{};
}

Result<Done> check_method(const HbaRule& rule) {
  const HbaMethod m = rule.method;
  if (m == HbaMethod::cert && rule.type != HbaType::hostssl) return bad("cert goes with hostssl only");
  if (!is_supported(m))
    return bad(fmt::format("authentication method \"{}\" is not supported by this release", hba_method_name(m)));
  return Done{};
}

Result<HbaRule> parse_rule(const std::vector<Field>& fields) {
  HbaRule rule;
  if (fields[0].size() != 1) return bad("a line starts with local, host, hostssl or hostnossl");
  HG_TRY(rule.type, parse_type(fields[0][0].text));
  const bool local = rule.type == HbaType::local;
  constexpr std::string_view kColumns[] = {"database", "user", "address", "method"};
  const std::size_t wanted = local ? 4 : 5;
  if (fields.size() < wanted) {
    const std::size_t missing = fields.size() - 1;
    return bad(fmt::format("{} column missing", kColumns[local && missing == 2 ? 3 : missing]));
  }
  HG_TRY(rule.databases, parse_names(fields[1], "database"));
  HG_TRY(rule.users, parse_names(fields[2], "user"));
  std::size_t at = 3;
  if (!local) {
    HG_TRY(const std::size_t used, parse_address(rule, fields, at));
    at += used;
  }
  if (at >= fields.size()) return bad("method column missing");
  HG_TRY(rule.method, parse_method(fields[at]));
  HG_CHECK(parse_options(rule, std::span(fields).subspan(at + 1)));
  HG_CHECK(check_method(rule));
  return rule;
}

Result<std::optional<HbaRule>> parse_line(std::string_view line, int number) {
  if (line.size() > kMaxHbaLineBytes) return bad(fmt::format("line is longer than {} bytes", kMaxHbaLineBytes));
  if (line.find('\0') != std::string_view::npos) return bad("the line contains a zero byte");
  HG_TRY(const std::vector<Field> fields, split_fields(line));
  if (fields.empty()) return std::optional<HbaRule>{};
  HG_TRY(HbaRule rule, parse_rule(fields));
  rule.line = number;
  while (!line.empty() && is_blank(line.back())) line.remove_suffix(1);
  rule.text = std::string(line);
  return std::optional<HbaRule>(std::move(rule));
}

}  // namespace

std::string_view hba_method_name(HbaMethod method) {
  const auto at = std::ranges::find(kMethods, method, &std::pair<std::string_view, HbaMethod>::second);
  return at->first;
}

bool HbaLoaded::has_errors() const { return any_error(findings); }

HbaLoaded parse_hba(std::string_view text, const std::string& path) {
  HbaLoaded loaded;
  Findings findings;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    auto rule = parse_line(text.substr(0, end), number);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!rule) {
      findings.add({Severity::error, path, number, rule.error().text()});
    } else if (*rule && loaded.rules.size() == kMaxHbaRules) {
      findings.add({Severity::error, path, number, fmt::format("more than {} rules", kMaxHbaRules)});
      break;
    } else if (*rule) {
      loaded.rules.push_back(std::move(**rule));
    }
  }
  loaded.findings = findings.take(path);
  return loaded;
}

}  // namespace herdgate::config
