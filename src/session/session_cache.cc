#include "session/session_cache.h"

#include <algorithm>

#include "base/assert.h"
#include "session/session.h"
#include "wire/frontend.h"

namespace herdgate::session {
namespace {
using backend::Owes;
using sql::Kind;
using vsession::Pin;
using vsession::TxStatus;

bool has_pin(const vsession::SessionState& state, Pin pin) {
  return (state.pins & static_cast<std::uint16_t>(pin)) != 0;
}

bool discards_all(const sql::Facts& facts) {
  return facts.first().kind == Kind::discard && facts.first().discard == sql::DiscardTarget::all;
}

}  // namespace

std::string_view SessionCache::refusal() const {
  const vsession::SessionState& state = s_.vs_.state();
  const sql::Isolation isolation =
      state.tx.isolation_explicit ? state.tx.isolation : std::max(state.tx.isolation, state.default_isolation);
  return cache::refusal(
      {.failed_transaction = state.tx.status == TxStatus::failed,
       .wrote = state.tx.status != TxStatus::idle && (wrote_ || state.tx.wrote),
       .one_snapshot = isolation >= sql::Isolation::repeatable_read,
       .temporary = has_pin(state, Pin::temporary_table),
       .unknown_state = unknown_state_ || has_pin(state, Pin::load) || has_pin(state, Pin::unparsed_state),
       .role_changed = state.role_changed});
}

// Is there a point in looking for an entry of this text, now?
bool SessionCache::finds(const sql::Facts& facts) const {
  return cache::may_be_cached(facts, s_.own().allow_sql_comments(s_.settings())) && s_.run().reruns == 0 &&
         refusal().empty();
}

// Whatever is learned for this request, of the catalog too, is of this moment or later.
void SessionCache::begin() {
  if (!began_) began_ = store_.now();
}

const Hash128& SessionCache::viewer() {
  const HashKey key = hash_key();
  if (viewer_parameters_ == s_.vs_.parameters() && viewer_key_ == key.k0) return viewer_;
  viewer_key_ = key.k0;
  viewer_parameters_ = s_.vs_.parameters();
  std::vector<cache::Setting> settings;
  for (const vsession::Parameter& p : viewer_parameters_->all()) settings.emplace_back(p.name, p.sql);
  viewer_ = cache::viewer_of(key, s_.identity_->database, s_.identity_->user, settings);
  return viewer_;
}

Hash128 SessionCache::key_of(const Read& read) {
  const cache::Form form = read.types.empty() ? cache::Form::simple : cache::Form::extended;
  return cache::key_of(hash_key(), {viewer(), form, read.text, read.types, read.bind});
}

// The same where a request is one text: it is looked for and then kept, as the same viewer or as another.
Hash128 SessionCache::looked_key(const Read& read) {
  const Hash128& as = viewer();
  if (!looked_ || looked_->viewer != as) looked_ = {as, key_of(read)};
  return looked_->key;
}

Hash128 SessionCache::text_key(std::string_view text) const {
  return cache::text_key(hash_key(), s_.identity_->database, s_.identity_->user, text);
}

void SessionCache::log_hit(std::string_view text) {
  if (!s_.own().log_per_node_statement(s_.settings())) return;
  const std::string detail = fmt::format("query result fetched from cache. statement: {}", text);
  s_.worker_.log().write(s_.who_, LogLine{.level = Level::log, .text = "fetch from memory cache", .detail = detail});
}

bool SessionCache::answer_query(const sql::Facts& facts, std::string_view text) {
  begin();
  if (!finds(facts)) return false;
  const Read read{.facts = nullptr, .text = text, .types = {}, .bind = {}};
  if (remote_ != nullptr && look_up({read})) return false;
  const std::optional<cache::Answer> found = remote_ ? find({read}).front() : store_.find(looked_key(read));
  if (!found) return false;
  Bytes& out = s_.client_.own();
  out.append(found->bytes.get(), found->size);
  s_.client_.added_own();
  s_.say_ready();
  log_hit(text);
  return true;
}

// The units that are answered from the cache and kept in it: Parse, Bind, Describe and Execute of whole results through
// the unnamed portal, in any order that makes sense, up to Sync.
bool SessionCache::read_unit(ByteView messages, std::vector<Read>& reads) {
  const sql::ParseOptions options{s_.vs_.standard_conforming_strings(), s_.vs_.ascii_safe_encoding()};
  std::vector<std::pair<std::string_view, Read>> fresh;  // parsed in this unit
  std::optional<Read> bound;
  while (messages.size() >= wire::kHeaderBytes) {
    const Frame frame = first_frame(messages);
    messages.remove_prefix(frame.whole.size());
    if (frame.type == wire::fe::kSync) return messages.empty() && !bound && !reads.empty();
    if (frame.type == wire::fe::kParse) {
      const auto parse = wire::parse_parse(frame.payload);
      if (!parse || (!parse->statement.empty() && s_.vs_.find_prepared(parse->statement))) return false;
      fresh.emplace_back(parse->statement,
                         Read{s_.worker_.facts().facts(parse->query, options), parse->query, parse->types, {}});
    } else if (frame.type == wire::fe::kBind) {
      if (bound || !bind(frame.payload, fresh, bound.emplace())) return false;
    } else if (frame.type == wire::fe::kDescribe) {
      const auto describe = wire::parse_describe_or_close(frame.payload);
      if (!bound || !describe || describe->what != 'P' || !describe->name.empty()) return false;
      bound->described = true;
    } else if (frame.type == wire::fe::kExecute) {
      const auto execute = wire::parse_execute(frame.payload);
      if (!bound || !execute || !execute->portal.empty() || execute->max_rows != 0) return false;
      if (reads.size() == kMaxReads) return false;
      reads.push_back(std::move(*bound));
      bound.reset();
    } else {
      return false;
    }
  }
  return false;
}

bool SessionCache::bind(ByteView payload, std::vector<std::pair<std::string_view, Read>>& fresh, Read& read) {
  const auto bind = wire::parse_bind(payload);
  if (!bind || !bind->portal.empty()) return false;
  const auto parsed =
      std::find_if(fresh.rbegin(), fresh.rend(), [&](const auto& one) { return one.first == bind->statement; });
  if (parsed != fresh.rend()) {
    read = parsed->second;
  } else {
    const vsession::PreparedPtr known = s_.vs_.find_prepared(bind->statement);
    if (!known || known->from_sql || !known->facts) return false;
    read = {known->facts, known->query, known->types, {}};
  }
  read.bind = bind->rest;
  return true;
}

bool SessionCache::answer_unit(ByteView messages) {
  begin();
  const Request& request = s_.work().request;
  if (!request.synced || request.streamed || !refusal().empty()) return false;
  // A server that takes part in the transaction has an unnamed portal, which the client's Bind would replace.
  if (!s_.parts_.empty()) return false;
  std::vector<Read> reads;
  if (!read_unit(messages, reads)) return false;
  const auto not_kept = [&](const Read& read) { return !finds(*read.facts); };
  if (remote_ != nullptr && (std::any_of(reads.begin(), reads.end(), not_kept) || look_up(reads))) return false;
  std::vector<std::optional<cache::Answer>> far;
  if (remote_ != nullptr) far = find(reads);
  std::vector<cache::Answer> answers;
  for (const Read& read : reads) {
    if (!finds(*read.facts)) return false;
    std::optional<cache::Answer> found = remote_ ? std::move(far[answers.size()]) : store_.find(key_of(read));
    if (!found || (read.described && found->head_bytes == 0)) return false;
    answers.push_back(std::move(*found));
  }
  write_unit(messages, answers);
  for (const Read& read : reads) log_hit(read.text);
  return true;
}

void SessionCache::write_unit(ByteView messages, const std::vector<cache::Answer>& answers) {
  const sql::ParseOptions options{s_.vs_.standard_conforming_strings(), s_.vs_.ascii_safe_encoding()};
  Bytes& out = s_.client_.own();
  std::size_t at = 0;
  while (!messages.empty()) {
    const Frame frame = first_frame(messages);
    messages.remove_prefix(frame.whole.size());
    if (frame.type == wire::fe::kParse) {
      const auto parse = wire::parse_parse(frame.payload);
      const auto defined =
          s_.vs_.define(parse->statement, parse->query, parse->types, s_.worker_.facts().facts(parse->query, options));
      HG_ASSERT(defined.has_value());  // read_unit() has seen that the name is free
      wire::put_parse_complete(out);
    } else if (frame.type == wire::fe::kBind) {
      wire::put_bind_complete(out);
    } else if (frame.type == wire::fe::kDescribe) {
      out += answers[at].head();
    } else if (frame.type == wire::fe::kExecute) {
      out += answers[at++].rest();
    }
  }
  s_.client_.added_own();
  s_.say_ready();
}

void SessionCache::planned(const sql::Facts& facts, std::string_view text, const sql::Answers& answers) {
  add(cache::effects_of(facts, answers, s_.prepared_statement(facts.first())));
  if (discards_all(facts)) unknown_state_ = false;
  if (facts.serial == 0 || facts.first().kind != Kind::select) return;
  planned_.push_back({facts.serial, cache::verdict({facts, text, answers, *s_.settings().patterns,
                                                    s_.own().allow_sql_comments(s_.settings())})});
}

void SessionCache::add(const cache::Effects& effects) {
  scope_.add(effects.scope);
  ends_ |= effects.ends_transaction;
  unknown_state_ |= effects.unknown_state;
  if (!effects.prepares.empty()) prepares_ = effects.prepares;
  const std::string& database = s_.identity_->database;
  if (!effects.rolls_back_prepared.empty()) store_.take_prepared(database, effects.rolls_back_prepared);
  if (effects.commits_prepared.empty()) return;
  scope_.add(store_.take_prepared(database, effects.commits_prepared).value_or(cache::Scope{.database = true}));
}

// From here until its outcome what is written is in doubt. In a transaction that begins when it is about to end.
void SessionCache::guard() {
  const bool open = s_.vs_.state().tx.status != TxStatus::idle;
  if (!scope_.empty()) wrote_ = true;
  if (remote_ != nullptr) {
    for (cache::Remote::Mark& mark : marks_) mark.sent();
    guarded_ = false;
    return;
  }
  if (!s_.settings().memqcache_auto_cache_invalidation || (open && !ends_)) return;
  if (pending_.empty() && scope_.empty()) return;
  cache::Scope all = pending_;
  all.add(scope_);
  doubts_.push_back(store_.doubt(s_.identity_->database, std::move(all)));
}

// Does a read on this node see every commit that was acknowledged before it?
bool SessionCache::node_shows_commits(NodeId node, std::optional<TimePoint>& seen_to) const {
  const Snapshot& now = *s_.worker_.snapshot();
  const bool streaming = now.settings->backend_clustering_mode == config::ClusteringMode::streaming_replication;
  if (streaming && now.view->primary == kNoNode) return false;
  if (node == now.view->write_node()) return true;
  const cluster::Node* standby = now.view->find(node);
  if (!streaming || standby == nullptr || !standby->replayed_to) return false;
  seen_to = standby->replayed_to;
  return true;
}

void SessionCache::expect(const Read& read, const Hash128& key, bool may_keep, std::optional<TimePoint> seen_to) {
  Coming& coming = coming_.emplace_back();
  store_.count_select();
  const auto known =
      std::find_if(planned_.begin(), planned_.end(), [&](const Planned& p) { return p.serial == read.facts->serial; });
  const bool moment = !read.bind.empty() && cache::bind_names_a_moment(read.bind) &&
                      read.facts->leading_comment != sql::LeadingComment::force_query_cache;
  if (!may_keep || known == planned_.end() || !known->verdict.ok() || moment) return;
  coming.kept = true;
  coming.fill.key = key;
  coming.fill.text = text_key(read.text);
  coming.fill.database = s_.identity_->database;
  coming.fill.tables = known->verdict.tables;
  coming.fill.began = *began_;
  coming.fill.seen_to = seen_to;
  if (remote_ != nullptr) take_footing(coming, read);
}

bool SessionCache::part_of_cut_unit() const { return s_.work().plan.rule == route::Rule::cut_unit; }

void SessionCache::sending_query(const sql::Facts& facts, std::string_view text, NodeId node) {
  coming_.clear();
  at_ = 0;
  if (part_of_cut_unit() && !remote_) unplanned(facts, s_.prepared_statement(facts.first()));
  guard();
  if (facts.multi() || facts.first().kind != Kind::select) return;
  std::optional<TimePoint> seen_to;
  const bool may_keep = began_ && !part_of_cut_unit() && refusal().empty() && node_shows_commits(node, seen_to);
  const Read read{s_.work().facts, text, {}, {}};
  expect(read, may_keep ? looked_key(read) : Hash128{}, may_keep, seen_to);
}

void SessionCache::sending_unit(ByteView messages, NodeId node) {
  coming_.clear();
  at_ = 0;
  if (part_of_cut_unit() && !remote_) unplanned_unit(messages);
  guard();
  std::vector<Read> reads;
  if (part_of_cut_unit() || !began_ || !read_unit(messages, reads)) return;
  std::optional<TimePoint> seen_to;
  const bool may_keep = refusal().empty() && node_shows_commits(node, seen_to);
  for (const Read& read : reads) expect(read, may_keep ? key_of(read) : Hash128{}, may_keep, seen_to);
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
  add(cache::effects_of(facts, found.answers, prepared));
}

void SessionCache::unplanned_unit(ByteView messages) {
  const sql::ParseOptions options{s_.vs_.standard_conforming_strings(), s_.vs_.ascii_safe_encoding()};
  while (messages.size() >= wire::kHeaderBytes) {
    const Frame frame = first_frame(messages);
    messages.remove_prefix(std::min(messages.size(), frame.whole.size()));
    std::shared_ptr<const sql::Facts> facts;
    if (frame.type == wire::fe::kParse) {
      if (const auto parse = wire::parse_parse(frame.payload)) facts = s_.worker_.facts().facts(parse->query, options);
    } else if (frame.type == wire::fe::kBind) {
      const auto bind = wire::parse_bind_head(frame.payload);
      const vsession::PreparedPtr known = bind && *bind ? s_.vs_.find_prepared((*bind)->statement) : nullptr;
      if (known) facts = known->facts;
    } else if (frame.type == wire::fe::kExecute) {
      const auto execute = wire::parse_execute(frame.payload);
      const vsession::Portal* portal = execute ? s_.parts_.portal(execute->portal) : nullptr;
      if (portal != nullptr && portal->statement) facts = portal->statement->facts;
    }
    if (facts) unplanned(*facts, s_.prepared_statement(facts->first()));
  }
}

void SessionCache::take(ByteView bytes, bool head) {
  if (at_ >= coming_.size() || !coming_[at_].kept) return;
  cache::Fill& fill = coming_[at_].fill;
  const std::size_t size = fill.head.size() + fill.rest.size();
  if (size + bytes.size() <= store_.max_answer_bytes()) {
    Bytes& part = head ? fill.head : fill.rest;
    if (part.empty()) part.reserve(bytes.size() + (head ? 0 : kTagBytes));
    part.append(bytes);
    return;
  }
  HG_LOG(s_.worker_.log(), s_.who_, Level::log,
         "pool_add_temp_query_cache: data size exceeds memqcache_maxcache. current:{} requested:{} memq_maxcache:{}",
         size, bytes.size(), store_.max_answer_bytes());
  coming_[at_].kept = false;
  Bytes().swap(fill.rest);
}

void SessionCache::rows(const backend::Debt& head, ByteView bytes) {
  if (coming_.empty() || head.note != kNoteClient) return;
  if (head.what != Owes::query && head.what != Owes::execute) return coming_.clear();
  take(bytes, /*head=*/false);
}

// Anything but a description, rows and a tag: an answer of this kind is not kept, nor are those behind it.
void SessionCache::reply(const backend::Debt& head, const backend::Message& message) {
  using namespace wire::be;
  if (coming_.empty() || head.note != kNoteClient) return;
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

void SessionCache::store(cache::Fill fill) {
  if (remote_ != nullptr) {
    remote_->put(std::move(fill));
  } else {
    store_.put(fill);
  }
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

// The outcome is known: what was in doubt has changed, or has not, and both have been provided for.
void SessionCache::ready(bool committed) {
  for (cache::Doubt& doubt : doubts_) doubt.end(/*known=*/true);
  doubts_.clear();
  for (cache::Remote::Mark& mark : marks_) mark.end(/*known=*/true);
  marks_.clear();
  const TxStatus status = s_.vs_.state().tx.status;
  if (status == TxStatus::open && !wrote_) keep_aside();
  if (status == TxStatus::failed || wrote_) aside_.clear();
  if (status != TxStatus::idle) {
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

void SessionCache::forget_transaction() {
  if (!pending_.empty()) pending_ = {};
  wrote_ = false;
  if (aside_.capacity() > 0) std::vector<cache::Fill>().swap(aside_);
  aside_bytes_ = 0;
}

// A doubt that is left over now has no outcome: its link was lost.
void SessionCache::finished() {
  doubts_.clear();
  marks_.clear();
  guarded_ = false;
  asking_.reset();
  looked_.reset();
  if (!scope_.empty()) scope_ = {};
  ends_ = false;
  prepares_.clear();
  planned_.clear();
  coming_.clear();
  began_.reset();
  if (s_.vs_.state().tx.status == TxStatus::idle) forget_transaction();
}

}  // namespace herdgate::session
