// The query cache of one session where the answers are kept in memcached: what has to be waited for.
#include <algorithm>

#include "session/session.h"

namespace herdgate::session {

using vsession::TxStatus;

// Keys are those of all proxies that share a memcached, or this process's own.
HashKey SessionCache::hash_key() const {
  return remote_ != nullptr ? remote_->hash_key() : s_.worker_.shared().hash_key;
}

std::uint64_t SessionCache::next_token() {
  stirred_ = true;
  if (!asking_) asking_ = std::make_unique<Asking>();
  return asking_->token = ++last_token_;
}

// Comes when memcached has answered or will not. Whatever else has ended the wait has forgotten the token.
std::function<void()> SessionCache::resuming() {
  return [&worker = s_.worker_, id = s_.id_, token = next_token()] {
    Session* session = worker.find(id);
    if (session != nullptr) session->cache_->resume(token);
  };
}

bool SessionCache::waits(bool asked) {
  if (asked) {
    s_.phase_ = Session::Phase::asking;
  } else {
    asking_->token = 0;
  }
  return asked;
}

void SessionCache::resume(std::uint64_t token) {
  if (!asking_ || asking_->token != token || s_.phase_ != Session::Phase::asking) return;
  asking_->token = 0;
  s_.phase_ = Session::Phase::idle;
  s_.go_on();
}

bool SessionCache::look_up(const Reads& reads) {
  if (asking_ && asking_->looked) return false;
  std::vector<cache::Remote::Ask> asks;
  for (const Read& read : reads) asks.push_back({key_of(read), text_key(read.text)});
  const std::uint64_t token = next_token();
  asking_->looked = true;
  const auto done = [&worker = s_.worker_, id = s_.id_, token](std::vector<cache::Remote::Found> found) {
    Session* session = worker.find(id);
    if (session == nullptr || !session->cache_->asking_ || session->cache_->asking_->token != token) return;
    session->cache_->asking_->heard = !found.empty();
    session->cache_->asking_->found = std::move(found);
    session->cache_->resume(token);
  };
  return waits(remote_->look_up(s_.identity_->database, std::move(asks), done));
}

std::vector<std::optional<cache::Answer>> SessionCache::find(const Reads& reads) {
  std::vector<std::optional<cache::Answer>> answers(reads.size());
  if (!asking_ || asking_->found.size() != reads.size() || !remote_->usable()) return answers;
  for (std::size_t i = 0; i < reads.size(); ++i) answers[i] = asking_->found[i].answer;
  if (std::all_of(answers.begin(), answers.end(), [](const auto& answer) { return answer.has_value(); })) {
    for (std::size_t i = 0; i < answers.size(); ++i) cache::Tally::count(tally().hits);
  }
  return answers;
}

// A read that may be kept: memcached is asked for what its answer will hang on, ahead of the server.
bool SessionCache::learn() {
  if (!asking_ || !asking_->looked || asking_->learned || looked_.size() != 1 || !refusal().empty()) return false;
  const Looked& read = looked_.front();
  const Planned* known = planned_of(read.serial);
  if (!read.wanted || read.moment || known == nullptr || !known->lasts) return false;
  asking_->learned = true;
  return waits(remote_->learn(s_.identity_->database, read.key, known->verdict->tables, resuming()));
}

// What the next sending may change, from here until its outcome.
bool SessionCache::mark() {
  stirred_ = true;
  // Another proxy may have defined something: memcached has just said so, or is about to with the first mark.
  const bool wider = redefined() && !scope_.database;
  scope_.database |= wider;
  if (std::exchange(guarded_, true) && !wider) return false;
  const bool open = s_.vs_.state().tx.status != TxStatus::idle;
  if (open && !ends_) return false;
  if (!invalidates()) {
    unguarded_ = true;
    return false;
  }
  cache::Scope all = pending_;
  all.add(scope_);
  // What calls functions or runs event triggers changes nothing by what was planned: that may be old.
  if (all.empty() && !heeds_ && !written_by_) return false;
  const bool defines = defines_ || defined_;
  cache::Scope beyond = all.beyond(covered_);
  const std::string& database = s_.identity_->database;
  if (beyond.empty() && !marks_.empty() && (!defines || covers_definitions_))
    return waits(remote_->hear(database, resuming()));
  bool asked = false;
  marks_.push_back(remote_->mark(database, {defines ? all : std::move(beyond), defines}, resuming(), asked));
  covered_ = std::move(all);
  covers_definitions_ |= defines;
  return waits(asked);
}

bool SessionCache::wait_for_query(const sql::Facts& facts) {
  if (part_of_cut_unit() && !guarded_) unplanned(facts, s_.prepared_statement(facts.first()));
  return mark() || (!part_of_cut_unit() && learn());
}

bool SessionCache::wait_for_unit(const UnitMessages& unit) {
  if (part_of_cut_unit() && !guarded_) unplanned_unit(unit);
  return mark() || (!part_of_cut_unit() && learn());
}

bool SessionCache::wait_for_unknown() {
  if (!guarded_) add({.scope = {.database = true}, .unknown_state = true});
  return mark();
}

void SessionCache::take_footing(Coming& coming) {
  const std::size_t place = coming_.size() - 1;
  if (asking_ && place < asking_->found.size()) coming.fill.footing.nonce = asking_->found[place].nonce;
  std::optional<cache::Footing> footing = remote_->footing(coming.fill);
  coming.kept = footing.has_value() && !redefined();
  if (coming.kept) coming.fill.footing = std::move(*footing);
}

bool SessionCache::wait_for_removal(std::string_view text) {
  if (asking_ && asking_->removed) return false;
  const std::uint64_t token = next_token();
  asking_->removed = false;
  const auto done = [&worker = s_.worker_, id = s_.id_, token](bool was_there) {
    Session* session = worker.find(id);
    if (session == nullptr || !session->cache_->asking_ || session->cache_->asking_->token != token) return;
    session->cache_->asking_->removed = was_there;
    session->cache_->resume(token);
  };
  return waits(remote_->remove(text_key(text), done));
}

bool SessionCache::remove(std::string_view text) {
  if (remote_ != nullptr) return asking_ && asking_->removed.value_or(false);
  return store_.remove(text_key(text)) > 0;
}

}  // namespace herdgate::session
