// Runs the golden files: what may be kept, and what running a statement may change. A mismatch names file and line.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "cache/effects.h"
#include "cache/verdict.h"

namespace herdgate::cache {
namespace {

constexpr int kLeastCases = 300;

std::vector<std::string> words(std::string_view text, char separator) {
  std::vector<std::string> out;
  std::istringstream in{std::string(text)};
  for (std::string word; std::getline(in, word, separator);)
    if (!word.empty()) out.push_back(word);
  return out;
}

std::string joined(std::vector<std::uint32_t> oids) {
  std::sort(oids.begin(), oids.end());
  std::string out;
  for (const std::uint32_t oid : oids) out += (out.empty() ? "" : ",") + std::to_string(oid);
  return out;
}

std::vector<std::uint32_t> oids(std::string_view text) {
  std::vector<std::uint32_t> out;
  for (const std::string& word : words(text, ',')) out.push_back(static_cast<std::uint32_t>(std::stoul(word)));
  return out;
}

class Scenario {
 public:
  bool read(std::string_view line) {
    if (line.starts_with("== ")) return *this = Scenario(), true;
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) return false;
    const std::string_view head = line.substr(0, colon), rest = line.substr(colon + 1);
    if (head.starts_with("relation ")) return relations_[std::string(head.substr(9))] = relation(rest), true;
    if (head.starts_with("function ")) return functions_[std::string(head.substr(9))] = function(rest), true;
    if (head.starts_with("prepare ")) return prepared_[std::string(head.substr(8))] = rest.substr(1), true;
    if (head == "lists") return lists(rest), true;
    if (head != "input") return false;
    for (const std::string& word : words(rest, ' ')) {
      comments_ |= word == "comments";
      no_answers_ |= word == "no_answers";
    }
    return true;
  }
  std::string verdict_of(std::string_view text) const {
    const sql::Facts facts = sql::parse_facts(text, {});
    const sql::Answers answers = answer(facts, nullptr);
    const Verdict v = verdict({facts, text, answers, patterns_, comments_});
    if (!v.ok()) return "no: " + v.refusal;
    EXPECT_TRUE(may_be_cached(facts, comments_)) << text << " would be kept and never found";
    return v.tables.empty() ? "yes" : "yes " + joined(v.tables);
  }
  std::string effects(std::string_view text) const {
    const sql::Facts facts = sql::parse_facts(text, {});
    return told(effects_by(facts));
  }
  // Does it define anything, or only run event triggers?
  std::string definitions(std::string_view text) const {
    const sql::Facts facts = sql::parse_facts(text, {});
    const Effects e = effects_by(facts);
    EXPECT_EQ(e.fires, may_fire(facts)) << text;
    return e.defines && e.fires ? "defines fires" : e.defines ? "defines" : e.fires ? "fires" : "nothing";
  }

 private:
  // It refers to the facts.
  Effects effects_by(const sql::Facts& facts) const {
    sql::Facts kept;
    const sql::Statement* prepared = nullptr;
    const sql::Statement* named = &facts.first();
    if (named->kind == sql::Kind::explain && named->inner) named = named->inner.get();
    const auto known = prepared_.find(named->name);
    if (named->kind == sql::Kind::execute && known != prepared_.end()) {
      kept = sql::parse_facts(known->second, {});
      prepared = kept.first().inner.get();
    }
    return effects_of(facts, answer(facts, prepared), prepared);
  }
  static std::string told(const Effects& e) {
    std::string out = e.scope.everything ? "everything" : e.scope.database ? "database" : "";
    if (e.unknown_state) out += " unknown_state";
    if (!e.scope.tables.empty()) out += " tables " + joined(e.scope.tables);
    if (e.scope.empty()) out = "none" + out;
    if (e.ends_transaction) out += " ends";
    if (!e.prepares.empty()) out.append(" prepares=").append(e.prepares);
    if (!e.commits_prepared.empty()) out.append(" commits=").append(e.commits_prepared);
    if (!e.rolls_back_prepared.empty()) out.append(" rolls_back=").append(e.rolls_back_prepared);
    return out.front() == ' ' ? out.substr(1) : out;
  }
  static sql::RelationAnswer relation(std::string_view text) {
    sql::RelationAnswer a;
    a.exists = true;
    for (const std::string& word : words(text, ' ')) {
      if (word.starts_with("reads=")) a.reads = oids(word.substr(6));
      if (word.starts_with("cascades=")) a.cascades = oids(word.substr(9));
      if (word == "missing") a.exists = false;
      a.temporary |= word == "temporary";
      a.system_catalog |= word == "system";
      a.row_security |= word == "row_security";
      a.unlogged |= word == "unlogged";
      a.other_kind |= word == "other_kind";
      a.view |= word == "view";
      a.side_effects |= word == "side_effects";
      a.leaves_state |= word == "leaves_state";
      if (word.starts_with("rows=")) a.row_functions.push_back({word.substr(5), false});
      if (word.starts_with("writing_rows=")) a.row_functions.push_back({word.substr(13), true});
      a.below_unlogged |= word == "below_unlogged";
      a.below_temporary |= word == "below_temporary";
      a.below_system |= word == "below_system";
      a.below_writing_function |= word == "below_writing";
      a.may_define |= word == "may_define";
    }
    return a;
  }
  static sql::FunctionAnswer function(std::string_view text) {
    sql::FunctionAnswer a;
    a.exists = true;
    for (const std::string& word : words(text, ' ')) {
      if (word == "missing") a.exists = false;
      a.is_volatile |= word == "volatile";
      a.stable |= word == "stable";
      a.user_defined |= word == "user";
      a.returns_time_zone_type |= word == "timestamptz";
      a.sets |= word == "sets";
      a.may_define |= word == "may_define";
    }
    return a;
  }
  void lists(std::string_view text) {
    for (const std::string& word : words(text, ' ')) {
      const std::string list = word.substr(word.find('=') + 1);
      auto compiled = config::RegexList::compile(words(list, ','));
      ASSERT_TRUE(compiled);
      (word.starts_with("safe=") ? patterns_.cache_safe_tables : patterns_.cache_unsafe_tables) = *compiled;
    }
  }
  sql::Answers answer(const sql::Facts& facts, const sql::Statement* prepared) const {
    sql::Answers out;
    if (no_answers_) return out;
    for (const sql::Statement& s : facts.statements) add(s, out);
    if (prepared != nullptr) add(*prepared, out);
    return out;
  }
  void add(const sql::Statement& s, sql::Answers& out) const {
    for (const sql::Relation& r : s.relations) {
      const auto known = relations_.find(r.name);
      const bool numbered = r.name.size() > 1 && r.name[0] == 't' && std::isdigit(r.name[1]);
      out.relations.push_back(known != relations_.end() ? known->second
                              : numbered                ? relation("reads=" + r.name.substr(1))
                                                        : relation("reads=9999"));
    }
    for (const sql::Function& f : s.functions) {
      const auto known = functions_.find(f.name);
      out.functions.push_back(known != functions_.end() ? known->second : function(""));
    }
  }

  std::map<std::string, sql::RelationAnswer> relations_;
  std::map<std::string, sql::FunctionAnswer> functions_;
  std::map<std::string, std::string> prepared_;
  config::Patterns patterns_;
  bool comments_ = false, no_answers_ = false;
};

int run_file(const std::filesystem::path& path) {
  std::ifstream in(path);
  Scenario scenario;
  int number = 0, cases = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.empty() || line.front() == '#') continue;
    const auto keeps = line.rfind(" => "), changes = line.rfind(" ~> ");
    const auto defines = line.rfind(" :> ");
    if (keeps == std::string::npos && changes == std::string::npos && defines == std::string::npos) {
      if (!scenario.read(line)) ADD_FAILURE_AT(path.c_str(), number) << "neither a header nor a case: " << line;
      continue;
    }
    ++cases;
    const auto arrow = std::min({keeps, changes, defines});
    const std::string text = line.substr(0, arrow), expected = line.substr(arrow + 4);
    const std::string got = arrow == keeps     ? scenario.verdict_of(text)
                            : arrow == changes ? scenario.effects(text)
                                               : scenario.definitions(text);
    if (got != expected)
      ADD_FAILURE_AT(path.c_str(), number) << text << "\n  expected: " << expected << "\n  got:      " << got;
  }
  return cases;
}

TEST(CacheGolden, WhatIsKeptAndWhatChanges) {
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(HG_SOURCE_DIR "/src/cache/golden"))
    cases += run_file(entry.path());
  EXPECT_GE(cases, kLeastCases);
}

// They may be used for the route: nothing is kept by them, and what is written may be anything.
TEST(Verdict, OldAnswersOfTheCatalogCountAsNone) {
  const config::Patterns patterns;
  sql::Answers answers;
  answers.relations.push_back({.exists = true, .reads = {7}});
  const sql::Facts read = sql::parse_facts("select * from t", {}), write = sql::parse_facts("delete from t", {});
  EXPECT_TRUE(verdict({read, "select * from t", answers, patterns}).ok());
  EXPECT_FALSE(effects_of(write, answers).scope.database);
  answers.old = true;
  EXPECT_EQ(verdict({read, "select * from t", answers, patterns}).refusal,
            "what it names was looked up in a snapshot that may be old");
  EXPECT_TRUE(effects_of(write, answers).scope.database);
}

TEST(Verdict, ASessionThatCannotUseTheCacheSaysWhy) {
  EXPECT_EQ(refusal({}), "");
  EXPECT_EQ(refusal({.failed_transaction = true}), "the transaction has failed");
  EXPECT_EQ(refusal({.wrote = true}), "the transaction has written");
  EXPECT_EQ(refusal({.one_snapshot = true}), "the transaction has one snapshot");
  EXPECT_EQ(refusal({.temporary = true}), "the session has temporary tables");
  EXPECT_EQ(refusal({.unknown_state = true}), "the session's state is not known");
  EXPECT_EQ(refusal({.role_changed = true}), "the session has changed its role");
}

}  // namespace
}  // namespace herdgate::cache
