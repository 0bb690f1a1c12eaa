// Reads the golden files of src/route/golden: a text format for "in this state, this statement goes there". Tests only.
//
// Shape    Scenario::read(line) takes the header lines of a section, Scenario::run(sql) gives "node rule flags".
//          Lines of a file:
//            # …                            comment
//            == title                       new section: everything back to the defaults
//            settings: key = value          one line of pgpool.conf
//            view: 0 primary; 1 standby delay=100 ms=5 weight=0 down
//            state: lb=1 tx=open wrote isolation=serializable pins=1 written=a,b temp=t tx_node=1 …
//            input: comments cut_unit draw=0.5 draw2=0.9 user=u database=d app=a
//            relation name: view system below_temporary below=a,b calls=f calls_volatile=g calls_unknown …
//            function name: volatile user missing …
//            prepare name: SQL              what EXECUTE name means
//            SQL => node rule flags         a case; "-" is no node
// Errors   a line that is not understood is an exception with its text.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "route/recent_plans.h"
#include "route/route.h"

namespace herdgate::route::golden {

class Scenario {
 public:
  Scenario();
  // False when the line is not a header line.
  bool read(std::string_view line);
  Plan decide(std::string_view sql) const;
  // The same as a session asks: through what was planned lately. `facts` have a serial number.
  Plan recall(std::string_view sql, const sql::Facts& facts, RecentPlans& recent) const;
  std::string run(std::string_view sql) const;

  cluster::View view;
  vsession::SessionState state;
  std::string settings_text;
  config::Settings settings;
  std::map<std::string, sql::RelationAnswer, std::less<>> relations;
  std::map<std::string, sql::FunctionAnswer, std::less<>> functions;
  sql::Answers answer(const sql::Questions& questions) const;

 private:
  struct Prepared;
  Prepared prepared_for(const sql::Facts& facts) const;
  LbChoice choose() const;
  Input input(std::string_view sql, const sql::Facts& facts, const vsession::SessionState& now,
              const sql::Answers& answers) const;
  void read_view(std::string_view text);
  void read_state(std::string_view text);
  void read_input(std::string_view text);
  void read_relation(std::string_view name, std::string_view text);
  void read_function(std::string_view name, std::string_view text);
  void read_settings(std::string_view text);
  std::map<std::string, std::string, std::less<>> prepared_;
  bool comments_ = false, unlogged_ = true, cut_unit_ = false;
  double draw_ = 0, draw2_ = 0;
  std::string user_ = "alice", database_ = "shop", app_ = "web";
};

std::vector<std::string> words(std::string_view text, char separator);

}  // namespace herdgate::route::golden
