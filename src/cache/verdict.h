// Whether the answer of a statement may be kept, and if not, why, in words. Pure.
//
// Shape    verdict(asked) looks at the statement and what the catalog says of its names; refusal(situation) at the
//          state of the session, for which a statement is neither looked up nor kept.
// Errors   what is not known counts against: a wrong answer is worse than a miss.
// Threads  pure.
// Source   Pgpool-II 4.6 manual, "In Memory Query Cache"; differences in docs/compat.md.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/patterns.h"
#include "sql/answers.h"

namespace herdgate::cache {

struct Asked {
  const sql::Facts& facts;
  std::string_view text;
  const sql::Answers& answers;  // of all names of the text, in order
  const config::Patterns& patterns;
  bool allow_sql_comments = false;
  bool standard_strings = true;  // standard_conforming_strings
};
struct Verdict {
  std::string refusal;                // empty: it may be kept
  std::vector<std::uint32_t> tables;  // … until one of these changes
  bool ok() const { return refusal.empty(); }
};
Verdict verdict(const Asked& asked);
// The same without the words that mean a moment, by which texts with the same facts differ: see means_a_moment().
Verdict standing_verdict(const Asked& asked);
bool means_a_moment(const sql::Facts& facts, std::string_view text, bool standard_strings);

// Standing verdicts made lately, by the number of the plan they were made beside: for statements that change nothing.
// One for each worker.
class RecentVerdicts {
 public:
  static constexpr std::size_t kSlots = 256;
  using Kept = std::shared_ptr<const Verdict>;
  // Null: not known. Plan 0 is none.
  const Kept& find(std::uint64_t plan) const {
    static const Kept kNone;
    const Slot& slot = slots_[plan % kSlots];
    return slot.plan == plan && plan != 0 ? slot.verdict : kNone;
  }
  void keep(std::uint64_t plan, Kept verdict) { slots_[plan % kSlots] = {plan, std::move(verdict)}; }

 private:
  struct Slot {
    std::uint64_t plan = 0;
    Kept verdict;
  };
  std::array<Slot, kSlots> slots_;
};

// Could this text have an entry at all? By its form alone; decides whether one is looked for.
bool may_be_cached(const sql::Facts& facts, bool allow_sql_comments);

struct Situation {
  bool failed_transaction = false;
  bool wrote = false;          // in the open transaction
  bool one_snapshot = false;   // REPEATABLE READ or SERIALIZABLE is in force
  bool temporary = false;      // the session has temporary tables
  bool unknown_state = false;  // CALL, DO, a volatile function or LOAD may have changed what we do not see
  bool role_changed = false;   // SET ROLE or SET SESSION AUTHORIZATION has been used
};
std::string_view refusal(const Situation& situation);  // empty: look up and keep

}  // namespace herdgate::cache
