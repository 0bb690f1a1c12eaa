#include "session/session_cache.h"

#include <algorithm>

#include "base/assert.h"
#include "cache/defaults.h"
#include "session/session.h"
#include "wire/frontend.h"

namespace herdgate::session {
namespace {
using backend::Owes;
using sql::Kind;
using vsession::Pin;
using vsession::TxStatus;

// Its room is kept for the next request, if it is not much.
template <class T>
void empty(std::vector<T>& items) {
  items.clear();
  if (items.capacity() > SessionCache::kMaxKeptItems) std::vector<T>().swap(items);
}

}  // namespace

bool SessionCache::one_snapshot() const {
  const vsession::SessionState& state = s_.vs_.state();
  const sql::Isolation isolation =
      state.tx.isolation_explicit ? state.tx.isolation : std::max(state.tx.isolation, state.default_isolation);
  // What the session has set as its default may be younger than the transaction.
  const auto says_itself = [&] {
    return state.tx.isolation_explicit ||
           (state.tx.status == TxStatus::idle && s_.vs_.parameters()->find("default_transaction_isolation") != nullptr);
  };
  const bool given = cache::give_one_snapshot(static_cast<std::uint64_t>(defaults_)) && !says_itself();
  return given || isolation >= sql::Isolation::repeatable_read;
}

std::string_view SessionCache::refusal() const {
  const vsession::SessionState& state = s_.vs_.state();
  return cache::refusal({.failed_transaction = state.tx.status == TxStatus::failed,
                         .wrote = state.tx.status != TxStatus::idle && (wrote_ || state.tx.wrote),
                         .one_snapshot = one_snapshot(),
                         .temporary = state.has(Pin::temporary_table),
                         .unknown_state = unknown_state_ || s_.state_unknown(),
                         .role_changed = state.role_changed});
}

// Is there a point in looking for an entry of this text, where nothing is refused?
bool SessionCache::finds(const sql::Facts& facts) const {
  return cache::may_be_cached(facts, s_.own().allow_sql_comments(s_.settings())) && s_.run().reruns == 0;
}

// Whatever is learned for this request, of the catalog too, is of this moment or later.
void SessionCache::begin() {
  if (began_ == kNotBegun) began_ = store_.now();
  passing_.serial = 0;
  defaults_ = defaults_expected();
}

const Hash128& SessionCache::viewer() {
  const bool same_key = remote_ == nullptr || viewer_key_ == remote_->hash_key().k0;
  if (viewer_parameters_ == s_.vs_.parameters() && same_key && viewer_defaults_ == defaults_) return viewer_;
  const HashKey key = hash_key();
  if (viewer_key_ != key.k0 || !viewer_parameters_)
    owner_ = cache::owner_of(key, s_.identity_->database, s_.identity_->user);
  viewer_key_ = key.k0;
  viewer_defaults_ = defaults_;
  viewer_parameters_ = s_.vs_.parameters();
  std::vector<cache::Setting> settings;
  for (const vsession::Parameter& p : viewer_parameters_->all()) settings.emplace_back(p.name, p.sql);
  const auto given = static_cast<std::uint64_t>(defaults_);
  settings.emplace_back("", std::string_view(reinterpret_cast<const char*>(&given), sizeof given));
  viewer_ = cache::viewer_of(key, s_.identity_->database, s_.identity_->user, settings);
  return viewer_;
}

SessionCache::Looked SessionCache::look(const Read& read) {
  const HashKey key = hash_key();
  Looked looked{.serial = read.facts->serial, .viewer = viewer()};
  if (read.types.empty()) {
    looked.text = cache::text_hash(key, read.text);
    looked.key = cache::key_of(looked.viewer, looked.text);
    return looked;
  }
  const cache::RecentTexts::Hashes of = read.id != nullptr
                                            ? s_.worker_.recent_texts().find(key, *read.id, read.text, read.types)
                                            : cache::RecentTexts::made(key, read.text, read.types);
  looked.text = of.text;
  looked.key = cache::key_of(key, looked.viewer, of.statement, read.bind);
  return looked;
}

cache::Tally& SessionCache::tally() { return s_.worker_.cache_tally(); }

bool SessionCache::selective() const { return admission_.selective() && s_.settings().memqcache_selective; }

// Not found: is an answer worth keeping, whatever it is?
bool SessionCache::wants(const Looked& read) const {
  return admission_.wants(read.key) || !s_.settings().memqcache_selective;
}

const Hash128& SessionCache::owner() {
  viewer();
  return owner_;
}

Hash128 SessionCache::text_key(std::string_view text) {
  return cache::text_key(owner(), cache::text_hash(hash_key(), text));
}

void SessionCache::log_hit(std::string_view text) {
  if (!s_.own().log_per_node_statement(s_.settings())) return;
  const std::string detail = fmt::format("query result fetched from cache. statement: {}", text);
  s_.worker_.log().write(s_.who_, LogLine{.level = Level::log, .text = "fetch from memory cache", .detail = detail});
}

bool SessionCache::answer_query(const sql::Facts& facts, std::string_view text) {
  begin();
  if (!finds(facts) || !refusal().empty() || !knows_defaults()) return false;
  const Read read{.facts = &facts, .text = text};
  if (remote_ != nullptr && look_up({read})) return false;
  const Looked looked = look(read);
  const std::optional<cache::Answer> found = remote_ ? find({read}).front() : store_.find(looked.key);
  if (!found) {
    if (passes(looked)) return false;
    stirred_ = true;
    looked_.assign(1, looked);
    looked_.front().wanted = wants(looked);
    return false;
  }
  Bytes& out = s_.client_.own();
  out.append(found->bytes.get(), found->size);
  s_.client_.added_own();
  s_.say_ready();
  admission_.hit();
  log_hit(text);
  return true;
}

// The one read of its request: if it is not worth keeping, nothing but this is held of it.
bool SessionCache::passes(const Looked& read) {
  if (read.serial == 0 || wants(read)) return false;
  passing_ = {.key = read.key, .serial = read.serial};
  return true;
}

void SessionCache::planned(const sql::Facts& facts, std::string_view text, const sql::Answers& answers,
                           std::uint64_t plan) {
  static const cache::RecentVerdicts::Kept kNone;
  const bool may_recall = remote_ == nullptr || heard();  // else what it heeds counts
  const cache::RecentVerdicts::Kept& recent = may_recall ? s_.worker_.recent_verdicts().find(plan) : kNone;
  if (recent != nullptr && passing_.serial != 0 && passing_.serial == facts.serial) {
    passing_.counts = recent->ok();
    return;
  }
  stirred_ = true;
  cache::RecentVerdicts::Kept verdict = recent;
  if (!verdict) {
    const cache::Effects effects = cache::effects_of(facts, answers, s_.prepared_statement(facts.first()));
    heed_events(facts);
    add(effects);
    if (facts.serial == 0 || facts.first().kind != Kind::select) return;
    verdict = std::make_shared<const cache::Verdict>(cache::standing_verdict(
        {facts, text, answers, *s_.settings().patterns, s_.own().allow_sql_comments(s_.settings())}));
    if (plan != 0 && effects.none()) s_.worker_.recent_verdicts().keep(plan, verdict);
  }
  if (planned_.size() >= kMaxReads || planned_of(facts.serial) != nullptr) return;
  const bool lasts =
      verdict->ok() && wants_any() && !cache::means_a_moment(facts, text, s_.vs_.standard_conforming_strings());
  planned_.push_back({facts.serial, std::move(verdict), lasts});
}

// In the open transaction: names, settings and temporary tables may be others when it has ended.
bool SessionCache::has_set_something() const {
  const vsession::VirtualSession& vs = s_.vs_;
  return vs.parameters() != vs.base_parameters() || vs.parameters() != vs.session_parameters() ||
         vs.state().has(Pin::temporary_table);
}

// A read that calls nothing changes nothing, whatever its names mean: while such ones are under way somebody's DROP of
// a temporary table need not empty the cache.
void SessionCache::planning(const sql::Facts& facts) {
  const sql::Statement& first = facts.first();
  if (remote_ == nullptr && !facts.multi() && first.kind == Kind::select && first.functions.empty()) return;
  stirred_ = true;
  if (!definitions_) definitions_ = s_.worker_.shared().epochs.definitions_at(s_.identity_->epoch_place);
}

// What event triggers set cannot be seen.
void SessionCache::heed_events(const sql::Facts& facts) {
  if (s_.may_run_event_triggers(facts)) unknown_state_ = unknown_now_ = true;
}

void SessionCache::add(const cache::Effects& effects) {
  stirred_ = true;
  // What event triggers change cannot be seen.
  const bool fires = effects.fires && s_.worker_.catalog().event_triggers(s_.identity_->database).value_or(true);
  scope_.add(effects.scope);
  scope_.database |= fires;
  defines_ |= effects.defines || fires;
  heeds_ |= effects.heeds && remote_ != nullptr && !heard();
  renames_ |= effects.renames || (effects.takes_back && has_set_something());
  by_name_ |= effects.by_name;
  ends_ |= effects.ends_transaction;
  unknown_state_ |= effects.unknown_state;
  unknown_now_ |= effects.unknown_state;
  scope_.database |= by_name_ && (renames_ || unknown_now_ || s_.state_unknown());
  const std::string& database = s_.identity_->database;
  if (!effects.prepares.empty()) {
    prepares_ = effects.prepares;
    store_.take_prepared(database, prepares_);  // what was prepared under the name before has been finished
  }
  if (!effects.rolls_back_prepared.empty()) store_.take_prepared(database, effects.rolls_back_prepared);
  if (effects.commits_prepared.empty()) return;
  std::optional<cache::Scope> known = store_.take_prepared(database, effects.commits_prepared);
  // Through another proxy the name may have been given to another transaction since.
  if (remote_ != nullptr) known.reset();
  const cache::Scope all = known.value_or(cache::Scope{.everything = true});
  defines_ |= all.database || all.everything;
  scope_.add(all);
}

// Before a doubt ends that covers them: whoever may keep answers again is to ask the catalog again.
void SessionCache::tell_definitions() {
  if (!defines_ && !defined_) return;
  const bool open = s_.vs_.state().tx.status != TxStatus::idle;
  const bool now = std::exchange(defines_, false);
  if (now || !open) {  // what they change beside names the session tells of those that were seen
    catalog::Epochs& epochs = s_.worker_.shared().epochs;
    const bool everything = scope_.everything || pending_.everything;
    everything ? epochs.define_in_all(catalog::Epochs::Change::names) : epochs.define(s_.identity_->database);
  }
  defined_ = (defined_ || now) && open;
}

// What was planned, now or for what the open transaction has written, was planned by what names, functions and triggers
// meant before somebody defined something.
bool SessionCache::redefined() const {
  if (!stirred_) return false;
  const std::optional<std::uint64_t>& first = written_by_ ? written_by_ : definitions_;
  return first && *first != s_.worker_.shared().epochs.definitions_at(s_.identity_->epoch_place);
}

// As it is set now: a session that is busy goes by older settings, while others already keep what it changes.
bool SessionCache::invalidates() const { return s_.worker_.snapshot()->settings->memqcache_auto_cache_invalidation; }

// From here until its outcome what is written is in doubt. In a transaction that begins when it is about to end.
void SessionCache::guard() {
  if (!stirred_) return;
  const bool open = s_.vs_.state().tx.status != TxStatus::idle;
  if (redefined()) stirred_ = scope_.database = true;
  if (!scope_.empty()) wrote_ = true;
  if (remote_ != nullptr) {
    for (cache::Remote::Mark& mark : marks_) mark.sent();
    guarded_ = false;
    return;
  }
  if (open && !ends_) return;
  if (!invalidates()) {
    unguarded_ = true;
    return;
  }
  if (pending_.empty() && scope_.empty()) return;
  cache::Scope all = pending_;
  all.add(scope_);
  cache::Scope beyond = all.beyond(covered_);
  if (beyond.empty()) return;
  doubts_.push_back(store_.doubt(s_.identity_->database, std::move(beyond)));
  covered_ = std::move(all);
}

// Does a read on this node see every commit that was acknowledged before it?
bool SessionCache::node_shows_commits(NodeId node, std::optional<TimePoint>& seen_to) const {
  const Snapshot& now = *s_.worker_.snapshot();
  const bool streaming = now.settings->backend_clustering_mode == config::ClusteringMode::streaming_replication;
  if (streaming && now.view->primary == kNoNode) return false;
  if (node == now.view->write_node()) return true;
  const pool::ServerLink* link = streaming ? s_.held(node) : nullptr;
  if (link != nullptr) seen_to = s_.shown_by(*link);
  return seen_to.has_value();
}

const SessionCache::Planned* SessionCache::planned_of(std::uint64_t serial) const {
  const auto known =
      std::find_if(planned_.begin(), planned_.end(), [&](const Planned& p) { return p.serial == serial; });
  return known == planned_.end() ? nullptr : &*known;
}

// True where nothing was looked for: what will be is not known yet.
bool SessionCache::wants_any() const {
  if (passing_.serial != 0) return false;
  return looked_.empty() || std::any_of(looked_.begin(), looked_.end(), [](const Looked& l) { return l.wanted; });
}

// Of what is sent now nothing is kept: in a flood of reads that do not come again.
void SessionCache::let_pass() {
  const auto one = [this](const Hash128& key, bool counts) {
    cache::Tally::count(tally().selects);
    if (!counts) return;
    admission_.missed(key);
    cache::Tally::count(tally().passed);
  };
  if (passing_.serial != 0) {
    const Planned* known = planned_of(passing_.serial);
    return one(passing_.key, passing_.counts || (known != nullptr && known->verdict->ok()));
  }
  for (const Looked& read : looked_) {
    const Planned* known = planned_of(read.serial);
    one(read.key, known != nullptr && known->verdict->ok());
  }
}

void SessionCache::expect(const Looked& read, bool may_keep, std::optional<TimePoint> seen_to) {
  stirred_ = true;
  Coming& coming = coming_.emplace_back();
  cache::Tally::count(tally().selects);
  const Planned* known = may_keep && !read.moment && !read.shifted ? planned_of(read.serial) : nullptr;
  if (known == nullptr || !known->verdict->ok()) return;
  admission_.missed(read.key);
  if (!read.wanted) cache::Tally::count(tally().passed);
  if (!read.wanted || !known->lasts) return;
  coming.kept = true;
  coming.fill = std::move(s_.worker_.spare_fill());
  coming.fill.head.clear();
  coming.fill.rest.clear();
  coming.fill.footing = {};
  coming.fill.key = read.key;
  coming.fill.text = cache::text_key(owner(), read.text);
  coming.fill.database = s_.identity_->database;
  coming.fill.tables = known->verdict->tables;
  coming.fill.began = began_;
  coming.fill.seen_to = seen_to;
  if (remote_ != nullptr) take_footing(coming);
}

bool SessionCache::part_of_cut_unit() const { return s_.work().plan.rule == route::Rule::cut_unit; }

void SessionCache::sending_query(const sql::Facts& facts, std::string_view text, NodeId node) {
  forget_coming();
  if (part_of_cut_unit() && !remote_) unplanned(facts, s_.prepared_statement(facts.first()));
  guard();
  if (facts.multi() || facts.first().kind != Kind::select) return;
  if (!wants_any()) return let_pass();
  std::optional<TimePoint> seen_to;
  const bool may_keep = began_ != kNotBegun && !part_of_cut_unit() && takes_defaults(node) && refusal().empty() &&
                        node_shows_commits(node, seen_to);
  if (!may_keep) return expect({}, false, seen_to);
  if (looked_.size() != 1 || looked_.front().viewer != viewer()) {
    looked_.assign(1, look({.facts = &facts, .text = text}));
    looked_.front().wanted = wants(looked_.front());
  }
  expect(looked_.front(), true, seen_to);
}

void SessionCache::sending_unknown() {
  add({.scope = {.database = true}, .unknown_state = true});
  guard();
}

// What is sent without having been planned: what the catalog's cache knows of it, or the worst.
void SessionCache::unplanned(const sql::Facts& facts, const sql::Statement* prepared) {
  catalog::Found found =
      s_.worker_.catalog().lookup(s_.viewpoint(), route::questions(facts, s_.vs_.state(), s_.settings(), prepared));
  if (!found.open.empty()) found.answers = {};
  heed_events(facts);
  add(cache::effects_of(facts, found.answers, prepared));
}

void SessionCache::take(ByteView bytes, bool head) {
  if (at_ >= coming_.size() || !coming_[at_].kept) return;
  cache::Fill& fill = coming_[at_].fill;
  const std::size_t size = fill.head.size() + fill.rest.size();
  const bool fits = size + bytes.size() <= store_.max_answer_bytes();
  if (fits && (at_ == 0 || coming_bytes_ + bytes.size() <= kMaxUnitBytes)) {
    Bytes& part = head ? fill.head : fill.rest;
    if (part.empty()) part.reserve(bytes.size() + (head ? 0 : kTagBytes));
    part.append(bytes);
    coming_bytes_ += bytes.size();
    return;
  }
  coming_[at_].kept = false;
  coming_bytes_ -= size;
  Bytes().swap(fill.head);
  Bytes().swap(fill.rest);
  if (fits) return;
  const bool tells = admission_.tells_of_large(s_.worker_.loop().now());
  HG_LOG(s_.worker_.log(), s_.who_, tells ? Level::log : Level::debug1,
         "pool_add_temp_query_cache: data size exceeds memqcache_maxcache. current:{} requested:{} memq_maxcache:{}",
         size, bytes.size(), store_.max_answer_bytes());
}

void SessionCache::answer(const backend::Answer& answer) {
  if (!stirred_ || coming_.empty()) return;
  take_heads(answer.heads);
  const ByteView rest = answer.bytes().substr(answer.heads.size());
  if (coming_.empty() || rest.empty()) return;
  take(rest, /*head=*/false);
  if (!answer.complete.empty() && at_ < coming_.size()) coming_[at_++].done = true;
}

// What is ahead of the rows.
void SessionCache::take_heads(ByteView bytes) {
  while (!coming_.empty() && !bytes.empty()) {
    const Frame frame = first_frame(bytes);
    bytes.remove_prefix(frame.whole.size());
    if (frame.type == wire::be::kRowDescription) {
      take(frame.whole, /*head=*/true);
    } else if (frame.type != wire::be::kParseComplete && frame.type != wire::be::kBindComplete) {
      coming_.clear();
    }
  }
}

void SessionCache::rows(const backend::Debt& head, ByteView bytes) {
  if (!stirred_ || coming_.empty() || head.note != kNoteClient) return;
  if (head.what != Owes::query && head.what != Owes::execute) return coming_.clear();
  take(bytes, /*head=*/false);
}

// Anything but a description, rows and a tag: an answer of this kind is not kept, nor are those behind it.
void SessionCache::reply(const backend::Debt& head, const backend::Message& message) {
  using namespace wire::be;
  if (!stirred_ || coming_.empty() || head.note != kNoteClient) return;
  switch (message.type) {
    case kRowDescription:
      return take(message.bytes, /*head=*/true);
    case kCommandComplete:
      take(message.bytes, /*head=*/false);
      if (at_ < coming_.size()) coming_[at_++].done = true;
      return;
    case kParseComplete:
    case kBindComplete:
    case kReady:
      return;
    default:
      coming_.clear();
  }
}

// What was stored is a copy; the buffers serve again.
void SessionCache::store(cache::Fill&& fill) {
  if (remote_ != nullptr) return remote_->put(std::move(fill));
  if (home_ == nullptr) home_ = store_.home(fill.database);
  store_.put(fill, home_);
  if (fill.head.capacity() + fill.rest.capacity() <= kMaxSpareBytes) s_.worker_.spare_fill() = std::move(fill);
}

void SessionCache::store_all() {
  for (cache::Fill& fill : aside_) store(std::move(fill));
  for (Coming& coming : coming_) {
    if (coming.kept && coming.done) store(std::move(coming.fill));
  }
}

void SessionCache::keep_aside() {
  for (Coming& coming : coming_) {
    if (!coming.kept || !coming.done) continue;
    const std::size_t bytes = coming.fill.head.size() + coming.fill.rest.size();
    const bool room = aside_.empty() || aside_bytes_ + bytes <= kMaxAsideBytes;
    if (aside_.size() >= kMaxAside || !room) continue;
    aside_bytes_ += bytes;
    aside_.push_back(std::move(coming.fill));
  }
  coming_.clear();
}

// It may have run after the definition by which it would have been planned otherwise.
void SessionCache::widen() {
  stirred_ = true;
  cache::Scope all{.database = true};
  if (s_.vs_.state().tx.status != TxStatus::idle) return scope_.add(all);
  if (!invalidates()) return;
  bool asked = false;
  const std::string& database = s_.identity_->database;
  if (remote_ != nullptr) return remote_->mark(database, {std::move(all)}, nullptr, asked).end(/*known=*/true);
  store_.doubt(database, std::move(all)).end(/*known=*/true);
}

// The outcome is known: what was in doubt has changed, or has not, and both have been provided for.
void SessionCache::ready(bool committed) {
  if (unknown_state_ && committed && !unknown_now_ && s_.work().tag == "DISCARD ALL") unknown_state_ = false;
  // Sent while nothing was to be invalidated, and that has been switched on since.
  const bool late = std::exchange(unguarded_, false) && invalidates();
  if (late || redefined()) widen();
  if (!stirred_) return;
  tell_definitions();
  end_doubts(/*known=*/true);
  const TxStatus status = s_.vs_.state().tx.status;
  if (status == TxStatus::open && !wrote_) keep_aside();
  if (status == TxStatus::failed || wrote_) aside_.clear();
  if (status != TxStatus::idle) {
    if ((heeds_ || !scope_.empty()) && !written_by_) written_by_ = definitions_;
    pending_.add(scope_);
  } else {
    if (committed && !prepares_.empty()) {
      pending_.add(scope_);
      store_.keep_prepared(s_.identity_->database, prepares_, std::move(pending_));
    }
    if (committed) store_all();
    coming_.clear();
    forget_transaction();
  }
  if (!scope_.empty()) scope_ = {};
  prepares_.clear();
}

void SessionCache::forget_coming() {
  if (!stirred_) return;
  coming_.clear();
  at_ = coming_bytes_ = 0;
}

void SessionCache::forget_transaction() {
  if (!pending_.empty()) pending_ = {};
  written_by_.reset();
  wrote_ = false;
  if (aside_.capacity() > 0) std::vector<cache::Fill>().swap(aside_);
  aside_bytes_ = 0;
}

void SessionCache::end_doubts(bool known) {
  for (cache::Doubt& doubt : doubts_) doubt.end(known);
  doubts_.clear();
  if (known) {
    for (cache::Remote::Mark& mark : marks_) mark.end(/*known=*/true);
  }
  marks_.clear();  // those that were sent end as unknown
  covered_ = {};
  covers_definitions_ = false;
}

// Its server may still be about to define something, while others ask the catalog. As long as nothing is kept of what
// it may change, that harms nobody; then they are to ask anew.
void SessionCache::define_again() {
  catalog::Epochs& epochs = s_.worker_.shared().epochs;
  const bool everything = scope_.everything || pending_.everything;
  s_.worker_.loop().after(cache::Doubt::kUnknownLingers - std::chrono::seconds(1),
                          [&epochs, everything, database = s_.identity_->database] {
                            if (everything) return epochs.define_in_all(catalog::Epochs::Change::names);
                            epochs.define(database);
                          });
}

// A doubt that is left over now has no outcome: its link was lost.
void SessionCache::finished() {
  began_ = kNotBegun;
  passing_.serial = 0;
  if (!stirred_) return;
  definitions_.reset();
  if (!doubts_.empty() && (defines_ || defined_)) define_again();
  tell_definitions();
  end_doubts(/*known=*/false);
  guarded_ = false;
  asking_.reset();
  empty(looked_);
  if (!scope_.empty()) scope_ = {};
  ends_ = heeds_ = renames_ = by_name_ = unknown_now_ = false;
  prepares_.clear();
  planned_.clear();
  forget_coming();
  stirred_ = s_.vs_.state().tx.status != TxStatus::idle;
  if (!stirred_) forget_transaction();
}

}  // namespace herdgate::session
