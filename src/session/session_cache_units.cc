// The query cache of one session: units of the extended protocol.
#include <algorithm>

#include "base/assert.h"
#include "session/session.h"
#include "wire/frontend.h"

namespace herdgate::session {
namespace {
using sql::Kind;

// Do settings, role and names mean behind it what they meant before it? What a volatile function of a user does is
// seen to elsewhere.
bool leaves_meaning(const sql::Facts& facts) {
  constexpr Kind kLeaving[] = {Kind::select, Kind::insert, Kind::update, Kind::delete_,
                               Kind::merge,  Kind::begin,  Kind::show,   Kind::savepoint};
  const sql::Statement& s = facts.first();
  const auto sets = [](const sql::Function& f) { return f.name == "set_config"; };
  return !facts.multi() && std::find(std::begin(kLeaving), std::end(kLeaving), s.kind) != std::end(kLeaving) &&
         s.settings.empty() && !s.into && std::none_of(s.functions.begin(), s.functions.end(), sets);
}

}  // namespace

// The units that are answered from the cache and kept in it: Parse, Bind, Describe and Execute of whole results through
// the unnamed portal, in any order that makes sense, up to Sync.
bool SessionCache::read_unit(const UnitMessages& unit, CacheScratch& into) {
  Reads& reads = into.reads;
  std::vector<CacheParsed>& parsed = into.parsed;
  Read bound;  // to be executed, if it has facts
  for (const UnitMessage& message : unit.list) {
    if (!message.good()) return false;
    switch (message.type) {
      case wire::fe::kSync:
        // What is only prepared may be refused, and so the rest of the unit: a server says so.
        return &message == &unit.list.back() && bound.facts == nullptr && !reads.empty() &&
               std::all_of(parsed.begin(), parsed.end(), [](const CacheParsed& one) { return one.bound; });
      case wire::fe::kParse:
        if (!parse(message, parsed)) return false;
        break;
      case wire::fe::kBind:
        if (bound.facts != nullptr || !bind(message, unit, parsed, bound)) return false;
        break;
      case wire::fe::kDescribe:
        if (bound.facts == nullptr || bound.described || message.what != 'P' || !message.portal.empty()) return false;
        bound.described = true;
        break;
      case wire::fe::kExecute:
        if (bound.facts == nullptr || !message.portal.empty() || message.max_rows != 0) return false;
        if (reads.size() == kMaxReads) return false;
        reads.push_back(std::exchange(bound, {}));
        break;
      default:
        return false;
    }
  }
  return false;
}

bool SessionCache::parse(const UnitMessage& message, std::vector<CacheParsed>& parsed) {
  const sql::ParseOptions options{s_.vs_.standard_conforming_strings(), s_.vs_.ascii_safe_encoding()};
  const auto read = wire::parse_parse(message.payload());
  if (!read || (!read->statement.empty() && !may_define(read->statement, parsed))) return false;
  auto facts = s_.worker_.facts().facts(read->query, options);
  parsed.push_back({read->statement, {.facts = facts.get(), .text = read->query, .types = read->types, .held = facts}});
  return true;
}

// A Parse that is sure to be refused is for the one who writes units to servers.
bool SessionCache::may_define(std::string_view name, const std::vector<CacheParsed>& parsed) const {
  const bool taken =
      s_.vs_.find_prepared(name) != nullptr ||
      std::any_of(parsed.begin(), parsed.end(), [&](const CacheParsed& one) { return one.name == name; });
  return !taken && s_.vs_.prepared().size() + parsed.size() < vsession::VirtualSession::kMaxPrepared;
}

bool SessionCache::bind(const UnitMessage& message, const UnitMessages& unit, std::vector<CacheParsed>& parsed,
                        Read& read) {
  if (!message.portal.empty()) return false;
  const auto here = std::find_if(parsed.rbegin(), parsed.rend(),
                                 [&](const CacheParsed& one) { return one.name == message.statement; });
  if (here != parsed.rend()) {
    here->bound = true;
    read = here->read;
  } else {
    const vsession::PreparedPtr& known = s_.named_in(message, unit);
    if (!known || known->from_sql || !known->facts) return false;
    // Its constants were read by settings that the session has no more, and that its answers are not filed under.
    if (known->read_by != s_.vs_.reading()) return false;
    if (known->results != s_.results_epoch()) return false;  // its server may refuse it, for its columns have changed
    // Its plan may be one of settings that the session had for a while.
    if (known->name.empty() ? known->generation == s_.unnamed_otherwise_ : s_.planned_otherwise_) return false;
    read.facts = known->facts.get();
    read.text = known->query;
    read.types = known->types;
    if (!known->name.empty()) read.id = &known->id;
  }
  read.bind = message.rest();
  return true;
}

bool SessionCache::answer_unit(const UnitMessages& unit) {
  begin();
  const Request& request = s_.work().request;
  if (!request.synced || request.streamed || !refusal().empty()) return false;
  // A server that takes part in the transaction has an unnamed portal, which the client's Bind would replace.
  if (!s_.parts_.empty() || !knows_defaults()) return false;
  LentCacheScratch scratch(s_.worker_.cache_scratch());
  const Reads& reads = scratch->reads;
  if (!read_unit(unit, *scratch)) return false;
  const auto not_kept = [&](const Read& read) { return !finds(*read.facts); };
  if (remote_ != nullptr && (std::any_of(reads.begin(), reads.end(), not_kept) || look_up(reads))) return false;
  std::vector<std::optional<cache::Answer>> far;
  if (remote_ != nullptr) far = find(reads);
  std::vector<cache::Answer>& answers = scratch->answers;
  std::size_t bytes = 0;
  for (const Read& read : reads) {
    if (!finds(*read.facts)) return miss(*scratch);
    scratch->looked.push_back(look(read));
    const Hash128& key = scratch->looked.back().key;
    std::optional<cache::Answer> found = remote_ ? std::move(far[answers.size()]) : store_.find(key);
    if (!found || (read.described && found->head_bytes == 0)) return miss(*scratch);
    bytes += found->head().size() + found->rest().size();
    // They go into the client's buffer at once; a server's come as fast as the client reads.
    if (bytes > kMaxUnitBytes && !answers.empty()) return miss(*scratch);
    answers.push_back(std::move(*found));
  }
  for (const Read& read : reads) {
    admission_.hit();
    log_hit(read.text);
  }
  write_unit(unit, answers);
  return true;
}

// A server is asked: what its answers will be kept under is made once, and whether they are worth it is asked of each.
// What has been found is: it is kept anew with the others.
bool SessionCache::miss(CacheScratch& scratch) {
  const Reads& reads = scratch.reads;
  std::vector<Looked>& looked = scratch.looked;
  while (looked.size() < reads.size()) looked.push_back(look(reads[looked.size()]));
  if (reads.size() == 1 && passes(looked.front())) return false;
  bool shifted = false;
  for (std::size_t i = 0; i < reads.size(); ++i) {
    Looked& one = looked[i];
    one.shifted = shifted;
    shifted = shifted || !leaves_meaning(*reads[i].facts);
    one.wanted = i < scratch.answers.size() || wants(one);
    const bool forced = reads[i].facts->leading_comment == sql::LeadingComment::force_query_cache;
    one.moment = one.wanted && !forced && !reads[i].bind.empty() && cache::bind_names_a_moment(reads[i].bind);
  }
  stirred_ = true;
  looked_ = looked;
  return false;
}

void SessionCache::write_unit(const UnitMessages& unit, const std::vector<cache::Answer>& answers) {
  const sql::ParseOptions options{s_.vs_.standard_conforming_strings(), s_.vs_.ascii_safe_encoding()};
  Bytes& out = s_.client_.own();
  std::size_t at = 0;
  for (const UnitMessage& message : unit.list) {
    if (message.type == wire::fe::kParse) {
      const auto parse = wire::parse_parse(message.payload());
      const auto defined = s_.vs_.define(parse->statement, parse->query, parse->types,
                                         s_.worker_.facts().facts(parse->query, options), s_.results_epoch());
      HG_ASSERT(defined.has_value());  // see may_define()
      wire::put_parse_complete(out);
    } else if (message.type == wire::fe::kBind) {
      wire::put_bind_complete(out);
    } else if (message.type == wire::fe::kDescribe) {
      out += answers[at].head();
    } else if (message.type == wire::fe::kExecute) {
      out += answers[at++].rest();
    }
  }
  s_.client_.added_own();
  s_.say_ready();
}

void SessionCache::sending_unit(const UnitMessages& unit, NodeId node) {
  forget_coming();
  if (part_of_cut_unit() && !remote_) unplanned_unit(unit);
  guard();
  if (part_of_cut_unit() || began_ == kNotBegun) return;
  if (!wants_any()) return let_pass();
  std::optional<TimePoint> seen_to;
  const bool may_keep = takes_defaults(node) && refusal().empty() && node_shows_commits(node, seen_to);
  if (looked_.empty() || (may_keep && looked_.front().viewer != viewer())) {
    looked_.clear();
    LentCacheScratch scratch(s_.worker_.cache_scratch());
    if (!read_unit(unit, *scratch)) return;
    miss(*scratch);
    if (!wants_any()) return let_pass();
  }
  for (const Looked& read : looked_) expect(read, may_keep, seen_to);
}

void SessionCache::unplanned_unit(const UnitMessages& unit) {
  const sql::ParseOptions options{s_.vs_.standard_conforming_strings(), s_.vs_.ascii_safe_encoding()};
  for (const UnitMessage& message : unit.list) {
    std::shared_ptr<const sql::Facts> facts;
    if (message.type == wire::fe::kParse) {
      if (const auto parse = wire::parse_parse(message.payload()))
        facts = s_.worker_.facts().facts(parse->query, options);
    } else if (message.type == wire::fe::kBind) {
      const vsession::PreparedPtr known = message.good() ? s_.named_in(message, unit) : nullptr;
      if (known) facts = known->facts;
    } else if (message.type == wire::fe::kExecute) {
      const vsession::Portal* portal = message.good() ? s_.parts_.portal(message.portal) : nullptr;
      if (portal != nullptr && portal->statement) facts = portal->statement->facts;
    }
    if (facts) unplanned(*facts, s_.prepared_statement(facts->first()));
  }
}

}  // namespace herdgate::session
