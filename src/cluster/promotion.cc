#include "cluster/promotion.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>

namespace herdgate::cluster {
namespace {

bool blank(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// Words, numbers, quoted names and single marks.
class Tokens {
 public:
  explicit Tokens(std::string_view text) : rest_(text) { advance(); }
  bool end() const { return end_; }
  bool bad() const { return bad_; }
  bool is(char mark) const { return !end_ && !quoted_ && token_.size() == 1 && token_[0] == mark; }
  bool is_word(std::string_view word) const { return !end_ && !quoted_ && lower(token_) == word; }
  std::optional<std::size_t> number() const {
    const bool digits = !quoted_ && !token_.empty() && token_.size() < 10 &&
                        std::all_of(token_.begin(), token_.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (end_ || !digits) return std::nullopt;
    return std::stoul(token_);
  }
  std::string take() {
    std::string out = token_;
    advance();
    return out;
  }
  bool take(char mark) {
    if (!is(mark)) return false;
    advance();
    return true;
  }

 private:
  void advance() {
    while (!rest_.empty() && blank(rest_.front())) rest_.remove_prefix(1);
    quoted_ = false;
    token_.clear();
    end_ = rest_.empty();
    if (end_) return;
    if (rest_.front() == '"') return advance_quoted();
    std::size_t n = 1;
    if (std::string_view("(),*").find(rest_.front()) == std::string_view::npos)
      while (n < rest_.size() && !blank(rest_[n]) &&
             std::string_view("(),*\"").find(rest_[n]) == std::string_view::npos)
        ++n;
    token_ = rest_.substr(0, n);
    rest_.remove_prefix(n);
  }
  void advance_quoted() {
    quoted_ = true;
    rest_.remove_prefix(1);
    while (!rest_.empty()) {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c != '"') {
        token_ += c;
      } else if (!rest_.empty() && rest_.front() == '"') {
        token_ += '"';
        rest_.remove_prefix(1);
      } else {
        return;
      }
    }
    bad_ = true;  // the quote is not closed
  }

  std::string_view rest_;
  std::string token_;
  bool quoted_ = false, end_ = false, bad_ = false;
};

bool parse_list(Tokens& in, SyncRule& rule) {
  do {
    if (in.end() || in.is('(') || in.is(')') || in.is(',')) return false;
    if (in.is('*')) rule.everyone = true;
    rule.names.push_back(in.take());
  } while (in.take(','));
  return true;
}

std::string count_words(std::size_t have, std::size_t need, std::size_t all) {
  return fmt::format("{} of {} synchronous standbys answer, {} are needed", have, all, need);
}

// How many of the standbys named by the rule there are, and how many of them answered.
struct Quorum {
  std::size_t all = 0, answered = 0;
};
// Two standbys may have one name: then either of them may have acknowledged what the rule asks of that name. A name
// that no standby has counts as a silent one.
Quorum quorum_of(const SyncRule& rule, const std::vector<Candidate>& standbys) {
  Quorum q;
  const auto count = [&](const auto& named) {
    std::size_t here = 0;
    for (const Candidate& c : standbys) {
      if (!named(c)) continue;
      ++here;
      q.answered += c.answered ? 1 : 0;
    }
    return here;
  };
  if (rule.everyone) {
    q.all = count([](const Candidate&) { return true; });
    return q;
  }
  std::set<std::string> names;
  for (const std::string& name : rule.names) names.insert(lower(name));
  for (const std::string& name : names)
    q.all += std::max<std::size_t>(1, count([&](const Candidate& c) { return lower(c.application_name) == name; }));
  return q;
}

// Why the silent ones are silent.
std::string troubles(const Situation& s) {
  std::string out;
  for (const Candidate& c : s.standbys)
    if (!c.answered && !c.trouble.empty()) out += fmt::format("; node {}: {}", c.id.value, c.trouble);
  return out;
}

const Candidate* furthest(const Situation& s) {
  const Candidate* best = nullptr;
  const auto better = [&](const Candidate& a, const Candidate& b) {
    return has_more(a, b) || (!has_more(b, a) && a.id == s.wanted);
  };
  for (const Candidate& c : s.standbys)
    if (c.answered && c.usable && (!best || better(c, *best))) best = &c;
  return best;
}

bool has_diverged(const Situation& s, const Candidate& c) {
  return s.old_primary_timeline && c.timeline > *s.old_primary_timeline;
}

// Why nobody may be promoted by what a proxy that died has noted.
std::string doubt(const Situation& s) {
  for (const Candidate& c : s.standbys) {
    if (c.primary) return fmt::format("node {} is out of recovery, but not in use as the primary", c.id.value);
    if (has_diverged(s, c))
      return fmt::format("node {} is on timeline {}, the old primary was on {} when it was noted", c.id.value,
                         c.timeline, *s.old_primary_timeline);
  }
  return {};
}

// Those that have diverged are as good as silent.
Situation without_diverged(Situation s) {
  for (Candidate& c : s.standbys) {
    if (!c.answered || !has_diverged(s, c)) continue;
    c.answered = false;
    c.trouble = fmt::format("it is on timeline {}, the old primary was on {}", c.timeline, *s.old_primary_timeline);
  }
  return s;
}

std::string loss(const Situation& s, const Candidate& best) {
  if (!s.old_primary_position) return "with asynchronous replication commits may be lost";
  if (best.position >= *s.old_primary_position)
    return "asynchronous replication: what was committed after the last check of the old primary may be lost";
  return fmt::format("asynchronous replication: at least {} bytes of WAL of the old primary are lost",
                     *s.old_primary_position - best.position);
}

}  // namespace

bool has_more(const Candidate& a, const Candidate& b) {
  return a.timeline != b.timeline ? a.timeline > b.timeline : a.position > b.position;
}

std::optional<SyncRule> parse_sync_names(std::string_view text) {
  Tokens in(text);
  SyncRule rule;
  if (in.end()) return rule;
  rule.count = 1;
  bool in_brackets = false;
  if (in.is_word("any") || in.is_word("first")) {
    in.take();
    if (!in.number()) return std::nullopt;
  }
  if (const auto number = in.number()) {
    in.take();
    rule.count = *number;
    in_brackets = in.take('(');
    if (!in_brackets) return std::nullopt;
  }
  if (!parse_list(in, rule) || (in_brackets && !in.take(')')) || !in.end() || in.bad()) return std::nullopt;
  return rule;
}

std::optional<std::string> print_sync_names(const SyncRule& rule) {
  if (rule.count == 0) return "";
  if (rule.everyone) return fmt::format("ANY {} (*)", rule.count);
  std::string names;
  for (const std::string& name : rule.names) {
    names += names.empty() ? "\"" : ", \"";
    for (char c : name) {
      if (static_cast<unsigned char>(c) < ' ') return std::nullopt;
      names += c;
      if (c == '"') names += c;
    }
    names += '"';
  }
  return fmt::format("ANY {} ({})", rule.count, names);
}

NodeId promoted_already(const Situation& s, NodeId old_primary) {
  for (const Candidate& c : s.standbys)
    if (c.primary && c.usable && !c.stray && c.id != old_primary) return c.id;
  return kNoNode;
}

const Candidate* fed_by_old_primary(const std::vector<Candidate>& standbys) {
  const auto named = [&](const std::string& name) {
    return std::count_if(standbys.begin(), standbys.end(), [&](const auto& c) { return c.application_name == name; });
  };
  // By its address, or where that is written otherwise by the name of the one that receives, if nobody shares it.
  const auto feeds = [&](const Candidate& from, const Candidate& to) {
    if (from.id == to.id || !(from.answered || from.primary) || from.fed.empty()) return false;
    if (to.upstream && points_at(*to.upstream, from.host, from.port)) return true;
    const std::string& name = to.application_name;
    return !name.empty() && named(name) == 1 && std::count(from.fed.begin(), from.fed.end(), name) > 0;
  };
  for (const Candidate& c : standbys) {
    const auto feeds_it = [&](const Candidate& other) { return feeds(other, c); };
    if (c.answered && c.receiving && std::none_of(standbys.begin(), standbys.end(), feeds_it)) return &c;
  }
  return nullptr;
}

Verdict judge(const Situation& situation) {
  const Situation s = without_diverged(situation);
  for (const Candidate& c : s.standbys)
    if (c.answered && c.receiving)
      return {kNoNode, fmt::format("node {} still receives from the old primary", c.id.value)};
  if (const std::string why = doubt(situation); s.recalled && !why.empty()) return {kNoNode, why};
  const Candidate* best = furthest(s);
  if (!best) return {kNoNode, "no standby answers" + troubles(s)};
  const bool may_lose = s.rule && s.rule->count == 0;
  for (const Candidate& c : s.standbys)
    if (!may_lose && c.answered && has_more(c, *best))
      return {kNoNode, fmt::format("node {} has received more than the others, but it is down", c.id.value)};
  if (!s.rule) {
    const auto silent = [](const Candidate& c) { return !c.answered; };
    if (std::any_of(s.standbys.begin(), s.standbys.end(), silent))
      return {kNoNode, "the old primary was never asked for synchronous_standby_names, so all standbys are needed" +
                           troubles(s)};
    return {best->id, "all standbys answer"};
  }
  if (may_lose) return {best->id, loss(s, *best)};
  const Quorum q = quorum_of(*s.rule, s.standbys);
  const std::size_t needed = q.all >= s.rule->count ? q.all - s.rule->count + 1 : q.all;
  if (q.answered < needed) return {kNoNode, count_words(q.answered, needed, q.all) + troubles(s)};
  return {best->id, "no acknowledged commit is missing: " + count_words(q.answered, needed, q.all)};
}

}  // namespace herdgate::cluster
