// The query cache as one session uses it: looks up before planning, keeps what servers answered, and tells the store
// what its writes put in doubt. Exists only when memory_cache_enabled is on.
//
// Shape    answer_query() and answer_unit() answer a request without a server; else planned() for each statement in it,
//          sending_query() or sending_unit() just before it goes out, rows() and reply() for what comes back, ready()
//          at its ReadyForQuery and finished() when the request is over, however it ended.
// Limits   an answer of max_answer_bytes at a time, behind the first of a unit kMaxUnitBytes in all; in a transaction
//          kMaxAside answers of kMaxAsideBytes in all are kept until COMMIT. A unit has one doubt or mark over each
//          table, however many parts it comes in.
// Errors   none: in doubt nothing is looked up and nothing is kept.
// Threads  the worker of its session; the store is shared.
// Source   Pgpool-II 4.6 manual, "In Memory Query Cache"; docs/life_of_a_query.md, "The query cache".
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/link.h"
#include "cache/admission.h"
#include "cache/key.h"
#include "cache/remote.h"
#include "cache/store.h"
#include "cache/verdict.h"
#include "pool/server_link.h"
#include "session/cache_scratch.h"
#include "session/unit_messages.h"
#include "vsession/virtual_session.h"

namespace herdgate::session {

class Session;

class alignas(64) SessionCache {
 public:
  static constexpr std::size_t kMaxAside = 1000, kMaxAsideBytes = 4 << 20;
  static constexpr std::size_t kMaxKeptItems = 16, kMaxSpareBytes = 4096;
  static constexpr std::size_t kTagBytes = 32;     // room for CommandComplete behind the rows
  static constexpr std::size_t kOftenBytes = 128;  // what each request touches
  static constexpr std::uint64_t kNotBegun = ~std::uint64_t{0};
  static constexpr std::size_t kMaxReads = 1000;         // in one unit that is answered from the cache or kept
  static constexpr std::size_t kMaxUnitBytes = 4 << 20;  // of several answers to one unit, from the cache or kept

  // `remote`: null, or where the answers are kept instead.
  SessionCache(Session& session, cache::Store& store, cache::Admission& admission, cache::Remote* remote)
      : s_(session), store_(store), admission_(admission), remote_(remote) {}

  // With memcached the request may wait: then the session is in phase `asking` afterwards, and serves it again later.
  bool answer_query(const sql::Facts& facts, std::string_view text);
  bool answer_unit(const UnitMessages& unit);
  // Ahead of the catalog's answers for a plan: what is defined from here on it does not know.
  void planning(const sql::Facts& facts);
  // `plan`: the number of a plan that is used again, 0: it is none (RecentPlans::Kept).
  void planned(const sql::Facts& facts, std::string_view text, const sql::Answers& answers, std::uint64_t plan = 0);
  // What memcached must hear before this is sent. True: the session waits, in phase `asking`.
  bool waits_for_query(const sql::Facts& facts) { return remote_ != nullptr && wait_for_query(facts); }
  bool waits_for_unit(const UnitMessages& unit) { return remote_ != nullptr && wait_for_unit(unit); }
  bool waits_for_unknown() { return remote_ != nullptr && wait_for_unknown(); }
  void sending_query(const sql::Facts& facts, std::string_view text, NodeId node);
  void sending_unit(const UnitMessages& unit, NodeId node);
  void sending_unknown();  // a function call: what it does cannot be seen
  void answer(const backend::Answer& answer);
  void rows(const backend::Debt& head, ByteView bytes);
  void noticed() { coming_.clear(); }  // what comes with words is not kept: they would be lost
  void reply(const backend::Debt& head, const backend::Message& message);
  void ready(bool committed);
  void finished();

  bool one_snapshot() const;  // has the transaction, or would it have

  // What the link's login has given it is part of what answers hang on. True: it is being asked, the session waits.
  bool asks_defaults(pool::ServerLink& link);
  void defaults_came(ByteView rows);
  void defaults_told(pool::ServerLink& link, bool ok);

  // Names with no schema mean the same for sessions that have set no search_path and have this in common.
  const std::string& default_path();
  // Under which the catalog answers for this session. What it has defined and not committed it keeps to itself.
  const std::string& path_key();

  // Until DISCARD ALL: it has done what may have set something unseen.
  bool unknown_state() const { return unknown_state_; }
  // Why this session neither looks up nor keeps now; empty: it does.
  std::string_view refusal() const;
  // What nobody has asked for lately is not kept now (cache/admission.h).
  bool selective() const;
  // PGPOOL SET CACHE DELETE. With memcached waits_for_removal() of it comes first.
  bool waits_for_removal(std::string_view text) { return remote_ != nullptr && wait_for_removal(text); }
  bool remove(std::string_view text);

  // What the link's login gave, if that is known and of now.
  pool::Defaults defaults_of(const pool::ServerLink& link) const;

 private:
  using Read = CacheRead;
  using Looked = CacheLooked;
  using Reads = std::vector<CacheRead>;
  // What a server is answering. Not `kept`: it only takes its turn.
  struct Coming {
    cache::Fill fill;
    bool kept = false, done = false;
  };
  struct Planned {
    std::uint64_t serial = 0;
    std::shared_ptr<const cache::Verdict> verdict;
    bool lasts = false;  // it may be kept, it is wanted, and no word of its text means a moment
  };
  // All that is held of a request that is one such read and is not worth keeping, as in a flood: see passes().
  struct Passing {
    Hash128 key;
    std::uint64_t serial = 0;  // of its facts; 0: there is none
    bool counts = false;       // its answer might have been kept
  };
  // What this request has asked of memcached (session_cache_remote.cc).
  struct Asking {
    std::uint64_t token = 0;  // of what is being waited for; 0: nothing
    bool looked = false, learned = false;
    bool heard = false;  // memcached has answered, so that what others have defined before is known
    std::vector<cache::Remote::Found> found;  // of the reads, in their order
    std::optional<bool> removed;
  };
  HashKey hash_key() const;
  pool::Defaults defaults_expected() const;
  pool::Defaults defaults_of_reader() const;
  pool::Defaults newest_of(NodeId node) const;
  bool knows_defaults() const { return defaults_ != pool::Defaults::unknown; }
  bool takes_defaults(NodeId node);  // those of the link that answers
  bool wait_for_query(const sql::Facts& facts);
  bool wait_for_unit(const UnitMessages& unit);
  bool wait_for_unknown();
  bool wait_for_removal(std::string_view text);
  std::uint64_t next_token();
  bool waits(bool asked);
  void resume(std::uint64_t token);
  std::function<void()> resuming();
  bool look_up(const Reads& reads);
  std::vector<std::optional<cache::Answer>> find(const Reads& reads);
  bool learn();
  bool miss(CacheScratch& scratch);
  bool passes(const Looked& read);
  void let_pass();
  bool heard() const { return asking_ && asking_->heard; }
  bool mark();
  void take_footing(Coming& coming);

  bool read_unit(const UnitMessages& unit, CacheScratch& into);
  bool parse(const UnitMessage& message, std::vector<CacheParsed>& parsed);
  bool may_define(std::string_view name, const std::vector<CacheParsed>& parsed) const;
  bool bind(const UnitMessage& message, const UnitMessages& unit, std::vector<CacheParsed>& parsed, Read& read);
  void write_unit(const UnitMessages& unit, const std::vector<cache::Answer>& answers);
  bool finds(const sql::Facts& facts) const;
  void begin();
  void log_hit(std::string_view text);
  cache::Tally& tally();
  const Hash128& viewer();
  Looked look(const Read& read);
  bool wants(const Looked& read) const;
  bool wants_any() const;
  Hash128 key_of(const Read& read) { return look(read).key; }
  Hash128 text_key(std::string_view text);
  const Hash128& owner();
  const Planned* planned_of(std::uint64_t serial) const;
  void expect(const Looked& read, bool may_keep, std::optional<TimePoint> seen_to);
  bool node_shows_commits(NodeId node, std::optional<TimePoint>& seen_to) const;
  bool part_of_cut_unit() const;
  void unplanned(const sql::Facts& facts, const sql::Statement* prepared);
  void unplanned_unit(const UnitMessages& unit);
  void heed_events(const sql::Facts& facts);
  void add(const cache::Effects& effects);
  bool has_set_something() const;
  void guard();
  void take_heads(ByteView bytes);
  void take(ByteView bytes, bool head);
  void store(cache::Fill&& fill);
  void store_all();
  void keep_aside();
  void forget_coming();
  void forget_transaction();
  bool redefined() const;
  void widen();
  bool invalidates() const;
  void tell_definitions();
  void define_again();
  void end_doubts(bool known);

  Session& s_;
  cache::Store& store_;
  cache::Admission& admission_;
  cache::Remote* const remote_;
  // What each request needs comes first: a hit, or a read that is not kept, touches nothing behind `defined_`, and
  // these are two lines of the processor's cache. Where nothing is `stirred_`, nothing but these has a value.
  vsession::ParameterSetPtr viewer_parameters_;  // for which viewer_ was made
  Hash128 viewer_;
  pool::Defaults viewer_defaults_ = pool::Defaults::unknown;
  // Under which an answer is looked for or kept now: of the link that gives it, or would.
  pool::Defaults defaults_ = pool::Defaults::unknown;
  std::uint64_t began_ = kNotBegun;
  Passing passing_;
  bool stirred_ = false;  // there is something to be done, or to be forgotten, when the request or its transaction ends
  bool unknown_state_ = false;
  bool wrote_ = false;    // in the open transaction
  bool defined_ = false;  // in it

  pool::Defaults path_defaults_ = pool::Defaults::unknown;
  std::string default_path_;                  // for path_defaults_
  std::uint64_t viewer_key_ = 0;              // with memcached, which may get another
  std::optional<std::uint64_t> definitions_;  // when its planning began: catalog::Epochs::definitions_at()
  std::optional<std::uint64_t> written_by_;   // … of the first statement of the open transaction that wrote or heeds
  cache::Database* home_ = nullptr;           // of this session's database, once something was stored
  Hash128 owner_;
  std::unique_ptr<Bytes> defaults_rows_;  // while a link says what it has
  std::string own_path_;
  // Of the open transaction.
  cache::Scope pending_;
  std::vector<cache::Fill> aside_;
  std::size_t aside_bytes_ = 0;
  // Of the request.
  std::vector<Looked> looked_;  // all reads of it, or none
  std::vector<Planned> planned_;
  cache::Scope scope_;
  bool unknown_now_ = false;  // it has made the state unknown
  bool ends_ = false, defines_ = false, heeds_ = false, renames_ = false, by_name_ = false;  // see cache::Effects
  std::string prepares_;
  std::vector<cache::Doubt> doubts_;
  cache::Scope covered_;  // by doubts_ or marks_: what goes beyond it needs another one
  bool covers_definitions_ = false;
  std::vector<Coming> coming_;
  std::size_t at_ = 0;            // the one whose answer comes now
  std::size_t coming_bytes_ = 0;  // of all
  std::unique_ptr<Asking> asking_;
  std::vector<cache::Remote::Mark> marks_;
  bool unguarded_ = false;  // something was sent while nothing was to be invalidated
  bool guarded_ = false;    // the mark over what is sent next has been set
  std::uint64_t last_token_ = 0;
};

}  // namespace herdgate::session
