// Random sequences against a model that knows nothing of levels: it keeps the statements of the transaction and works
// out the values from the beginning each time; ROLLBACK TO cuts the list off.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "vsession/script.h"

namespace herdgate::vsession {
namespace {

using Values = std::map<std::string, std::string>;

struct Action {
  enum Kind { set, set_local, reset, reset_all, savepoint } kind;
  std::string name, value;
};

class Model {
 public:
  explicit Model(Values startup) : startup_(std::move(startup)), committed_(startup_) {}
  void act(Action action) {
    log_.push_back(std::move(action));
    if (!block_) end(true);
  }
  void begin() { block_ = true; }
  void end(bool commit) {
    if (commit) committed_ = values(/*with_local=*/false);
    log_.clear();
    block_ = false;
  }
  bool has_savepoint(const std::string& name) const { return last(name) != log_.size(); }
  void release(const std::string& name) {
    for (std::size_t i = last(name); i < log_.size(); ++i) {
      if (log_[i].kind == Action::savepoint) log_[i].name.clear();
    }
  }
  void rollback_to(const std::string& name) { log_.resize(last(name) + 1); }
  bool in_block() const { return block_; }
  Values values(bool with_local = true) const {
    Values session = committed_, local = committed_;
    for (const Action& a : log_) {
      if (a.kind == Action::set) session[a.name] = local[a.name] = a.value;
      if (a.kind == Action::set_local) local[a.name] = a.value;
      if (a.kind == Action::reset) back(session, a.name), back(local, a.name);
      if (a.kind == Action::reset_all) session = local = startup_;
    }
    return with_local ? local : session;
  }

 private:
  void back(Values& values, const std::string& name) const {
    const auto at = startup_.find(name);
    if (at == startup_.end()) {
      values.erase(name);
    } else {
      values[name] = at->second;
    }
  }
  std::size_t last(const std::string& name) const {
    for (std::size_t i = log_.size(); i > 0; --i) {
      if (log_[i - 1].kind == Action::savepoint && log_[i - 1].name == name) return i - 1;
    }
    return log_.size();
  }
  Values startup_, committed_;
  std::vector<Action> log_;
  bool block_ = false;
};

Values of(const ParameterSet& set) {
  Values out;
  for (const Parameter& p : set.all()) out[p.name] = p.value;
  return out;
}

class Walker {
 public:
  Walker(VirtualSession& session, Model& model, std::mt19937& random)
      : script_(session), model_(model), random_(random) {}

  std::string step() {
    const std::string name = std::string("a.") + "xyz"[random_() % 3];
    const std::string value = std::to_string(random_() % 10);
    switch (failed_ ? 9 + random_() % 4 : random_() % 14) {
      case 0:
      case 1:
      case 2:
        return act("set " + name + " = " + value, {Action::set, name, value});
      case 3:
      case 4:
        return local("set local " + name + " = " + value, {Action::set_local, name, value});
      case 5:
        return act("reset " + name, {Action::reset, name, ""});
      case 6:
        return random_() % 3 == 0 ? act("reset all", {Action::reset_all, "", ""}) : begin();
      case 7:
        return fail("select 1/0");
      case 8:
        return begin();
      case 9:
        return savepoint_or_back();
      case 10:
        return back_or_release();
      case 11:
        return random_() % 3 == 0 ? end(true) : savepoint_or_back();
      case 12:
        return random_() % 3 == 0 ? end(false) : back_or_release();
      default:
        return run("select 1");
    }
  }

 private:
  std::string run(const std::string& text) {
    script_.step(text);
    return text;
  }
  std::string act(const std::string& text, Action action) {
    model_.act(std::move(action));
    return run(text);
  }
  std::string local(const std::string& text, Action action) {
    if (model_.in_block()) model_.act(std::move(action));
    return run(text);
  }
  std::string begin() {
    if (model_.in_block()) return run("select 1");
    model_.begin();
    return run("begin");
  }
  std::string end(bool commit) {
    if (!model_.in_block()) return run("select 1");
    model_.end(commit && !failed_);
    failed_ = false;
    return run(commit ? "commit" : "rollback");
  }
  std::string fail(const std::string& text) {
    failed_ = model_.in_block();
    return run("!" + text);
  }
  std::string savepoint_or_back() {
    const std::string name(1, "stu"[random_() % 3]);
    if (failed_ || !model_.in_block()) return back(name);
    model_.act({Action::savepoint, name, ""});
    return run("savepoint " + name);
  }
  std::string back(const std::string& name) {
    if (!model_.in_block() || !model_.has_savepoint(name)) return fail("rollback to " + name);
    model_.rollback_to(name);
    failed_ = false;
    return run("rollback to " + name);
  }
  std::string back_or_release() {
    const std::string name(1, "stu"[random_() % 3]);
    if (failed_ || random_() % 2 == 0) return back(name);
    if (!model_.has_savepoint(name)) return fail("release " + name);
    model_.release(name);
    return run("release " + name);
  }
  Script script_;
  Model& model_;
  std::mt19937& random_;
  bool failed_ = false;
};

TEST(VirtualSession, AgreesWithASimpleModelOnRandomSequences) {
  std::mt19937 random(17);
  for (int round = 0; round < 300; ++round) {
    const Values startup = round % 2 == 0 ? Values{} : Values{{"a.x", "start"}};
    VirtualSession session(HashKey{7, 8});
    ASSERT_TRUE(session.set_startup_parameters({startup.begin(), startup.end()}));
    Model model(startup);
    Walker walker(session, model, random);
    std::string history;
    for (int i = 0; i < 60; ++i) {
      history += walker.step() + "\n";
      ASSERT_EQ(of(*session.parameters()), model.values()) << history;
      ASSERT_EQ(of(*session.session_parameters()), model.values(false)) << history;
    }
  }
}

}  // namespace
}  // namespace herdgate::vsession
