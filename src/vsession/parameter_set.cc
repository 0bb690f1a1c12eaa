// Sets of parameters, and the way from one to another.
#include <algorithm>

#include "vsession/set_sql.h"
#include "vsession/virtual_session.h"

namespace herdgate::vsession {
namespace {

struct ByName {
  bool operator()(const Parameter& a, std::string_view b) const { return a.name < b; }
};

Hash128 fingerprint_of(const std::vector<Parameter>& all, const HashKey& key) {
  if (all.empty()) return {};
  std::string bytes;
  for (const Parameter& p : all) {
    append_cstr(bytes, p.name);
    append_cstr(bytes, p.sql);
  }
  return hash128(key, bytes);
}

struct Step {
  std::string_view name;
  std::string sql;
  bool under_role = false;
};

// What VirtualSession::refresh() and a replay ask for by name.
bool is_notable(const Parameter& parameter) {
  static constexpr std::string_view kNotable[] = {
      "client_encoding", "default_transaction_isolation", "default_transaction_read_only", "role",
      "search_path",     "session_authorization",         "standard_conforming_strings"};
  return std::find(std::begin(kNotable), std::end(kNotable), parameter.name) != std::end(kNotable);
}

bool is_identity(std::string_view name) { return name == "role" || name == "session_authorization"; }

// What must change, in the order of names.
std::vector<Step> difference(const std::vector<Parameter>& from, const std::vector<Parameter>& to) {
  std::vector<Step> steps;
  const auto encoding_of = [](const std::vector<Parameter>& all) {
    const auto at =
        std::find_if(all.begin(), all.end(), [](const Parameter& p) { return p.name == "client_encoding"; });
    return at == all.end() ? std::string_view() : std::string_view(at->sql);
  };
  const bool read_otherwise = encoding_of(from) != encoding_of(to);  // the same octets are other letters
  auto a = from.begin();
  auto b = to.begin();
  while (a != from.end() || b != to.end()) {
    const bool only_from = b == to.end() || (a != from.end() && a->name < b->name);
    const bool only_to = !only_from && (a == from.end() || b->name < a->name);
    if (only_from) {
      steps.push_back({a->name, reset_sql(a->name)});
    } else if (only_to || a->sql != b->sql || (read_otherwise && !is_ascii(b->sql))) {
      steps.push_back({b->name, b->sql, b->under_role && b->name != "client_encoding"});
    }
    if (!only_to) ++a;
    if (!only_from) ++b;
  }
  return steps;
}

bool by_rank(const Step& a, const Step& b) { return replay_rank(a.name) < replay_rank(b.name); }

bool has_identity(const ParameterSet& link, const ParameterSet& session) {
  if (!link.notable() && !session.notable()) return false;
  for (const char* name : {"session_authorization", "role"}) {
    if (link.find(name) != nullptr || session.find(name) != nullptr) return true;
  }
  return false;
}

void sort_out(std::vector<Step> steps, const ParameterSet& session, Replay& out) {
  const auto named = [](std::string_view name) { return [name](const Step& step) { return step.name == name; }; };
  // SET SESSION AUTHORIZATION implies SET ROLE NONE: a role that both have must be set again behind it.
  const Parameter* role = session.notable() ? session.find("role") : nullptr;
  if (role != nullptr && std::any_of(steps.begin(), steps.end(), named("session_authorization")) &&
      std::none_of(steps.begin(), steps.end(), named("role")))
    steps.push_back({role->name, role->sql});
  if (steps.size() > 1) std::stable_sort(steps.begin(), steps.end(), by_rank);
  const bool any_acknowledged =
      std::any_of(steps.begin(), steps.end(), [](const Step& step) { return must_be_acknowledged(step.name); });
  for (Step& step : steps) {
    const bool first = any_acknowledged && step.name == "client_encoding";
    (first || must_be_acknowledged(step.name) ? out.acknowledged : out.ahead).push_back(std::move(step.sql));
  }
}

}  // namespace

ParameterSet::ParameterSet(std::vector<Parameter> sorted, const HashKey& key)
    : all_(std::move(sorted)),
      fingerprint_(fingerprint_of(all_, key)),
      notable_(std::any_of(all_.begin(), all_.end(), is_notable)) {}

const Parameter* ParameterSet::find(std::string_view name) const {
  const auto at = std::lower_bound(all_.begin(), all_.end(), name, ByName{});
  return at != all_.end() && at->name == name ? &*at : nullptr;
}

bool must_be_acknowledged(std::string_view name) {
  return name == "role" || name == "session_authorization" || name == "search_path" || name == "row_security" ||
         name.find('.') != std::string_view::npos;
}

Replay replay(const ParameterSet& link, const ParameterSet& session) {
  Replay out;
  std::vector<Step> steps = difference(link.all(), session.all());
  // What others left and what was set before the role changed needs the rights of the login: it goes ahead of the role,
  // and the link's own role is taken off for it.
  const auto early = [](const Step& step) { return !is_identity(step.name) && !step.under_role; };
  const bool anew = has_identity(link, session) && std::any_of(steps.begin(), steps.end(), early);
  if (anew) {
    const auto rest = std::stable_partition(steps.begin(), steps.end(), early);
    std::vector<Step> late(std::make_move_iterator(rest), std::make_move_iterator(steps.end()));
    steps.erase(rest, steps.end());
    std::erase_if(late, [](const Step& step) { return is_identity(step.name); });
    std::stable_sort(steps.begin(), steps.end(), by_rank);
    const bool encoding_first = steps.front().name == "client_encoding";
    if (encoding_first) out.acknowledged.push_back(std::move(steps.front().sql));
    for (const char* name : {"session_authorization", "role"}) {
      if (link.find(name) != nullptr) out.acknowledged.push_back(reset_sql(name));
    }
    for (std::size_t i = encoding_first ? 1 : 0; i < steps.size(); ++i)
      out.acknowledged.push_back(std::move(steps[i].sql));
    for (const char* name : {"session_authorization", "role"}) {
      if (const Parameter* wanted = session.find(name)) out.acknowledged.push_back(wanted->sql);
    }
    steps = std::move(late);
  }
  sort_out(std::move(steps), session, out);
  return out;
}

bool same_constants(const ParameterSet& one, const ParameterSet& other) {
  if (one.fingerprint() == other.fingerprint()) return true;  // nearly always
  const auto sql = [](const ParameterSet& set, std::string_view name) {
    const Parameter* own = set.find(name);
    return own == nullptr ? std::string_view() : std::string_view(own->sql);
  };
  return std::all_of(std::begin(kReadConstants), std::end(kReadConstants),
                     [&](std::string_view name) { return sql(one, name) == sql(other, name); });
}

// In a transaction by SET LOCAL, so that its end leaves the link with what the session has then.
ReadAs read_as(const ParameterSet& then, const ParameterSet& now, bool in_transaction) {
  ReadAs out;
  if (then.fingerprint() == now.fingerprint()) return out;
  const auto setting = [in_transaction](const ParameterSet& set, std::string_view name) {
    const Parameter* own = set.find(name);
    if (own == nullptr) return in_transaction ? local_default_sql(name) : reset_sql(name);
    return in_transaction ? as_local(*own) : own->sql;
  };
  const auto add = [&](std::string_view name) {
    std::string before = setting(then, name), after = setting(now, name);
    if (before == after) return;
    out.before.push_back(std::move(before));
    out.after.push_back(std::move(after));
  };
  add("search_path");
  for (const std::string_view name : kReadConstants) add(name);
  for (const std::string_view name : kReadText) add(name);
  return out;
}

}  // namespace herdgate::vsession
