// Writers: what they may change is marked in memcached, and the marks are kept alive there as long as they work.
#include <algorithm>

#include "cache/remote.h"
#include "cache/remote_counter.h"

namespace herdgate::cache {
namespace {

using Patience = MemcachedLink::Patience;

}  // namespace

// Which of the counters of a mark are being marked now, and under what names.
struct Remote::Setting {
  std::uint64_t epoch = 0;
  std::vector<std::size_t> places;
  Names names;
};

void Remote::Mark::end(bool known) {
  if (Remote* of = std::exchange(of_, nullptr)) of->end_mark(id_, known);
}

Remote::Mark Remote::mark(std::string_view database, const Change& change, std::function<void()> done, bool& waits) {
  const Scope& scope = change.scope;
  const std::uint64_t id = ++last_mark_;
  Open& open = open_[id];
  if (scope.everything) {
    open.counters = {counter_of_all()};
  } else if (scope.database || scope.tables.size() > kMaxMarkedTables) {
    open.counters = {counter_of(database)};
  } else {
    for (const std::uint32_t table : scope.tables) open.counters.push_back(counter_of(database, table));
  }
  open.database = database;
  open.settled = change.defines || scope.everything || scope.database || scope.tables.size() > kMaxMarkedTables;
  open.defines = change.defines;
  open.births.resize(open.counters.size());
  open.since = loop_.now();
  open.done = std::move(done);
  set_mark(id, open);
  waits = open.asked;
  return {*this, id};
}

// On a counter that is not there nothing hangs, and for kNewCounterWaits after it has come to be nothing will.
void Remote::set_mark(std::uint64_t id, Open& open) {
  const auto setting = std::make_shared<Setting>();
  setting->epoch = epoch_;
  MemcachedRequest request;
  for (std::size_t i = 0; i < open.counters.size(); ++i) {
    if (open.births[i]) continue;
    setting->places.push_back(i);
    setting->names.push_back(counter_name(open.counters[i]));
    request.increase(setting->names.back(), kBeginsDoubt);
  }
  ask_definitions(request, open.database);
  open.asked = epoch_ != 0 && link_.ask(std::move(request), Patience::full,
                                        [this, id, setting](const MemcachedAnswer& a) { mark_set(id, *setting, a); });
  if (!open.asked) counts_as_unmarked(open, true);
}

bool Remote::hear(std::string_view database, std::function<void()> done) {
  MemcachedRequest request;
  ask_definitions(request, database);
  const auto heard = [this, name = std::string(database), epoch = epoch_, done](const MemcachedAnswer& answer) {
    hear_definitions(name, epoch, answer);
    done();
  };
  return epoch_ != 0 && link_.ask(std::move(request), Patience::full, heard);
}

void Remote::mark_set(std::uint64_t id, const Setting& setting, const MemcachedAnswer& answer) {
  Open& open = open_.at(id);
  const bool taken = answer.ok && setting.epoch == epoch_ && take_births(open, setting, answer);
  const bool same = hear_definitions(open.database, setting.epoch, answer);
  open.planned_by = known_definitions(open.database);
  open.asked = false;
  if (answer.ok && !same && epoch_ != 0) {
    // Meanwhile the cache was emptied: what was marked lies where nobody looks any more.
    set_mark(id, open);
    if (open.asked) return;
  } else {
    counts_as_unmarked(open, !same || !taken);
  }
  const std::function<void()> done = std::exchange(open.done, nullptr);
  if (open.ended) return finish_mark(id);
  if (done) done();
}

// False: memcached has not done it.
bool Remote::take_births(Open& open, const Setting& setting, const MemcachedAnswer& answer) {
  bool taken = true;
  for (std::size_t i = 0; i < setting.places.size(); ++i) {
    const MemcachedAnswer::Line& line = answer.lines[i];
    if (line.kind == MemcachedReply::number) {
      open.births[setting.places[i]] = birth_of(line.count);
      see_count(setting.names[i], line.count, kBeginsDoubt);
    }
    taken = taken && (line.kind == MemcachedReply::number || line.kind == MemcachedReply::not_found);
  }
  return taken;
}

// A mark goes when memcached loses the counter. Whoever works for long looks whether it is still there.
void Remote::check_marks() {
  const TimePoint now = loop_.now();
  std::vector<std::uint64_t> over;
  for (auto& [id, open] : open_) {
    if (open.asked || open.ended) continue;
    if (open.until && now >= *open.until) {
      over.push_back(id);
    } else if (!link_.up() || epoch_ == 0) {
      continue;
    } else if (open.unmarked) {
      set_mark(id, open);
    } else if (now - open.since >= kTick) {
      check_mark(id, open);
    }
  }
  for (const std::uint64_t id : over) end_mark(id, /*known=*/true);
}

void Remote::check_mark(std::uint64_t id, Open& open) {
  Names names = wire_names(open.counters);
  MemcachedRequest request;
  request.keys = names;
  ask_definitions(request, open.database);
  const auto done = [this, id, names = std::move(names), epoch = epoch_](const MemcachedAnswer& answer) {
    Open& checked = open_.at(id);
    const bool same = hear_definitions(checked.database, epoch, answer);
    checked.asked = false;
    if (same) mark_checked(checked, names, answer);
    if (checked.ended) return finish_mark(id);
    if (checked.unmarked && link_.up() && epoch_ != 0) set_mark(id, checked);
  };
  open.asked = link_.ask(std::move(request), Patience::full, done);
}

void Remote::mark_checked(Open& open, const Names& names, const MemcachedAnswer& answer) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::optional<std::uint64_t> value = see(names[i], answer.values[i]);
    if (value && open.births[i] == birth_of(*value)) continue;
    open.births[i].reset();
    if (value) counts_as_unmarked(open, true);
  }
}

void Remote::counts_as_unmarked(Open& open, bool unmarked) {
  if (open.unmarked == unmarked) return;
  open.unmarked = unmarked;
  sharing_.unmarked += unmarked ? 1 : -1;
}

void Remote::end_mark(std::uint64_t id, bool known) {
  Open& open = open_.at(id);
  if (!known) {
    if (open.defines) say_definitions(open);
    open.until = loop_.now() + kDoubtEnds;  // the server may be working still
    return;
  }
  open.ended = true;
  if (!open.asked) finish_mark(id);
}

void Remote::finish_mark(std::uint64_t id) {
  Open& open = open_.at(id);
  if (open.defines) say_definitions(open);
  if (open.unmarked || loop_.now() - ticked_ > kStopped) ++sharing_.owed;
  counts_as_unmarked(open, false);
  take_back(open);
  open_.erase(id);
  pay();
}

void Remote::take_back(const Open& open) {
  const auto setting = std::make_shared<Setting>();
  setting->epoch = epoch_;
  MemcachedRequest request;
  for (std::size_t i = 0; i < open.counters.size(); ++i) {
    if (!open.births[i]) continue;
    setting->places.push_back(i);
    setting->names.push_back(counter_name(open.counters[i]));
    request.increase(setting->names.back(), kEndsDoubt);
  }
  if (open.settled && request.lines == 0) return;
  ask_definitions(request, open.database);
  const auto done = [this, setting, ended = static_cast<const Marked&>(open)](const MemcachedAnswer& answer) {
    taken_back(*setting, ended, answer);
  };
  if (!link_.ask(std::move(request), Patience::full, done)) ++sharing_.owed;
}

void Remote::taken_back(const Setting& setting, const Marked& ended, const MemcachedAnswer& answer) {
  for (std::size_t i = 0; i < answer.lines.size(); ++i) {
    const MemcachedAnswer::Line& line = answer.lines[i];
    if (line.kind != MemcachedReply::number) continue;
    if (setting.epoch == epoch_) see_count(setting.names[i], line.count, kEndsDoubt);
    if (ended.births[setting.places[i]] == birth_of(line.count)) continue;
    // Lost and made anew in between: what was taken back was somebody else's.
    MemcachedRequest away;
    away.remove(setting.names[i]);
    if (!link_.ask(std::move(away), Patience::full, nullptr)) ++sharing_.owed;
  }
  if (!hear_definitions(ended.database, setting.epoch, answer) || ended.settled) return;
  if (known_definitions(ended.database) == ended.planned_by) return;
  // It may have run after the definition by which it would have been planned otherwise.
  bool waits = false;
  mark(ended.database, {.scope = {.database = true}}, nullptr, waits).end(/*known=*/true);
}

}  // namespace herdgate::cache
