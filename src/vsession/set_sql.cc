#include "vsession/set_sql.h"

#include <algorithm>

namespace herdgate::vsession {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Lists whose elements are identifiers: one string in SET is one element there, but a whole list in set_config() and in
// the startup packet. Extensions cannot define more of them.
bool is_list_of_names(std::string_view name) {
  return name == "search_path" || name == "temp_tablespaces" || name == "local_preload_libraries" ||
         name == "session_preload_libraries";
}

std::string set_config_sql(std::string_view name, std::string_view value, bool local) {
  return "SELECT pg_catalog.set_config(" + quote_literal(name) + ", " + quote_literal(value) +
         (local ? ", true)" : ", false)");
}

std::string set_sql(std::string_view name, const std::vector<std::string>& values) {
  if (name == "session_authorization") return "SET SESSION AUTHORIZATION " + quote_literal(values.front());
  if (name == "role") return values.front() == "none" ? "SET ROLE NONE" : "SET ROLE " + quote_literal(values.front());
  std::string sql = "SET " + quote_name(name) + " TO ";
  for (std::size_t i = 0; i < values.size(); ++i) sql += (i == 0 ? "" : ", ") + quote_literal(values[i]);
  return sql;
}

// SET TIME ZONE INTERVAL '…' HOUR TO MINUTE: neither its parts nor its meaning fit into one constant, so the client's
// own words are kept. nullopt: an interval may be there, but not where it can be cut out.
std::optional<std::string> interval_zone(std::string_view text, bool& is_interval) {
  is_interval = find_nocase(text, "interval") != std::string_view::npos;
  if (!is_interval) return std::nullopt;
  const std::size_t zone = find_nocase(text, "zone");
  if (zone == std::string_view::npos) return std::nullopt;
  const std::size_t word = text.find_first_not_of(" \t\r\n\f\v", zone + 4);
  if (word == std::string_view::npos || find_nocase(text.substr(word, 8), "interval") != 0) return std::nullopt;
  return "SET TIME ZONE " + std::string(text.substr(word));
}

struct DateStyle {
  std::string_view style, order;  // empty: not given
  bool from_default = false;      // DEFAULT is among the words: what stood before does not count
  bool known = true;              // every word is one that PostgreSQL takes
};

void add_word(DateStyle& to, std::string_view word) {
  const auto begins = [&](std::string_view with) { return equal_nocase(word.substr(0, with.size()), with); };
  if (equal_nocase(word, "iso")) {
    to.style = "ISO";
  } else if (equal_nocase(word, "sql")) {
    to.style = "SQL";
  } else if (begins("postgres")) {
    to.style = "Postgres";
  } else if (equal_nocase(word, "german")) {
    to.style = "German";
    if (to.order.empty()) to.order = "DMY";
  } else if (equal_nocase(word, "ymd")) {
    to.order = "YMD";
  } else if (equal_nocase(word, "dmy") || begins("euro")) {
    to.order = "DMY";
  } else if (equal_nocase(word, "mdy") || equal_nocase(word, "us") || begins("noneuro")) {
    to.order = "MDY";
  } else if (equal_nocase(word, "default")) {
    to.from_default = true;
  } else {
    to.known = false;
  }
}

void add_words(DateStyle& to, std::string_view list) {
  constexpr std::string_view kBetween = ", \t\r\n\f\v\"";
  for (std::size_t at = list.find_first_not_of(kBetween); at != std::string_view::npos;) {
    const std::size_t end = std::min(list.find_first_of(kBetween, at), list.size());
    add_word(to, list.substr(at, end - at));
    at = list.find_first_not_of(kBetween, end);
  }
}

}  // namespace

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x80; });
}

bool equal_nocase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

std::size_t find_nocase(std::string_view text, std::string_view lower_word) {
  const auto at = std::search(text.begin(), text.end(), lower_word.begin(), lower_word.end(),
                              [](char x, char y) { return lower(x) == y; });
  return at == text.end() ? std::string_view::npos : static_cast<std::size_t>(at - text.begin());
}

std::string canonical_name(std::string_view name) {
  std::string out(name);
  std::transform(out.begin(), out.end(), out.begin(), lower);
  if (out == "sort_mem") return "work_mem";  // PostgreSQL still knows these two by their names of long ago
  if (out == "vacuum_mem") return "maintenance_work_mem";
  return out;
}

// With a backslash in it the E form is used: the plain one means something else under standard_conforming_strings =
// off.
std::string quote_literal(std::string_view text) {
  const bool escaped = text.find('\\') != std::string_view::npos;
  std::string out = escaped ? "E'" : "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += c;
    out += c;
  }
  return out + "'";
}

std::string quote_name(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '.') {
      out += "\".\"";
      continue;
    }
    if (c == '"') out += c;
    out += c;
  }
  return out + "\"";
}

bool not_of_the_session(std::string_view name) {
  return name == "transaction_isolation" || name == "transaction_read_only" || name == "transaction_deferrable" ||
         name == "seed";
}

sql::TransactionOptions options_of(const sql::Setting& setting) {
  sql::TransactionOptions options;
  if (setting.values.empty()) return options;
  const std::string name = canonical_name(setting.name);
  const std::string& value = setting.values.front();
  if (name == "transaction_isolation") options.isolation = parse_isolation(value);
  if (name == "transaction_read_only") options.read_only = parse_bool(value);
  if (name == "transaction_deferrable") options.deferrable = parse_bool(value);
  return options;
}

std::optional<Parameter> parameter_of(const sql::Setting& setting, std::string_view text) {
  if (setting.values.empty()) return std::nullopt;
  Parameter out;
  out.name = canonical_name(setting.name);
  out.value = setting.values.front();
  if (setting.from_set_config) return raw_parameter(out.name, out.value);
  bool is_interval = false;
  auto interval = out.name == "timezone" ? interval_zone(text, is_interval) : std::nullopt;
  if (is_interval && !interval) return std::nullopt;
  out.sql = interval ? std::move(*interval) : set_sql(out.name, setting.values);
  if (is_interval) out.value = out.sql;  // INTERVAL '-8' HOUR is not the zone '-8'
  return out;
}

namespace {

bool beyond_ascii(char c) { return static_cast<unsigned char>(c) >= 0x80; }

std::string in_hex(char c) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const auto octet = static_cast<unsigned char>(c);
  return {'\\', 'x', kDigits[octet >> 4U], kDigits[octet & 0xfU]};
}

// E'…' in which every octet stands for itself, in the server's encoding and not in the client's.
std::string quote_octets(std::string_view text) {
  std::string out = "E'";
  for (const char c : text) {
    if (beyond_ascii(c)) {
      out += in_hex(c);
    } else {
      if (c == '\'' || c == '\\') out += c;
      out += c;
    }
  }
  return out + "'";
}

}  // namespace

// A server does not convert what the startup packet says, and of application_name it makes ASCII.
Parameter octets_parameter(Parameter raw) {
  if (std::none_of(raw.value.begin(), raw.value.end(), beyond_ascii)) return raw;
  if (raw.name == "application_name") {
    std::string ascii;
    for (const char c : raw.value) ascii += beyond_ascii(c) ? in_hex(c) : std::string(1, c);
    return raw_parameter(raw.name, ascii);
  }
  const std::string plain = quote_literal(raw.value);
  const std::size_t at = raw.sql.find(plain);
  if (at != std::string::npos) raw.sql.replace(at, plain.size(), quote_octets(raw.value));
  return raw;
}

Parameter raw_parameter(std::string_view name, std::string_view value) {
  Parameter out{.name = canonical_name(name), .sql = {}, .value = std::string(value)};
  out.sql = is_list_of_names(out.name) ? set_config_sql(out.name, value, false) : set_sql(out.name, {out.value});
  return out;
}

Parameter date_style(std::string_view now, const std::vector<std::string>& values) {
  DateStyle wanted, before;
  std::string all;
  for (const std::string& value : values) all += (all.empty() ? "" : ", ") + value;
  add_words(wanted, all);
  add_words(before, now);
  if (!wanted.known || !before.known) return raw_parameter("datestyle", all);
  if (!wanted.from_default && wanted.style.empty()) wanted.style = before.style;
  if (!wanted.from_default && wanted.order.empty()) wanted.order = before.order;
  std::string value;
  for (const std::string_view half : {wanted.style, wanted.order}) {
    if (!half.empty()) value.append(value.empty() ? "" : ", ").append(half);
  }
  if (wanted.style.empty() || wanted.order.empty()) value.append(value.empty() ? "" : ", ").append("DEFAULT");
  return raw_parameter("datestyle", value);
}

int replay_rank(std::string_view name) {
  if (name == "client_encoding") return 0;
  if (name == "session_authorization") return 1;
  return name == "role" ? 2 : 3;
}

std::string reset_sql(std::string_view name) {
  if (name == "session_authorization") return "RESET SESSION AUTHORIZATION";
  if (name == "role") return "RESET ROLE";
  return "RESET " + quote_name(name);
}

std::string as_local(const Parameter& parameter) {
  constexpr std::string_view kSet = "SET ";
  if (parameter.sql.starts_with(kSet)) return "SET LOCAL " + parameter.sql.substr(kSet.size());
  return set_config_sql(parameter.name, parameter.value, true);
}

std::string local_default_sql(std::string_view name) {
  if (name == "session_authorization") return "SET LOCAL SESSION AUTHORIZATION DEFAULT";
  return "SET LOCAL " + quote_name(name) + " TO DEFAULT";
}

// As PostgreSQL reads a boolean parameter: any beginning of the word that is not ambiguous.
std::optional<bool> parse_bool(std::string_view text) {
  const auto begins = [&](std::string_view word, std::size_t least) {
    return text.size() >= least && text.size() <= word.size() && equal_nocase(text, word.substr(0, text.size()));
  };
  if (begins("true", 1) || begins("yes", 1) || equal_nocase(text, "on") || text == "1") return true;
  if (begins("false", 1) || begins("no", 1) || begins("off", 2) || text == "0") return false;
  return std::nullopt;
}

namespace {
constexpr std::string_view kIsolationNames[] = {"read uncommitted", "read committed", "repeatable read",
                                                "serializable"};
}

std::optional<sql::Isolation> parse_isolation(std::string_view text) {
  for (std::size_t i = 0; i < std::size(kIsolationNames); ++i) {
    if (equal_nocase(text, kIsolationNames[i])) return static_cast<sql::Isolation>(i);
  }
  return std::nullopt;
}

std::string_view isolation_name(sql::Isolation isolation) {
  return kIsolationNames[static_cast<std::size_t>(isolation)];
}

}  // namespace herdgate::vsession
