// Cached answers about relations and functions, asked of a server over a link that the session lends.
//
// Shape    found = lookup(who, questions); when found.open is not empty: send query_for(found.open) on the session's
//          own link (an ordinary simple query, swallowed) and hand the rows to learn(), which gives the whole answers.
// Limits   max_entries per kind of question and database, LRU; kMaxDatabases; kMaxQuestions in one text: what is beyond
//          is answered with the worst (writes), so that it goes to the primary. kMaxBelow relations under
//          the views of one text, beyond which these views count as writing; likewise kMaxBelow functions called.
// Errors   Errc::bad_answer when a server's rows are not what was asked for.
// Threads  one Catalog per worker; epochs (raised by DDL through any worker) are shared atomics.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "sql/answers.h"

namespace herdgate::catalog {

inline constexpr std::size_t kMaxQuestions = 256;
inline constexpr std::size_t kMaxBelow = 1000;
inline constexpr std::size_t kMaxDatabases = 64;

// Who asks: the same name may mean different things to different roles and search paths.
struct Viewpoint {
  std::string database, role, search_path;
  bool own_names = false;  // the session has temporary objects: nothing cached is used for it, nothing kept of it
  // Where its path may be another one than this: relations without a schema are not kept, or neither kept nor taken
  // from what is. What functions there are of a name hangs on no path.
  enum class Path : std::uint8_t { known, not_kept, own } path = Path::known;
  bool operator==(const Viewpoint&) const = default;
};

// Raised at the commit of DDL that went through us; every cached answer of an older epoch is dead.
class Epochs {
 public:
  enum class Change : std::uint8_t {
    names,      // what a name means, in a statement that is prepared from now on
    results,    // also what columns a statement has that was prepared before: its server refuses to run it
    databases,  // also which database a name stands for: of all of them
  };
  static Change change_by(std::string_view ddl_tag);  // sql::Statement::ddl_tag
  // Which of the counters is the database's: for those who ask often.
  static std::size_t place(std::string_view database) { return std::hash<std::string_view>{}(database) % kShards; }
  std::uint64_t current(std::string_view database) const { return current_at(place(database)); }
  std::uint64_t current_at(std::size_t place) const { return shards_[place].load(std::memory_order_acquire); }
  std::uint64_t results_at(std::size_t place) const { return results_[place].load(std::memory_order_acquire); }
  void raise(std::string_view database, Change change = Change::results);
  // Something may have been created, altered or dropped for everybody: what the query cache has planned before may
  // change other tables than it thought. Not by what concerns one session, nor by an index or a comment.
  void define(std::string_view database, Change change = Change::names);
  void define_in_all(Change change);
  std::uint64_t definitions_at(std::size_t place) const { return definitions_[place].load(std::memory_order_acquire); }

 private:
  void raise_at(std::size_t place, Change change);

  static constexpr std::size_t kShards = 64;
  std::atomic<std::uint64_t> shards_[kShards]{}, results_[kShards]{}, definitions_[kShards]{};
};

struct Found {
  sql::Answers answers;  // same order and number as the questions; whole when `open` is empty
  sql::Questions open;   // what the cache does not know
  std::vector<std::size_t> open_relations, open_functions;  // their places among the questions
  std::uint64_t epoch = 0;        // as of the look-up: DDL between asking and learning makes the answer an old one
  std::uint64_t definitions = 0;  // likewise
  TimePoint since{};              // the epoch is as old as that, or older
  bool old = false;  // for the asker to set: who is asked may show an earlier epoch, so nothing of it is kept
  TimePoint until = TimePoint::max();  // when the first of the answers expires
};

// One SELECT whose rows answer the questions, if any, and say whether there are event triggers; literals are quoted,
// nothing of a client's text is trusted, and nothing in a hostile search_path can step in. It raises no error for
// missing names nor for lack of rights on schemas.
std::string query_for(const sql::Questions& questions);

class Catalog {
 public:
  struct Options {
    std::size_t max_entries = 256;
    Duration expire = Duration::zero();  // zero = never
  };
  Catalog(const Clock& clock, const Epochs& epochs, Options options);
  ~Catalog();
  Found lookup(const Viewpoint& who, const sql::Questions& questions);
  // Whether DDL in this database runs event triggers; nothing: not known since the last definition (Epochs::define()).
  // Each answer of a server to whatever question says it.
  std::optional<bool> event_triggers(const std::string& database) const;
  // When it was asked last, whatever was defined since.
  std::optional<bool> had_event_triggers(const std::string& database) const;
  // rows: the text columns of query_for(found.open), in order. The answers to all questions of the look-up. Kept are
  // (but of found.old) those that exist and are not temporary: what is missing may come by ways we do not see.
  Result<sql::Answers> learn(const Viewpoint& who, Found found, const std::vector<std::vector<std::string>>& rows);

 private:
  struct Store;
  std::unique_ptr<Store> store_;
};

}  // namespace herdgate::catalog
