// The reader of the golden files (golden_case.h).
#include <fmt/format.h>

#include <stdexcept>

#include "config/load.h"
#include "route/golden_case.h"

namespace herdgate::route::golden {
namespace {

[[noreturn]] void not_understood(std::string_view what, std::string_view word) {
  throw std::runtime_error(fmt::format("{}: \"{}\" is not understood", what, word));
}

struct Word {
  std::string_view name, value;  // "lb=1", or a bare name
  int number() const { return std::stoi(std::string(value)); }
  double fraction() const { return std::stod(std::string(value)); }
};

template <class F>
void each_word(std::string_view text, F&& f) {
  for (const std::string& w : words(text, ' ')) {
    const auto eq = w.find('=');
    f(eq == std::string::npos ? Word{w, {}}
                              : Word{std::string_view(w).substr(0, eq), std::string_view(w).substr(eq + 1)});
  }
}

sql::Isolation isolation(std::string_view word) {
  if (word == "read_uncommitted") return sql::Isolation::read_uncommitted;
  if (word == "read_committed") return sql::Isolation::read_committed;
  if (word == "repeatable_read") return sql::Isolation::repeatable_read;
  if (word == "serializable") return sql::Isolation::serializable;
  not_understood("isolation", word);
}

vsession::TxStatus status(std::string_view word) {
  if (word == "idle") return vsession::TxStatus::idle;
  if (word == "open") return vsession::TxStatus::open;
  if (word == "failed") return vsession::TxStatus::failed;
  not_understood("tx", word);
}

template <class Flags>
bool set_flag(const Flags& flags, std::string_view name) {
  for (const auto& [word, target] : flags)
    if (word == name) return *target = true;
  return false;
}

using Flag = std::pair<std::string_view, bool*>;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

}  // namespace

std::vector<std::string> words(std::string_view text, char separator) {
  std::vector<std::string> out;
  std::size_t at = 0;
  while (at <= text.size()) {
    const std::size_t end = std::min(text.find(separator, at), text.size());
    if (const auto word = trimmed(text.substr(at, end - at)); !word.empty()) out.emplace_back(word);
    at = end + 1;
  }
  return out;
}

Scenario::Scenario() {
  read_view("0 primary; 1 standby; 2 standby");
  state.lb_node = NodeId{1};
  for (const char* name : {"nextval", "setval", "random", "set_config", "pg_advisory_lock", "clock_timestamp"})
    functions[name] = {.exists = true, .is_volatile = true};
  functions["now"] = {.exists = true, .stable = true, .returns_time_zone_type = true};
  functions["pg_export_snapshot"] = {.exists = true, .is_volatile = true};
}

bool Scenario::read(std::string_view line) {
  if (line.starts_with("==")) {
    *this = Scenario{};
    return true;
  }
  const auto colon = line.find(": ");
  if (colon == std::string_view::npos) return false;
  const std::vector<std::string> key = words(line.substr(0, colon), ' ');
  const std::string_view text = line.substr(colon + 2);
  if (key.empty() || key.size() > 2) return false;
  if (key[0] == "settings") return read_settings(text), true;
  if (key[0] == "view") return read_view(text), true;
  if (key[0] == "state") return read_state(text), true;
  if (key[0] == "input") return read_input(text), true;
  if (key.size() < 2) return false;
  if (key[0] == "relation") return read_relation(key[1], text), true;
  if (key[0] == "function") return read_function(key[1], text), true;
  if (key[0] == "prepare") return prepared_[key[1]] = text, true;
  return false;
}

void Scenario::read_settings(std::string_view text) {
  settings_text.append(text).append("\n");
  const auto no_files = [](const std::string& path) -> Result<std::string> {
    throw std::runtime_error("settings include " + path);
  };
  const config::Loaded loaded = config::load_text(settings_text, "golden", no_files);
  for (const config::Finding& f : loaded.findings)
    if (f.severity == config::Severity::error) not_understood("settings: " + f.text, text);
  settings = loaded.settings;
}

void Scenario::read_view(std::string_view text) {
  view = cluster::View{};
  for (const std::string& node_text : words(text, ';')) {
    cluster::Node node{.port = 5432, .weight = 1, .status = cluster::NodeStatus::up};
    bool first = true;
    each_word(node_text, [&](Word w) {
      if (first) {
        node.id = NodeId{std::stoi(std::string(w.name))};
        node.host = fmt::format("n{}", node.id.value);
      } else if (w.name == "primary") {
        view.primary = node.id;
        node.real_role = cluster::Role::primary;
      } else if (w.name == "standby") {
        node.real_role = cluster::Role::standby;
      } else if (w.name == "down") {
        node.status = cluster::NodeStatus::down;
      } else if (w.name == "quarantined") {
        node.quarantined = true;
      } else if (w.name == "weight") {
        node.weight = w.fraction();
      } else if (w.name == "delay") {
        node.delay_bytes = w.number();
      } else if (w.name == "ms") {
        node.delay_time = std::chrono::milliseconds(w.number());
      } else {
        not_understood("view", w.name);
      }
      first = false;
    });
    view.nodes.push_back(std::move(node));
  }
}

void Scenario::read_state(std::string_view text) {
  state = vsession::SessionState{};
  state.lb_node = NodeId{1};
  vsession::Transaction& tx = state.tx;
  const Flag flags[] = {{"wrote", &tx.wrote},
                        {"session_wrote", &state.wrote_in_session},
                        {"transaction_wrote", &state.wrote_in_transaction},
                        {"read_only", &tx.read_only},
                        {"read_write", &tx.read_write_explicit},
                        {"default_read_only", &state.default_read_only},
                        {"snapshot_shared", &tx.snapshot_shared},
                        {"block", &tx.multi_statement_block},
                        {"overflow", &tx.written_overflow}};
  each_word(text, [&](Word w) {
    if (set_flag(flags, w.name)) return;
    if (w.name == "lb") {
      state.lb_node = NodeId{w.number()};
    } else if (w.name == "tx_node") {
      state.tx_node = NodeId{w.number()};
    } else if (w.name == "tx") {
      tx.status = status(w.value);
      tx.explicit_block = tx.status != vsession::TxStatus::idle;
    } else if (w.name == "isolation") {
      tx.isolation = isolation(w.value);
      tx.isolation_explicit = true;
    } else if (w.name == "default_isolation") {
      state.default_isolation = isolation(w.value);
    } else if (w.name == "pins") {
      state.pins = static_cast<std::uint16_t>(w.number());
    } else if (w.name == "written") {
      for (const std::string& name : words(w.value, ',')) tx.written.push_back({.schema = {}, .name = name});
    } else if (w.name == "temp") {
      state.temp_tables = words(w.value, ',');
    } else if (w.name != "idle") {
      not_understood("state", w.name);
    }
  });
}

void Scenario::read_input(std::string_view text) {
  comments_ = cut_unit_ = false;
  unlogged_ = true;
  each_word(text, [&](Word w) {
    if (w.name == "comments") {
      comments_ = true;
    } else if (w.name == "no_unlogged_check") {
      unlogged_ = false;
    } else if (w.name == "cut_unit") {
      cut_unit_ = true;
    } else if (w.name == "draw") {
      draw_ = w.fraction();
    } else if (w.name == "draw2") {
      draw2_ = w.fraction();
    } else if (w.name == "user") {
      user_ = w.value;
    } else if (w.name == "database") {
      database_ = w.value;
    } else if (w.name == "app") {
      app_ = w.value;
    } else if (w.name != "plain") {
      not_understood("input", w.name);
    }
  });
}

void Scenario::read_relation(std::string_view name, std::string_view text) {
  sql::RelationAnswer a{.exists = true};
  const Flag flags[] = {{"system", &a.system_catalog},
                        {"temporary", &a.temporary},
                        {"unlogged", &a.unlogged},
                        {"view", &a.view},
                        {"materialized", &a.materialized},
                        {"row_security", &a.row_security},
                        {"below_temporary", &a.below_temporary},
                        {"below_unlogged", &a.below_unlogged},
                        {"below_system", &a.below_system},
                        {"below_writing_function", &a.below_writing_function},
                        {"too_many_calls", &a.too_many_calls},
                        {"leaves_state", &a.leaves_state}};
  a.calls.emplace();
  each_word(text, [&](Word w) {
    if (set_flag(flags, w.name) || w.name == "table") return;
    if (w.name == "missing") {
      a.exists = false;
    } else if (w.name == "calls_unknown") {
      a.calls.reset();
    } else if (w.name == "calls" || w.name == "calls_volatile") {
      for (const std::string& f : words(w.value, ','))
        a.calls->push_back({.schema = "my", .name = f, .is_volatile = w.name == "calls_volatile"});
    } else if (w.name == "below") {
      for (const std::string& b : words(w.value, ',')) a.below.push_back({.schema = "public", .name = b});
    } else {
      not_understood("relation", w.name);
    }
  });
  relations.insert_or_assign(std::string(name), a);
}

void Scenario::read_function(std::string_view name, std::string_view text) {
  sql::FunctionAnswer a{.exists = true};
  const Flag flags[] = {{"volatile", &a.is_volatile},
                        {"stable", &a.stable},
                        {"user", &a.user_defined},
                        {"timestamptz", &a.returns_time_zone_type}};
  each_word(text, [&](Word w) {
    if (set_flag(flags, w.name) || w.name == "immutable") return;
    if (w.name != "missing") not_understood("function", w.name);
    a.exists = false;
  });
  functions.insert_or_assign(std::string(name), a);
}

// Names that the section does not speak of: pg_… relations are catalogs, others plain tables; functions are immutable.
sql::Answers Scenario::answer(const sql::Questions& questions) const {
  sql::Answers out;
  for (const sql::Relation& r : questions.relations) {
    const auto it = relations.find(r.name);
    const sql::RelationAnswer plain{.exists = true, .system_catalog = r.name.starts_with("pg_class")};
    out.relations.push_back(it != relations.end() ? it->second : plain);
  }
  for (const sql::Function& f : questions.functions) {
    const auto it = functions.find(f.name);
    out.functions.push_back(it != functions.end() ? it->second : sql::FunctionAnswer{.exists = true});
  }
  return out;
}

// What EXECUTE names; `statement` is null when there is no such thing.
struct Scenario::Prepared {
  sql::Facts body;
  bool known = false;
  const sql::Statement* statement() const { return known ? &body.first() : nullptr; }
};

Scenario::Prepared Scenario::prepared_for(const sql::Facts& facts) const {
  const sql::Statement& first = facts.first();
  const std::string& name = first.inner && first.inner->kind == sql::Kind::execute ? first.inner->name : first.name;
  const bool by_name = first.kind == sql::Kind::execute || first.kind == sql::Kind::deallocate || first.inner;
  const auto it = by_name ? prepared_.find(name) : prepared_.end();
  return {sql::parse_facts(it != prepared_.end() ? it->second : "", {}), it != prepared_.end()};
}

// What the session does before it asks: a node for its reads, anew for each statement where the settings say so.
LbChoice Scenario::choose() const {
  const cluster::Node* lb = view.find(state.lb_node);
  const bool anew = settings.statement_level_load_balance && state.tx.status == vsession::TxStatus::idle;
  if (!anew && lb != nullptr && lb->live()) return {state.lb_node, Rule::load_balance, {}};
  return choose_lb_node({.view = view,
                         .settings = settings,
                         .user = user_,
                         .database = database_,
                         .application_name = app_,
                         .draw = draw_,
                         .draw2 = draw2_});
}

Input Scenario::input(std::string_view text, const sql::Facts& facts, const vsession::SessionState& now,
                      const sql::Answers& answers) const {
  return {.facts = facts,
          .state = now,
          .answers = answers,
          .view = view,
          .settings = settings,
          .allow_sql_comments = comments_ || settings.allow_sql_comments,
          .check_unlogged_table = unlogged_ && settings.check_unlogged_table,
          .draw = draw_,
          .text = text,
          .draw2 = draw2_,
          .user = user_,
          .database = database_,
          .application_name = app_,
          .cut_unit = cut_unit_};
}

Plan Scenario::decide(std::string_view text) const {
  const sql::Facts facts = sql::parse_facts(text, {});
  const Prepared prepared = prepared_for(facts);
  const sql::Answers answers = answer(questions(facts, state, settings, prepared.statement()));
  vsession::SessionState now = state;
  const LbChoice choice = choose();
  now.lb_node = choice.node;
  Input in = input(text, facts, now, answers);
  in.prepared = prepared.statement();
  in.lb_choice = &choice;
  return route::decide(in);
}

Plan Scenario::recall(std::string_view text, const sql::Facts& facts, RecentPlans& recent) const {
  const Prepared prepared = prepared_for(facts);
  sql::Answers answers;
  vsession::SessionState now = state;
  now.lb_node = choose().node;
  Input in = input(text, facts, now, answers);
  in.prepared = prepared.statement();
  const Asked asked{in, user_, {}, 0};
  if (const RecentPlans::Kept* known = recent.find(asked, TimePoint{})) return known->plan;
  answers = answer(questions(facts, state, settings, prepared.statement()));
  const Plan plan = route::decide(in);
  recent.keep(asked, {plan, {}}, TimePoint::max());
  return plan;
}

std::string Scenario::run(std::string_view text) const {
  const Plan plan = decide(text);
  std::string out = plan.node == kNoNode ? "-" : std::to_string(plan.node.value);
  out.append(" ").append(rule_name(plan.rule));
  if (plan.write) out += " write";
  if (plan.both) out += " both";
  if (plan.stays) out += " stays";
  if (plan.idless) out += " idless";
  if (plan.opaque) out += " opaque";
  if (plan.rerunnable) out += " rerun";
  if (!plan.detail.empty()) out += " [" + plan.detail + "]";
  return out;
}

}  // namespace herdgate::route::golden
