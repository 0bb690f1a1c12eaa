// A server link together with what is known of the session state it holds, so that the difference to what the next
// session wants can be sent ahead.
//
// Shape    ServerLink owns a backend::Link. LinkMemory says which parameters, prepared statements and open ends are on
//          it.
// Limits   interned statements: max_prepared_statements, least recently used closed first.
// Threads  with the link: one worker at a time.
#pragma once
#include <array>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "backend/link.h"
#include "base/clock.h"
#include "pool/accounts.h"
#include "vsession/virtual_session.h"

namespace herdgate::pool {

// Names of interned statements that are prepared on a link, in order of use.
class InternedStatements {
 public:
  // True when `name` is prepared there; marks it as used.
  bool touch(const std::string& name);
  // The catalog epoch as of which it was prepared: a client's new Parse after DDL wants a new analysis.
  std::uint64_t epoch(const std::string& name) const;
  // Remembers `name`; returns names to close because the limit was passed, kMostClosed of them at most: where the limit
  // was lowered the rest goes with those that follow.
  static constexpr std::size_t kMostClosed = 100;
  std::vector<std::string> add(const std::string& name, std::size_t limit, std::uint64_t epoch);
  // A session has parsed or planned it by other settings than those it is named for: it is this one's alone.
  void keep_for(const std::string& name, SessionId session);
  // As which it has been described there since; null: not yet, or it is not there.
  const vsession::DescribedPtr& described(const std::string& name);
  void note_described(const std::string& name, vsession::DescribedPtr as);
  bool serves(const std::string& name, SessionId session) const;
  void remove(const std::string& name);
  void clear();
  std::vector<std::string> take_all();
  std::size_t size() const { return by_name_.size(); }

 private:
  struct Place {
    std::list<std::string>::iterator at;
    std::uint64_t epoch = 0;
    SessionId only{};
    vsession::DescribedPtr described{};
  };
  using ByName = std::unordered_map<std::string, Place>;
  ByName::value_type* place_of(const std::string& name);
  static constexpr std::size_t kFound = 32;
  ByName::value_type*& found(const std::string& name) {
    const std::size_t size = name.size();
    return found_[size < 2 ? 0 : static_cast<unsigned char>(name[size - 1] * 7 + name[size - 2]) % kFound];
  }
  void forget(const ByName::value_type& place) {
    if (found(place.first) == &place) found(place.first) = nullptr;
  }
  std::list<std::string> order_;  // most recent first
  std::size_t kept_ = 0;          // for one session only
  ByName by_name_;
  std::array<ByName::value_type*, kFound> found_{};  // places touched last, by the end of their names
};

// A statement of SQL's PREPARE on a link.
struct NamedStatement {
  Hash128 id;                    // its definition
  bool refused = false;          // the server would not prepare it here; its next EXECUTE has it tried once more
  std::uint64_t generation = 0;  // of a statement of the protocol: tells it from another one of its name
};

struct LinkMemory {
  vsession::ParameterSetPtr parameters;  // set beyond what its login gave; never null
  InternedStatements interned;
  std::vector<std::string>
      to_close;  // interned statements that are invalid, or may be there: closed before the next unit
  std::map<std::string, NamedStatement> named;  // by clients' own names
  std::vector<std::string> naming;              // those whose PREPARE is under way; Debt::item counts them from 1
  SessionId named_owner;                        // whose they are
  SessionId unnamed_owner;                      // whose Parse made the unnamed statement, and which of them
  std::uint64_t unnamed_generation = 0;
  std::uint64_t unnamed_queries = 0;         // Link::queries() then: a later one has dropped it
  vsession::DescribedPtr unnamed_described;  // null: not since then
  bool opaque = false;                       // may hold state that we did not see: reset before another session gets it
  bool unseen = false;  // … and names may mean another thing there than we think (route::Plan::unseen)
  // Since its last reset: a column's default or a trigger may have drawn from a sequence, as nextval does, and lastval
  // and currval tell that.
  bool wrote = false;
  // What its login gave, and the epoch in which it was asked for that (Accounts::settings_epoch(); 0: never).
  Defaults defaults = Defaults::unknown;
  std::uint64_t defaults_epoch = 0;
  std::string pins;  // names of the pins while a session keeps it, for SHOW POOL_POOLS

  // DEALLOCATE ALL or DISCARD ALL: no statement is prepared there any more.
  void forget_statements();
};

struct KeyPool;

struct ServerLink {
  ServerLink(std::unique_ptr<backend::Link> l, TimePoint now, WallTime wall);
  std::unique_ptr<backend::Link> link;
  LinkMemory memory;
  std::shared_ptr<KeyPool> home;  // of the worker that has it
  TimePoint created, retire_at = TimePoint::max(), idle_since;
  WallTime created_wall;
  std::uint64_t uses = 0;
  int holder = 0;                         // slot number of the session that has it, 0 = none
  int cancels_in_flight = 0;              // not lent while a cancel request may still hit it
  bool cancelled = false;                 // … and a Sync must have come back after the last one
  std::function<void()> on_cancels_over;  // for the holder, once: it may send again
  std::vector<std::string> reset;         // what is to be run when the cancels are over
  bool retire = false;                    // its state is in doubt: close it instead of keeping it
  bool outdated = false;                  // nothing is wrong with it, but it is closed when it is given back
  bool parting = false;                   // its holder gives it back as soon as nothing is owed any more
  bool untouched = false;                 // its session has sent nothing on it: there is nothing to reset
};

}  // namespace herdgate::pool
