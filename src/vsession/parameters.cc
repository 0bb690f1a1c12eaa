// SET, RESET and set_config() as they happen to the session's sets of parameters.
#include <algorithm>

#include "vsession/level.h"
#include "vsession/set_sql.h"

namespace herdgate::vsession {
using sql::Kind;
namespace {

bool is_identity(std::string_view name) { return name == "role" || name == "session_authorization"; }

constexpr int kTakenOff = 1, kBeforeRole = 2, kIdentity = 10, kUnderRole = 20;

// A role is taken off first and put on last but for what was set under it: each is set with the rights it was set with.
int local_rank(std::string_view name, bool back_to_default, bool under_role) {
  if (is_identity(name)) return back_to_default ? kTakenOff : kIdentity + replay_rank(name);
  if (name == "client_encoding") return 0;
  return under_role ? kUnderRole : kBeforeRole;
}

constexpr std::string_view kUsualEncoding = "UTF8";  // of a login that has told of no other

// One name for each encoding. As PostgreSQL compares them: letters and digits only, without case.
std::string encoding_name(std::string_view name) {
  std::string plain;
  for (const char c : canonical_name(name)) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) plain += c;
  }
  if (plain.starts_with("windows")) plain.erase(3, 4);
  constexpr std::pair<std::string_view, std::string_view> kOtherNames[] = {
      {"unicode", "utf8"},    {"shiftjis", "sjis"}, {"mskanji", "sjis"},      {"win932", "sjis"},
      {"win950", "big5"},     {"win936", "gbk"},    {"win949", "uhc"},        {"iso88591", "latin1"},
      {"iso88592", "latin2"}, {"win", "win1251"},   {"iso88593", "latin3"},   {"iso88594", "latin4"},
      {"iso88599", "latin5"}, {"koi8", "koi8r"},    {"iso885910", "latin6"},  {"iso885913", "latin7"},
      {"alt", "win866"},      {"abc", "win1258"},   {"iso885914", "latin8"},  {"iso885915", "latin9"},
      {"tcvn", "win1258"},    {"vscii", "win1258"}, {"iso885916", "latin10"}, {"tcvn5712", "win1258"}};
  for (const auto& [other, one] : kOtherNames) {
    if (plain == other) return std::string(one);
  }
  return plain;
}

// Encodings whose second octets may be a quote or a backslash: such text cannot be lexed octet by octet.
bool unsafe_encoding(std::string_view name) {
  constexpr std::string_view kUnsafe[] = {"sjis", "shiftjis2004", "big5", "gbk", "uhc", "gb18030", "johab"};
  return std::find(std::begin(kUnsafe), std::end(kUnsafe), encoding_name(name)) != std::end(kUnsafe);
}

bool has_identity(const ParameterSet& set) {
  return set.find("role") != nullptr || set.find("session_authorization") != nullptr;
}

void erase_name(std::vector<Parameter>& all, std::string_view name) {
  std::erase_if(all, [&](const Parameter& p) { return p.name == name; });
}

}  // namespace

Result<Done> VirtualSession::set_startup_parameters(const std::vector<std::pair<std::string, std::string>>& startup) {
  std::vector<Parameter> all;
  bool unsafe = false;
  for (const auto& [name, value] : startup) {
    if (name.empty()) return fail(Errc::bad_parameter_name, "empty name");
    Parameter parameter = raw_parameter(name, value);
    if (not_of_the_session(parameter.name)) continue;
    if (parameter.name == "client_encoding") unsafe = unsafe_encoding(value);
    erase_name(all, parameter.name);  // the last one counts
    all.push_back(std::move(parameter));
    if (all.size() > kMaxParameters) return fail(Errc::too_many_parameters, std::to_string(startup.size()));
  }
  if (unsafe) {
    for (Parameter& parameter : all) parameter = octets_parameter(std::move(parameter));
  }
  std::sort(all.begin(), all.end(), [](const Parameter& a, const Parameter& b) { return a.name < b.name; });
  start_with(std::make_shared<ParameterSet>(std::move(all), key_));
  return Done{};
}

void VirtualSession::start_with(ParameterSetPtr same) {
  startup_ = std::move(same);
  assign(startup_, startup_);
}

void VirtualSession::share_startup(ParameterSetPtr same) {
  if (same == startup_ || same->fingerprint() != startup_->fingerprint()) return;
  if (after_commit_ == startup_) after_commit_ = same;
  if (current_ == startup_) current_ = same;
  startup_ = std::move(same);
}

void VirtualSession::apply_settings(const Outcome& outcome) {
  ensure_base();
  for (const sql::Setting& setting : outcome.statement.settings) apply_setting(setting, outcome);
}

void VirtualSession::apply_setting(const sql::Setting& setting, const Outcome& outcome) {
  const std::string name = canonical_name(setting.name);
  if (is_identity(name)) state_.role_changed = true;
  if (name == "client_encoding" && has_octets()) {
    const bool value = setting.form == sql::SetForm::value && setting.values.size() == 1;
    if (!value || encoding_name(setting.values.front()) != encoding_name(setting_of(name)))
      add_pin(Pin::unparsed_state);
  }
  switch (setting.form) {
    case sql::SetForm::transaction:
      return apply_options(state_.tx, outcome.statement.transaction);
    case sql::SetForm::session_characteristics:
      return apply_characteristics(outcome.statement.transaction);
    case sql::SetForm::reset_all:
      return reset_all(/*identity_too=*/false);
    case sql::SetForm::from_current:
      return keep_current(name);
    case sql::SetForm::to_default:
      if (!not_of_the_session(name)) reset_parameter(name, setting.local);
      return;
    case sql::SetForm::value:
      return apply_value(setting, outcome);
  }
}

void VirtualSession::apply_value(const sql::Setting& setting, const Outcome& outcome) {
  const std::string name = canonical_name(setting.name);
  if (not_of_the_session(name)) return apply_options(state_.tx, options_of(setting));
  std::optional<Parameter> parameter = parameter_of(setting, outcome.text);
  const bool full = current_->all().size() >= kMaxParameters && current_->find(name) == nullptr;
  if (!parameter || full) return add_pin(Pin::unparsed_state);
  if (name == "datestyle") {
    const Parameter* now = current_->find(name);
    parameter = date_style(now == nullptr ? std::string_view() : now->value, setting.values);
  }
  parameter->under_role = current_->find("role") != nullptr || current_->find("session_authorization") != nullptr;
  if (name == "session_authorization") drop_role(setting.local);
  if (name != "client_encoding" && !is_ascii(parameter->sql) && encoding_is_local()) add_pin(Pin::unparsed_state);
  set_parameter(*parameter, setting.local);
}

bool VirtualSession::encoding_is_local() const {
  const Parameter *now = current_->find("client_encoding"), *later = after_commit_->find("client_encoding");
  return now != later && (now == nullptr || later == nullptr || !(*now == *later));
}

// Of other encodings than the one they were set under: they could not be set again as they were.
bool VirtualSession::has_octets() const {
  const auto octets = [](const Parameter& p) { return p.name != "client_encoding" && !is_ascii(p.sql); };
  const std::vector<Parameter>&now = current_->all(), &later = after_commit_->all();
  return std::any_of(now.begin(), now.end(), octets) || std::any_of(later.begin(), later.end(), octets);
}

void VirtualSession::apply_characteristics(const sql::TransactionOptions& options) {
  const auto set = [&](std::string_view name, std::string_view value) {
    set_parameter(raw_parameter(name, value), /*local=*/false);
  };
  if (options.isolation) set("default_transaction_isolation", isolation_name(*options.isolation));
  if (options.read_only) set("default_transaction_read_only", *options.read_only ? "on" : "off");
  if (options.deferrable) set("default_transaction_deferrable", *options.deferrable ? "on" : "off");
}

void VirtualSession::set_parameter(const Parameter& parameter, bool local) {
  const bool same = current_ == after_commit_;
  ParameterSetPtr current = changed(current_, parameter.name, &parameter);
  ParameterSetPtr after_commit = after_commit_;
  if (!local) after_commit = same ? current : changed(after_commit_, parameter.name, &parameter);
  std::erase_if(resets_, [&](const ResetName& reset) { return reset.name == parameter.name; });
  assign(std::move(after_commit), std::move(current));
}

// Back to what the startup packet said; a link, which knows nothing of that, goes back to its login.
void VirtualSession::reset_parameter(const std::string& name, bool local) {
  if (name == "session_authorization") drop_role(local);
  const Parameter* from_start = startup_->find(name);
  if (from_start != nullptr) note_reset(name, local);
  const bool same = current_ == after_commit_;
  ParameterSetPtr current = changed(current_, name, from_start);
  ParameterSetPtr after_commit = after_commit_;
  if (!local) after_commit = same ? current : changed(after_commit_, name, from_start);
  assign(std::move(after_commit), std::move(current));
}

// SET … FROM CURRENT: what SET LOCAL gave stays after the commit.
void VirtualSession::keep_current(const std::string& name) {
  const Parameter* now = current_->find(name);
  if (now != nullptr) assign(changed(after_commit_, name, now), current_);
}

// RESET ALL leaves role and session_authorization; DISCARD ALL does not.
void VirtualSession::reset_all(bool identity_too) {
  const auto reset = [&](const ParameterSetPtr& from) {
    ParameterSetPtr out = startup_;
    if (identity_too) return out;
    for (const char* name : {"role", "session_authorization"}) out = changed(out, name, from->find(name));
    return out;
  };
  for (const Parameter& parameter : startup_->all()) {
    if (identity_too || !is_identity(parameter.name)) note_reset(parameter.name, /*local=*/false);
  }
  const bool same = current_ == after_commit_;
  ParameterSetPtr current = reset(current_);
  assign(same ? current : reset(after_commit_), current);
}

// SET SESSION AUTHORIZATION, to a value or to the default, implies SET ROLE NONE.
void VirtualSession::drop_role(bool local) {
  if (startup_->find("role") != nullptr) return set_parameter(raw_parameter("role", "none"), local);
  reset_parameter("role", local);
}

ParameterSetPtr VirtualSession::changed(const ParameterSetPtr& set, const std::string& name,
                                        const Parameter* to) const {
  const Parameter* now = set->find(name);
  if (now == nullptr && to == nullptr) return set;
  if (now != nullptr && to != nullptr && *now == *to) return set;
  std::vector<Parameter> all = set->all();
  const auto at = std::lower_bound(all.begin(), all.end(), name,
                                   [](const Parameter& p, const std::string& n) { return p.name < n; });
  if (to == nullptr) {
    all.erase(at);
  } else if (now != nullptr) {
    *at = *to;
  } else {
    all.insert(at, *to);
  }
  return std::make_shared<ParameterSet>(std::move(all), key_);
}

void VirtualSession::assign(ParameterSetPtr after_commit, ParameterSetPtr current) {
  const bool differs = current != current_;
  after_commit_ = std::move(after_commit);
  current_ = std::move(current);
  if (differs) refresh();
}

void VirtualSession::note_reset(const std::string& name, bool local) {
  for (ResetName& reset : resets_) {
    if (reset.name != name) continue;
    reset.local = reset.local && local;
    return;
  }
  resets_.push_back({name, local});
}

ParameterSetPtr VirtualSession::link_parameters() const {
  if (resets_.empty()) return current_;
  std::vector<Parameter> all = current_->all();
  for (const ResetName& reset : resets_) erase_name(all, reset.name);
  return std::make_shared<ParameterSet>(std::move(all), key_);
}

std::vector<VirtualSession::LocalSetting> VirtualSession::local_settings() const {
  if (current_ == after_commit_) return {};
  std::vector<LocalSetting> ranked;
  for (const Parameter& p : current_->all()) {
    const Parameter* stays = after_commit_->find(p.name);
    if (stays == nullptr || stays->sql != p.sql)
      ranked.emplace_back(local_rank(p.name, false, p.under_role), as_local(p));
  }
  for (const Parameter& p : after_commit_->all()) {
    if (current_->find(p.name) != nullptr) continue;
    ranked.emplace_back(local_rank(p.name, true, p.under_role), local_default_sql(p.name));
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return ranked;
}

const ParameterSetPtr& VirtualSession::base_parameters() const {
  return state_.tx.explicit_block && !levels_.empty() ? levels_.front().after_commit : current_;
}

ParameterSetPtr VirtualSession::base_without(const std::vector<sql::Statement>& statements) const {
  ParameterSetPtr out = base_parameters();
  for (const sql::Statement& statement : statements) {
    const bool discards = statement.kind == Kind::discard && statement.discard == sql::DiscardTarget::all;
    if (discards) out = std::make_shared<ParameterSet>();
    if (statement.kind == Kind::begin) continue;
    if (!discards && statement.kind != Kind::set && statement.kind != Kind::reset) return nullptr;
    for (const sql::Setting& setting : statement.settings) {
      const bool all = setting.form == sql::SetForm::reset_all;
      const bool one = setting.form == sql::SetForm::value || setting.form == sql::SetForm::to_default;
      if (setting.local || (!all && !one)) return nullptr;
      const std::string name = canonical_name(setting.name);
      const std::vector<Parameter> now = out->all();
      for (const Parameter& parameter : now) {
        const bool too = name == "session_authorization" && parameter.name == "role";
        if (all ? !is_identity(parameter.name) : parameter.name == name || too)
          out = changed(out, parameter.name, nullptr);
      }
    }
  }
  return out == base_parameters() ? nullptr : out;
}

std::vector<std::string> VirtualSession::transaction_settings() const {
  // What a failed transaction has set is lost already, or comes back on the link that has the savepoint.
  if (state_.tx.status != TxStatus::open) return {};
  std::vector<std::string> out;
  const auto tell = [&out](const ParameterSet& from, const ParameterSet& to) {
    Replay told = replay(from, to);
    out.insert(out.end(), std::make_move_iterator(told.acknowledged.begin()),
               std::make_move_iterator(told.acknowledged.end()));
    out.insert(out.end(), std::make_move_iterator(told.ahead.begin()), std::make_move_iterator(told.ahead.end()));
  };
  std::vector<LocalSetting> local = local_settings();
  ParameterSetPtr told = base_parameters();
  const auto is_ahead = [](const LocalSetting& setting) { return setting.first == kBeforeRole; };
  if (has_identity(*after_commit_) && std::any_of(local.begin(), local.end(), is_ahead)) {
    const ParameterSetPtr before_role = without_role(*after_commit_, *told);
    tell(*told, *before_role);
    for (LocalSetting& setting : local) {
      if (is_ahead(setting)) out.push_back(std::move(setting.second));
    }
    std::erase_if(local, is_ahead);
    told = before_role;
  }
  tell(*told, *after_commit_);
  for (auto& [rank, sql] : local) out.push_back(std::move(sql));
  return out;
}

// What was set before the session took a role, or is on the link anyway.
ParameterSetPtr VirtualSession::without_role(const ParameterSet& set, const ParameterSet& link) const {
  std::vector<Parameter> all;
  for (const Parameter& parameter : set.all()) {
    const Parameter* there = link.find(parameter.name);
    const bool same = there != nullptr && *there == parameter;
    if (!is_identity(parameter.name) && (!parameter.under_role || same)) all.push_back(parameter);
  }
  return std::make_shared<ParameterSet>(std::move(all), key_);
}

void VirtualSession::parameter_reported(std::string_view name, std::string_view value) {
  if (equal_nocase(name, "client_encoding")) reported_encoding_ = value;
  if (equal_nocase(name, "standard_conforming_strings")) reported_conforming_ = value;
  if (equal_nocase(name, "default_transaction_read_only")) reported_read_only_ = value;
  if (name == "search_path") temp_by_default_ = value.empty() || value.find("pg_temp") != value.npos;
  if (name == "default_transaction_isolation")
    reported_isolation_ = parse_isolation(value).value_or(sql::Isolation::repeatable_read);  // the worst case
  refresh();
}

void VirtualSession::parameter_heard(std::string_view name, std::string_view value) {
  if (equal_nocase(name, "client_encoding")) heard_encoding_ = value;
  if (equal_nocase(name, "standard_conforming_strings")) heard_conforming_ = value;
}

// What texts mean depends on these two.
void VirtualSession::adopt_heard() {
  const std::string conforming = std::exchange(heard_conforming_, {}), encoding = std::exchange(heard_encoding_, {});
  const auto adopt = [this](const char* name, const std::string& value, bool differs) {
    // A RESET that goes back to what the client began with: the link goes back to what its own login was given.
    const bool reset = std::any_of(resets_.begin(), resets_.end(), [&](const ResetName& r) { return r.name == name; });
    if (!value.empty() && differs && !reset) set_parameter(raw_parameter(name, value), /*local=*/false);
  };
  adopt("standard_conforming_strings", conforming,
        parse_bool(conforming).value_or(true) != standard_conforming_strings());
  adopt("client_encoding", encoding, unsafe_encoding(encoding) == ascii_safe_encoding());
}

bool VirtualSession::must_be_told(std::string_view name, std::string_view value) {
  if (equal_nocase(name, "client_encoding")) return value != kUsualEncoding;
  if (equal_nocase(name, "standard_conforming_strings")) return !parse_bool(value).value_or(true);
  if (name == "default_transaction_isolation") return value != "read committed";
  if (name == "search_path") return value.empty() || value.find("pg_temp") != value.npos;
  return equal_nocase(name, "default_transaction_read_only") && parse_bool(value).value_or(false);
}

std::string_view VirtualSession::parameter_value(std::string_view name) const {
  const Parameter* parameter = current_->find(canonical_name(name));
  return parameter == nullptr ? std::string_view() : parameter->value;
}

// Of the session's own making, else as the server said.
std::string_view VirtualSession::setting_of(std::string_view name) const {
  if (const Parameter* own = current_->find(name)) return own->value;
  if (name == "client_encoding") return reported_encoding_.empty() ? kUsualEncoding : reported_encoding_;
  if (name == "standard_conforming_strings") return reported_conforming_;
  return name == "default_transaction_read_only" ? std::string_view(reported_read_only_) : std::string_view();
}

void VirtualSession::refresh() {
  read_under_.reset();
  const bool told = !reported_encoding_.empty() || !reported_conforming_.empty() || !reported_read_only_.empty() ||
                    reported_isolation_ != sql::Isolation::read_committed;
  if (!current_->notable() && !told) {
    search_path_key_.clear();
    role_key_.clear();
    state_.default_isolation = sql::Isolation::read_committed;
    state_.default_read_only = false;
    conforming_strings_ = ascii_safe_ = true;
    return;
  }
  const Parameter* path = current_->find("search_path");
  search_path_key_ = path == nullptr ? "" : path->sql;
  const Parameter* role = current_->find("role");
  const Parameter* user = current_->find("session_authorization");
  role_key_ = role != nullptr && role->value != "none" ? role->value : user != nullptr ? user->value : "";
  state_.default_isolation = parse_isolation(setting_of("default_transaction_isolation")).value_or(reported_isolation_);
  state_.default_read_only = parse_bool(setting_of("default_transaction_read_only")).value_or(false);
  conforming_strings_ = parse_bool(setting_of("standard_conforming_strings")).value_or(true);
  ascii_safe_ = !unsafe_encoding(setting_of("client_encoding"));
}

const std::string& VirtualSession::search_path_key() const { return search_path_key_; }
const std::string& VirtualSession::role_key() const { return role_key_; }
bool VirtualSession::standard_conforming_strings() const { return conforming_strings_; }
bool VirtualSession::ascii_safe_encoding() const { return ascii_safe_; }

}  // namespace herdgate::vsession
