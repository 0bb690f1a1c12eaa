// What a cached answer is filed under: everything that may change it. Pure.
//
// Shape    viewer_of() once for each state of a session: database, user, and all that it has set (role, search_path,
//          TimeZone, DateStyle and the like are among it). key_of() for each read: the viewer, the protocol, the text
//          as it came octet by octet, and of a Bind its formats, values and result formats.
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

enum class Form : char { simple = 'Q', extended = 'E' };

// A parameter of the session: its name and whatever says its value.
using Setting = std::pair<std::string_view, std::string_view>;

// True for parameters that change no answer, so that clients which differ in them only share their entries.
bool changes_no_answer(std::string_view parameter);
Hash128 viewer_of(const HashKey& key, std::string_view database, std::string_view user,
                  const std::vector<Setting>& settings);

// Of the text alone: it is read once for both keys.
Hash128 text_hash(const HashKey& key, std::string_view text);

struct Read {
  Hash128 viewer;
  Form form = Form::simple;
  Hash128 text;          // see text_hash()
  ByteView types, bind;  // extended: as in Parse and Bind
};
Hash128 key_of(const HashKey& key, const Read& read);
// Of a text as one user of one database sends it: what PGPOOL SET CACHE DELETE names.
Hash128 owner_of(const HashKey& key, std::string_view database, std::string_view user);
Hash128 text_key(const Hash128& owner, const Hash128& text);

// Does a text, or a value of a Bind, hold a word that means another moment each time: now, today, tomorrow, yesterday?
// As a literal of type date or timestamp they do, and literals have no type here.
bool names_a_moment(std::string_view text);
// The values of a Bind, as it came behind its names.
bool bind_names_a_moment(ByteView bind);

}  // namespace herdgate::cache
