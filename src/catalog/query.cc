// The text that asks a server. Every function, type and operator is written with its schema, and no construct is used
// that looks up an operator by its bare name (IN, BETWEEN, CASE x WHEN, USING, LIKE, IS DISTINCT FROM).
#include <fmt/format.h>

#include "catalog/catalog.h"

namespace herdgate::catalog {
namespace {

// Safe whatever standard_conforming_strings and backslash_quote say.
std::string literal(std::string_view text) {
  std::string out = "E'";
  for (char c : text) {
    if (c == '\'' || c == '\\') out.push_back(c);
    out.push_back(c);
  }
  return out + "'";
}

std::string name_or_null(std::string_view text) {
  return (text.empty() ? std::string("NULL") : literal(text)) + "::pg_catalog.name";
}

template <class Names>
std::string values(const Names& names, std::size_t count) {
  std::string out = "(VALUES ";
  for (std::size_t i = 0; i < count; ++i)
    out += fmt::format("{}({}, {}, {})", i ? ", " : "", i, name_or_null(names[i].schema), name_or_null(names[i].name));
  return out + ")";
}

// `=` below stands for OPERATOR(pg_catalog.=), and so on: put in at the end, after which only literals are added.
std::string with_operators(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string_view two = text.substr(i, 2);
    if (two == "<>" || two == "||") {
      out += fmt::format("OPERATOR(pg_catalog.{})", two);
      ++i;
    } else if (text[i] == '=') {
      out += "OPERATOR(pg_catalog.=)";
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

// found: the relation each name means. A schema that is written is looked up in pg_namespace, because to_regclass
// raises an error where the role lacks USAGE. below: it and everything a view reads or a parent has as children
// (`child`). Dependencies on built-in objects are not in pg_depend, so the rule's own tree is searched. Views of
// pg_catalog (schema 11) are not opened.
// {few} is always true. The planner takes each step of a recursion for ten times as many rows as the step before, and
// at costs over 100,000 (jit_above_cost) it compiles the query: 4.5 s instead of 40 ms. A range makes it expect few.
constexpr std::string_view kRelationParts =
    " found(p, id) AS (SELECT a.p, CASE WHEN a.s IS NULL"
    " THEN pg_catalog.to_regclass(pg_catalog.quote_ident(a.n::pg_catalog.text))::pg_catalog.oid"
    " ELSE (SELECT c.oid FROM pg_catalog.pg_class c, pg_catalog.pg_namespace s"
    " WHERE s.oid = c.relnamespace AND c.relname = a.n AND (s.nspname = a.s"
    " OR (a.s = 'pg_temp'::pg_catalog.name AND s.oid = pg_catalog.pg_my_temp_schema())) LIMIT 1) END FROM asked a),"
    " below(p, id, child) AS (SELECT f.p, f.id, false FROM found f WHERE f.id IS NOT NULL"
    " UNION SELECT b.p, e.id, e.child OR b.child FROM below b, LATERAL"
    " (SELECT (m.x)[1]::pg_catalog.oid, false FROM pg_catalog.pg_class c, pg_catalog.pg_rewrite r,"
    " LATERAL pg_catalog.regexp_matches(r.ev_action::pg_catalog.text, ':relid ([0-9]+)', 'g') m(x)"
    " WHERE c.oid = b.id AND c.relnamespace <> 11::pg_catalog.oid AND r.ev_class = c.oid"
    " AND r.ev_type = '1'::pg_catalog.\"char\""
    " UNION ALL SELECT i.inhrelid, true FROM pg_catalog.pg_inherits i WHERE i.inhparent = b.id) e(id, child)"
    " WHERE {few b}),"
    // one row for each relation that was reached
    " seen AS (SELECT b.p, b.child, b.id = f.id AS root, s.nspname, c.relname, c.relkind, c.oid,"
    " CASE WHEN c.relnamespace = 11::pg_catalog.oid THEN 'c' ELSE '' END"
    " || CASE WHEN c.relpersistence = 't'::pg_catalog.\"char\" THEN 't' ELSE '' END"
    " || CASE WHEN c.relpersistence = 'u'::pg_catalog.\"char\" THEN 'u' ELSE '' END"
    " || CASE WHEN c.relrowsecurity THEN 's' ELSE '' END"
    " || CASE WHEN c.relkind = 'v'::pg_catalog.\"char\" OR c.relkind = 'm'::pg_catalog.\"char\""
    " THEN 'v' ELSE '' END"
    " || CASE WHEN c.relkind = 'm'::pg_catalog.\"char\" THEN 'm' ELSE '' END"
    " || CASE WHEN c.relkind = 'r'::pg_catalog.\"char\" OR c.relkind = 'p'::pg_catalog.\"char\""
    " OR c.relkind = 'v'::pg_catalog.\"char\" OR c.relkind = 'm'::pg_catalog.\"char\" THEN '' ELSE 'k' END"
    " AS flags"
    " FROM below b, found f, pg_catalog.pg_class c, pg_catalog.pg_namespace s"
    " WHERE f.p = b.p AND c.oid = b.id AND s.oid = c.relnamespace),"
    // what a write may reach: foreign keys act by internal triggers of the table they refer to, whose functions are
    // RI_FKey_cascade_del and _upd, _setnull_del and _upd, _setdefault_del and _upd
    " touched(p, id) AS (SELECT b.p, b.id FROM below b WHERE {few b} UNION SELECT t.p, e.id FROM touched t, LATERAL"
    " (SELECT g.tgconstrrelid FROM pg_catalog.pg_trigger g WHERE g.tgrelid = t.id AND g.tgisinternal"
    " AND (g.tgfoid = 1646::pg_catalog.oid OR g.tgfoid = 1647::pg_catalog.oid OR g.tgfoid = 1650::pg_catalog.oid"
    " OR g.tgfoid = 1651::pg_catalog.oid OR g.tgfoid = 1652::pg_catalog.oid OR g.tgfoid = 1653::pg_catalog.oid)"
    " UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = t.id) e(id) WHERE {few t}),"
    // the functions that a view calls; the rows of a materialized one below are its own
    " within(p, id) AS (SELECT DISTINCT s.p, (m.x)[1]::pg_catalog.oid FROM seen s, pg_catalog.pg_rewrite r,"
    " LATERAL pg_catalog.regexp_matches(r.ev_action::pg_catalog.text,"
    " ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)', 'g') m(x) WHERE r.ev_class = s.oid"
    " AND r.ev_type = '1'::pg_catalog.\"char\" AND s.nspname <> 'pg_catalog'::pg_catalog.name"
    " AND (s.root OR s.relkind <> 'm'::pg_catalog.\"char\")),"
    // the functions of its triggers, each with those that it may call, whose sources say what they do
    " helps(p, of, id) AS (SELECT 0, f.oid, f.oid FROM touched t, pg_catalog.pg_trigger g, pg_catalog.pg_proc f"
    " WHERE g.tgrelid = t.id AND f.oid = g.tgfoid AND {made f}"
    " UNION SELECT e.p, e.of, h.oid FROM helps e, pg_catalog.pg_proc f, pg_catalog.pg_proc h WHERE {few e}"
    " AND f.oid = e.id AND {made h} AND h.prolang <> 12::pg_catalog.oid AND h.prolang <> 13::pg_catalog.oid"
    " AND {h named by f})";

// {h named by f}: the source of f has the name of h before a parenthesis; one that is no plain word, anywhere. Or its
// body of BEGIN ATOMIC calls it.
constexpr std::string_view kNamed =
    "((pg_catalog.strpos(pg_catalog.lower(f.prosrc), pg_catalog.lower(h.proname::pg_catalog.text)) <> 0"
    " AND (h.proname::pg_catalog.text OPERATOR(pg_catalog.!~) '^[a-z_][a-z0-9_]*$'::pg_catalog.text"
    " OR f.prosrc OPERATOR(pg_catalog.~*) ('(^|[^a-z0-9_])'::pg_catalog.text || h.proname::pg_catalog.text"
    " || '\"?[[:space:]]*[(]'::pg_catalog.text))) OR (f.prosrc = ''::pg_catalog.text"
    " AND pg_catalog.strpos(f::pg_catalog.text, ':funcid '::pg_catalog.text || h.oid::pg_catalog.text"
    " || ' '::pg_catalog.text) <> 0))";

// {defines f}: the source of f may hold a definition, writes to a system catalog, or runs a text that does.
constexpr std::string_view kDefines =
    "{f}.prosrc OPERATOR(pg_catalog.~*)"
    " '(^|[^a-z0-9_])((create|alter|drop|import|execute|call|grant|revoke|reassign)([^a-z0-9_]|$)"
    "|(update|(insert|merge)[[:space:]]+into|delete[[:space:]]+from)[[:space:]]+(only[[:space:]]+)?"
    "(pg_catalog[.])?pg_)'::pg_catalog.text";

// {runs text f}: it is one of PostgreSQL's own that run a text or a view; {names} are theirs.
constexpr std::string_view kRunsText =
    "(f.oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid"
    " AND f.proname::pg_catalog.text OPERATOR(pg_catalog.~) '^({names})'::pg_catalog.text)";

// {leaves f}: the source of f, without its comments, may change what the session has set, locked or created, or runs a
// text that does. The SET of an UPDATE is none, but for that of pg_settings.
constexpr std::string_view kLeaves =
    "({sets f} OR pg_catalog.strpos(pg_catalog.lower(f.prosrc), 'pg_settings'::pg_catalog.text) <> 0 OR"
    " pg_catalog.regexp_replace(pg_catalog.regexp_replace(pg_catalog.regexp_replace(f.prosrc,"
    " '(?n)--.*'::pg_catalog.text, ''::pg_catalog.text, 'g'::pg_catalog.text),"
    " '/[*].*?[*]/'::pg_catalog.text, ' '::pg_catalog.text, 'g'::pg_catalog.text),"
    " 'update([[:space:]]+(?!(loop|then|begin|else)[[:space:]])[^[:space:];]+){0,4}[[:space:]]+set([^a-z0-9_]|$)'"
    "::pg_catalog.text, ' '::pg_catalog.text, 'gi'::pg_catalog.text) OPERATOR(pg_catalog.~*)"
    " '(^|[^a-z0-9_])(set|reset|set_config|temp|temporary|pg_temp|load|listen|unlisten|execute|call|prepare|deallocate"
    "|discard|pg_(try_)?advisory_lock(_shared)?)([^a-z0-9_]|$)'::pg_catalog.text)";
// {leaves r}: what the rule r runs calls a function of a user that may do so, or one of PostgreSQL's that does; or it
// writes or reads what has triggers or rules of its own, as pg_settings has.
constexpr std::string_view kRuleLeaves =
    "(EXISTS (SELECT FROM pg_catalog.regexp_matches(r.ev_action::pg_catalog.text, ':funcid ([0-9]+)', 'g') m(x),"
    " pg_catalog.pg_proc f WHERE f.oid = (m.x)[1]::pg_catalog.oid AND (f.proname = 'set_config'::pg_catalog.name"
    " OR ({made f} AND (f.provolatile = 'v'::pg_catalog.\"char\" OR {sets f}))"
    " OR pg_catalog.strpos(f.proname::pg_catalog.text, 'advisory_lock'::pg_catalog.text) <> 0))"
    " OR EXISTS (SELECT FROM pg_catalog.regexp_matches(r.ev_action::pg_catalog.text, ':relid ([0-9]+)', 'g') m(x)"
    " WHERE (m.x)[1]::pg_catalog.oid <> r.ev_class AND (EXISTS (SELECT FROM pg_catalog.pg_trigger g"
    " WHERE g.tgrelid = (m.x)[1]::pg_catalog.oid AND g.tgfoid OPERATOR(pg_catalog.>) 16383::pg_catalog.oid)"
    " OR EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.ev_class = (m.x)[1]::pg_catalog.oid"
    " AND w.ev_type <> '1'::pg_catalog.\"char\"))))";

// Kinds of row: r the relation itself, d flags of something below it (names left out), b a relation under a view,
// w a function called by a view that is volatile, runs such a one beside its body, or runs a text, o the oid of what a
// read reaches, t of what a write reaches beside that, x a trigger (not one of PostgreSQL's own functions) or a rule
// that a write may run. A flag d with w or x: it may define; l with x: it may leave something in the session.
constexpr std::string_view kRelationRows =
    "SELECT 'r'::pg_catalog.text, s.p::pg_catalog.text, s.nspname::pg_catalog.text, s.relname::pg_catalog.text,"
    " s.flags::pg_catalog.text FROM seen s WHERE s.root AND NOT s.child"
    " UNION ALL (SELECT DISTINCT 'd', s.p::pg_catalog.text, '', '', s.flags FROM seen s WHERE NOT s.root)"
    " UNION ALL (SELECT DISTINCT 'b', s.p::pg_catalog.text, s.nspname::pg_catalog.text, s.relname::pg_catalog.text, ''"
    " FROM seen s WHERE NOT s.root AND NOT s.child AND s.relkind <> 'v'::pg_catalog.\"char\" LIMIT {limit})"
    " UNION ALL (SELECT DISTINCT 'w', w.p::pg_catalog.text, '', '', CASE WHEN {defines f} OR {runs text f} THEN 'd'"
    " ELSE '' END FROM within w, pg_catalog.pg_proc f WHERE f.oid = w.id"
    " AND (f.provolatile = 'v'::pg_catalog.\"char\" OR {runs text f}))"
    " UNION ALL (SELECT DISTINCT 'w', w.p::pg_catalog.text, '', '', CASE WHEN beside.d THEN 'd' ELSE '' END"
    " FROM within w, pg_catalog.pg_proc f, {beside f} WHERE f.oid = w.id AND {made f} AND beside.v)"
    // of its rows' type, of one that they become by themselves, or of any (record, any, anyelement, anynonarray,
    // anycompatible, anycompatiblenonarray)
    " UNION ALL (SELECT DISTINCT 'q', s.p::pg_catalog.text, p.proname::pg_catalog.text, '',"
    " CASE WHEN p.provolatile = 'v'::pg_catalog.\"char\" THEN 'w' ELSE '' END"
    " FROM seen s, pg_catalog.pg_class c, pg_catalog.pg_proc p, pg_catalog.pg_type y WHERE s.root AND NOT "
    "s.child"
    " AND c.oid = s.oid AND {made p} AND p.provolatile <> 'i'::pg_catalog.\"char\""
    " AND (p.pronargs OPERATOR(pg_catalog.-) p.pronargdefaults) OPERATOR(pg_catalog.<) 2 AND y.oid = p.proargtypes[0]"
    " AND (y.oid = c.reltype OR y.oid = c.reloftype OR y.typbasetype = c.reltype OR y.oid = 2249::pg_catalog.oid"
    " OR y.oid = 2276::pg_catalog.oid OR y.oid = 2283::pg_catalog.oid OR y.oid = 2776::pg_catalog.oid"
    " OR y.oid = 5077::pg_catalog.oid OR y.oid = 5079::pg_catalog.oid OR (y.typtype = 'c'::pg_catalog.\"char\""
    " AND EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid)))"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute t WHERE t.attrelid = c.oid AND t.attname = p.proname"
    " AND NOT t.attisdropped) LIMIT {limit})"
    " UNION ALL (SELECT DISTINCT 'o', b.p::pg_catalog.text, b.id::pg_catalog.text, '', '' FROM below b LIMIT {limit})"
    " UNION ALL (SELECT DISTINCT 't', t.p::pg_catalog.text, t.id::pg_catalog.text, '', '' FROM touched t"
    " WHERE NOT EXISTS (SELECT FROM below b WHERE b.p = t.p AND b.id = t.id) LIMIT {limit})"
    " UNION ALL (SELECT DISTINCT 'x', t.p::pg_catalog.text, '', '', CASE WHEN EXISTS"
    " (SELECT FROM pg_catalog.pg_trigger g, pg_catalog.pg_proc f WHERE g.tgrelid = t.id"
    " AND f.oid = g.tgfoid AND {made f} AND {defines f}) THEN 'd' ELSE '' END || CASE WHEN EXISTS"
    " (SELECT FROM pg_catalog.pg_trigger g, helps e, pg_catalog.pg_proc f WHERE g.tgrelid = t.id"
    " AND e.of = g.tgfoid AND f.oid = e.id AND {leaves f}) OR EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE "
    "r.ev_class = t.id"
    " AND r.ev_type <> '1'::pg_catalog.\"char\" AND {leaves r}) THEN 'l' ELSE '' END FROM touched t WHERE EXISTS"
    " (SELECT FROM pg_catalog.pg_trigger g, pg_catalog.pg_proc f WHERE g.tgrelid = t.id"
    " AND f.oid = g.tgfoid AND {made f})"
    " OR EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = t.id"
    " AND r.ev_type <> '1'::pg_catalog.\"char\"))";

// n: a function that a view calls, with v if it is volatile or runs a text; once more with v if what it runs beside its
// body is volatile. Asked where lists of names count; PostgreSQL's own that are not volatile, as those of operators
// are, are left out: they are many, and none writes.
constexpr std::string_view kCallRows =
    " UNION ALL (SELECT DISTINCT 'n', w.p::pg_catalog.text, s.nspname::pg_catalog.text, f.proname::pg_catalog.text,"
    " CASE WHEN f.provolatile = 'v'::pg_catalog.\"char\" OR {runs text f} THEN 'v' ELSE '' END"
    " FROM within w, pg_catalog.pg_proc f, pg_catalog.pg_namespace s"
    " WHERE f.oid = w.id AND s.oid = f.pronamespace AND ({made f} OR f.provolatile = 'v'::pg_catalog.\"char\""
    " OR {runs text f}) LIMIT {limit})"
    " UNION ALL (SELECT DISTINCT 'n', w.p::pg_catalog.text, s.nspname::pg_catalog.text, f.proname::pg_catalog.text, 'v'"
    " FROM within w, pg_catalog.pg_proc f, pg_catalog.pg_namespace s, {beside f}"
    " WHERE f.oid = w.id AND s.oid = f.pronamespace AND {made f} AND beside.v LIMIT {limit})";

// {beside f}: of what f runs beside its own body, which is what an aggregate is made of and what the defaults of its
// arguments call: is any volatile (v), stable (s), may any define (d), or set (c)? All null where there is nothing.
constexpr std::string_view kBeside =
    "LATERAL (SELECT pg_catalog.bool_or(h.provolatile = 'v'::pg_catalog.\"char\"),"
    " pg_catalog.bool_or(h.provolatile = 's'::pg_catalog.\"char\"),"
    " pg_catalog.bool_or({made h} AND {defines h}), pg_catalog.bool_or({made h} AND {sets h})"
    " FROM (SELECT a.id FROM pg_catalog.pg_aggregate g,"
    " LATERAL (VALUES (g.aggtransfn::pg_catalog.oid), (g.aggfinalfn::pg_catalog.oid), (g.aggcombinefn::pg_catalog.oid),"
    " (g.aggserialfn::pg_catalog.oid), (g.aggdeserialfn::pg_catalog.oid), (g.aggmtransfn::pg_catalog.oid),"
    " (g.aggminvtransfn::pg_catalog.oid), (g.aggmfinalfn::pg_catalog.oid)) a(id)"
    " WHERE g.aggfnoid::pg_catalog.oid = f.oid UNION ALL SELECT (m.x)[1]::pg_catalog.oid"
    " FROM pg_catalog.regexp_matches(f.proargdefaults::pg_catalog.text, ':(?:funcid|opfuncid) ([0-9]+)', 'g') m(x)) "
    "i(id),"
    " pg_catalog.pg_proc h WHERE {made f} AND h.oid = i.id) beside(v, s, d, c)";
// {sets f}: its source names set_config, or its body of BEGIN ATOMIC calls it (2078).
constexpr std::string_view kSets =
    "({f}.prosrc OPERATOR(pg_catalog.~*) 'set_config'::pg_catalog.text OR ({f}.prosrc = ''::pg_catalog.text"
    " AND pg_catalog.strpos({f}::pg_catalog.text, ':funcid 2078 '::pg_catalog.text) <> 0))";
// {time by f}: current_date and its like, as a default.
constexpr std::string_view kTimeByDefault =
    "(f.pronargdefaults <> 0"
    " AND pg_catalog.strpos(f.proargdefaults::pg_catalog.text, 'SQLVALUEFUNCTION'::pg_catalog.text) <> 0)";

// f: flags of all overloads of a name together. 1184 and 1266 are timestamptz and timetz.
constexpr std::string_view kFunctionRows =
    "SELECT 'f'::pg_catalog.text, a.p::pg_catalog.text, ''::pg_catalog.text, ''::pg_catalog.text,"
    " (CASE WHEN pg_catalog.bool_or(f.provolatile = 'v'::pg_catalog.\"char\" OR beside.v)"
    " THEN 'v' ELSE '' END"
    " || CASE WHEN pg_catalog.bool_or(f.provolatile = 's'::pg_catalog.\"char\" OR beside.s OR {time by f})"
    " THEN 's' ELSE '' END"
    " || CASE WHEN pg_catalog.bool_or({made f}) THEN 'u' ELSE '' END"
    " || CASE WHEN pg_catalog.bool_or(f.prorettype = 1184::pg_catalog.oid OR f.prorettype = 1266::pg_catalog.oid)"
    " THEN 'z' ELSE '' END || CASE WHEN pg_catalog.bool_or((f.provolatile = 'v'::pg_catalog.\"char\""
    " AND {made f} AND {defines f}) OR beside.d) THEN 'd' ELSE '' END"
    " || CASE WHEN pg_catalog.bool_or(({made f} AND {sets f}) OR beside.c) THEN 'c' ELSE '' END)::pg_catalog.text"
    " FROM called a, pg_catalog.pg_proc f, pg_catalog.pg_namespace s, {beside f} WHERE f.proname = a.n AND s.oid = "
    "f.pronamespace"
    " AND (a.s IS NULL OR s.nspname = a.s"
    " OR (a.s = 'pg_temp'::pg_catalog.name AND s.oid = pg_catalog.pg_my_temp_schema())) GROUP BY a.p";

// e: there are event triggers that DDL runs.
constexpr std::string_view kEventTriggers =
    "SELECT 'e'::pg_catalog.text, '0'::pg_catalog.text, ''::pg_catalog.text, ''::pg_catalog.text, ''::pg_catalog.text"
    " WHERE EXISTS (SELECT FROM pg_catalog.pg_event_trigger e WHERE e.evtenabled <> 'D'::pg_catalog.\"char\""
    " AND e.evtevent <> 'login'::pg_catalog.name)";

// {made f}: by a user, or by an extension, in whatever schema: oids below 16384 are PostgreSQL's own.
constexpr std::string_view kMade = "{f}.oid OPERATOR(pg_catalog.>) 16383::pg_catalog.oid";

void put_in(std::string& text, std::string_view mark, std::string_view words) {
  for (std::size_t at = 0; (at = text.find(mark, at)) != std::string::npos; at += words.size())
    text.replace(at, mark.size(), words);
}

// With `row` as the row of pg_proc that is looked at.
std::string of(std::string_view row, std::string_view text) {
  std::string out(text);
  put_in(out, "{f}", row);
  return out;
}

std::string names_that_run_text() {
  std::string out;
  for (const std::string_view name : sql::kRunText) out.append(out.empty() ? "" : "|").append(name);
  return out;
}

std::string filled_in(std::string_view text) {
  std::string out(text);
  put_in(out, "{beside f}", kBeside);
  put_in(out, "{time by f}", kTimeByDefault);
  put_in(out, "{limit}", std::to_string(kMaxBelow + 1));
  put_in(out, "{few b}", "b.p OPERATOR(pg_catalog.>) -1 AND b.p OPERATOR(pg_catalog.<) 1000000");
  put_in(out, "{runs text f}", kRunsText);
  put_in(out, "{names}", names_that_run_text());
  put_in(out, "{leaves f}", kLeaves);
  put_in(out, "{leaves r}", kRuleLeaves);
  for (const std::string row : {"f", "h", "p"}) {
    put_in(out, "{defines " + row + "}", of(row, kDefines));
    put_in(out, "{sets " + row + "}", of(row, kSets));
    put_in(out, "{made " + row + "}", of(row, kMade));
  }
  put_in(out, "{h named by f}", kNamed);
  put_in(out, "{few e}", "e.p OPERATOR(pg_catalog.>) -1 AND e.p OPERATOR(pg_catalog.<) 1000000");
  put_in(out, "{few t}", "t.p OPERATOR(pg_catalog.>) -1 AND t.p OPERATOR(pg_catalog.<) 1000000");
  return out;
}

}  // namespace

std::string query_for(const sql::Questions& questions) {
  const std::size_t relations = std::min(questions.relations.size(), kMaxQuestions);
  const std::size_t functions = std::min(questions.functions.size(), kMaxQuestions - relations);
  std::string head, rows;
  if (relations > 0) {
    head = " asked(p, s, n) AS " + values(questions.relations, relations) + "," +
           with_operators(filled_in(kRelationParts));
    rows = with_operators(filled_in(kRelationRows));
    if (questions.calls) rows += with_operators(filled_in(kCallRows));
  }
  if (functions > 0) {
    if (relations > 0) head += ",", rows += " UNION ALL ";
    head += " called(p, s, n) AS " + values(questions.functions, functions);
    rows += with_operators(filled_in(kFunctionRows));
  }
  const std::string events = with_operators(kEventTriggers);
  return head.empty() ? events : "WITH RECURSIVE" + head + " " + rows + " UNION ALL " + events;
}

}  // namespace herdgate::catalog
