// What a cached answer is filed under: everything that may change it. Pure.
//
// Shape    viewer_of() once for each state of a session: database, user, and all that it has set (role, search_path,
//          TimeZone, DateStyle and the like are among it). text_hash() once for each text, as it came octet by octet;
//          statement_hash() for one that came by Parse. key_of() for each read: of these and, extended, of the formats,
//          values and result formats of its Bind.
// Units    every part goes in with its length before it, so no two lists of parts give the same octets. Keys are sums
//          (exclusive or) of keyed hashes of different things: who cannot see them cannot make two of them meet.
// Threads  pure.
// Source   Pgpool-II 4.6 keys by user, text and database; what is added here keeps sessions apart that would get
//          different answers.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"

namespace herdgate::cache {

// A parameter of the session: its name and whatever says its value.
using Setting = std::pair<std::string_view, std::string_view>;

// True for parameters that change no answer, so that clients which differ in them only share their entries.
bool changes_no_answer(std::string_view parameter);
Hash128 viewer_of(const HashKey& key, std::string_view database, std::string_view user,
                  const std::vector<Setting>& settings);

// Of the text alone: it is read once for both keys.
Hash128 text_hash(const HashKey& key, std::string_view text);

// Of the text and the types of a Parse.
Hash128 statement_hash(const HashKey& key, const Hash128& text, ByteView types);

Hash128 key_of(const Hash128& viewer, const Hash128& text);  // simple
Hash128 key_of(const HashKey& key, const Hash128& viewer, const Hash128& statement, ByteView bind);
// Of a text as one user of one database sends it: what PGPOOL SET CACHE DELETE names.
Hash128 owner_of(const HashKey& key, std::string_view database, std::string_view user);
Hash128 text_key(const Hash128& owner, const Hash128& text);

// Does a text, or a value of a Bind, hold a word that means another moment each time: now, today, tomorrow, yesterday?
// As a literal of type date or timestamp they do, and literals have no type here.
bool names_a_moment(std::string_view text);
// A literal in a text may also hide one: behind an escape (E'to\144ay', U&'…', without standard_conforming_strings any
// literal), or in pieces ('to' <new line> 'day'). Such a text counts as naming one, whatever it says.
bool text_names_a_moment(std::string_view text, bool standard_strings = true);
// The values of a Bind, as it came behind its names.
bool bind_names_a_moment(ByteView bind);

}  // namespace herdgate::cache
