#include "catalog/catalog.h"

#include <algorithm>
#include <charconv>
#include <list>
#include <unordered_map>

#include "catalog/errc.h"

namespace herdgate::catalog {
namespace {

std::size_t mix(std::size_t hash, std::string_view text) {
  return hash * 1099511628211u ^ std::hash<std::string_view>{}(text);
}

// What a cached answer is filed under; views into the asker's strings or into the entry's own.
struct Key {
  const Viewpoint* who;
  std::string_view schema, name;
  bool operator==(const Key& o) const {
    return name == o.name && schema == o.schema && who->role == o.who->role && who->search_path == o.who->search_path;
  }
};
struct KeyHash {
  std::size_t operator()(const Key& k) const {
    return mix(mix(mix(mix(0, k.name), k.schema), k.who->role), k.who->search_path);
  }
};

struct Limits {
  std::size_t max_entries;
  Duration expire;
};
struct Moment {
  std::uint64_t epoch;
  TimePoint now;
};

TimePoint expiry(TimePoint learned, const Limits& limits) {
  return limits.expire > Duration::zero() ? learned + limits.expire : TimePoint::max();
}

// A bounded LRU of answers of one kind in one database.
template <class Name, class Answer>
class Shelf {
 public:
  // `until` becomes earlier when this answer expires earlier.
  const Answer* find(const Viewpoint& who, const Name& name, const Moment& at, const Limits& limits, TimePoint& until) {
    const auto found = index_.find(Key{&who, name.schema, name.name});
    if (found == index_.end()) return nullptr;
    const auto entry = found->second;
    const TimePoint expires = expiry(entry->learned, limits);
    if (entry->epoch != at.epoch || at.now >= expires) {
      drop(entry);
      return nullptr;
    }
    until = std::min(until, expires);
    entries_.splice(entries_.begin(), entries_, entry);
    return &entry->answer;
  }
  void keep(const Viewpoint& who, const Name& name, Answer answer, const Moment& at, std::size_t max_entries) {
    if (max_entries == 0) return;
    const auto old = index_.find(Key{&who, name.schema, name.name});
    if (old != index_.end()) drop(old->second);
    while (entries_.size() >= max_entries) drop(std::prev(entries_.end()));
    entries_.push_front(Entry{who, name, std::move(answer), at.epoch, at.now});
    index_.emplace(key_of(entries_.front()), entries_.begin());
  }

 private:
  struct Entry {
    Viewpoint who;
    Name name;
    Answer answer;
    std::uint64_t epoch;
    TimePoint learned;
  };
  using Place = typename std::list<Entry>::iterator;
  static Key key_of(const Entry& e) { return {&e.who, e.name.schema, e.name.name}; }
  void drop(Place entry) {
    index_.erase(key_of(*entry));
    entries_.erase(entry);
  }
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<Key, Place, KeyHash> index_;
};

using Relations = Shelf<sql::Relation, sql::RelationAnswer>;
using Functions = Shelf<sql::Function, sql::FunctionAnswer>;

// Beyond what one text asks: the primary, and no caching.
sql::RelationAnswer worst_relation() {
  sql::RelationAnswer a;
  a.exists = a.view = a.below_writing_function = a.side_effects = a.leaves_state = a.may_define = true;
  a.too_many = a.other_kind = a.too_many_calls = true;
  return a;
}
sql::FunctionAnswer worst_function() {
  sql::FunctionAnswer a;
  a.exists = a.is_volatile = a.user_defined = a.may_define = true;
  return a;
}

// ---- rows into answers

constexpr std::size_t kColumns = 5;

bool has(std::string_view flags, char flag) { return flags.find(flag) != std::string_view::npos; }

class Reading {
 public:
  explicit Reading(const sql::Questions& asked)
      : relations_(std::min(asked.relations.size(), kMaxQuestions)), asked_calls_(asked.calls) {
    answers_.relations.resize(asked.relations.size());
    answers_.functions.resize(asked.functions.size());
    std::fill(answers_.relations.begin() + static_cast<std::ptrdiff_t>(relations_), answers_.relations.end(),
              worst_relation());
    functions_ = std::min(asked.functions.size(), kMaxQuestions - relations_);
    std::fill(answers_.functions.begin() + static_cast<std::ptrdiff_t>(functions_), answers_.functions.end(),
              worst_function());
  }
  Result<Done> row(const std::vector<std::string>& columns);
  sql::Answers finish();
  std::size_t relations_asked() const { return relations_; }
  std::size_t functions_asked() const { return functions_; }
  bool event_triggers() const { return event_triggers_; }

 private:
  void relation_row(char kind, sql::RelationAnswer& a, const std::vector<std::string>& columns);
  sql::Answers answers_;
  std::size_t relations_, functions_;  // how many were asked; what is beyond has the worst answer
  const bool asked_calls_;
  std::size_t below_ = 0, reads_ = 0, cascades_ = 0, row_functions_ = 0, calls_ = 0;
  bool event_triggers_ = false;
};

std::uint32_t oid_of(const std::string& text) {
  std::uint32_t oid = 0;
  std::from_chars(text.data(), text.data() + text.size(), oid);
  return oid;
}

Result<Done> Reading::row(const std::vector<std::string>& columns) {
  if (columns.size() != kColumns) return fail(Errc::bad_answer, std::to_string(columns.size()) + " columns");
  const std::string& kind = columns[0];
  const std::string& place = columns[1];
  if (kind == "e") return event_triggers_ = true, Done{};
  std::size_t at = 0;
  const auto [end, error] = std::from_chars(place.data(), place.data() + place.size(), at);
  const bool number = error == std::errc() && end == place.data() + place.size();
  const bool known = kind.size() == 1 && std::string_view("rdbwfotxqn").find(kind[0]) != std::string_view::npos;
  if (!known || !number || at >= (kind == "f" ? functions_ : relations_))
    return fail(Errc::bad_answer,
                "row of kind \"" + kind.substr(0, 8) + "\" for question \"" + place.substr(0, 16) + "\"");
  const std::string& flags = columns[4];
  if (kind != "f") {
    relation_row(kind[0], answers_.relations[at], columns);
    return Done{};
  }
  sql::FunctionAnswer& f = answers_.functions[at];
  f.exists = true;
  f.is_volatile = has(flags, 'v');
  f.stable = !f.is_volatile && has(flags, 's');
  f.user_defined = has(flags, 'u');
  f.returns_time_zone_type = has(flags, 'z');
  f.may_define = has(flags, 'd');
  f.sets = has(flags, 'c');
  return Done{};
}

void Reading::relation_row(char kind, sql::RelationAnswer& a, const std::vector<std::string>& columns) {
  const std::string& flags = columns[4];
  if (kind == 'w') a.below_writing_function = true;
  if (kind == 'x') a.side_effects = true;
  if (kind == 'x') a.leaves_state |= has(flags, 'l');
  if (kind == 'w' || kind == 'x') a.may_define |= has(flags, 'd');
  if (kind == 'o') ++reads_, a.reads.push_back(oid_of(columns[2]));
  if (kind == 't') ++cascades_, a.cascades.push_back(oid_of(columns[2]));
  if (kind == 'q') ++row_functions_, a.row_functions.push_back({columns[2], has(flags, 'w')});
  if (kind == 'n') {
    ++calls_;
    if (!a.calls) a.calls.emplace();
    a.calls->push_back({columns[2], columns[3], has(flags, 'v')});
  }
  if (kind == 'b') {
    ++below_;
    a.below.push_back({columns[2], columns[3]});
  }
  if (kind == 'r') {
    a.exists = true;
    a.system_catalog = has(flags, 'c');
    a.temporary = has(flags, 't');
    a.unlogged = has(flags, 'u');
    a.view = has(flags, 'v');
    a.materialized = has(flags, 'm');
  }
  if (kind == 'd') {
    a.below_system |= has(flags, 'c');
    a.below_temporary |= has(flags, 't');
    a.below_unlogged |= has(flags, 'u');
  }
  // A policy below makes the rows depend on who asks just as one on the relation itself does.
  if (kind == 'r' || kind == 'd') a.row_security |= has(flags, 's');
  if (kind == 'r' || kind == 'd') a.other_kind |= has(flags, 'k');
}

sql::Answers Reading::finish() {
  for (sql::RelationAnswer& a : answers_.relations) {
    if (!a.view) continue;
    if (asked_calls_ && !a.calls) a.calls.emplace();
    a.below_writing_function |= below_ > kMaxBelow;
    a.too_many_calls |= calls_ > kMaxBelow;
  }
  // Some are missing: a read of it is not cached, a write to it may change anything.
  if (reads_ > kMaxBelow || cascades_ > kMaxBelow || row_functions_ > kMaxBelow)
    for (sql::RelationAnswer& a : answers_.relations) a.too_many = a.other_kind = a.side_effects = true;
  return std::move(answers_);
}

}  // namespace

// Other DDL than this may change or drop what a prepared statement reads.
Epochs::Change Epochs::change_by(std::string_view ddl_tag) {
  static constexpr std::string_view kHarmless[] = {"DROP INDEX",  "GRANT",   "GRANT ROLE", "REVOKE",
                                                   "REVOKE ROLE", "COMMENT", "VACUUM",     "ANALYZE",
                                                   "CLUSTER",     "REINDEX", "DROP ROLE",  "ALTER ROLE"};
  if (ddl_tag == "ALTER DATABASE" || ddl_tag == "DROP DATABASE") return Change::databases;
  if (ddl_tag.starts_with("CREATE ")) return ddl_tag == "CREATE VIEW" ? Change::results : Change::names;
  const bool harmless = std::find(std::begin(kHarmless), std::end(kHarmless), ddl_tag) != std::end(kHarmless);
  return harmless ? Change::names : Change::results;
}

void Epochs::raise_at(std::size_t place, Change change) {
  if (change != Change::names) results_[place].fetch_add(1, std::memory_order_acq_rel);
  shards_[place].fetch_add(1, std::memory_order_acq_rel);
}

void Epochs::raise(std::string_view database, Change change) {
  if (change != Change::databases) return raise_at(place(database), change);
  for (std::size_t at = 0; at < kShards; ++at) raise_at(at, change);
}

void Epochs::define(std::string_view database, Change change) {
  definitions_[place(database)].fetch_add(1, std::memory_order_acq_rel);
  raise(database, change);
}

void Epochs::define_in_all(Change change) {
  for (std::size_t at = 0; at < kShards; ++at) {
    definitions_[at].fetch_add(1, std::memory_order_acq_rel);
    raise_at(at, change);
  }
}

struct Catalog::Store {
  struct Database {
    Relations relations;
    Functions functions;
    std::uint64_t used = 0;
    std::uint64_t epoch = 0;  // seen by the last look-up, the first time at `since`
    std::optional<TimePoint> since;
    struct {
      bool known = false, there = false;
      Moment at{};
    } events;
  };
  const Clock& clock;
  const Epochs& epochs;
  Options options;
  std::unordered_map<std::string, Database> databases;
  std::uint64_t turn = 0;

  Database& database(const std::string& name);
  TimePoint since(Database& d, std::uint64_t epoch) const;
  TimePoint now() const { return options.expire > Duration::zero() ? clock.now() : TimePoint{}; }
};

Catalog::Store::Database& Catalog::Store::database(const std::string& name) {
  const auto known = databases.find(name);
  if (known == databases.end() && databases.size() >= kMaxDatabases) {
    const auto less_used = [](const auto& a, const auto& b) { return a.second.used < b.second.used; };
    databases.erase(std::min_element(databases.begin(), databases.end(), less_used));
  }
  Database& d = known != databases.end() ? known->second : databases[name];
  d.used = ++turn;
  return d;
}

TimePoint Catalog::Store::since(Database& d, std::uint64_t epoch) const {
  if (!d.since || d.epoch != epoch) d.since = clock.now();
  d.epoch = epoch;
  return *d.since;
}

Catalog::Catalog(const Clock& clock, const Epochs& epochs, Options options)
    : store_(new Store{clock, epochs, options, {}, 0}) {}
Catalog::~Catalog() = default;

namespace {

// The lists of one kind of question, gone through side by side.
template <class Name, class Answer>
struct Lists {
  const std::vector<Name>& names;
  std::vector<Answer>& answers;
  std::vector<Name>& open;
  std::vector<std::size_t>& places;
  TimePoint& until;
  bool calls;
};

// That there is no function is known of what is written like a field only: a call of one that is not there fails.
bool answers(const sql::FunctionAnswer& known, const sql::Function& asked, bool /*calls*/) {
  return known.exists || asked.by_dot;
}
bool answers(const sql::RelationAnswer& known, const sql::Relation&, bool calls) {
  return !calls || !known.view || known.calls;
}

// Does what it means hang on the search_path? (pg_temp is each session's own.)
bool by_path(const sql::Relation& name) { return name.schema.empty() || name.schema.starts_with("pg_temp"); }
bool by_path(const sql::Function&) { return false; }

template <class Name, class Answer>
void look_up(Shelf<Name, Answer>* shelf, const Viewpoint& who, const Moment& at, const Limits& limits,
             Lists<Name, Answer> lists) {
  lists.answers.resize(lists.names.size());
  for (std::size_t i = 0; i < lists.names.size(); ++i) {
    const bool takes = shelf != nullptr && !(who.path == Viewpoint::Path::own && by_path(lists.names[i]));
    const Answer* known = takes ? shelf->find(who, lists.names[i], at, limits, lists.until) : nullptr;
    if (known != nullptr && answers(*known, lists.names[i], lists.calls)) {
      lists.answers[i] = *known;
    } else {
      lists.open.push_back(lists.names[i]);
      lists.places.push_back(i);
    }
  }
}

// One in pg_temp is the asking session's alone.
bool worth_keeping(const sql::FunctionAnswer& a, const sql::Function& asked) {
  return answers(a, asked, false) && !asked.schema.starts_with("pg_temp");
}
bool worth_keeping(const Viewpoint& who, const sql::Relation& name, const sql::RelationAnswer& a) {
  const bool means_it = who.path == Viewpoint::Path::known || !by_path(name);
  return a.exists && !a.temporary && !a.below_temporary && means_it;
}

}  // namespace

Found Catalog::lookup(const Viewpoint& who, const sql::Questions& questions) {
  Found f;
  f.epoch = store_->epochs.current(who.database);
  f.definitions = store_->epochs.definitions_at(Epochs::place(who.database));
  const Moment at{f.epoch, store_->now()};
  const Limits limits{store_->options.max_entries, store_->options.expire};
  Store::Database& of_all = store_->database(who.database);
  Store::Database* d = who.own_names ? nullptr : &of_all;
  f.since = store_->since(of_all, f.epoch);
  f.open.calls = questions.calls;
  look_up(d ? &d->relations : nullptr, who, at, limits,
          {questions.relations, f.answers.relations, f.open.relations, f.open_relations, f.until, questions.calls});
  look_up(d ? &d->functions : nullptr, who, at, limits,
          {questions.functions, f.answers.functions, f.open.functions, f.open_functions, f.until, false});
  return f;
}

Result<sql::Answers> Catalog::learn(const Viewpoint& who, Found found,
                                    const std::vector<std::vector<std::string>>& rows) {
  Reading reading(found.open);
  for (const auto& columns : rows) HG_CHECK(reading.row(columns));
  const sql::Answers learned = reading.finish();
  const Moment at{found.epoch, store_->now()};
  const std::size_t room = who.own_names || found.old ? 0 : store_->options.max_entries;
  found.answers.old = found.old;
  Store::Database& d = store_->database(who.database);
  if (!found.old) d.events = {true, reading.event_triggers(), {found.definitions, at.now}};
  for (std::size_t i = 0; i < learned.relations.size(); ++i) {
    const sql::RelationAnswer& a = learned.relations[i];
    found.answers.relations[found.open_relations[i]] = a;
    const sql::Relation& name = found.open.relations[i];
    if (i < reading.relations_asked() && worth_keeping(who, name, a)) d.relations.keep(who, name, a, at, room);
  }
  for (std::size_t i = 0; i < learned.functions.size(); ++i) {
    const sql::FunctionAnswer& a = learned.functions[i];
    found.answers.functions[found.open_functions[i]] = a;
    const sql::Function& asked = found.open.functions[i];
    if (i < reading.functions_asked() && worth_keeping(a, asked)) d.functions.keep(who, asked, a, at, room);
  }
  return std::move(found.answers);
}

std::optional<bool> Catalog::had_event_triggers(const std::string& database) const {
  const auto known = store_->databases.find(database);
  if (known == store_->databases.end() || !known->second.events.known) return std::nullopt;
  return known->second.events.there;
}

std::optional<bool> Catalog::event_triggers(const std::string& database) const {
  const auto known = store_->databases.find(database);
  if (known == store_->databases.end() || !known->second.events.known) return std::nullopt;
  const auto& events = known->second.events;
  const Limits limits{store_->options.max_entries, store_->options.expire};
  const bool now = events.at.epoch == store_->epochs.definitions_at(Epochs::place(database)) &&
                   store_->now() < expiry(events.at.now, limits);
  return now ? std::optional(events.there) : std::nullopt;
}

}  // namespace herdgate::catalog
