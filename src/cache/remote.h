// The query cache in memcached, shared by any number of proxies, as one worker uses it.
//
// Shape    look_up() for hits; learn() and footing() before a read is sent, put() with its answer. Writers hold a Mark
//          over what they may change, from before the sending of what commits it until its outcome is known, and send
//          nothing before mark() has called back. flush() for everything.
//          An entry stands on counters in memcached: of everything, of its database, of each of its tables. A mark adds
//          a change and a doubt to them, its end adds a change and takes the doubt away. An entry is true as long as
//          its counters are what they were before its read, and none was in doubt then.
//          Beside them each database has a number of its definitions, to which whoever has defined something adds one:
//          asked for with the counters of a database, it has the other proxies ask the catalog again. What is defined
//          for all databases changes the counter of everything, which says it.
// Units    a counter: 24 bits by which one is told from another of the same name, 24 bits of changes, 16 of doubts.
// Limits   kMaxKnown counters and kMaxHints entries remembered, kMaxMarkedTables in a mark (more: the database).
// Errors   none: what memcached does not say in time is not used. A mark that it does not take makes the process owe a
//          flush, and until that is paid no worker of it uses the cache.
// Threads  the worker of its loop; Sharing is for all workers of a process.
// Source   docs/decisions/0003-memcached.md.
#pragma once
#include <atomic>
#include <map>
#include <mutex>
#include <unordered_map>

#include "base/log.h"
#include "base/random.h"
#include "cache/memcached_link.h"
#include "cache/remote_entry.h"

namespace herdgate::cache {

// What the workers of one process have in common.
struct Sharing {
  net::Destination to;
  std::string space;  // memqcache_memcached_namespace
  std::uint32_t expiry = 0;
  std::size_t max_answer_bytes = 0;
  net::BlockingPool names{1};  // looks the host up: neither passwords nor servers' names wait for a name service for it
  std::atomic<std::uint64_t> owed{1}, paid{0};  // flushes; a start owes one
  std::atomic<int> unmarked{0};                 // writers at work of whom memcached does not know
  // Another proxy has defined something in this database, empty: in any; any worker calls it.
  std::function<void(std::string_view database)> redefined;
  // What this process has heard of definitions, in one epoch: what one worker has told the others need not tell again.
  struct Heard {
    std::mutex mutex;
    std::uint64_t epoch = 0, all = 0;
    std::map<std::string, std::uint64_t, std::less<>> numbers;
  } heard;
  void hear_epoch(std::uint64_t epoch);
  // Of a database, and the counter of everything; this process itself has just added so much.
  void hear_number(std::uint64_t epoch, std::string_view database, std::uint64_t number, std::uint64_t added_by_us = 0);
  void hear_count(std::uint64_t epoch, std::uint64_t count, std::uint64_t added_by_us);
  void tell(std::string_view database) const {
    if (redefined) redefined(database);
  }
  // Written down under the lock too: the lines come in the order of what they tell.
  struct Telling {
    std::mutex mutex;
    int in_trouble = 0;                // workers
    bool told = false;                 // by what the log said last there is trouble
    std::optional<TimePoint> told_at;  // when it said so last
  } telling;
  bool usable() const { return owed.load() == paid.load() && unmarked.load() == 0; }
};

class Remote {
 public:
  static constexpr Duration kTick = std::chrono::milliseconds(250);
  // A counter that was not there before may have been lost while a writer was at work, who then marks it anew.
  static constexpr Duration kNewCounterWaits = std::chrono::seconds(3);
  static constexpr Duration kDoubtEnds = Doubt::kUnknownLingers;
  static constexpr int kDoubtfulLooks = 10;  // at least, before it ends
  // Of a worker that did nothing for so long the others may have taken its marks for lost: shorter than
  // kNewCounterWaits.
  static constexpr Duration kStopped = std::chrono::seconds(2);
  static constexpr std::chrono::seconds kSaysEach{60};
  static constexpr std::size_t kMaxKnown = 100'000, kMaxHints = 20'000, kMaxMarkedTables = 64, kMaxAsks = 100,
                               kMaxDefinitions = 1000, kMaxTablesOfEntry = 5000;

  struct Ask {
    Hash128 key, text;
  };
  struct Change {
    Scope scope;
    bool defines = false;  // names, functions and triggers may mean something else when it is over
  };
  struct Found {
    std::optional<Answer> answer;
    std::uint64_t nonce = 0;  // of the text; 0: not known
  };
  // While it lives, what it covers is in doubt. One that was sent and is not told the outcome stays for kDoubtEnds.
  class Mark {
   public:
    Mark() = default;
    Mark(Remote& of, std::uint64_t id) : of_(&of), id_(id) {}
    Mark(Mark&& other) noexcept : of_(std::exchange(other.of_, nullptr)), id_(other.id_), sent_(other.sent_) {}
    Mark& operator=(Mark&&) = delete;
    ~Mark() { end(/*known=*/!sent_); }
    void end(bool known);
    void sent() { sent_ = true; }

   private:
    Remote* of_ = nullptr;
    std::uint64_t id_ = 0;
    bool sent_ = false;
  };

  Remote(net::Loop& loop, net::BlockingPool& blocking, Log& log, Sharing& sharing);
  ~Remote();
  void start();

  // Under what keys are made now; another one after a flush.
  HashKey hash_key() const { return {epoch_, kHashKey1}; }
  bool usable() const { return link_.up() && epoch_ != 0 && sharing_.usable(); }
  std::size_t max_answer_bytes() const { return sharing_.max_answer_bytes; }

  // False of any of these: nobody is asked, and `done` will not be called. Nothing found at all: memcached has not
  // answered.
  bool look_up(std::string_view database, std::vector<Ask> asks, std::function<void(std::vector<Found>)> done);
  // What this entry will hang on is asked for, unless it was lately.
  bool learn(std::string_view database, const Hash128& key, const std::vector<std::uint32_t>& tables,
             std::function<void()> done);
  bool remove(const Hash128& text, std::function<void(bool was_there)> done);
  // Nothing: an answer that is read now must not be kept.
  std::optional<Footing> footing(const Fill& fill) const;
  void put(Fill fill);
  // `waits`: `done` will be called when memcached knows of it, or does not take it.
  Mark mark(std::string_view database, const Change& change, std::function<void()> done, bool& waits);
  // Of a writer whose marks cover what it sends next as well: what others have defined is heard of before `done`.
  bool hear(std::string_view database, std::function<void()> done);
  void pay();  // the flushes that are owed

 private:
  static constexpr std::uint64_t kHashKey1 = 0x6865726467617465ULL;
  static constexpr char kWide = 'w';
  static constexpr std::size_t kKindAt = 2;  // in a wire name
  using Names = std::vector<std::string>;
  struct Known {
    std::uint64_t value = 0;
    TimePoint since{};       // this value was seen first
    TimePoint born_since{};  // … this counter
    std::optional<TimePoint> doubtful_since;
    int doubtful_looks = 0;  // since then
  };
  // What is known of them: of a database, and of what concerns all.
  struct Definitions {
    std::optional<std::uint64_t> number, all;
    bool operator==(const Definitions&) const = default;
  };
  struct Marked {
    std::string database;
    bool settled = false;                              // nothing beside is to be marked: it is, or is said
    std::vector<std::optional<std::uint64_t>> births;  // of the counters that bear the mark
    Definitions planned_by;
  };
  struct Open : Marked {
    bool defines = false;
    Names counters;  // without the epoch
    TimePoint since{};
    std::optional<TimePoint> until;  // its outcome was lost
    bool unmarked = false;           // and counted as such
    bool asked = false;              // memcached is about to say something of it
    bool ended = false;              // meanwhile
    std::function<void()> done;
  };
  struct Looking;

  std::string wire_name(char kind, std::string_view name) const;
  std::string wire_name(char kind, const Hash128& name) const { return wire_name(kind, name.hex()); }
  // Tables' are told from those of a database or of everything, which who defines something marks.
  std::string counter_name(std::string_view counter) const {
    return wire_name(counter.starts_with('t') ? 'c' : kWide, counter);
  }
  static std::string counter_of_all() { return "a"; }
  static std::string counter_of(std::string_view database) { return fmt::format("d{}", database); }
  static std::string counter_of(std::string_view database, std::uint32_t table);
  static Names counters_of(std::string_view database, const std::vector<std::uint32_t>& tables);
  Names wire_names(const Names& counters) const;

  void tick();
  void link_up();
  void link_lost();
  void troubled(const std::string& why);
  void well();
  // Of each namespace: as the epoch is a part of all other names, they have nothing else in common.
  const std::string& epoch_key() const { return epoch_key_; }
  void ask_epoch();
  bool see_epoch(const std::optional<Bytes>& value);
  void make_epoch(bool remove_old);
  void forget_births();
  void adopt(std::uint64_t epoch);
  std::optional<std::uint64_t> see(const std::string& wire_name, const std::optional<Bytes>& value);
  std::uint64_t see_nonce(const Hash128& text, const std::optional<Bytes>& value);
  void see_count(const std::string& wire_name, std::uint64_t count, std::uint64_t added_by_us = 0);
  std::string definitions_name(std::string_view database) const { return wire_name('n', database); }
  void ask_definitions(MemcachedRequest& request, std::string_view database) const;
  bool hear_definitions(std::string_view database, std::uint64_t epoch, const MemcachedAnswer& answer);
  void see_definitions(std::string_view database, const std::optional<Bytes>& value);
  Definitions known_definitions(std::string_view database) const;
  void know_definitions(std::string_view database, std::uint64_t number);
  void say_definitions(const Open& open);
  void say_definitions(const std::string& database);
  void definitions_said(const std::string& database, const MemcachedAnswer& answer);
  void make_counters(const Names& wire_names);
  void hint(const Hash128& key, const std::vector<std::uint32_t>& tables);

  void first_answer(const std::shared_ptr<Looking>& looking, MemcachedAnswer answer);
  bool take_counters(Looking& looking, const MemcachedAnswer& answer, std::size_t first);
  void conclude(const std::shared_ptr<Looking>& looking);
  static bool stands(const Looking& looking, const RemoteEntry& entry, std::uint64_t nonce);
  void store(const Fill& fill);

  void set_mark(std::uint64_t id, Open& open);
  struct Setting;
  void mark_set(std::uint64_t id, const Setting& setting, const MemcachedAnswer& answer);
  bool take_births(Open& open, const Setting& setting, const MemcachedAnswer& answer);
  void check_marks();
  void check_mark(std::uint64_t id, Open& open);
  void mark_checked(Open& open, const Names& names, const MemcachedAnswer& answer);
  void counts_as_unmarked(Open& open, bool unmarked);
  void end_mark(std::uint64_t id, bool known);
  void finish_mark(std::uint64_t id);
  void take_back(const Open& open);
  void taken_back(const Setting& setting, const Marked& ended, const MemcachedAnswer& answer);

  net::Loop& loop_;
  Log& log_;
  LogContext who_;
  Sharing& sharing_;
  MemcachedLink link_;
  Random random_;
  const std::string epoch_key_;
  std::string all_name_;                          // counter_of_all() in memcached
  std::uint64_t epoch_ = 0;                       // 0: not known
  std::unordered_map<std::string, Known> known_;  // counters by their names in memcached
  std::unordered_map<Hash128, std::vector<std::uint32_t>> hints_;
  std::map<std::string, std::uint64_t, std::less<>> definitions_;  // what memcached says of each database
  std::map<std::uint64_t, Open> open_;
  std::uint64_t last_mark_ = 0;
  net::TimerId tick_timer_ = 0;
  TimePoint ticked_{};
  bool in_trouble_ = false;  // counted as such
};

}  // namespace herdgate::cache
