// The SQL that sets a parameter again on another link, from what the client said. Pure.
//
// Shape    a Parameter's sql is always for the session level; as_local() gives the same for SET LOCAL.
// Units    names as canonical_name() gives them: lower case, old spellings replaced.
// Threads  pure.
// Source   PostgreSQL manual: SET, SET ROLE, SET SESSION AUTHORIZATION, "Setting Parameters".
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sql/facts.h"
#include "vsession/virtual_session.h"

namespace herdgate::vsession {

std::string canonical_name(std::string_view name);
std::string quote_literal(std::string_view text);
std::string quote_name(std::string_view name);  // "x"; a dotted name part by part

// Ends with the transaction whatever the form of SET: transaction_isolation and its like; also seed, which is an
// action.
bool not_of_the_session(std::string_view name);
// SET transaction_isolation = … and its like: SET TRANSACTION in other words.
sql::TransactionOptions options_of(const sql::Setting& setting);
// A setting with SetForm::value. nullopt: it cannot be said again faithfully.
std::optional<Parameter> parameter_of(const sql::Setting& setting, std::string_view text);
// A value as the startup packet gives it: not SQL, no list syntax.
Parameter raw_parameter(std::string_view name, std::string_view value);
// The same for a session whose encoding has octets like quotes and backslashes within its characters: in ASCII.
Parameter octets_parameter(Parameter raw);

// DateStyle, whose words change only one half of it each: `values` over what the session has set up to now ("" when
// nothing). A half that nobody gave is the login's.
Parameter date_style(std::string_view now, const std::vector<std::string>& values);

// client_encoding before session_authorization before role before the rest: a client's octets mean what they meant to
// it only under its encoding, and rights come with the role.
int replay_rank(std::string_view name);

std::string reset_sql(std::string_view name);
std::string as_local(const Parameter& parameter);
std::string local_default_sql(std::string_view name);

std::optional<bool> parse_bool(std::string_view text);
std::optional<sql::Isolation> parse_isolation(std::string_view text);
std::string_view isolation_name(sql::Isolation isolation);
bool is_ascii(std::string_view text);
bool equal_nocase(std::string_view a, std::string_view b);
std::size_t find_nocase(std::string_view text, std::string_view lower_word);

}  // namespace herdgate::vsession
