#include "cache/defaults.h"

#include "base/hash.h"

namespace herdgate::cache {
namespace {

// Those by which an answer, or what a text means, may differ. A server that does not know one gives null. Not among
// them: what only changes how fast an answer comes, or in which order where none was asked for.
constexpr std::string_view kNames[] = {
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "array_nulls",
    "backslash_quote",
    "bytea_output",
    "client_encoding",
    "default_text_search_config",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "escape_string_warning",
    "extra_float_digits",
    "gin_fuzzy_search_limit",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lo_compat_privileges",
    "operator_precedence_warning",
    "quote_all_identifiers",
    "role",
    "row_security",
    "search_path",
    "session_replication_role",
    "standard_conforming_strings",
    "synchronize_seqscans",
    "timezone_abbreviations",
    "transform_null_equals",
    "xmlbinary",
    "xmloption",
};

// Roles and databases by oid, too: another one may have the name by now.
// A dotted name is known only where an ALTER has set it; operators are named in full, since the role's search_path is
// in force. current_setting() says what the link has, whatever has been altered since its login.
std::string question() {
  std::string names;
  for (const std::string_view name : kNames) {
    if (!names.empty()) names += ',';
    names += '\'';
    names += name;
    names += '\'';
  }
  return "SELECT n, v FROM (SELECT n, pg_catalog.current_setting(n, true) FROM (SELECT pg_catalog.unnest(ARRAY[" +
         names +
         "]::pg_catalog.text[]) UNION SELECT pg_catalog.split_part(c, '=', 1) FROM pg_catalog.pg_db_role_setting, "
         "pg_catalog.unnest(setconfig) AS c WHERE pg_catalog.strpos(pg_catalog.split_part(c, '=', 1), '.') "
         "OPERATOR(pg_catalog.>) 0 AND (setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid OR setdatabase "
         "OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) "
         "pg_catalog.current_database())) AND (setrole OPERATOR(pg_catalog.=) 0::pg_catalog.oid OR setrole "
         "OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) "
         "session_user))) AS names(n) UNION ALL SELECT '= database', oid::pg_catalog.text FROM pg_catalog.pg_database "
         "WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database() UNION ALL SELECT pg_catalog.concat("
         "'= role', rolname OPERATOR(pg_catalog.=) session_user), oid::pg_catalog.text FROM pg_catalog.pg_roles "
         "WHERE rolname OPERATOR(pg_catalog.=) ANY (ARRAY[session_user, current_user])) AS given(n, v) "
         "ORDER BY n COLLATE pg_catalog.\"C\"";
}

// In the rows a name is followed by the length of its value, and that by the value.
bool say_read_committed(ByteView rows) {
  constexpr std::string_view kName = "default_transaction_isolation";
  const std::size_t at = rows.find(kName);
  if (at == ByteView::npos || rows.size() - at < kName.size() + sizeof(std::uint32_t)) return false;
  const ByteView rest = rows.substr(at + kName.size());
  const ByteView value = rest.substr(sizeof(std::uint32_t), load_u32(rest.data()));
  return value == "read committed" || value == "read uncommitted";
}

}  // namespace

const std::string& defaults_question() {
  static const std::string text = question();
  return text;
}

// Not keyed: proxies that share entries must agree, and who could choose the values to aim at it could set them.
std::uint64_t defaults_of(ByteView rows) {
  if (rows.empty() || rows.size() > kMaxDefaultsBytes) return 0;
  const std::uint64_t hash = hash128({}, rows).hi & ~std::uint64_t{1};
  return (hash != 0 ? hash : 2) | (say_read_committed(rows) ? 0 : 1);
}

}  // namespace herdgate::cache
